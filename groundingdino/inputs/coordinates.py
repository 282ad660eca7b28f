"""Numbers as people and programs pass them: in lists, tuples, arrays or tensors, and never as something that only reads
like a number, such as the text "12" or True.
"""

import reprlib
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

Size = tuple[int, int]  # (width, height) in pixels


def number(value: Any) -> float | None:
    """The value as a float, which may be infinite or NaN; None if it is no number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        return float(value)
    except OverflowError:  # of integers
        return float("inf")


def items(values: Any) -> list[Any] | None:
    """What a list, tuple, array or tensor holds, arrays as lists; None if it is none of them."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, (str, bytes, bytearray, Mapping)) or not isinstance(values, Iterable):
        return None
    return list(values)


def numbers(values: Any, count: int) -> tuple[float, ...] | None:
    """So many numbers, which may be infinite or NaN; None if the values are anything else."""
    read = [number(value.tolist() if hasattr(value, "tolist") else value) for value in items(values) or ()]
    found = tuple(value for value in read if value is not None)
    return found if len(found) == len(read) == count else None


def shown(value: Any) -> str:
    """A value as it is shown in a message, cut where it is long."""
    return reprlib.repr(value.tolist() if hasattr(value, "tolist") else value)
