"""A file of tracks that is followed again after other corrections, with what the run before came to beside it.

Only what comes after the first frame of which something else is said is made anew, and the detector is asked nothing
twice. The file of the run before is kept aside until the new one is whole, so that a run that is killed meanwhile loses
nothing of either.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groundingdino.results.lines import as_written, read_lines, whole_bytes
from groundingdino.tracking.track_file import Earlier, Size, TrackFile, frames_in

CORRECTIONS = "corrections"  # in what is asked: a list, as `Correction.written` gives them; none without any


def open_corrected(
    path: Path, asked: Mapping[str, Any], size: Size, restart: bool = False, joins: bool = False
) -> tuple[TrackFile, Earlier]:
    """A file of tracks, and what is known of the run before that asked the same, but for corrections.

    Args:
        path, asked, size, restart: Those of `TrackFile`, which says what is raised.
        joins: Of a tracker that goes on from what it is told, see `Earlier`.
    """
    aside, asked = _aside(path), as_written({**asked, "size": size})
    if restart:
        aside.unlink(missing_ok=True)
    else:
        before = _asked_in(path)
        if before != asked and _is_corrected(before, asked):
            # Of two runs that were stopped the longer one is known better.
            if not _is_corrected(_asked_in(aside), asked) or _length(path) >= _length(aside):
                os.replace(path, aside)
            else:
                path.unlink()
    file = TrackFile(path, asked, size, restart)
    before = _asked_in(aside)
    if file.finished or not _is_corrected(before, asked):
        return file, Earlier()
    said, says = before.get(CORRECTIONS, []), asked.get(CORRECTIONS, [])
    others = [one["seconds"] for one in (*said, *says) if one not in said or one not in says]
    until = min(others, default=float("inf"))
    return file, Earlier(frames_in(aside, size), until, joins and len({*others}) == 1)


def is_known(path: Path) -> bool:
    """Whether a file of tracks is there, or one that was put aside by a run that was killed before it had its own."""
    return os.path.exists(path) or os.path.exists(_aside(path))  # which say no of a name that is too long


def forget_earlier(path: Path) -> None:
    """Removes what is beside a file of tracks that is whole."""
    _aside(path).unlink(missing_ok=True)


def _aside(path: Path) -> Path:
    """Where the run before is meanwhile."""
    return path.with_suffix(".before.jsonl")


def _asked_in(path: Path) -> dict[str, Any]:
    asked = next(read_lines(path, whole_bytes(path)), {}).get("asked", {})
    return asked if isinstance(asked, dict) else {}


def _is_corrected(before: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Whether both ask the same, whatever is said of single frames."""
    names = {*before, *asked} - {CORRECTIONS}
    return bool(before) and all(before.get(name) == asked.get(name) for name in names)


def _length(path: Path) -> int:
    """Frames of a file."""
    with path.open("rb") as file:
        return sum(text.startswith(b'{"frame"') for text in file)
