"""Tell whether a computation failed because memory ran out, and make room for a smaller one."""

import gc

import torch

# Sentences in which PyTorch says that a processor's memory is full; a GPU's has an error of its own.
_FULL = ("not enough memory", "can't allocate memory", "out of memory")


def is_out_of_memory(error: Exception) -> bool:
    """Whether it is memory that was missing, of a GPU or of the machine."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(sentence in str(error).lower() for sentence in _FULL)


def free_memory() -> None:
    """Give back what nothing holds any more; an error that is still being handled holds what it interrupted."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
