"""What a model finds of common names before it learns: what it must not forget, and what is certainly not there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from groundingdino.detection.detector import Detector
from groundingdino.evaluation.sets import LabelledSet
from groundingdino.results.journal import Journal
from groundingdino.results.labelling import Labeller, label, unfinished
from groundingdino.training.detector.coco_folder import Labelled

# COCO's, which every published model knows.
_COMMON = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, "
    "mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, "
    "teddy bear, hair drier, toothbrush"
)
_NAMES = tuple(_COMMON.split(", "))
MEASURED = _NAMES[::5]  # never replayed: what becomes of them says what became of all that is not
REPLAYED = tuple(name for name in _NAMES if name not in MEASURED)

_DOUBT = 0.4  # of the model's threshold: what scores more may be there
_SAME = 0.5  # IoU from which a box is that of a marked object, whatever it is called


@dataclass(frozen=True)
class Knowledge:
    """What a model found in pictures.

    Args:
        records: by the picture's path: rows of `objects` with `box`, `score` and `phrase`.
        box_threshold: from which score on it would have been shown.
    """

    records: Mapping[Path, Sequence[Mapping[str, Any]]]
    box_threshold: float

    def doubtful(self, path: Path) -> frozenset[str]:
        """Names that may be true of something in a picture."""
        return frozenset(one["phrase"] for one in self.records[path])

    def added_to(self, picture: Labelled, names: Sequence[str]) -> Labelled:
        """What is marked in a picture, and what the model is sure of: of other names, and where nothing is marked."""
        sure = [one for one in self.records[picture.path] if self._is_sure(one) and one["phrase"] in names]
        boxes = np.array([one["box"] for one in sure], np.float32).reshape(-1, 4)
        if len(boxes) and len(picture.boxes):
            overlaps: np.ndarray = sv.box_iou_batch(boxes, picture.boxes)
            free = overlaps.max(1) < _SAME
            sure = [one for one, is_free in zip(sure, free, strict=True) if is_free]
            boxes = boxes[free]
        return Labelled(
            path=picture.path,
            width=picture.width,
            height=picture.height,
            names=(*picture.names, *(one["phrase"] for one in sure)),
            boxes=np.concatenate([picture.boxes, boxes]),
            outlines=(*picture.outlines, *(None for _ in sure)),
            crowds=np.concatenate([picture.crowds, np.zeros(len(sure), bool)]),
        )

    def as_set(self, of: LabelledSet, names: Sequence[str]) -> LabelledSet | None:
        """The pictures of a set with what the model is sure of as what is there; None where that is nothing."""
        categories = tuple({"id": number, "name": name} for number, name in enumerate(names))
        objects: list[dict[str, Any]] = []
        for picture in of.pictures:
            for one in filter(self._is_sure, self.records[picture.file.path]):
                if one["phrase"] in names:
                    x0, y0, x1, y1 = one["box"]
                    about = {"id": len(objects) + 1, "image_id": picture.id, "iscrowd": 0}
                    box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
                    objects.append({**about, **box, "category_id": names.index(one["phrase"])})
        return (
            LabelledSet(of.name, of.path, categories, of.pictures, of.images, tuple(objects), False)
            if objects
            else None
        )

    def _is_sure(self, one: Mapping[str, Any]) -> bool:
        return one["score"] > self.box_threshold


def ask(
    detector: Detector,
    of: LabelledSet,
    names: Sequence[str],
    journal: Path,
    asked: Mapping[str, Any],
    progress: Callable[[int], object] = lambda _: None,
) -> Knowledge:
    """What a detector finds of names in the pictures of a set; noted in a journal, so that a stop loses nothing.

    Args:
        asked: what decides what is found, as `Journal` takes it.

    Raises:
        ValueError: one sentence: the journal is of another question or damaged.
        OSError: the journal cannot be written.
    """
    threshold = detector.card.box_threshold
    labeller = Labeller(detector, " . ".join(names), {"box_threshold": threshold * _DOUBT})
    files = [picture.file for picture in of.pictures]
    with Journal(journal, asked) as notes:
        label(unfinished(files, notes, 1), labeller, notes, progress)
        found = {file.path: (notes.entry(file) or {}).get("objects", []) for file in files}
    return Knowledge(found, threshold)
