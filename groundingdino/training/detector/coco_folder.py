"""Labelled pictures as COCO stores them: a folder of `annotations.json` and `images/`.

folder = CocoFolder(Path("data/animals"))
learn, test = folder.split(seed=0)          # a fifth, chosen by name, is never learned from
for labelled in test: ...
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from PIL import Image
from pycocotools import mask as mask_codec

from groundingdino.annotations.pictures import open_marked

HELD_OUT = 5  # one picture of so many


@dataclass(frozen=True)
class Labelled:
    """A picture and what is marked in it.

    Args:
        path: of its file.
        width, height: in pixels.
        names: (N) what each marked object is called.
        boxes: (N, 4) float32, xyxy pixels; NaN where a name is known to be in the picture, but not where.
        outlines: (N) COCO run lengths of each object's mask, None where it has none.
        crowds: (N,) bool, True where a box holds many objects at once, which is no single right answer.
    """

    path: Path
    width: int
    height: int
    names: tuple[str, ...]
    boxes: np.ndarray
    outlines: tuple[Mapping[str, Any] | None, ...]
    crowds: np.ndarray

    def read(self) -> Image.Image:
        """The picture in whose pixels the boxes are.

        Raises:
            ValueError: one sentence: it cannot be read, or has another size than annotated.
        """
        return open_marked(self.path, (self.width, self.height))

    def mask(self, index: int) -> np.ndarray | None:
        """(H, W) bool, the pixels of an object; None where its outline is not known."""
        outline = self.outlines[index]
        return None if outline is None else mask_codec.decode(outline).astype(bool)

    def keep(self, chosen: Sequence[int]) -> "Labelled":
        """The same picture with some of its objects."""
        return replace(
            self,
            names=tuple(self.names[index] for index in chosen),
            boxes=self.boxes[list(chosen)].reshape(-1, 4),
            outlines=tuple(self.outlines[index] for index in chosen),
            crowds=self.crowds[list(chosen)],
        )

    def outlined(self) -> "Labelled":
        """The same picture with the objects whose outline is known."""
        return self.keep([index for index, outline in enumerate(self.outlines) if outline is not None])


class CocoFolder(Sequence[Labelled]):
    """The pictures of a folder in the order of their file.

    Args:
        folder: holds `annotations.json`, in COCO's layout, and the pictures under `images/` or beside it.

    Raises:
        ValueError: one sentence: there is no such file, or it is not in COCO's layout.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        path = folder / "annotations.json"
        if not path.is_file():
            raise ValueError(f"'{folder}' holds no annotations.json: give a folder in COCO's layout.")
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            categories = {category["id"]: str(category["name"]) for category in stored["categories"]}
            objects: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in stored["images"]}
            for annotation in stored["annotations"]:
                objects[annotation["image_id"]].append(annotation)
            pictures = [self._read(image, objects[image["id"]], categories) for image in stored["images"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"'{path}' is not in COCO's layout ({type(error).__name__}: {error}).") from error
        self.names = tuple(categories.values())
        self._pictures = tuple(pictures)

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: Any) -> Any:
        return self._pictures[index]

    def split(self, seed: int = 0) -> tuple[list[Labelled], list[Labelled]]:
        """The pictures to learn from, and a fifth that is held out; a picture's name alone decides with the seed."""
        parts: tuple[list[Labelled], list[Labelled]] = ([], [])
        for picture in self:
            parts[is_held_out(picture.path.name, seed)].append(picture)
        return parts

    def _read(
        self, image: Mapping[str, Any], objects: Sequence[Mapping[str, Any]], categories: Mapping[Any, str]
    ) -> Labelled:
        width, height = int(image["width"]), int(image["height"])
        boxes = np.full((len(objects), 4), np.nan, np.float32)
        for row, annotation in zip(boxes, objects, strict=True):
            if "bbox" in annotation:
                x, y, w, h = annotation["bbox"]
                row[:] = np.clip((x, y, x + w, y + h), 0, (width, height, width, height))
        path = self.folder / "images" / image["file_name"]
        return Labelled(
            path=path if path.is_file() else self.folder / image["file_name"],
            width=width,
            height=height,
            names=tuple(categories[annotation["category_id"]] for annotation in objects),
            boxes=boxes,
            outlines=tuple(_outline(annotation.get("segmentation"), width, height) for annotation in objects),
            crowds=np.array([bool(annotation.get("iscrowd")) for annotation in objects], bool),
        )


def is_held_out(name: str, seed: int = 0) -> bool:
    """Whether a picture of that name is of the fifth that is never learned from."""
    # A checksum, because Python's own hash differs from run to run.
    return crc32(f"{seed} {name}".encode()) % HELD_OUT == 0


def _outline(segmentation: Any, width: int, height: int) -> Mapping[str, Any] | None:
    """Run lengths of a mask in any of COCO's three ways: polygons, run lengths, packed run lengths."""
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        return mask_codec.merge(mask_codec.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return mask_codec.frPyObjects(segmentation, height, width)
    return {"size": segmentation["size"], "counts": segmentation["counts"]}
