"""Masks that a detector makes with its boxes: coarse ones of its queries, from which those of detections are drawn."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import supervision as sv
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from groundingdino.inputs.coordinates import Size

LEAST_SCORE = 0.05  # of queries whose masks are kept: what scores less is no object, and masks are large
_MOST = 255  # what a probability of 1 is kept as


class QueryMasks(NamedTuple):
    """Masks of some queries of a grounding."""

    rows: np.ndarray  # (M,) int, which query each is of
    probabilities: np.ndarray  # (M, h, w) uint8, of 255, over the whole picture
    size: Size  # (width, height) of the picture

    @classmethod
    def of_queries(cls, logits: Tensor, scores: Tensor, size: Size) -> "QueryMasks":
        """Those of queries that score enough, for logits (Q, h, w) and scores (Q,)."""
        rows = (scores > LEAST_SCORE).nonzero()[:, 0]
        probabilities = (_MOST * logits[rows].float().sigmoid()).round().to(torch.uint8)
        return cls(rows.cpu().numpy(), probabilities.cpu().numpy(), size)

    @classmethod
    def joined(cls, parts: "Sequence[QueryMasks]") -> "QueryMasks | None":
        """All of some groundings of one picture that were put below each other; None where there are none."""
        if not parts:
            return None
        rows, probabilities = (np.concatenate(arrays) for arrays in zip(*(part[:2] for part in parts), strict=True))
        return cls(rows, probabilities, parts[0].size)

    def moved(self, rows: int) -> "QueryMasks":
        """The same of queries that many rows further down."""
        return self._replace(rows=self.rows + rows)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.rows.nbytes + self.probabilities.nbytes

    def draw(self, queries: np.ndarray) -> sv.CompactMask:
        """(N, H, W) masks of queries (N,), each one of `rows`, as large as the picture."""
        shape = self.size[::-1]
        places = {int(row): place for place, row in enumerate(self.rows)}
        masks = [sv.CompactMask.from_dense(np.empty((0, *shape), bool), np.empty((0, 4)), shape)]
        for query in queries:  # one by one: all at once are gigabytes of large pictures
            coarse = torch.from_numpy(self.probabilities[places[int(query)]]).float()[None, None]
            fine = interpolate(coarse, shape, mode="bilinear", align_corners=False)
            mask = (fine[0, 0] > _MOST / 2).numpy()
            x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
            masks.append(
                sv.CompactMask.from_dense(mask[None], np.array([[x, y, x + width - 1, y + height - 1]]), shape)
            )
        return sv.CompactMask.merge(masks)
