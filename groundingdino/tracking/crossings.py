"""Things that pass each other, as a detector sees them: as one box around two. Pure geometry.

Such a box is the place of neither, but its edges are theirs: the left one is of that which is further left, and so on.
Their sizes were known before; so where each is follows from where both should be.
"""

import numpy as np

from groundingdino.tracking.matching import common, grown, iou

_AROUND = 0.6  # overlap of a box with that around two tracks from which it holds both
_BETTER = 0.05  # overlap by which it has to fit both together better than any track alone


def merged(found: np.ndarray, places: np.ndarray, same_phrase: np.ndarray) -> dict[int, tuple[int, int]]:
    """Which boxes hold two tracks, of which one at least has the box's phrase: index of the box -> of the two.

    Args:
        found: (D, 4) xyxy pixels.
        places: (T, 4), where tracks should be.
        same_phrase: (D, T) bool.
    """
    one, other = np.nonzero(np.triu(common(grown(places), grown(places)) > 0, 1))
    if not len(one) or not len(found):
        return {}
    around = np.concatenate(
        [np.minimum(places[one, :2], places[other, :2]), np.maximum(places[one, 2:], places[other, 2:])], axis=1
    )
    together = np.where(same_phrase[:, one] | same_phrase[:, other], iou(found, around), 0.0)
    least = np.maximum(iou(found, places).max(1) + _BETTER, _AROUND)
    best = together.argmax(1)
    return {
        int(index): (int(one[best[index]]), int(other[best[index]]))
        for index in np.flatnonzero(together.max(1) >= least)
    }


def parted(box: np.ndarray, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where two tracks are in a box around both, with the sizes that they have where they should be.

    Args:
        box, one, other: (4,) xyxy pixels.
    """
    found = np.empty((2, 4))
    for axis in (0, 1):
        low, high = box[axis], box[axis + 2]
        starts = np.array([one[axis], other[axis]])
        sizes = np.array([one[axis + 2], other[axis + 2]]) - starts
        within = np.clip(starts, low, np.maximum(high - sizes, low))
        middle = (low + high - sizes) / 2
        # Each ends the box on one side; or one fills it, and the other is anywhere within.
        ways = np.array(
            [[low, high - sizes[1]], [high - sizes[0], low], [middle[0], within[1]], [within[0], middle[1]]]
        )
        unlike = np.abs(ways - starts).sum(1) + np.array([0, 0, *np.abs(high - low - sizes)])
        found[:, axis] = ways[unlike.argmin()]
        found[:, axis + 2] = found[:, axis] + sizes
    return found[0], found[1]


def taken_apart(
    found: np.ndarray, scores: np.ndarray, places: np.ndarray, same_phrase: np.ndarray
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """What a look tells of tracks that pass each other; arguments as those of `merged`, with scores (D,).

    Returns:
        The indices of the boxes that hold one thing each; track -> (4,) where it is in a box around two, the surest.
    """
    held, apart = merged(found, places, same_phrase), dict[int, np.ndarray]()
    for index in sorted(held, key=lambda index: -scores[index]):
        one, other = held[index]
        if one not in apart and other not in apart:
            apart[one], apart[other] = parted(found[index], places[one], places[other])
    return np.array([index for index in range(len(found)) if index not in held], int), apart
