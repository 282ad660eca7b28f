"""What the package says of itself: its public names, what it imports when, how large it is."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import groundingdino

ROOT = Path(__file__).resolve().parent.parent
HELP = """
import contextlib, runpy, sys
sys.argv = ["groundingdino", "--help"]
with contextlib.suppress(SystemExit):
    runpy.run_module("groundingdino", run_name="__main__")
"""


# Pools of threads in the package once it is imported, and what belongs to the whole process before and after; at last
# the page is imported, too.
IMPORTING = """
import signal, sys, threading, torch
from concurrent.futures import ThreadPoolExecutor
def belongs_to_all():
    return threading.active_count(), torch.get_num_threads(), torch.get_default_dtype(), signal.getsignal(signal.SIGINT)
first = belongs_to_all()
import groundingdino, groundingdino.kernels.cpu
for name in groundingdino.__all__:
    getattr(groundingdino, name)
ours = [module for name, module in sys.modules.items() if name.startswith("groundingdino")]
print(sum(isinstance(value, ThreadPoolExecutor) for module in ours for value in vars(module).values()))
print(first)
print(belongs_to_all())
import app
"""


# How a program has PyTorch's threads wait for each other: OpenMP reads it once PyTorch is imported. The page imports
# Gradio before it, which takes seconds and leaves that as it is.
WAITING = """
import os, sys
os.environ.pop("OMP_WAIT_POLICY", None)
{first}
class Watch:
    def find_spec(self, name, *_):
        if name in ("torch", "gradio"):
            print(os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Watch())
{program}
"""
COMMAND = """
import runpy
sys.argv = ["groundingdino", "detect", "assets/examples/picnic.webp", "cat"]
runpy.run_module("groundingdino", run_name="__main__")
"""


def run(code: str, given: str = "") -> str:
    """What code prints in a new process, to which something is given."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def modules_after(code: str) -> tuple[str, set[str]]:
    """What code prints in a new process, and all that this has imported by then."""
    printed, _, modules = run(code + "\nprint('modules:', *sys.modules)").partition("modules:")
    return printed, set(modules.split())


@pytest.fixture(scope="module")
def importing() -> tuple[str, set[str]]:
    """What importing all but the training says, and brings."""
    return modules_after(IMPORTING)


def test_help_needs_no_library_that_takes_seconds():
    _, modules = modules_after(HELP)
    assert "groundingdino" in modules
    assert modules.isdisjoint({"torch", "torchvision", "transformers", "diffusers", "supervision", "gradio"})


# One process for all lines, as starting one takes the longest: what a line imports is there in those after it, too.
BAD_INPUT = """
import json, runpy, sys
for line in json.loads(sys.stdin.read()):
    sys.argv, status = ["groundingdino", *line], None
    try:
        runpy.run_module("groundingdino", run_name="__main__")
    except SystemExit as end:
        status = end.code
    print(json.dumps([status, list(sys.modules)]))
"""
PICTURE = "assets/examples/picnic.webp"
BAD_LINES = [
    ["detect", "nope.png", "cat"],
    ["detect", "README.md", "cat"],
    ["detect", PICTURE, "cat", "--box-threshold", "7"],
    ["detect", PICTURE, "cat", "--output", "nowhere/out.png"],
    ["detect", PICTURE, "cat", "--json", "nowhere/out.json"],
    ["segment", "nope.png", "cat"],
    ["inpaint", "nope.png", "cat", "--remove", "--output", "out.png"],
    ["inpaint", PICTURE, "cat", "--remove"],
    ["inpaint", PICTURE, "cat", "--remove", "--output", "out.png", "--grow", "9999"],
    ["inpaint", PICTURE, "cat", "--replace", "", "--output", "out.png"],
    ["inpaint", PICTURE, "cat", "--color", "blau", "--output", "out.png"],
    ["detect", PICTURE, " . "],
    ["detect", PICTURE, "cat", "--model", "swin-x"],
    ["detect", PICTURE, "cat", "--model", "missing.pth"],
    ["segment", PICTURE, "", "--segmenter", "vit_x"],
    ["segment", PICTURE, "cat", "--segmenter", "vit_x", "--box", "1,1,9,9"],
    ["segment", PICTURE, "", "--box", "5000,1,5009,9"],
    ["inpaint", PICTURE, " . ", "--remove", "--output", "out.png"],
    ["inpaint", PICTURE, "cat", "--remove", "--output", "out.png", "--inpainter", "sd99"],
    ["inpaint", PICTURE, "", "--remove", "--output", "out.png", "--mask", "nope.png"],
]


@pytest.fixture(scope="module")
def outcomes() -> list[Any]:
    """Of each of `BAD_LINES` the status that it ends with, and what is imported by then."""
    return [json.loads(line) for line in run(BAD_INPUT, json.dumps(BAD_LINES)).splitlines()]


@pytest.mark.parametrize("number", range(len(BAD_LINES)), ids=[" ".join(line) for line in BAD_LINES])
def test_bad_input_is_told_without_a_library_that_takes_seconds(outcomes: list[Any], number: int):
    status, modules = outcomes[number]
    assert status == 2
    assert {"torch", "torchvision", "transformers", "diffusers", "supervision"}.isdisjoint(modules)


def test_inference_never_imports_training(importing: tuple[str, set[str]]):
    _, modules = importing
    assert {"torch", "groundingdino.editing.inpainter", "groundingdino.page.handlers"} <= modules
    assert [name for name in modules if name.startswith("groundingdino.training")] == []


def test_importing_makes_no_threads_and_changes_nothing_of_the_process(importing: tuple[str, set[str]]):
    pools, before, after = importing[0].splitlines()
    assert pools == "0"
    assert after == before


@pytest.mark.parametrize("program", ["import app", COMMAND], ids=["page", "command line"])
@pytest.mark.parametrize(
    ("first", "expected"), [("", "PASSIVE"), ("os.environ['OMP_WAIT_POLICY'] = 'ACTIVE'", "ACTIVE")]
)
def test_threads_of_a_program_sleep_while_they_wait(program, first, expected):
    assert run(WAITING.format(first=first, program=program)).split() == [expected]


def test_every_public_name_is_one_that_type_checkers_see():
    stub = ast.parse((ROOT / "groundingdino" / "__init__.pyi").read_text(encoding="utf-8"))
    imported = {name.name for node in stub.body if isinstance(node, ast.ImportFrom) for name in node.names}
    (listed,) = (ast.literal_eval(node.value) for node in stub.body if isinstance(node, ast.Assign))
    assert sorted(listed) == sorted(groundingdino.__all__) == sorted(dir(groundingdino)) == sorted(imported)
    for name in groundingdino.__all__:
        assert getattr(groundingdino, name) is not None


def test_another_name_is_none_of_the_packages():
    with pytest.raises(AttributeError, match="No groundingdino attribute Detektor"):
        groundingdino.Detektor  # noqa: B018


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed, so it is not known what is tracked")
def test_the_tree_stays_small():
    listing = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT)
    if listing.returncode:
        pytest.skip("this is no git checkout, so it is not known what is tracked")
    files = [ROOT / name for name in listing.stdout.split("\0") if name]
    assert sum(file.stat().st_size for file in files if file.is_file()) < 55_000_000
