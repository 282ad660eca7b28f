"""What glibc does with freed memory, each time in a process of its own: the setting cannot be taken back."""

import ctypes
import subprocess
import sys

import pytest

from groundingdino.runtime import allocation

# Blocks of 64 MB taken and given back after each step; prints the page faults of the last time.
FAULTS = """
import ctypes, resource, sys
libc = ctypes.CDLL(None)
libc.prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: huge pages would hide that there are faults
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
for step in sys.argv[1:]:
    exec(step)
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = libc.malloc(64 << 20)
        ctypes.memset(block, 1, 64 << 20)
        libc.free(block)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
needs_glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="there is no glibc")


def page_faults(*steps: str) -> list[int]:
    """How many there are after each step, all in one new process."""
    run = subprocess.run([sys.executable, "-c", FAULTS, *steps], capture_output=True, text=True, check=True)
    return [int(line) for line in run.stdout.splitlines()]


@needs_glibc
def test_freed_blocks_are_reused_without_page_faults():
    (kept,) = page_faults("import groundingdino as gd; assert gd.keep_freed_memory()")
    assert kept < 100


@needs_glibc
def test_importing_changes_nothing():
    (given_back,) = page_faults("import groundingdino.runtime.allocation")
    assert given_back > 1000  # 16,384 where a page has 4 kB


@needs_glibc
def test_a_detector_leaves_the_memory_of_its_program_alone():
    detect = "import groundingdino as gd; gd.Detector.from_pretrained('embedded', device='cpu')"
    given_back, kept = page_faults(detect, "gd.keep_freed_memory()")
    assert given_back > 1000
    assert kept < 100


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_alone(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("asked for a library"))
    assert not allocation.keep_freed_memory()


def test_another_c_library_is_left_alone(monkeypatch):
    class Musl:
        def mallopt(self, *_: int) -> int:
            pytest.fail("set what it does not know")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Musl())
    assert not allocation.keep_freed_memory()
