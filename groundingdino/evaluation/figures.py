"""A set and what was found in its pictures become figures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import supervision as sv
import torch
from torchvision.ops import batched_nms

from groundingdino.detection.objects import select
from groundingdino.detection.phrases import NMS_THRESHOLD
from groundingdino.evaluation.comparison import AtThreshold, Mistakes, mistakes
from groundingdino.evaluation.metrics import Kind, Measured, measure
from groundingdino.evaluation.sets import LabelledPicture, LabelledSet

Records = Mapping[str, Mapping[str, Any]]  # of `finding.SetFinder`, by the picture's name


@dataclass(frozen=True, eq=False)
class Looked:
    """A picture of a set, what is there, and what is shown of what was found."""

    picture: LabelledPicture
    there: sv.Detections  # without confidence
    crowds: np.ndarray  # (N,) bool
    shown: sv.Detections
    mistakes: Mistakes


@dataclass(frozen=True, eq=False)
class SetFigures:
    """What a model is worth on a set.

    Args:
        masks: None without a segmenter.
        shares: see `AtThreshold.shares`; None for what is counted as published, which shows no boxes.
        looked: at each picture, the one with most mistakes first.
    """

    labelled: LabelledSet
    boxes: Measured
    masks: Measured | None
    shares: dict[str, float] | None
    looked: tuple[Looked, ...]

    def as_json(self) -> dict[str, Any]:
        """All figures, with six digits."""
        entry: dict[str, Any] = {
            "name": self.labelled.name,
            "annotations": str(self.labelled.path),
            "pictures": len(self.labelled.pictures),
            "objects": len(self.labelled.objects),
            "asked": len(self.labelled.categories),
        }
        for kind, measured in (("bbox", self.boxes), ("segm", self.masks)):
            if measured is not None:
                of_each = {name: rounded(figures) for name, figures in measured.of_each.items()}
                entry[kind] = {**rounded(measured.overall), "of_each": of_each}
        return entry if self.shares is None else {**entry, "at_threshold": rounded(self.shares)}


def rounded(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    """To six digits; whole numbers and None stay."""
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in figures.items()}


def mean_of(figures: list[dict[str, float | None]]) -> dict[str, float | None]:
    """The mean of each figure over the sets that have it."""
    names = dict.fromkeys(name for one in figures for name in one)
    known = {name: [value for one in figures if (value := one.get(name)) is not None] for name in names}
    return {name: fmean(values) if values else None for name, values in known.items()}


def figures_of(
    labelled: LabelledSet, records: Records, as_shown: bool, with_masks: bool, box_threshold: float
) -> SetFigures:
    """What records of all pictures of a set are worth; at the threshold they are shown."""
    looked = [_look(labelled, picture, records[picture.file.name], box_threshold) for picture in labelled.pictures]
    at_threshold = AtThreshold()
    for one in looked:
        named = ~one.crowds
        names, shown = _ids(one.there), _ids(one.shown)
        at_threshold.add(one.there.xyxy[named], names[named].tolist(), set(names), one.shown.xyxy, shown.tolist())

    def measured(kind: Kind) -> Measured:
        truth = labelled.truth(with_masks=kind == "segm")
        return measure(truth, list(_results(labelled, records, kind)), kind, labelled.federated)

    return SetFigures(
        labelled,
        measured("bbox"),
        measured("segm") if with_masks else None,
        at_threshold.shares() if as_shown else None,
        tuple(sorted(looked, key=lambda one: one.mistakes.badness, reverse=True)),
    )


def _results(labelled: LabelledSet, records: Records, kind: Kind) -> Iterator[dict[str, Any]]:
    """As `metrics.measure` takes them."""
    for picture in labelled.pictures:
        record = records[picture.file.name]
        for index, (category, score, x0, y0, x1, y1) in enumerate(record["found"]):
            result = {
                "image_id": picture.id,
                "category_id": labelled.categories[category]["id"],
                "score": score,
            }
            if kind == "bbox":
                result["bbox"] = [x0, y0, x1 - x0, y1 - y0]
            else:
                size = labelled.images[picture.id]
                result["segmentation"] = {"size": [size["height"], size["width"]], "counts": record["masks"][index]}
            yield result


def _look(labelled: LabelledSet, picture: LabelledPicture, record: Mapping[str, Any], threshold: float) -> Looked:
    objects = labelled.objects_of.get(picture.id, ())
    places = {category["id"]: place for place, category in enumerate(labelled.categories)}
    corners = np.array([one["bbox"] for one in objects], np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    crowds = np.array([bool(one["iscrowd"]) for one in objects], bool)
    there = _detections(labelled, corners, np.array([places[one["category_id"]] for one in objects], int), None)
    rows = np.array([row for row in record["found"] if row[1] > threshold], np.float64).reshape(-1, 6)
    shown = _without_doubles(_detections(labelled, rows[:, 2:], rows[:, 0].astype(int), rows[:, 1]))
    judged = None
    if labelled.federated:
        image = labelled.images[picture.id]
        known = {one["category_id"] for one in objects} | set(image["neg_category_ids"])
        judged = {places[category] for category in known - set(image["not_exhaustive_category_ids"])}
    wrong = mistakes(there.xyxy, _ids(there).tolist(), crowds.tolist(), shown.xyxy, _ids(shown).tolist(), judged)
    return Looked(picture, there, crowds, shown, wrong)


def _without_doubles(found: sv.Detections) -> sv.Detections:
    """Each box once, under its best name, and of boxes of one name that overlap the best, as `detect` shows them."""
    firsts = np.sort(np.unique(found.xyxy, axis=0, return_index=True)[1])
    found = select(found, firsts)
    assert found.confidence is not None
    boxes, scores, names = map(torch.from_numpy, (found.xyxy, found.confidence, _ids(found)))
    return select(found, np.sort(batched_nms(boxes, scores, names, NMS_THRESHOLD).numpy()))


def _detections(
    labelled: LabelledSet, boxes: np.ndarray, categories: np.ndarray, scores: np.ndarray | None
) -> sv.Detections:
    names = np.array([labelled.categories[place]["name"] for place in categories], dtype=str)
    return sv.Detections(boxes, confidence=scores, class_id=categories, data={"class_name": names})


def _ids(objects: sv.Detections) -> np.ndarray:
    assert objects.class_id is not None
    return objects.class_id
