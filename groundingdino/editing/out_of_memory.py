"""Tell whether a computation failed because memory ran out, and make room for a smaller one."""

import gc
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from groundingdino.files.downloads import first_line

# Words in which PyTorch and what it is built on say that memory is full; a GPU's has an error of its own, too.
_FULL = ("not enough memory", "can't allocate memory", "out of memory", "bad_alloc", "alloc_failed")
NO_MEMORY = (
    "The server's memory does not suffice for this: try again in a moment, with a smaller picture or another model."
)

logger = logging.getLogger(__name__)


def is_out_of_memory(error: Exception) -> bool:
    """Whether it is memory that was missing, of a GPU or of the machine."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(sentence in str(error).lower() for sentence in _FULL)


@contextmanager
def memory_errors(make_room: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Within it a lack of memory is a sentence for whoever asked, and what can be done without is given back.

    Args:
        make_room: Lets go of what is only kept for later.

    Raises:
        ValueError: `NO_MEMORY`.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not is_out_of_memory(error):
            raise
        logger.error("Memory ran out: %s", first_line(error))
        # The error lives on as the cause of the sentence, and its frames hold all that was computed.
        traceback.clear_frames(error.__traceback__)
        make_room()
        free_memory()
        raise ValueError(NO_MEMORY) from error


def free_memory() -> None:
    """Give back what nothing holds any more; an error that is still being handled holds what it interrupted."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
