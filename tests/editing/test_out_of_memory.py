import gc
import weakref

import pytest
import torch

from groundingdino.editing.out_of_memory import free_memory, is_out_of_memory


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes."), True),
        (RuntimeError("MPS backend out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
        (ValueError("memory"), False),
    ],
)
def test_a_lack_of_memory_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected


def test_a_processor_says_that_its_memory_is_full():
    with pytest.raises(RuntimeError) as refusal:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(refusal.value)


def test_what_only_holds_itself_is_freed_without_a_gpu():
    class Held:
        def __init__(self) -> None:
            self.held = self

    held = Held()
    left = weakref.ref(held)
    gc.disable()
    try:
        del held
        assert left() is not None
        free_memory()
        assert left() is None
    finally:
        gc.enable()
