"""What a prompt can mean, as the mask decoder answers it."""

from typing import NamedTuple

import numpy as np
from segment_anything.utils.amg import calculate_stability_score
from torch import Tensor

from groundingdino.close_ups import Part
from groundingdino.masks import Size

STABILITY_OFFSET = 1.0  # of logits, as published


class Candidates(NamedTuple):
    """What one prompt can mean, best first."""

    logits: Tensor  # (3, h, w) of the padded square that the model sees, or of a part of the picture
    quality: Tensor  # (3,) predicted IoU
    part: Part  # which of the two

    def box(self, size: Size) -> np.ndarray | None:
        """Around the best mask, (4,) xyxy in pixels of the picture; None if it is empty."""
        inside = (self.logits[0] > 0).cpu().numpy()
        if not inside.any():
            return None
        edges = []
        for axis in (0, 1):
            covered = np.flatnonzero(inside.any(axis))
            cell = (self.part[axis + 2] - self.part[axis]) / inside.shape[1 - axis]
            edges.append(self.part[axis] + cell * np.array([covered[0], covered[-1] + 1]))
        (x0, x1), (y0, y1) = edges
        return np.clip([x0, y0, x1, y1], 0, [*size, *size])

    def stability(self) -> float:
        """How little the best mask changes with its cut-off: an IoU in [0, 1], as segment-anything's generator has."""
        return float(calculate_stability_score(self.logits[:1], 0.0, STABILITY_OFFSET).nan_to_num())
