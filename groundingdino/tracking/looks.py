"""Looks at single frames: a detector as a tracker asks for it, and a segmenter that gives what is followed masks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import supervision as sv
from PIL import Image

from groundingdino.detection.checkpoints import ModelCard
from groundingdino.detection.phrases import Grounding
from groundingdino.segmentation.cutting import SegmenterLike
from groundingdino.segmentation.masks import SPECKS, smooth_masks
from groundingdino.tracking.tracker import Look, TrackedFrame, with_masks

CONTINUES = 0.6  # of the threshold: a score from which a look continues a track, though it begins none


class Finder(Protocol):
    """What a look needs of a detector; `Detector` is one. What `prepare` gives is its own."""

    @property
    def card(self) -> ModelCard: ...

    def prepare(self, image: Image.Image) -> Any: ...

    def ground_batch(
        self, images: Sequence[Any], prompt: str, each: bool = False, tiles: bool = False
    ) -> list[Grounding]: ...


def look_by(
    detector: Finder,
    prompt: str,
    thresholds: Mapping[str, Any] | None = None,
    each: bool = False,
    told: Callable[[tuple[str, ...]], None] = lambda _: None,
    tiles: bool = False,
) -> Look:
    """What finds a prompt in frames. It caches nothing of a frame: hardly one is seen twice.

    Args:
        thresholds: As `Grounding.detections` takes them; of the one for boxes a share is enough, see `CONTINUES`.
        each: Look for one phrase after the other, as `Detector.ground_each`.
        told: Called with sentences about the prompt.
        tiles: Look at tiles of large frames, too, as those of `Detector.encode_image`.
    """
    settings = dict(thresholds or {})
    settings["box_threshold"] = CONTINUES * start_score(detector, settings)

    def look(pixels: np.ndarray) -> sv.Detections:
        prepared = detector.prepare(Image.fromarray(pixels))
        (grounding,) = detector.ground_batch([prepared], prompt, each, tiles)
        told(grounding.notes)
        return grounding.detections(**settings)

    return look


def start_score(detector: Finder, thresholds: Mapping[str, Any] | None = None) -> float:
    """The score from which something begins a track: the threshold for boxes, by default the model's."""
    given = (thresholds or {}).get("box_threshold")
    return detector.card.box_threshold if given is None else float(given)


def cut_out(segmenter: SegmenterLike, pixels: np.ndarray, frame: TrackedFrame) -> TrackedFrame:
    """The same with masks of what is followed, cut out in the boxes."""
    if not len(frame.objects):
        return frame
    found = segmenter.segment_boxes(segmenter.encode_image(Image.fromarray(pixels)), frame.objects)
    return with_masks(frame, smooth_masks(found, SPECKS).mask)
