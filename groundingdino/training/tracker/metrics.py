"""How well tracks are those of truth: MOTA, IDF1 and HOTA as the field counts them, and what a crossing costs.

The numbers are those of TrackEval 1.3, which the tests have of noisy tracks. A thing of which too little is seen to be
asked for is neither missed nor, where it is followed all the same, an error.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from groundingdino.tracking.matching import iou

_ALPHAS = np.arange(0.05, 0.99, 0.05)  # of HOTA: overlaps from which two boxes are the same
_SAME = 0.5  # the overlap of MOTA and IDF1


@dataclass(frozen=True, eq=False)
class Moment:
    """One frame: what is true and what was followed.

    Attributes:
        true_ids, found_ids: (N,), (M,) whole numbers.
        overlap: (N, M) IoU in [0, 1].
    """

    true_ids: np.ndarray
    found_ids: np.ndarray
    overlap: np.ndarray


@dataclass(frozen=True)
class Scores:
    """MOTA may be below 0; the others are in [0, 1]; switches are ids that a thing changed to."""

    mota: float
    idf1: float
    hota: float
    switches: int


def moment(
    true_ids: np.ndarray, true_boxes: np.ndarray, counts: np.ndarray, found_ids: np.ndarray, found_boxes: np.ndarray
) -> Moment:
    """A frame, without what does not count and what follows that.

    Args:
        true_boxes, found_boxes: (N, 4), (M, 4) xyxy pixels.
        counts: (N,) bool.
    """
    overlap = iou(true_boxes, found_boxes)
    rows, columns = linear_sum_assignment(-np.where(overlap >= _SAME, overlap, 0))
    excused = [
        column for row, column in zip(rows, columns, strict=True) if overlap[row, column] >= _SAME and not counts[row]
    ]
    kept = np.setdiff1d(np.arange(len(found_ids)), excused)
    return Moment(np.asarray(true_ids)[counts], np.asarray(found_ids)[kept], overlap[counts][:, kept])


def score(moments: Iterable[Moment]) -> Scores:
    """The scores of a video."""
    moments = _renumbered(list(moments))
    mota, switches = _clear(moments)
    return Scores(mota, _idf1(moments), _hota(moments), switches)


def joined(videos: Iterable[Iterable[Moment]]) -> list[Moment]:
    """Several videos as one, in which no two share an id."""
    result, most = [], 0
    for video in videos:
        shifted = [Moment(one.true_ids + most, one.found_ids + most, one.overlap) for one in video]
        most = max([most, *(int(ids.max()) for one in shifted for ids in (one.true_ids, one.found_ids) if len(ids))])
        result += shifted
    return result


def _renumbered(moments: list[Moment]) -> list[Moment]:
    """Ids from 0 on."""
    numbers = []
    for name in ("true_ids", "found_ids"):
        every = np.unique(np.concatenate([getattr(one, name) for one in moments] or [np.empty(0, int)]))
        numbers.append({int(value): place for place, value in enumerate(every)})
    true, found = numbers
    return [
        Moment(
            np.array([true[int(value)] for value in one.true_ids], int),
            np.array([found[int(value)] for value in one.found_ids], int),
            one.overlap,
        )
        for one in moments
    ]


def _counts(moments: list[Moment]) -> tuple[np.ndarray, np.ndarray]:
    """Frames of each true and of each found id."""
    return tuple(  # type: ignore[return-value]
        np.bincount(np.concatenate([getattr(one, name) for one in moments] or [np.empty(0, int)]).astype(int))
        for name in ("true_ids", "found_ids")
    )


def _clear(moments: list[Moment]) -> tuple[float, int]:
    """MOTA and switches (Bernardin and Stiefelhagen, 2008): a pair of the frame before is kept where it still fits."""
    last: dict[int, int] = {}  # the id that a thing was last matched with
    before: dict[int, int] = {}  # and in the frame before
    missed = wrong = switches = 0
    for one in moments:
        kept = np.array([[before.get(int(true)) == int(found) for found in one.found_ids] for true in one.true_ids])
        worth = np.where(one.overlap >= _SAME, one.overlap + 1000.0 * kept.reshape(one.overlap.shape), 0)
        rows, columns = linear_sum_assignment(-worth)
        pairs = [(row, column) for row, column in zip(rows, columns, strict=True) if worth[row, column] > 0]
        before = {}
        for row, column in pairs:
            true, found = int(one.true_ids[row]), int(one.found_ids[column])
            switches += last.get(true, found) != found
            last[true] = before[true] = found
        missed += len(one.true_ids) - len(pairs)
        wrong += len(one.found_ids) - len(pairs)
    there = sum(len(one.true_ids) for one in moments)
    return 1 - (missed + wrong + switches) / max(there, 1), switches


def _idf1(moments: list[Moment]) -> float:
    """Ristani et al., 2016: the one-to-one mapping of ids under which most boxes are right."""
    true_counts, found_counts = _counts(moments)
    common = np.zeros((len(true_counts), len(found_counts)))
    for one in moments:
        rows, columns = np.nonzero(one.overlap >= _SAME)
        np.add.at(common, (one.true_ids[rows], one.found_ids[columns]), 1)
    right = common[linear_sum_assignment(-common)].sum()
    return float(2 * right / max(true_counts.sum() + found_counts.sum(), 1))


def _hota(moments: list[Moment]) -> float:
    """Luiten et al., 2020: the mean over alphas of the geometric mean of finding and of keeping."""
    true_counts, found_counts = _counts(moments)
    if not len(true_counts) or not len(found_counts):
        return 0.0
    potential = np.zeros((len(true_counts), len(found_counts)))
    for one in moments:
        shared = one.overlap.sum(0)[None] + one.overlap.sum(1)[:, None] - one.overlap
        ratio = np.where(shared > 0, one.overlap / np.maximum(shared, 1e-9), 0)
        potential[one.true_ids[:, None], one.found_ids[None]] += ratio
    together = potential / (true_counts[:, None] + found_counts[None] - potential)
    matches = np.zeros((len(_ALPHAS), *potential.shape))
    hits = np.zeros(len(_ALPHAS))
    for one in moments:
        if not one.overlap.size:
            continue
        worth = together[one.true_ids[:, None], one.found_ids[None]] * one.overlap
        rows, columns = linear_sum_assignment(-worth)
        for place, alpha in enumerate(_ALPHAS):
            fits = one.overlap[rows, columns] >= alpha - np.finfo(float).eps
            hits[place] += fits.sum()
            np.add.at(matches[place], (one.true_ids[rows[fits]], one.found_ids[columns[fits]]), 1)
    total = true_counts.sum() + found_counts.sum() - hits
    detection = hits / np.maximum(total, 1)
    either = true_counts[:, None] + found_counts[None] - matches
    association = (matches * matches / np.maximum(either, 1)).sum((1, 2)) / np.maximum(hits, 1)
    return float(np.sqrt(detection * association).mean())
