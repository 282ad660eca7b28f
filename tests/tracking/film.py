"""A film for the tracker that follows masks; a stand-in for its model follows the colour that a mask began with."""

from typing import Any

import numpy as np
import torch

from groundingdino.tracking.corrections import Correction
from groundingdino.tracking.mask_tracker import MaskTracker
from groundingdino.tracking.tracker import TrackerSettings
from groundingdino.tracking.video import Frame
from groundingdino.tracking.video_memory import Seen
from tests.scissors import Scissors
from tests.tracking.moving import Thing, detections, paint


class ColourMemory:
    """In the place of `VideoMemory`: what has the colour that the middle of a mask had."""

    frames = 0  # that any has seen

    def __init__(self, _):
        self.colours: dict[int, np.ndarray] = {}

    def fit(self, pixels):
        return pixels

    def follow(self, pixels):
        type(self).frames += 1
        self.pixels = pixels
        seen = {}
        for id, colour in self.colours.items():
            mask = (pixels == colour).all(2)
            seen[id] = Seen(torch.from_numpy(np.where(mask, 5.0, -5.0)).float(), 1.0 if mask.any() else -1.0)
        return seen

    def begin(self, masks):
        for id, mask in masks.items():
            rows, columns = np.nonzero(mask)
            self.colours[id] = self.pixels[int(rows.mean()), int(columns.mean())]

    def forget(self, ids):
        for id in ids:
            del self.colours[id]


class Film:
    """Frames whose things are told to the tracker when it looks."""

    def __init__(self, every: int = 4, backward: bool = False, **settings):
        self.looks: list[int] = []
        self.told: list[str] = []
        self.number = -1
        self.things: list[Thing] = []
        model: Any = None
        decides = TrackerSettings(every=every, start=0.5, **settings)
        self.tracker = MaskTracker(self._look, Scissors(), model, decides, self.told.extend, backward)

    def _look(self, _):
        self.looks.append(self.number)
        return detections(self.things)

    def frame(self, painted, grey: int = 128) -> Frame:
        self.number += 1
        return Frame(self.number, self.number / 10, paint(painted, grey))

    def show(
        self,
        found: list[Thing],
        painted: list[Thing] | None = None,
        grey: int = 128,
        said: Correction | None = None,
    ) -> dict[int, str]:
        """The next frame; id -> phrase of what is followed."""
        self.things = found
        self.last = self.tracker.follow(self.frame(found if painted is None else painted, grey), said=said)
        objects = self.last.objects
        return dict(zip(objects.tracker_id.tolist(), objects.data["class_name"].tolist(), strict=True))


def cat(x: int, score: float = 0.9) -> Thing:
    return ("cat", (x, 30, x + 30, 60), score)


def dog(x: int, score: float = 0.9) -> Thing:
    return ("dog", (x, 70, x + 30, 100), score)
