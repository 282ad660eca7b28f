"""Data sets as YOLO's trainers have them: `data.yaml`, `images/`, `labels/`.

A label file has no room for decisions: those on `labels/x.txt` are in `reviews/x.json`, which is written first and says
what the label file is to become, so that a kill between the two loses nothing.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import yaml
from PIL import Image

from groundingdino.annotations.document import REJECTED, Box, Document, Marked, around, known_state
from groundingdino.results.labelling import SUFFIXES

_TURNED = range(5, 9)  # of EXIF's orientation: left and right become top and bottom
_NAMES = ("data.yaml", "data.yml", "dataset.yaml")
PARTS = ("train", "val", "valid", "test")


def yaml_in(folder: Path) -> Path | None:
    """The file that describes a data set in a folder, if there is one."""
    return next((folder / name for name in _NAMES if (folder / name).is_file()), None)


def parts_of(path: Path) -> dict[str, Any]:
    """What a data set's file says of its parts `train`, `val` (or `valid`) and `test`, those that it has.

    Raises:
        ValueError: one sentence: it is no such file.
    """
    about = _read(path)
    found = {name: about[name] for name in PARTS if about.get(name)}
    if not found:
        raise ValueError(f"'{path}' names no pictures: expected 'train' and 'val', folders with pictures.")
    return found


class Yolo(Document):
    """A part of a data set, or with None all of its pictures.

    A picture `images/x.jpg` has its boxes in `labels/x.txt`: a class and, as shares of width and height, a box's centre
    and size or an outline's corners. One without such a file shows nothing of the names.

    Raises:
        ValueError: one sentence: a file is not as it should be, or pictures are not where it says.
    """

    format = "YOLO"

    def __init__(self, path: Path, part: str | None):
        self.path = path
        self._about = _read(path)
        self.names = _names(self._about, path)
        self._listed = len(self.names)
        parts = parts_of(path)
        root = path.parent / str(self._about.get("path") or "")
        self.pictures_in = root if root.is_dir() else path.parent  # the path that somebody else's machine had
        chosen = parts.values() if part is None else [parts[part]]
        found = (picture for places in chosen for picture in _pictures(self.pictures_in, places, path))
        self._pictures = list(dict.fromkeys(found))
        self._lines: dict[int, list[tuple[str, str]]] = {}  # of pictures that were changed: state and line
        self._checked: dict[int, bool] = {}
        self._sizes: dict[int, tuple[int, int] | None] = {}

    @property
    def files(self) -> list[str]:  # type: ignore[override]
        return [os.path.relpath(picture, self.pictures_in) for picture in self._pictures]

    def size(self, index: int) -> tuple[int, int] | None:
        if index not in self._sizes:
            self._sizes[index] = _size(self._pictures[index])
        return self._sizes[index]

    def objects(self, index: int) -> list[Marked]:
        if self.size(index) is None:
            return []
        return [self._marked(index, *one) for one in self._lines_of(index)]

    def is_checked(self, index: int) -> bool:
        if index not in self._checked:
            self._checked[index] = bool(self._review(index).get("checked"))
        return self._checked[index]

    def change(self, index: int, objects: Sequence[Marked], checked: bool) -> None:
        self._lines[index] = [(one.state, self._line(index, one)) for one in objects]
        self._checked[index] = checked

    def contents(self, index: int) -> Iterable[tuple[Path, bytes]]:
        if len(self.names) > self._listed:
            names: Any = self.names
            if isinstance(self._about.get("names"), dict):
                names = dict(enumerate(self.names))
            about = {**self._about, **({"nc": len(self.names)} if "nc" in self._about else {}), "names": names}
            yield self.path, yaml.safe_dump(about, sort_keys=False, allow_unicode=True).encode()
            self._listed = len(self.names)
        labels = _labels_of(self._pictures[index])
        lines = self._lines_of(index)
        kept = "".join(f"{line}\n" for state, line in lines if state != REJECTED).encode()
        review: dict[str, Any] = {"from": _checksum(labels), "to": crc32(kept), "lines": lines}
        if self._checked.get(index):
            review["checked"] = True
        yield self._review_file(index), json.dumps(review).encode()
        yield labels, kept

    def _lines_of(self, index: int) -> list[tuple[str, str]]:
        """State and line of each object."""
        if index not in self._lines:
            labels, review = _labels_of(self._pictures[index]), self._review(index)
            decided = [(known_state(state), str(line)) for state, line in review.get("lines", ())]
            checksum = _checksum(labels)
            if decided and checksum == review.get("from"):  # the label file was about to be written
                return decided
            text = labels.read_text(encoding="utf-8") if labels.is_file() else ""
            lines = list(enumerate(text.splitlines(), 1))
            states = {line: state for state, line in decided}
            for number, line in lines:
                _check(line, number, labels, len(self.names))
            found = [(states.get(line, "").replace(REJECTED, ""), line) for _, line in lines if line.strip()]
            return found + [(state, line) for state, line in decided if state == REJECTED]
        return self._lines[index]

    def _review_file(self, index: int) -> Path:
        assert self.pictures_in is not None
        labels = _labels_of(self._pictures[index])
        parts = os.path.relpath(labels, self.pictures_in).split(os.sep)
        parts = ["reviews" if part == "labels" else part for part in parts if part != ".."]
        return Path(self.pictures_in, *(parts if "reviews" in parts else ["reviews", *parts])).with_suffix(".json")

    def _review(self, index: int) -> dict[str, Any]:
        path = self._review_file(index)
        if not path.is_file():
            return {}
        try:
            review = json.loads(path.read_text(encoding="utf-8"))
            for _, line in review.get("lines", ()):
                _check(str(line), 0, path, len(self.names))
            return review
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"'{path}' is no review of ours: move it away, and begin that one anew.") from error

    def _marked(self, index: int, state: str, line: str) -> Marked:
        number, *values = line.split()
        size = self.size(index)
        assert size is not None
        points = np.array(values, float).reshape(-1, 2) * size
        outline, box = None, around(points)
        if len(points) == 2:
            (x, y), (width, height) = points.tolist()
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        else:
            outline = [points.ravel().tolist()]
        return Marked(self.names[int(float(number))], box, None, outline, state, line)

    def _line(self, index: int, one: Marked) -> str:
        before = self._marked(index, "", one.native) if one.native else None
        if before and (before.name, before.box) == (one.name, one.box):
            return one.native
        if one.name not in self.names:
            self.names.append(one.name)
        number = self.names.index(one.name)
        if before and before.box == one.box:
            return " ".join([str(number), *one.native.split()[1:]])
        size = self.size(index)
        assert size is not None
        return " ".join([str(number), *(f"{value:.9g}" for value in _shares(one.box, size))])


def _shares(box: Box, size: tuple[int, int]) -> list[float]:
    low, high = np.clip(np.reshape(box, (2, 2)), 0, size)
    return (np.array([(low + high) / 2, high - low]) / size).ravel().tolist()


def _read(path: Path) -> Mapping[str, Any]:
    try:
        about = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' is not YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(about, dict):
        raise ValueError(f"'{path}' does not describe a data set: expected 'train' and 'names' in it.")
    return about


def _names(about: Mapping[str, Any], path: Path) -> list[str]:
    names = about.get("names")
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise ValueError(f"'{path}' has no 'names': expected a list of classes, or one by their numbers from 0 on.")
    return list(map(str, names))


def _pictures(root: Path, places: Any, path: Path) -> Iterator[Path]:
    for place in places if isinstance(places, list) else [places]:
        where = root / str(place)
        if not where.exists():  # Roboflow's files say ../train/images, of a folder beside them
            where = root / str(place).removeprefix("../")
        if where.is_dir():
            yield from sorted(one for one in where.rglob("*") if one.suffix.lower() in SUFFIXES and one.is_file())
        elif where.is_file():
            lines = where.read_text(encoding="utf-8").split("\n")
            yield from (where.parent / line.strip() for line in lines if line.strip())
        else:
            raise ValueError(f"'{path}' has its pictures in '{where}', which is not there.")


def _size(picture: Path) -> tuple[int, int] | None:
    """(width, height) of the upright picture; None where it cannot be read, which whoever looks at it is told."""
    try:
        with Image.open(picture) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(0x0112) in _TURNED else (width, height)
    except (OSError, ValueError, SyntaxError):
        return None


def _labels_of(picture: Path) -> Path:
    """Where a picture's boxes are."""
    parts = list(picture.parts)
    place = max((index for index, name in enumerate(parts) if name == "images"), default=None)
    if place is not None:
        parts[place] = "labels"
    return Path(*parts).with_suffix(".txt")


def _check(line: str, number: int, path: Path, count: int) -> None:
    """A ValueError for a line that is neither a box nor an outline of a known class."""
    if not line.strip():
        return
    try:
        category, *values = map(float, line.split())
        if category not in range(count) or len(values) < 4 or len(values) % 2 or not np.isfinite(values).all():
            raise ValueError
    except ValueError:
        raise ValueError(
            f"Line {number} of '{path}' is not a class from 0 to {count - 1} with a box or an outline."
        ) from None


def _checksum(path: Path) -> int | None:
    return crc32(path.read_bytes()) if path.is_file() else None
