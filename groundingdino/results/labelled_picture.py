"""A labelled picture of a folder, as a data set is made of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import supervision as sv
import torch
from torchvision.ops import batched_nms

from groundingdino.detection.objects import labels_of, no_objects, scores_of, select
from groundingdino.segmentation.masks import compact, join


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """A picture of a folder and what was found in it."""

    file: str  # in the folder, with slashes
    size: tuple[int, int]  # (width, height) of the upright picture, in whose pixels boxes and masks are
    objects: sv.Detections


Pictures = Iterable[LabelledPicture]
Files = Iterator[tuple[Path, bytes]]


def picture_of(file: str, record: Mapping) -> LabelledPicture:
    """What an `export.record` says of a picture."""
    found, size = record["objects"], (int(record["width"]), int(record["height"]))
    if not found:
        return LabelledPicture(file, size, no_objects())
    masks = None
    if "mask" in found[0]:
        runs = (one["mask"] for one in found)
        masks = join((compact(sv.rle_to_mask(one["counts"], size).astype(bool)) for one in runs), size)
    objects = sv.Detections(
        xyxy=np.array([one["box"] for one in found], np.float64),  # as written, to a hundredth
        mask=masks,
        confidence=np.array([one["score"] for one in found], np.float32),
        class_id=np.zeros(len(found), int),
        data={"class_name": np.array([one["phrase"] for one in found], dtype=str)},
    )
    return LabelledPicture(file, size, objects)


def named(picture: LabelledPicture, names: Mapping[str, str], nms_threshold: float | None) -> LabelledPicture:
    """The same with names of classes for phrases; a phrase that is not in `names` is its own class.

    Where phrases become one class, an object that both found is one: of boxes that overlap by an IoU above
    `nms_threshold` the best stays; None keeps all.
    """
    objects = picture.objects
    labels = [names.get(label, label) for label in labels_of(objects)]
    if labels == labels_of(objects):
        return picture
    classes = np.unique(labels, return_inverse=True)[1]
    renamed = replace(objects, data={**objects.data, "class_name": np.array(labels, dtype=str)})
    if nms_threshold is not None:
        tensors = map(torch.from_numpy, (objects.xyxy, scores_of(objects).astype(np.float64), classes))
        renamed = select(renamed, np.sort(batched_nms(*tensors, nms_threshold).numpy()))
    return LabelledPicture(picture.file, picture.size, renamed)
