"""A file of JSON lines that a long run adds to, so that one that was stopped at any moment goes on where it was.

The first line says what was asked. A line is on the disk when `append` returns; one that is not whole, the last of a
process that was killed, is cut off.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

_BLOCK = 1 << 16
_LONGEST = 200  # letters of a value in a sentence


def line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def append(file: BinaryIO, lines: bytes) -> None:
    """Adds lines to a file and waits until they are on the disk."""
    file.write(lines)
    file.flush()
    os.fsync(file.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Write a file; whoever reads `path` meanwhile, or after a kill, sees the old file or the new one."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        append(file, content)
    os.replace(partial, path)


def whole_bytes(path: Path) -> int:
    """Bytes of a file up to the end of its last whole line; 0 where there is no file."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _BLOCK)
            file.seek(start)
            place = file.read(end - start).rfind(b"\n")
            if place >= 0:
                return start + place + 1
            end = start
    return 0


def read_lines(path: Path, whole: int) -> Iterator[dict[str, Any]]:
    """The lines within the first `whole` bytes, one at a time.

    Raises:
        ValueError: one sentence: a line is no JSON object.
    """
    if not whole:
        return
    with path.open("rb") as file:
        while file.tell() < whole:
            try:
                read = json.loads(file.readline())
            except ValueError:
                read = None
            if not isinstance(read, dict):
                raise ValueError(f"'{path}' is damaged, or no journal: move it away, or give another --output.")
            yield read


def as_written(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked as it comes back from a file: tuples become lists."""
    return json.loads(json.dumps(asked))


def another_run(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """A sentence on a file of a run that asked something else."""
    differ = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    values = {name: json.dumps(before.get(name), ensure_ascii=False) for name in differ}
    was = ", ".join(
        f"{name.replace('_', ' ')} {text if len(text) <= _LONGEST else text[:_LONGEST] + '…'}"
        for name, text in values.items()
    )
    return (
        f"'{path}' holds what was found with {was}: give another --output, or --restart, which forgets it and begins "
        "anew."
    )
