"""An inpainter that needs no weights: it fills masks with a colour that is the text."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import ImageColor

from groundingdino.editing.available_models import InpainterCard
from groundingdino.editing.crops import Crop
from groundingdino.editing.edits import Sampling
from groundingdino.editing.perform import BoxText, Painted, Painter, PaintStep
from groundingdino.runtime.interruption import StopCheck, Stopped

INPAINTER = InpainterCard("embedded", "Dauber", 22_000_000, "Fills with colours.", steps=5, guidance=2.5)
WORKING_SIZE = 64  # pixels


@dataclass
class Dauber(Painter):
    """Stands in for `Inpainter`: texts are names of colours, "" is grey; the seed shows in the blue channel."""

    card: InpainterCard = INPAINTER
    seconds: float = 0.0  # that a step takes
    painted: list[tuple[str, Sampling]] = field(default_factory=list)  # what was asked for
    steps: int = 0  # done in all
    stopped: int = 0
    paints_regions: bool = False
    lays_drawings: bool = False

    @property
    def name(self) -> str:
        return self.card.name

    def paint(
        self,
        pixels: np.ndarray,
        mask: np.ndarray,
        alpha: np.ndarray,
        texts: tuple[BoxText, ...],
        sampling: Sampling,
        report: Callable[[PaintStep], None],
        stop: StopCheck | None,
    ) -> Painted:
        assert mask.any()
        assert mask.shape == pixels.shape[:2]
        text = texts[0].text
        self.painted.append((text, sampling))
        try:
            red, green, _ = ImageColor.getrgb(text or "grey")[:3]
        except ValueError:
            raise ValueError(f"'{text}' is no colour.") from None
        crop = Crop.around(alpha, WORKING_SIZE, 0.2)
        canvas = np.full((*crop.canvas[::-1], 3), (red, green, (sampling.seed or 0) % 256), np.uint8)
        steps = sampling.steps or self.card.steps
        for step in range(steps + 1):
            report(PaintStep(step, steps, crop, canvas if step else None))
            if step == steps:
                break
            # Busy for a step, and asked within it whether somebody still waits, as between the layers of a model.
            until = time.monotonic() + self.seconds
            while True:
                if stop is not None and stop():
                    self.stopped += 1
                    raise Stopped
                if time.monotonic() >= until:
                    break
                time.sleep(min(0.02, self.seconds))
            self.steps += 1
        return Painted(crop, crop.uncut(canvas), settings={"steps": steps, "guidance": sampling.guidance})
