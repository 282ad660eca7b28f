"""How a box moves between two looks: a Kalman filter of constant speed in time that is seconds, not frames."""

import math

import cv2
import numpy as np

# Standard deviations in sizes of the box, which is what a detector's errors and a thing's speed grow with.
_SEEN = 0.04  # of a detected edge
_SPEED = 2.0  # a second, of what was seen once
_PUSH = 4.0  # a second and second: how suddenly things turn
_GROWTH = 1.5  # the same of width and height

_SMALL = 160  # pixels of the longer side of the copies that frames are compared in
_ROOM = 0.15  # of a thing's sides that is left out around it, for its way until the next frame
_MOST_GAIN = 4.0  # of 255 by which a pixel has become more alike: more of them count, not larger differences
_SURE = 0.15  # phase correlation's answer above which a shift is believed


class Motion:
    """Where a box is, how fast it moves and how sure that is.

    Args:
        box: (4,) xyxy in pixels.
    """

    def __init__(self, box: np.ndarray):
        self._mean = np.stack([_cxcywh(box), np.zeros(4)], axis=1)  # (4, 2): place and speed of cx, cy, w, h
        size = self._sizes()
        self._cov = np.zeros((4, 2, 2))
        self._cov[:, 0, 0] = (_SEEN * size) ** 2
        self._cov[:, 1, 1] = (np.array([_SPEED, _SPEED, 0.5, 0.5]) * size) ** 2

    @property
    def box(self) -> np.ndarray:
        """(4,) float64 xyxy in pixels, which may reach out of the picture."""
        (x, y, width, height), _ = self._mean.T
        half = np.maximum([width, height], 1) / 2
        return np.array([x - half[0], y - half[1], x + half[0], y + half[1]])

    def shift(self, right: float, down: float) -> None:
        """The camera moved, and the picture with it."""
        self._mean[:2, 0] += right, down

    def predict(self, seconds: float) -> None:
        """So much later."""
        step = np.array([[1.0, seconds], [0.0, 1.0]])
        push = (np.array([_PUSH, _PUSH, _GROWTH, _GROWTH]) * self._sizes()) ** 2
        noise = np.array([[seconds**4 / 4, seconds**3 / 2], [seconds**3 / 2, seconds**2]])
        self._mean = self._mean @ step.T
        self._cov = step @ self._cov @ step.T + push[:, None, None] * noise

    def update(self, box: np.ndarray) -> None:
        """It was seen there: (4,) xyxy in pixels."""
        seen = (_SEEN * self._sizes()) ** 2
        gain = self._cov[:, :, 0] / (self._cov[:, 0, 0] + seen)[:, None]  # (4, 2)
        self._mean += gain * (_cxcywh(box) - self._mean[:, 0])[:, None]
        self._cov -= gain[:, :, None] * self._cov[:, :1, :]

    def keep_size(self) -> None:
        """It was not seen: it grows or shrinks no further."""
        self._mean[2:, 1] = 0

    def slow_down(self) -> None:
        """It was not seen for long where it should be: it does not run away."""
        self._mean[:2, 1] *= 0.8

    def _sizes(self) -> np.ndarray:
        return np.maximum(np.tile(self._mean[2:, 0], 2), 4.0)


def _cxcywh(box: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = np.asarray(box, np.float64)
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0])


class Camera:
    """What becomes of the whole picture from frame to frame: it moves a little, or another one begins."""

    def __init__(self) -> None:
        self._grey: np.ndarray | None = None
        self._colours: np.ndarray | None = None
        self._window: np.ndarray | None = None

    def see(self, pixels: np.ndarray, things: np.ndarray | None = None) -> tuple[tuple[float, float], bool]:
        """The next frame -> how far its content moved, (right, down) in pixels; if it is a cut.

        Args:
            pixels: (H, W, 3) uint8.
            things: (N, 4) xyxy, about where things are that move by themselves: all else tells how the camera moved.
        """
        height, width = pixels.shape[:2]
        scale = max(1.0, max(width, height) / _SMALL)
        size = (max(8, round(width / scale)), max(8, round(height / scale)))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
        colours = cv2.calcHist([small], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3).ravel()
        colours = np.sqrt(colours / colours.sum())
        before, known = self._grey, self._colours
        self._grey, self._colours = grey, colours
        if before is None or known is None:
            return (0.0, 0.0), False
        if self._window is None:
            self._window = cv2.createHanningWindow(size, cv2.CV_32F)
        changed = float(np.abs(grey - before).mean())
        if is_cut(float(colours @ known), changed):
            return (0.0, 0.0), True
        behind = _behind(things, size, scale)
        # Whole pictures have more to go by; where things lead them astray what is behind tells.
        for one, other in ((before.copy(), grey.copy()), (_only(before, behind), _only(grey, behind))):
            (right, down), sure = cv2.phaseCorrelate(one, other, self._window)
            far = max(abs(right), abs(down)) > _SMALL / 6
            if sure >= _SURE and not far and _gain(before, grey, right, down, behind) > 0:
                return (right * width / size[0], down * height / size[1]), False
        return (0.0, 0.0), False


def _behind(things: np.ndarray | None, size: tuple[int, int], scale: float) -> np.ndarray:
    """(h, w) float32 in [0, 1]: where no thing is, with soft edges, as hard ones would be seen to stand still."""
    width, height = size
    behind = np.ones((height, width), np.float32)
    if things is not None and len(things):
        sides = things[:, 2:] - things[:, :2]
        grown = np.concatenate([things[:, :2] - _ROOM * sides, things[:, 2:] + _ROOM * sides], axis=1) / scale
        for x0, y0, x1, y1 in np.clip(grown, 0, (width, height, width, height)):
            behind[math.floor(y0) : math.ceil(y1), math.floor(x0) : math.ceil(x1)] = 0
        return np.asarray(cv2.blur(behind, (5, 5)), np.float32)
    return behind


def _only(grey: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """A picture's brightness around its mean where nothing moves by itself, 0 elsewhere.

    It is a copy: `cv2.phaseCorrelate` lays its window over what it is given, where that needs no padding.
    """
    mean = float((grey * behind).sum() / max(float(behind.sum()), 1.0))
    return (grey - mean) * behind


def _gain(before: np.ndarray, grey: np.ndarray, right: float, down: float, behind: np.ndarray) -> float:
    """How much more alike a shift makes two pictures where nothing moves by itself; below 0 where it does not.

    What the correlation finds may be the shift of a thing that nobody has found yet, before a background that is still.
    """
    shift = np.array([[1, 0, right], [0, 1, down]], np.float32)
    moved = cv2.warpAffine(before, shift, before.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    gain = (np.abs(grey - before) - np.abs(grey - moved))[behind > 0.99]
    return float(np.clip(gain, -_MOST_GAIN, _MOST_GAIN).sum())


def is_cut(alike: float, changed: float) -> bool:
    """Whether another scene begins.

    Args:
        alike: Bhattacharyya's coefficient of the frames' colours, 0 to 1.
        changed: Mean difference of their pixels' brightness, 0 to 255.
    """
    return changed > 25 and alike < 0.75
