"""What a labelling has found so far, in a file beside its output: a line for each picture, written when it is done.

So a run that was stopped at any moment goes on where it was. The first line says what was asked; a line that is not
whole, the last one of a process that was killed, is cut off.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from typing_extensions import Self

from groundingdino.results.lines import another_run, append, as_written, line, read_lines, replace_file, whole_bytes


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
        whole = whole_bytes(path)
        lines = list(read_lines(path, whole))
        header = lines[0].get("asked") if lines else None
        if lines and not isinstance(header, dict):
            raise ValueError(f"'{path}' is no journal of a labelling: move it away, or give another --output.")
        for entry in lines[1:]:
            if "written" in entry:
                self.written.setdefault(entry["written"], set()).add(entry["checksum"])
            elif "placed" in entry:
                self.placed.add(entry["placed"])
            else:
                self.pictures[entry["file"]] = entry
        asked = as_written(asked)
        again = header != asked
        if header and again and self.pictures and not restart:
            raise ValueError(another_run(path, header, asked))
        if restart or again:
            self.pictures.clear()
            replace_file(path, b"".join([line({"asked": asked}), *self._lines_of_output()]))
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
            lines.append(line(entry))
        self._append(b"".join(lines))

    def write(self, path: Path, content: bytes) -> None:
        """Writes a file of the output, and notes what it is first: who finds another one there knows it is not ours."""
        name, checksum = self._name(path), crc32(content)
        if checksum not in self.written.get(name, ()):
            self._append(line({"written": name, "checksum": checksum}))
            self.written.setdefault(name, set()).add(checksum)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)

    def place(self, picture: Path, path: Path) -> None:
        """Puts a picture into the output: as a second name of the same file, which takes no space, or as a copy."""
        if path.exists() and path.samefile(picture):
            return
        if self._name(path) not in self.placed:
            self._append(line({"placed": self._name(path)}))
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
            line({"written": name, "checksum": checksum})
            for name, checksums in self.written.items()
            for checksum in sorted(checksums)
        ]
        return [*written, *(line({"placed": name}) for name in sorted(self.placed))]

    def _append(self, lines: bytes) -> None:
        append(self._file, lines)
