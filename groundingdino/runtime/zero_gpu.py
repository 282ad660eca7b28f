"""Whether this is a Space on ZeroGPU: hardware of Hugging Face that lends a GPU to one function call at a time.

There the package `spaces` has to be imported before PyTorch, in which it feigns a GPU; so nothing here needs PyTorch.
"""

import os
from importlib.util import find_spec

SIGN = "SPACES_ZERO_GPU"  # a variable that the platform sets


def is_here() -> bool:
    """Whether a GPU is lent. There is none to keep: what this process holds itself is on its processor."""
    return os.environ.get(SIGN, "").lower() in ("1", "t", "true") and find_spec("spaces") is not None
