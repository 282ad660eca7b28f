"""Labelled pictures where people keep them: annotations of any format, see `annotations`, or a folder with several."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from groundingdino.annotations.coco import file_name, size_of
from groundingdino.annotations.opening import KNOWN, YAML, is_voc, open_annotations
from groundingdino.annotations.pictures import find_pictures, open_marked
from groundingdino.annotations.yolo import parts_of, yaml_in
from groundingdino.results.journal import PictureFile

# What annotations are called in a folder: our own and many others' name, ODinW's, Roboflow's.
_FILES = ("annotations.json", "annotations_without_background.json", "_annotations.coco.json")
_PARTS = ("test", "valid", "val")  # of a set that has several, the first is measured
_DEEPEST = 4  # folders below the one that is given
_FEDERATED = ("neg_category_ids", "not_exhaustive_category_ids")
_NOT_A_NAME = ("data", "dataset", "annotations", "annotations_without_background", "_annotations.coco", *_PARTS)


@dataclass(frozen=True)
class LabelledPicture:
    """A picture of a set.

    Args:
        size: (width, height) as annotated, None where the file does not say.
        phrases: its own prompt, where it has one: texts, each with the id of the category that it means.
    """

    id: Any
    file: PictureFile
    size: tuple[int, int] | None
    phrases: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Pictures and what is marked in them.

    Args:
        name: of the set, for people.
        path: of its file.
        categories: COCO's, in the order of the file, each `name` once; LVIS' have a `frequency`.
        pictures: in the order of the file.
        images: entries of the file by id, all there is.
        objects: COCO's annotations that have a box, ids from 1 on.
        federated: whether pictures say of which names they tell, as LVIS' do.
    """

    name: str
    path: Path
    categories: tuple[Mapping[str, Any], ...]
    pictures: tuple[LabelledPicture, ...]
    images: Mapping[Any, Mapping[str, Any]]
    objects: tuple[Mapping[str, Any], ...]
    federated: bool

    @cached_property
    def by_path(self) -> dict[Path, LabelledPicture]:
        """The pictures by their files."""
        return {picture.file.path: picture for picture in self.pictures}

    @cached_property
    def objects_of(self) -> dict[Any, list[Mapping[str, Any]]]:
        """The objects by the ids of their pictures."""
        objects: dict[Any, list[Mapping[str, Any]]] = {}
        for one in self.objects:
            objects.setdefault(one["image_id"], []).append(one)
        return objects

    @property
    def names(self) -> list[str]:
        """Of the categories."""
        return [category["name"] for category in self.categories]

    def only(self, chosen: Callable[[LabelledPicture], object]) -> "LabelledSet":
        """The pictures that are chosen, and what is marked in them."""
        pictures = tuple(filter(chosen, self.pictures))
        ids = {picture.id for picture in pictures}
        return replace(self, pictures=pictures, objects=tuple(one for one in self.objects if one["image_id"] in ids))

    def first(self, count: int) -> "LabelledSet":
        """At most so many pictures."""
        ids = {picture.id for picture in self.pictures[:count]}
        return self.only(lambda picture: picture.id in ids)

    def truth(self, with_masks: bool = False) -> dict[str, Any]:
        """What is there, as `metrics.measure` takes it.

        With masks an object that has only a box is a crowd, as COCO calls it: nothing need be found of it, and what is
        found there is no mistake.
        """
        objects = self.objects
        if with_masks:
            objects = tuple(one if one.get("segmentation") else {**one, **_boxed(one)} for one in objects)
        return {
            "images": [self.images[picture.id] for picture in self.pictures],
            "annotations": [dict(one) for one in objects],
            "categories": [dict(category) for category in self.categories],
        }


def find_sets(data: Path, pictures: Path | None = None) -> list[LabelledSet]:
    """The sets of a file, of a folder with one, or of a folder of such, by name.

    Args:
        data: a file of annotations, or a folder that has one, as `annotations.json`, YOLO's `data.yaml` or Pascal
            VOC's `Annotations`, or folders in which there are some. Of a set in parts `test` counts, else `valid` or
            `val`.
        pictures: where the pictures are; by default beside the file, in `images` there, or beside its folder.

    Raises:
        ValueError: one sentence: there are none, a file is damaged, pictures are not there.
    """
    if data.is_file():
        files = [data]
    elif data.is_dir():
        files = list(_files_in(data))
    else:
        raise ValueError(f"There is no '{data}': expected a file in {KNOWN} layout, or a folder with some.")
    if not files:
        raise ValueError(
            f"There are no annotations in '{data}': expected annotations.json in COCO's layout, YOLO's data.yaml or "
            "Pascal VOC's Annotations, or folders with one each; a file of another name can be given itself."
        )
    names = _names(data, files)
    return [_read(name, file, pictures) for name, file in zip(names, files, strict=True)]


def find_parts(data: Path, pictures: Path | None = None) -> tuple[LabelledSet, LabelledSet | None]:
    """A set to learn from, and the pictures that it holds out itself, if it does so.

    Args:
        data: as `find_sets` takes it; of a set in parts, folders or YOLO's, `train` is learned from.

    Raises:
        ValueError: one sentence: as `find_sets`, or there are several sets.
    """
    path = (yaml_in(data) if data.is_dir() else data if data.suffix.lower() in YAML else None) or data
    if path.suffix.lower() in YAML:
        parts = parts_of(path)
        first = "train" if "train" in parts else next(iter(parts))
        others = (part for part in ("val", "valid", "test") if part in parts and parts[part] != parts[first])
        held_out = next(others, None)
        name = path.resolve().parent.name
        return _read(name, path, pictures, first), held_out and _read(name, path, pictures, held_out)
    learn = find_sets(data / "train" if data.is_dir() and (data / "train").is_dir() else data, pictures)
    if len(learn) > 1:
        raise ValueError(f"There are {len(learn)} sets in '{data}', as {learn[0].name} and {learn[1].name}: give one.")
    held = [data / part for part in _PARTS if data.is_dir() and (data / "train").is_dir() and (data / part).is_dir()]
    return learn[0], find_sets(held[-1], pictures)[0] if held else None


def open_picture(picture: LabelledPicture) -> Image.Image:
    """The picture in whose pixels its boxes are, see `open_marked`."""
    return open_marked(picture.file.path, picture.size)


def _files_in(folder: Path, depth: int = 0) -> Iterator[Path]:
    """The files of annotations in a folder, by name; nothing below one that has some."""
    if found := _annotations_of(folder):
        yield found
        return
    if depth == _DEEPEST:
        return
    below = [folder / part for part in _PARTS if (folder / part).is_dir()]
    for part in below:
        if found_below := list(_files_in(part, depth + 1)):
            yield from found_below
            return
    others = (path for path in folder.iterdir() if path.is_dir() and path.name[0] != "." and path.name != "train")
    for other in sorted(path for path in others if path not in below):
        yield from _files_in(other, depth + 1)


def _annotations_of(folder: Path) -> Path | None:
    prefixes = ("", *(f"{part}_" for part in _PARTS))  # ODinW's pistols have all parts in one folder
    names = (f"{prefix}{name}" for name in _FILES for prefix in prefixes)
    return next((folder / name for name in names if (folder / name).is_file()), None) or (
        yaml_in(folder) or (folder if is_voc(folder) else None)
    )


def _names(data: Path, files: Sequence[Path]) -> list[str]:
    """What the sets are called: after their folders, as short as they differ."""
    if len(files) == 1:
        stem = files[0].stem
        return [
            (data.resolve().name if data.is_dir() else files[0].resolve().parent.name) if stem in _NOT_A_NAME else stem
        ]
    folders = [file if file.is_dir() else file.parent for file in files]
    parts = [[part for part in folder.relative_to(data).parts if part not in _PARTS] for folder in folders]
    tops = Counter(one[0] for one in parts)
    return [one[0] if tops[one[0]] == 1 else "/".join(one) for one in parts]


def _read(name: str, path: Path, folder: Path | None, part: str | None = None) -> LabelledSet:
    if part is None and path.suffix.lower() in YAML:
        parts = parts_of(path)
        part = next((one for one in _PARTS if one in parts), "train")
    document = open_annotations(path, part)
    stored = document.coco()
    try:
        categories = _categories(stored["categories"])
        known = {category["id"] for category in categories}
        images = {image["id"]: image for image in stored["images"]}
        objects: list[dict[str, Any]] = []
        for annotation in stored["annotations"]:
            if annotation["category_id"] not in known:
                raise ValueError(f"no category has the id {annotation['category_id']!r}")
            if annotation["image_id"] not in images:
                raise ValueError(f"no image has the id {annotation['image_id']!r}")
            if "bbox" in annotation:
                objects.append({**annotation, **_object(annotation, len(objects) + 1)})
        file_names = {number: file_name(image) for number, image in images.items()}
        sizes = {number: size_of(image) for number, image in images.items()}
        phrases = {
            number: tuple((str(text), known_id) for text, known_id in image.get("phrases", ()))
            for number, image in images.items()
        }
        federated = any(one in image for image in images.values() for one in _FEDERATED)
        if federated:
            for image in images.values():
                for one in _FEDERATED:
                    image.setdefault(one, [])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"'{path}' is not in {document.format}'s layout ({type(error).__name__}: {error}).") from error
    if not categories:
        raise ValueError(f"'{path}' has no categories: there is nothing to ask for.")
    if not images:
        raise ValueError(f"'{path}' has no images: there is nothing to look at.")
    if not objects:
        raise ValueError(f"Nothing in '{path}' is marked with a box: there is nothing to measure by.")
    found = find_pictures(path, file_names.values(), folder or document.pictures_in)
    files = {number: _picture_file(name, file, found[file]) for number, file in file_names.items()}
    pictures = tuple(LabelledPicture(number, files[number], sizes[number], phrases[number]) for number in images)
    return LabelledSet(name, path, categories, pictures, images, tuple(objects), federated)


def _picture_file(name: str, file: str, path: Path) -> PictureFile:
    about = path.stat()
    return PictureFile(f"{name}/{file}", path, (about.st_size, about.st_mtime_ns))


def _categories(stored: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """With names that differ: of two that are the same each has its number behind it."""
    counts = Counter(str(one["name"]) for one in stored)
    return tuple(
        {
            **one,
            "id": one["id"],
            "name": str(one["name"]) if counts[str(one["name"])] == 1 else f"{one['name']} #{one['id']}",
        }
        for one in stored
    )


def _object(annotation: Mapping[str, Any], number: int) -> dict[str, Any]:
    """What pycocotools asks for and files leave out. An id of 0 would be no match to it, so all are numbered anew."""
    x, y, width, height = map(float, annotation["bbox"])
    if not all(map(math.isfinite, (x, y, width, height))):
        raise ValueError(f"{annotation['bbox']} is no box")
    about: dict[str, Any] = {
        "id": number,
        "bbox": [x, y, width, height],
        "area": float(annotation.get("area", width * height)),
        "iscrowd": int(bool(annotation.get("iscrowd"))),
    }
    outline = annotation.get("segmentation")
    if isinstance(outline, list):
        # Polygons of fewer than three corners are none, and pycocotools refuses them.
        parts = [part for part in outline if len(part) >= 6]
        about["segmentation"] = parts
    return about


def _boxed(one: Mapping[str, Any]) -> dict[str, Any]:
    x, y, width, height = one["bbox"]
    corners = [x, y, x, y + height, x + width, y + height, x + width, y]
    return {"segmentation": [corners], "iscrowd": 1}
