"""Masks for all that is asked of a picture at once: what the prompt names, what is pointed at, everything else."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import supervision as sv
from PIL import Image

from groundingdino.detection.objects import labels_of, select
from groundingdino.segmentation.mask_prompts import MaskPrompt
from groundingdino.segmentation.masks import is_new, join, merge_objects, smooth_masks
from groundingdino.segmentation.object_ids import box_ids, lasting_ids, object_ids
from groundingdino.segmentation.pointing import Pointing

# Groups of objects without a phrase. No phrase of a prompt begins with a dot: dots separate phrases.
BY_HAND, EVERYTHING = ".by hand", ".everything"


class Encoded(Protocol):
    """What a model's `encode_image` gives, as far as others than the model read it."""

    @property
    def size(self) -> tuple[int, int]: ...  # (width, height)
    @property
    def key(self) -> str: ...  # of the content
    @property
    def cached(self) -> bool: ...
    @property
    def milliseconds(self) -> float: ...


class SegmenterLike(Protocol):
    """What is needed of a segmenter; `Segmenter` is one. `encoded` is what its own `encode_image` gave."""

    def encode_image(self, image: Image.Image) -> Encoded: ...

    def segment(
        self, encoded: Any, prompts: Sequence[MaskPrompt], objects: sv.Detections | None = None
    ) -> sv.Detections: ...

    def segment_boxes(self, encoded: Any, detections: sv.Detections) -> sv.Detections: ...

    def everything(
        self,
        encoded: Any,
        points_per_side: int | None = None,
        min_quality: float | None = None,
        min_stability: float | None = None,
        nms_threshold: float = ...,
    ) -> sv.Detections: ...


def is_cut(detections: sv.Detections, pointing: Pointing) -> bool:
    """Whether nothing is left for a segmenter: the detector made the masks, and nothing is pointed at."""
    return detections.mask is not None and not (pointing.gestures or pointing.corrected or pointing.everything)


def cut(
    segmenter: SegmenterLike | None,
    encoded: Encoded | None,
    detections: sv.Detections,
    pointing: Pointing,
    min_area: float,
) -> sv.Detections:
    """Objects with masks: the detections in their order, then what was pointed at, then everything else.

    Args:
        segmenter: Makes the masks; None where `is_cut` says that there are none to be made.
        encoded: The picture, encoded by it; None likewise.
        detections: What the prompt names; with masks of a detector that makes them those are kept.
        pointing: Its gestures correct the masks of found objects, or make objects of their own.
        min_area: Holes and specks below it go, see `smooth_masks`.

    Returns:
        As `Segmenter.segment`, but `data["mask_quality"]` is NaN where the detector made the mask; what has no phrase
        is numbered through; with `data["id"]`, see `object_ids.object_ids`, and `data["group"]`: the phrase, `BY_HAND`
        or `EVERYTHING`. An object that was corrected keeps its id, and so its correction, although its box moves a
        little with each other word of the prompt.

    Raises:
        ValueError: What was pointed at lies outside the picture, or excludes without including.
    """
    if is_cut(detections, pointing):
        named = _with_ids(_own(detections), object_ids(detections))
        return smooth_masks(_in_groups(named, labels_of(named)), min_area)
    assert segmenter is not None
    assert encoded is not None
    named = segmenter.segment_boxes(encoded, detections) if detections.mask is None else _own(detections)
    named = _correct(segmenter, encoded, _with_ids(named, lasting_ids(detections, pointing.corrected)), pointing)
    parts = [_in_groups(named, labels_of(named))]

    ids = pointing.pointed
    prompts = [prompt for name in ids if (prompt := pointing.prompt(name))]
    parts.append(_in_groups(_with_ids(segmenter.segment(encoded, prompts), ids), [BY_HAND] * len(ids)))

    if pointing.everything:
        others = segmenter.everything(encoded)
        ids = box_ids(["everything"] * len(others), others.xyxy)
        others = _correct(segmenter, encoded, _with_ids(others, ids), pointing)
        others = select(others, is_new(others, parts))
        parts.append(_in_groups(others, [EVERYTHING] * len(others)))
    found = [part for part in parts if len(part)]
    return smooth_masks(merge_objects(*found), min_area) if found else parts[0]


def _own(detections: sv.Detections) -> sv.Detections:
    """Detections with the masks that their detector made, of which it does not say how good they are."""
    quality = np.full(len(detections), np.nan, np.float32)
    return replace(detections.to_compact_masks(), data={**detections.data, "mask_quality": quality})


def _correct(segmenter: SegmenterLike, encoded: Encoded, objects: sv.Detections, pointing: Pointing) -> sv.Detections:
    """The objects with new masks where somebody pointed at them or chose another candidate."""
    asked = {
        index: prompt
        for index, (name, box) in enumerate(zip(object_ids(objects), objects.xyxy.tolist(), strict=True))
        if (prompt := pointing.prompt(name, tuple(box)))
    }
    if not asked:
        return objects
    index = np.array(list(asked))
    corrected = segmenter.segment(encoded, list(asked.values()), select(objects, index))
    before, after = objects.to_compact_masks().mask, corrected.to_compact_masks().mask
    assert isinstance(before, sv.CompactMask)
    assert isinstance(after, sv.CompactMask)
    rows = {row: after[position : position + 1] for position, row in enumerate(asked)}
    masks = join((rows.get(row, before[row : row + 1]) for row in range(len(objects))), encoded.size)
    quality = objects.data["mask_quality"].copy()
    quality[index] = corrected.data["mask_quality"]
    return sv.Detections(
        objects.xyxy, masks, objects.confidence, objects.class_id, data={**objects.data, "mask_quality": quality}
    )


def _with_ids(objects: sv.Detections, ids: Sequence[str]) -> sv.Detections:
    objects.data["id"] = np.array(ids, dtype=str)
    return objects


def _in_groups(objects: sv.Detections, groups: Sequence[str]) -> sv.Detections:
    objects.data["group"] = np.array(groups, dtype=str)
    return objects
