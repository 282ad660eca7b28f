"""Whether a file of a model is whole, as far as it tells by itself: a computer that stops leaves halves behind."""

import json
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open


def is_whole(file: Path) -> bool:
    """Whether a file is there and nothing of it is missing; of other kinds than JSON and safetensors nobody knows."""
    try:
        known = file.stat()
        return _is_whole(file, known.st_size, known.st_mtime_ns)
    except OSError:
        return False


@lru_cache(maxsize=4096)  # a page that is opened asks of all models
def _is_whole(file: Path, _size: int, _changed: int) -> bool:
    try:
        if file.suffix == ".json":
            json.loads(file.read_bytes())
        if file.suffix == ".safetensors":
            with safe_open(file, framework="np"):  # reads its head, and that the rest is as long as that says
                pass
    except (ValueError, SafetensorError):
        return False
    return True
