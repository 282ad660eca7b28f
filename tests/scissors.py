"""A segmenter that needs no weights: it cuts out simple shapes where it is told to."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import supervision as sv
from PIL import Image

from groundingdino.runtime.interruption import raise_if_stopped
from groundingdino.segmentation.available_models import SegmenterCard
from groundingdino.segmentation.cutting import SegmenterLike
from groundingdino.segmentation.mask_prompts import MaskPrompt
from groundingdino.segmentation.masks import boxes_of, compact, join

SEGMENTER = SegmenterCard("embedded", "Scissors", 3_000_000, "Cuts out what it is shown.")
RADIUS = 20  # pixels around a click
SHARES = (1.0, 0.7, 0.4)  # of a box or radius, for each candidate
QUALITIES = (0.9, 0.8, 0.7)

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Sheet:
    """A picture that `Scissors` have seen."""

    size: tuple[int, int]
    key: str
    cached: bool
    milliseconds: float


@dataclass
class Scissors(SegmenterLike):
    """Stands in for `Segmenter`: of a box the ellipse in it, of a click the disc around it, of a stroke a band."""

    others: Mapping[tuple[int, int], list[Box]] = field(default_factory=dict)  # what "everything" finds, by size
    card: SegmenterCard = SEGMENTER
    seconds: float = 0.0  # that an answer takes
    slips: bool = False  # and cuts a square of 4 pixels a side into the upper left corner, too
    encoded: int = 0  # how often each part ran
    cut: int = 0

    def __post_init__(self) -> None:
        self._images: set[tuple[int, int]] = set()

    def encode_image(self, image: Image.Image) -> Sheet:
        cached = image.size in self._images
        self._images.add(image.size)
        self.encoded += not cached
        return Sheet(image.size, str(image.size), cached, milliseconds=30.0)

    def segment(
        self, encoded: Sheet, prompts: Sequence[MaskPrompt], objects: sv.Detections | None = None
    ) -> sv.Detections:
        self.cut += 1
        for _ in range(10):  # passes
            raise_if_stopped()
            time.sleep(self.seconds / 10)
        shapes = [_shape(prompt, encoded.size) for prompt in prompts]
        for shape in shapes if self.slips else ():
            shape[:4, :4] = True
        masks = join(map(compact, shapes), encoded.size)
        quality = np.array([QUALITIES[prompt.candidate] for prompt in prompts], np.float32)
        if objects is not None:
            data = {**objects.data, "mask_quality": quality}
            return sv.Detections(objects.xyxy.copy(), masks, objects.confidence, objects.class_id, data=data)
        names = np.array([f"object {number}" for number in range(1, len(prompts) + 1)], dtype=str)
        data = {"class_name": names, "mask_quality": quality}
        return sv.Detections(boxes_of(masks), masks, quality.copy(), np.full(len(prompts), -1), data=data)

    def segment_boxes(self, encoded: Sheet, detections: sv.Detections) -> sv.Detections:
        return self.segment(encoded, [MaskPrompt(box=tuple(box)) for box in detections.xyxy], detections)

    def everything(
        self,
        encoded: Sheet,
        points_per_side: int | None = None,
        min_quality: float | None = None,
        min_stability: float | None = None,
        nms_threshold: float = 0.7,
    ) -> sv.Detections:
        assert (points_per_side, min_quality, min_stability, nms_threshold) == (None, None, None, 0.7), "none is known"
        return self.segment(encoded, [MaskPrompt(box=box) for box in self.others.get(encoded.size, ())])


def _shape(prompt: MaskPrompt, size: tuple[int, int]) -> np.ndarray:
    prompt.check_inside(size)
    share = SHARES[prompt.candidate]
    canvas = np.zeros(size[::-1], np.uint8)
    if prompt.box:
        x0, y0, x1, y1 = prompt.box
        middle, axes = ((x0 + x1) / 2, (y0 + y1) / 2), (share * (x1 - x0), share * (y1 - y0))
        cv2.ellipse(canvas, (middle, axes, 0), 1, cv2.FILLED)
    for line, label in prompt.strokes:
        cv2.polylines(canvas, [np.array(line, int)], False, label, RADIUS)
    for x, y, label in prompt.points:
        cv2.circle(canvas, (int(x), int(y)), round(share * RADIUS), label, cv2.FILLED)
    return canvas.astype(bool)
