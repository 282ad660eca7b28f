"""Removes by LaMa (Suvorov et al. 2022), which continues what is around a hole; OpenCV publishes and runs it.

The published file is a graph of ONNX: numbers and names of operations, and no code.
"""

from collections.abc import Callable
from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from groundingdino.editing.available_models import INPAINTERS, InpainterCard
from groundingdino.editing.crops import Crop, enlarged_much
from groundingdino.editing.edits import Sampling
from groundingdino.editing.perform import BoxText, Painted
from groundingdino.editing.preview import PaintStep
from groundingdino.runtime.interruption import StopCheck, raise_if

SIZE = 512  # pixels of the square that the published graph takes


class LaMa:
    """Fills holes; safe to share between threads: they take turns."""

    paints_regions = False
    lays_drawings = False

    def __init__(self, path: Path, card: InpainterCard = INPAINTERS["lama"]):
        """Reads the published file.

        Raises:
            ValueError: it is damaged or something else.
        """
        self.card = card
        self._turn = Lock()
        try:
            self._net = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise ValueError(_unreadable(path)) from error

    @property
    def name(self) -> str:
        """That of its card."""
        return self.card.name

    def paint(
        self,
        pixels: np.ndarray,
        mask: np.ndarray,
        alpha: np.ndarray,
        texts: tuple[BoxText, ...],
        sampling: Sampling,
        report: Callable[[PaintStep], None],
        stop: StopCheck | None = None,
    ) -> Painted:
        """Fill a mask in one pass.

        Args:
            pixels: (H, W, 3) uint8.
            mask: (H, W) bool, what is filled.
            alpha: (H, W) uint8, the mask with its soft edge: all of it will be in the result.
            texts: All "".
            sampling: Means nothing to it; candidates are alike.
            report: Called before the pass and after it.
            stop: Called before the pass and after it; once it returns True, `interruption.Stopped` is raised.

        Raises:
            ValueError: a text is given; the file is no LaMa.
        """
        self.card.refuse_ignored(sampling)
        if any(text for _, text in texts):
            raise ValueError(f"{self.card.title} removes, and puts nothing there: choose another inpainter for that.")
        crop = _square(Crop.around(alpha, SIZE, self.card.context))
        report(PaintStep(0, 1, crop, None))
        with self._turn:
            raise_if(stop)
            canvas = self._fill(crop.cut(pixels), crop.cut_mask(mask, 1))
        raise_if(stop)
        report(PaintStep(1, 1, crop, canvas))
        return Painted(crop, crop.uncut(canvas), enlarged_much(crop, SIZE), {"painted_at": list(crop.scaled)})

    def _fill(self, canvas: np.ndarray, hole: np.ndarray) -> np.ndarray:
        """A canvas (SIZE, SIZE, 3) uint8 with something else in the hole (SIZE, SIZE) bool."""
        bgr = np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1)[None], np.float32) / 255
        try:
            self._net.setInput(bgr, "image")
            self._net.setInput(hole[None, None].astype(np.float32), "mask")
            filled = np.asarray(self._net.forward())  # in [0, 255]
        except cv2.error as error:
            if error.code == cv2.Error.StsNoMem:
                raise MemoryError(str(error)) from error
            raise ValueError(_unreadable(self.card.name)) from error
        if filled.shape != (1, 3, SIZE, SIZE):
            raise ValueError(_unreadable(self.card.name))
        rgb = np.clip(np.rint(filled[0]), 0, 255).astype(np.uint8)[::-1].transpose(1, 2, 0)
        return np.where(hole[..., None], rgb, canvas)


def _square(crop: Crop) -> Crop:
    """The same part of the picture, as large as it fits into the square."""
    x0, y0, x1, y1 = crop.box
    scale = SIZE / max(x1 - x0, y1 - y0)
    return Crop(crop.box, (max(1, round(scale * (x1 - x0))), max(1, round(scale * (y1 - y0)))), (SIZE, SIZE))


def _unreadable(file: object) -> str:
    published = INPAINTERS["lama"].repository
    if int(cv2.__version__.split(".")[0]) < 5:
        return f"'{file}' cannot be read by OpenCV {cv2.__version__}: LaMa takes OpenCV 5."
    return (
        f"'{file}' cannot be read as LaMa: expected the ONNX file that '{published}' publishes, with nothing missing."
    )
