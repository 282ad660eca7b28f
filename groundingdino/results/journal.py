"""What a labelling has found so far, in a file beside its output: a line for each picture, written when it is done.

So a run that was stopped at any moment goes on where it was. The first line says what was asked; a line that is not
whole, the last one of a process that was killed, is cut off.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from typing_extensions import Self


class PictureFile(NamedTuple):
    """A picture's file as it was listed."""

    name: str  # in the folder, with slashes
    path: Path
    stamp: tuple[int, int]  # bytes, and nanoseconds of the last change: another one is another picture


class Journal:
    """The pictures that are done, by name. One process writes; each line is on the disk when `add` returns."""

    def __init__(self, path: Path, asked: Mapping[str, Any], restart: bool = False):
        """Opens or begins a journal.

        Args:
            path: of its file.
            asked: What the run looks for and how, as JSON: values of another run are no values of this one.
            restart: forget the pictures of another run.

        Raises:
            ValueError: one sentence: it is of a run that asked something else, or is no journal.
            OSError: it cannot be read or written.
        """
        self.path = path
        self.pictures: dict[str, dict[str, Any]] = {}
        self.written: dict[str, set[int]] = {}  # checksums of all that were written, by the file's name
        self.placed: set[str] = set()  # copies of pictures in the output
        lines, whole = _whole_lines(path)
        header = lines[0].get("asked") if lines else None
        if lines and not isinstance(header, dict):
            raise ValueError(f"'{path}' is no journal of a labelling: move it away, or give another --output.")
        for line in lines[1:]:
            if "written" in line:
                self.written.setdefault(line["written"], set()).add(line["checksum"])
            elif "placed" in line:
                self.placed.add(line["placed"])
            else:
                self.pictures[line["file"]] = line
        asked = json.loads(json.dumps(asked))  # tuples become lists, as in the file
        again = header != asked
        if header and again and self.pictures and not restart:
            raise ValueError(_another_run(path, header, asked))
        if restart or again:
            self.pictures.clear()
            kept = [_line({"asked": asked}), *self._lines_of_output()]
            replace_file(path, b"".join(kept))
        else:
            os.truncate(path, whole)
        self._file = path.open("ab")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def entry(self, picture: PictureFile) -> dict[str, Any] | None:
        """What is known of a picture, unless it has changed since: a record, or "error", why there is none."""
        entry = self.pictures.get(picture.name)
        return entry if entry is not None and tuple(entry["stamp"]) == picture.stamp else None

    def add(self, found: Iterable[tuple[PictureFile, Mapping[str, Any]]]) -> None:
        """Notes what was found in pictures: records, or {"error": sentence}."""
        lines = []
        for picture, record in found:
            entry = {"file": picture.name, "stamp": picture.stamp, **record}
            self.pictures[picture.name] = entry
            lines.append(_line(entry))
        self._append(b"".join(lines))

    def write(self, path: Path, content: bytes) -> None:
        """Writes a file of the output, and notes what it is first: who finds another one there knows it is not ours."""
        name, checksum = self._name(path), crc32(content)
        if checksum not in self.written.get(name, ()):
            self._append(_line({"written": name, "checksum": checksum}))
            self.written.setdefault(name, set()).add(checksum)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)

    def place(self, picture: Path, path: Path) -> None:
        """Puts a picture into the output: as a second name of the same file, which takes no space, or as a copy."""
        if path.exists() and path.samefile(picture):
            return
        if self._name(path) not in self.placed:
            self._append(_line({"placed": self._name(path)}))
            self.placed.add(self._name(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        partial.unlink(missing_ok=True)
        try:
            os.link(picture, partial)
        except OSError:  # another disk, or one without such names
            shutil.copy2(picture, partial)
        os.replace(partial, path)

    def is_ours(self, path: Path) -> bool:
        """Whether a file is as this or an earlier run with the same output wrote it; also if it is not there."""
        known = self.written.get(self._name(path), ())
        return not path.exists() or (path.is_file() and crc32(path.read_bytes()) in known)

    def changed(self) -> Path | None:
        """A file that was written, and changed since by somebody else."""
        paths = (self.path.parent / name for name in self.written)
        return next((path for path in paths if not self.is_ours(path)), None)

    def remove_others(self, paths: Iterable[Path]) -> None:
        """Removes what earlier runs put into the output and is not among these any more."""
        kept = set(map(self._name, paths))
        for name in sorted({*self.written, *self.placed} - kept):
            (self.path.parent / name).unlink(missing_ok=True)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path.parent).as_posix()

    def _lines_of_output(self) -> list[bytes]:
        written = [
            _line({"written": name, "checksum": checksum})
            for name, checksums in self.written.items()
            for checksum in sorted(checksums)
        ]
        return [*written, *(_line({"placed": name}) for name in sorted(self.placed))]

    def _append(self, lines: bytes) -> None:
        self._file.write(lines)
        self._file.flush()
        os.fsync(self._file.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Write a file; whoever reads `path` meanwhile, or after a kill, sees the old file or the new one."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _whole_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The lines of a journal, none where there is none, and the bytes that they take."""
    if not path.exists():
        return [], 0
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    try:
        lines = [json.loads(line) for line in content[:whole].splitlines()]
        if not all(isinstance(line, dict) for line in lines):
            raise ValueError
    except ValueError:
        raise ValueError(f"'{path}' is damaged, or no journal: move it away, or give another --output.") from None
    return lines, whole


def _another_run(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    differ = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    was = ", ".join(f"{name.replace('_', ' ')} {json.dumps(before.get(name), ensure_ascii=False)}" for name in differ)
    return (
        f"'{path}' holds what was found with {was}: give another --output, or --restart, which forgets it and begins "
        "anew."
    )
