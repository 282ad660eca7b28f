"""What is followed on the frames: boxes or masks, phrases with ids, and the way that each has come, by supervision."""

from dataclasses import replace
from typing import cast

import numpy as np
import supervision as sv
from PIL import Image, ImageFont

from groundingdino.detection.objects import labels_of
from groundingdino.results import lettering
from groundingdino.results.drawing import PALETTE, text_color
from groundingdino.tracking.tracker import TrackedFrame

TRAIL_SECONDS = 1.5
_OPACITY = 0.45  # of a mask


class FrameDrawing:
    """Draws on one frame after the other; each track has a colour of its own, the same in all frames.

    Args:
        rate: Frames a second, for the length of the trails.
        trails: Draw where each middle has been.
    """

    def __init__(self, rate: float, trails: bool = True):
        self._colors = sv.ColorPalette.from_hex(list(PALETTE))
        self._texts = sv.ColorPalette([text_color(color) for color in self._colors.colors])
        self._length = max(2, round(TRAIL_SECONDS * rate)) if trails else 0
        self._trace: sv.TraceAnnotator | None = None
        self._writer: sv.RichLabelAnnotator | None = None

    def draw(self, pixels: np.ndarray, frame: TrackedFrame) -> np.ndarray:
        """A copy of a frame (H, W, 3) uint8 with what is followed in it."""
        objects, by_track = frame.objects, sv.ColorLookup.TRACK
        unit = max(0.8, min(pixels.shape[:2]) / 600)
        thickness = max(1, round(2.5 * unit))
        scene = Image.fromarray(pixels)  # of arrays supervision takes the channels for BGR
        if self._length:
            self._trace = self._trace or sv.TraceAnnotator(
                self._colors, sv.Position.CENTER, self._length, thickness, color_lookup=by_track
            )
            scene = self._trace.annotate(scene, objects)
        if not len(objects):
            return np.asarray(scene)
        if objects.mask is not None:
            scene = sv.MaskAnnotator(self._colors, _OPACITY, by_track).annotate(scene, objects)
        else:
            whole = replace(objects, xyxy=objects.xyxy.round())
            scene = sv.BoxAnnotator(self._colors, thickness, by_track).annotate(scene, whole)
        writer = self._writer = self._writer or self._new_writer(unit, thickness)
        room = pixels.shape[1] - 2 * writer.text_padding
        font = cast(ImageFont.FreeTypeFont, writer.font)
        assert objects.tracker_id is not None
        texts = [
            lettering.shorten(phrase, font, room, f" {id}")
            for phrase, id in zip(labels_of(objects), objects.tracker_id, strict=True)
        ]
        return np.asarray(writer.annotate(scene, objects, texts))

    def _new_writer(self, unit: float, thickness: int) -> sv.RichLabelAnnotator:
        writer = sv.RichLabelAnnotator(
            self._colors,
            text_color=self._texts,
            font_size=max(1, round(13 * unit)),
            text_padding=max(1, round(3.5 * unit)),
            border_radius=thickness,
            color_lookup=sv.ColorLookup.TRACK,
        )
        writer.font = lettering.font(writer.font_size)
        return writer
