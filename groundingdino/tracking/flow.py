"""Boxes that move along with the pixels in them: for what somebody pointed at, and no detector finds.

Median flow (Kalal, Mikolajczyk, Matas, 2010): points of a grid are followed there and back by Lucas and Kanade's
method, and those that come back to where they were say how far the box moved, and how much larger it became.
"""

import cv2
import numpy as np

_GRID = 10  # points along each side
_INSET = 0.15  # of the box at each side, where there may be background
_BACK = 1.0  # pixels within which a point comes back
_LEAST = 0.2  # of the points that have to
_MOST_SIDE = 960  # pixels of the longer side of the copies in which points are followed
_STILL = 1.5  # of 255 by which pixels differ on average that have not moved
_MOST_GROWTH = 1.25  # from one frame to the next


class Flow:
    """Follows boxes from each frame to the next."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._now: np.ndarray | None = None
        self._scale = 1.0

    def see(self, pixels: np.ndarray) -> None:
        """The next frame (H, W, 3) uint8."""
        height, width = pixels.shape[:2]
        self._scale = min(1.0, _MOST_SIDE / max(width, height))
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        if self._scale < 1:
            grey = cv2.resize(grey, None, fx=self._scale, fy=self._scale, interpolation=cv2.INTER_AREA)
        self._before, self._now = self._now, grey

    def move(self, box: np.ndarray) -> np.ndarray | None:
        """Where a box (4,) xyxy of the last frame is in this one; None where too little of it is seen again."""
        before, now = self._before, self._now
        if before is None or now is None or before.shape != now.shape:
            return None
        start = _grid(np.asarray(box, np.float64) * self._scale, before.shape)
        if start is None:
            return None
        (x0, y0), (x1, y1) = start[0, 0].astype(int), start[-1, 0].astype(int) + 1
        if cv2.absdiff(before[y0:y1, x0:x1], now[y0:y1, x0:x1]).mean() < _STILL:  # there may be nothing to hold on to
            return np.asarray(box, np.float64)
        moved, found, _ = cv2.calcOpticalFlowPyrLK(before, now, start, np.empty_like(start))
        back, returned, _ = cv2.calcOpticalFlowPyrLK(now, before, moved, np.empty_like(start))
        kept = (np.ravel(found) > 0) & (np.ravel(returned) > 0)
        kept &= np.linalg.norm((back - start).reshape(-1, 2), axis=1) <= _BACK
        if kept.sum() < max(4, _LEAST * _GRID**2):
            return None
        start, moved = start.reshape(-1, 2)[kept], moved.reshape(-1, 2)[kept]
        shift = np.median(moved - start, axis=0) / self._scale
        growth = float(np.clip(_spread(moved) / max(_spread(start), 1e-6), 1 / _MOST_GROWTH, _MOST_GROWTH))
        middle = (np.asarray(box[:2]) + box[2:]) / 2 + shift
        half = (np.asarray(box[2:]) - box[:2]) / 2 * growth
        return np.concatenate([middle - half, middle + half])


def _grid(box: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """(P, 1, 2) float32 points in the part of a box that is in the picture; None if that is too small for any."""
    size = box[2:] - box[:2]
    low = np.maximum(box[:2] + _INSET * size, 0)
    high = np.minimum(box[2:] - _INSET * size, (shape[1] - 1, shape[0] - 1))
    if (high - low < 2).any():
        return None
    x, y = np.meshgrid(np.linspace(low[0], high[0], _GRID), np.linspace(low[1], high[1], _GRID))
    return np.stack([x, y], axis=-1).reshape(-1, 1, 2).astype(np.float32)


def _spread(points: np.ndarray) -> float:
    """How far points (P, 2) lie apart: the median of their distances."""
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return float(np.median(apart[np.triu_indices(len(points), 1)]))
