"""What all formats of annotations have in common: pictures, each with marked objects, read from and written to a file.

A document keeps what its file says besides: objects that nobody touches stay as they were, and so does all that is not
ours, from a COCO file's licences to the key points of Label Studio.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from groundingdino.results.lines import replace_file

Box = tuple[float, float, float, float]

# What somebody decided of an object; "" is nothing yet. A rejected one is no annotation any more: it is kept beside
# them, under a name that other programs do not read, so that it can be counted and come back.
ACCEPTED, CORRECTED, ADDED, REJECTED = "accepted", "corrected", "added", "rejected"
STATES = (ACCEPTED, CORRECTED, ADDED, REJECTED)


@dataclass(frozen=True, eq=False)
class Marked:
    """An object that is marked in a picture.

    Args:
        name: of its class.
        box: xyxy, pixels of the upright picture.
        score: 0 to 1, None where nobody gave one.
        outline: its mask as COCO's "segmentation": polygons or run lengths; None without one.
        state: one of `STATES`, or "".
        native: as the file has it; None for a new one.
    """

    name: str
    box: Box
    score: float | None = None
    outline: Any = None
    state: str = ""
    native: Any = field(default=None, repr=False)


class Document(ABC):
    """A file of annotations, or a folder that is one.

    Attributes:
        path: as it is called to people; files beside it that belong to it begin with its name.
        names: of the classes, in the file's order; those that are given in a review come behind.
        files: names of the pictures, in the file's order.
        pictures_in: where they are, if the format says so.
    """

    format: str
    path: Path
    names: list[str]
    files: list[str]
    pictures_in: Path | None = None

    @abstractmethod
    def size(self, index: int) -> tuple[int, int] | None:
        """(width, height) of a picture, None where the file does not say."""

    @abstractmethod
    def objects(self, index: int) -> list[Marked]:
        """What is marked in a picture, in the file's order, and then what was rejected.

        Raises:
            ValueError: one sentence: the file is damaged there.
        """

    @abstractmethod
    def is_checked(self, index: int) -> bool:
        """Whether somebody has gone through a picture."""

    @abstractmethod
    def change(self, index: int, objects: Sequence[Marked], checked: bool) -> None:
        """Takes other objects for those of a picture, in memory; `contents` has what is then to be written."""

    @abstractmethod
    def contents(self, index: int, /) -> Iterable[tuple[Path, bytes]]:
        """The files that hold what is marked in a picture, the one that decides last."""

    def save(self, index: int) -> None:
        """Writes what is marked in a picture; whoever reads meanwhile sees all of the old file or all of the new."""
        for path, content in self.contents(index):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, content)

    def phrases(self, index: int) -> list[str] | None:
        """A picture's own prompt, where it has one."""
        del index
        return None

    def coco(self) -> dict[str, Any]:
        """The lists of COCO's file that says the same; what was rejected is not in it."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        ids = {name: number for number, name in enumerate(self.names)}
        for index, file in enumerate(self.files):
            image: dict[str, Any] = {"id": index + 1, "file_name": file}
            if size := self.size(index):
                image |= {"width": size[0], "height": size[1]}
            for one in self.objects(index):
                if one.state != REJECTED:
                    annotations.append({"image_id": index + 1, **_annotation(one, ids)})
            phrases = self.phrases(index)
            if phrases is not None:
                image["phrases"] = [[name, ids[name]] for name in phrases]
            images.append(image)
        categories = [{"id": number, "name": name} for name, number in ids.items()]
        return {"images": images, "annotations": annotations, "categories": categories}


def _annotation(one: Marked, ids: dict[str, int]) -> dict[str, Any]:
    x0, y0, x1, y1 = one.box
    number = ids.setdefault(one.name, len(ids))
    about: dict[str, Any] = {"category_id": number, "bbox": [x0, y0, x1 - x0, y1 - y0]}
    if one.outline is not None:
        about["segmentation"] = one.outline
    if one.score is not None:
        about["score"] = one.score
    return about


def as_box(edges: Iterable[Any]) -> Box:
    """A box of four numbers; a ValueError that names them if they are none."""
    edges = list(edges)
    box = tuple(map(float, edges))
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise ValueError(f"{edges} is no box")
    return box[0], box[1], box[2], box[3]


def around(points: Any) -> Box:
    """The box around corners (K, 2)."""
    corners = np.asarray(points, float).reshape(-1, 2)
    if not len(corners) or not np.isfinite(corners).all():
        raise ValueError("an outline has no corners, or no numbers")
    return as_box([*corners.min(0).tolist(), *corners.max(0).tolist()])


def runs_of(mask: np.ndarray) -> dict[str, Any]:
    """A mask (H, W) bool as COCO's run lengths, which JSON can hold."""
    return {"size": list(mask.shape), "counts": sv.mask_to_rle(mask, compressed=True)}


def box_of_mask(mask: np.ndarray) -> Box:
    """The box around the pixels of a mask (H, W) bool."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise ValueError("a mask is empty")
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def known_state(value: Any) -> str:
    """A state as a file has it; what is none of ours is nothing."""
    return value if value in STATES else ""


def score_of(value: Any) -> float | None:
    """A score as a file has it, None where there is none."""
    try:
        score = float(value)
    except (TypeError, ValueError):
        return None
    return score if math.isfinite(score) else None


def rounded(box: Box) -> list[float]:
    """A box that was moved, to a hundredth of a pixel, as ours are written."""
    return [round(edge, 2) for edge in box]


def without(record: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """A copy of a record that lacks some keys."""
    return {name: value for name, value in record.items() if name not in keys}
