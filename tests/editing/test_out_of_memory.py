import gc
import weakref

import pytest
import torch

from groundingdino.editing.out_of_memory import NO_MEMORY, free_memory, is_out_of_memory, memory_errors


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes."), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
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


class Features:
    """What was computed before memory ran out."""


def test_a_lack_of_memory_is_a_sentence_that_holds_nothing_of_what_was_computed():
    computed: list[weakref.ref[Features]] = []
    made_room: list[bool] = []

    def forward() -> None:
        features = Features()
        computed.append(weakref.ref(features))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(ValueError, match=NO_MEMORY) as told, memory_errors(lambda: made_room.append(True)):
        forward()
    assert isinstance(told.value.__cause__, torch.OutOfMemoryError)
    assert made_room == [True]
    assert computed[0]() is None


@pytest.mark.parametrize("error", [RuntimeError("shapes"), ValueError("no"), KeyError("key")])
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as told, memory_errors(lambda: pytest.fail("room was made")):
        raise error
    assert told.value is error


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
