"""Data sets as YOLO's trainers have them, read as what COCO's file would say: `data.yaml`, `images/`, `labels/`."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from groundingdino.results.labelling import SUFFIXES

_TURNED = range(5, 9)  # of EXIF's orientation: left and right become top and bottom
_NAMES = ("data.yaml", "data.yml", "dataset.yaml")


def yaml_in(folder: Path) -> Path | None:
    """The file that describes a data set in a folder, if there is one."""
    return next((folder / name for name in _NAMES if (folder / name).is_file()), None)


def parts_of(path: Path) -> dict[str, Any]:
    """What a data set's file says of its parts `train`, `val` (or `valid`) and `test`, those that it has.

    Raises:
        ValueError: one sentence: it is no such file.
    """
    about = _read(path)
    found = {name: about[name] for name in ("train", "val", "valid", "test") if about.get(name)}
    if not found:
        raise ValueError(f"'{path}' names no pictures: expected 'train' and 'val', folders with pictures.")
    return found


def read_yolo(path: Path, part: str) -> tuple[dict[str, Any], Path]:
    """A part as COCO's lists, and the folder in which its pictures have their names.

    A picture `images/x.jpg` has its boxes in `labels/x.txt`: a class and, as shares of width and height, a box's centre
    and size or an outline's corners. One without such a file shows nothing of the names.

    Raises:
        ValueError: one sentence: a file is not as it should be, or pictures are not where it says.
    """
    about = _read(path)
    names = _names(about, path)
    root = path.parent / str(about.get("path") or "")
    root = root if root.is_dir() else path.parent  # the path that somebody else's machine had
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, picture in enumerate(_pictures(root, about[part], path), 1):
        image: dict[str, Any] = {"id": number, "file_name": os.path.relpath(picture, root)}
        images.append(image)
        size = _size(picture)
        if size is None:
            continue
        width, height = size
        image |= {"width": width, "height": height}
        for category, (x0, y0, x1, y1) in _boxes(picture, len(names)):
            box = [x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height]
            annotations.append({"image_id": number, "category_id": category, "bbox": box})
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories}, root


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


def _boxes(picture: Path, count: int) -> Iterator[tuple[int, tuple[float, float, float, float]]]:
    """Class and xyxy, as shares of the picture, of each line."""
    parts = list(picture.parts)
    place = max((index for index, name in enumerate(parts) if name == "images"), default=None)
    if place is not None:
        parts[place] = "labels"
    path = Path(*parts).with_suffix(".txt")
    if not path.is_file():
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            category, *values = map(float, line.split())
            if category not in range(count) or len(values) < 4 or len(values) % 2:
                raise ValueError
        except ValueError:
            raise ValueError(
                f"Line {number} of '{path}' is not a class from 0 to {count - 1} with a box or an outline."
            ) from None
        if len(values) == 4:
            x, y, width, height = values
            yield int(category), (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        else:
            yield int(category), (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))
