"""Which detection is which track: Hungarian matching on place, phrase and colours. Pure geometry and numbers."""

import cv2
import numpy as np
import supervision as sv
from scipy.optimize import linear_sum_assignment

from groundingdino.detection.objects import labels_of

Name = tuple[int, str]  # class id and phrase

_REACH = 0.25  # of a box's sides by which it grows on each side, so that what moved by its own size still touches
_LEAST_OVERLAP = 0.08  # of boxes grown so
_OTHER_PHRASE = 0.45  # overlap from which another phrase can be the same thing, which the detector names otherwise
_LEAST_ALIKE = 0.35  # of colours
_SAME_PLACE = 0.7  # overlap from which a weaker box is the same thing by another name
_WITHIN = 0.75  # share of the smaller of two boxes of one phrase from which it is a part of the same thing
_HIDES = 0.35  # share of the smaller of two boxes from which one may hide the other
_TWINS = 0.5  # share of the larger of two boxes from which the smaller is of about its size
_SAME, _SAME_THING = 0.4, 0.6  # overlap of masks from which one is the other: of one phrase, and of another
_INSIDE = 0.75  # share of the smaller of two masks from which it is a part of the other
_BINS = (6, 8, 8)  # of lightness and two axes of colour
_SIDE = 24  # pixels of the copy of a box's content that colours are counted in

_ELLIPSE = cv2.ellipse(
    np.zeros((_SIDE, _SIDE), np.uint8), ((_SIDE / 2, _SIDE / 2), (0.85 * _SIDE, 0.85 * _SIDE), 0), 1, cv2.FILLED
)


def match(
    tracks: np.ndarray, found: np.ndarray, same_phrase: np.ndarray, alike: np.ndarray
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Pairs tracks with detections, each at most once, so that all together fit best.

    Args:
        tracks: (T, 4) xyxy pixels, where they should be.
        found: (D, 4) xyxy pixels.
        same_phrase: (T, D) bool.
        alike: (T, D) in [0, 1], how alike their colours are.

    Returns:
        Pairs of indices; the tracks without a detection; the detections without a track.
    """
    overlap = iou(grown(tracks), grown(found))
    fits = (overlap >= _LEAST_OVERLAP) & (alike >= _LEAST_ALIKE) & (same_phrase | (overlap >= _OTHER_PHRASE))
    worth = np.where(fits, 0.6 * overlap + 0.3 * alike + 0.1 * same_phrase, 0.0)
    rows, columns = linear_sum_assignment(-worth) if worth.size else ((), ())
    pairs = [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if fits[row, column]]
    left = sorted(set(range(len(tracks))) - {row for row, _ in pairs})
    new = sorted(set(range(len(found))) - {column for _, column in pairs})
    return pairs, left, new


def match_masks(
    followed: sv.CompactMask,
    found: sv.CompactMask,
    names: list[Name],
    found_names: list[Name],
) -> tuple[list[tuple[int, int]], list[int]]:
    """Pairs what is followed with what was found, by overlap and phrase; and what was found that is new.

    What lies in something of its phrase that is followed, or around it, is no second thing.
    """
    if not len(followed) or not len(found):
        return [], list(range(len(found)))
    overlap = sv.mask_iou_batch(followed, found)
    same = np.array([[name == other for other in found_names] for name in names], bool)
    fits = overlap >= np.where(same, _SAME, _SAME_THING)
    rows, columns = linear_sum_assignment(-np.where(fits, overlap + 0.2 * same, 0.0))
    pairs = [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if fits[row, column]]
    taken = {column for _, column in pairs}
    within = (sv.mask_iou_batch(followed, found, sv.OverlapMetric.IOS) >= _INSIDE) & same
    known = fits.any(0) | within.any(0)
    return pairs, [column for column in range(len(found)) if column not in taken and not known[column]]


def names_of(objects: sv.Detections) -> list[Name]:
    """Class id and phrase of each."""
    numbers = objects.class_id if objects.class_id is not None else np.zeros(len(objects), int)
    return [(int(number), label) for number, label in zip(numbers, labels_of(objects), strict=True)]


def ids_of(objects: sv.Detections) -> list[int]:
    """Of which track each is; none where these are no tracks."""
    return [] if objects.tracker_id is None else objects.tracker_id.tolist()


def distinct(boxes: np.ndarray, scores: np.ndarray, phrases: np.ndarray) -> np.ndarray:
    """Which of a look's N boxes are of things of their own, best first.

    A box in the place of a better one is the same thing by another name; one in a better one of its phrase, or around
    it, is a part of it: a detector keeps such, and two tracks of one thing would take each other's boxes.
    """
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        shared = common(boxes[kept], boxes[index : index + 1])[:, 0]
        overlap = iou(boxes[kept], boxes[index : index + 1])
        smaller = np.minimum(areas(boxes[kept]), areas(boxes[index : index + 1]))
        within = (shared >= _WITHIN * smaller) & (phrases[kept] == phrases[index])
        if not (within.any() or (overlap >= _SAME_PLACE).any()):
            kept.append(int(index))
    return np.array(kept, int)


def entangled(boxes: np.ndarray) -> np.ndarray:
    """(N, N) bool: which of N boxes (N, 4) hide each other, more or less; none does itself."""
    smaller = np.minimum.outer(areas(boxes), areas(boxes))
    hide = common(boxes, boxes) >= _HIDES * np.maximum(smaller, 1e-9)
    np.fill_diagonal(hide, False)
    return hide


def alike_in_size(boxes: np.ndarray) -> np.ndarray:
    """(N, N) bool: which of N boxes (N, 4) could be taken for each other, as none is far larger."""
    sizes = np.maximum(areas(boxes), 1e-9)
    return np.minimum.outer(sizes, sizes) >= _TWINS * np.maximum.outer(sizes, sizes)


def iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(N, M): intersection over union of boxes (N, 4) and (M, 4), xyxy; 0 where both are empty."""
    one, other = np.asarray(one, np.float64).reshape(-1, 4), np.asarray(other, np.float64).reshape(-1, 4)
    shared = common(one, other)
    return shared / np.maximum(areas(one)[:, None] + areas(other)[None] - shared, 1e-9)


def common(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(N, M): pixels that two boxes share."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    return np.prod(np.clip(high - low, 0, None), axis=2)


def areas(boxes: np.ndarray) -> np.ndarray:
    """(N,): pixels of boxes (N, 4)."""
    return np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)


def grown(boxes: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) larger by `_REACH` on each side."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    margin = _REACH * np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)


def colours_of(pixels: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """The colours in the ellipse of a box, as the square root of their shares, so that a product tells how alike two
    are; None where the box has no pixel in the picture (H, W, 3) uint8."""
    height, width = pixels.shape[:2]
    x0, y0 = np.clip(np.floor(box[:2]), 0, (width, height)).astype(int)
    x1, y1 = np.clip(np.ceil(box[2:]), 0, (width, height)).astype(int)
    if x1 <= x0 or y1 <= y0:
        return None
    small = cv2.resize(pixels[y0:y1, x0:x1], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    # Most colours lie around the middle of both axes; the strong ones share the outer bins.
    lab[..., 1:] = np.clip(lab[..., 1:], 64, 191)
    count = cv2.calcHist([lab], [0, 1, 2], _ELLIPSE, list(_BINS), [0, 256, 64, 192, 64, 192]).ravel()
    return np.sqrt(count / max(float(count.sum()), 1.0))
