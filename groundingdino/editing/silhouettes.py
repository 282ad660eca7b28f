"""Silhouettes of what is in a box, and how alike two of them are."""

import cv2
import numpy as np

SMALL = 64  # pixels of a silhouette's side
GRAB_CUTS = 3  # rounds in which colours are learned and the silhouette is cut out by them


def cut_out(before: np.ndarray, box: tuple[float, float, float, float], changed: np.ndarray) -> np.ndarray:
    """What of a box is of other colours than what is around it (GrabCut, Rother et al. 2004), (SMALL, SMALL) bool.

    Args:
        before: (H, W, 3) uint8.
        box: x0, y0, x1, y1.
        changed: (h, w) bool, where in the box the fill changed something: it is the first guess.
    """
    guess = cv2.resize(changed.astype(np.float32), (SMALL, SMALL), interpolation=cv2.INTER_AREA) > 0.5
    margin = SMALL // 4
    x0, y0, x1, y1 = box
    x_step, y_step = (x1 - x0) / SMALL, (y1 - y0) / SMALL
    matrix = np.array([[x_step, 0, x0 - margin * x_step], [0, y_step, y0 - margin * y_step]], np.float32)
    side = SMALL + 2 * margin
    smooth = cv2.GaussianBlur(before, (0, 0), max(0.5, 0.4 * max(x_step, y_step)))
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(smooth, matrix, (side, side), flags=how, borderMode=cv2.BORDER_REPLICATE)
    labels = np.full((side, side), cv2.GC_BGD, np.uint8)
    inside = labels[margin:-margin, margin:-margin]
    inside[:] = np.where(guess, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    if guess.any():
        cv2.setRNGSeed(0)
        colours = np.zeros((1, 65)), np.zeros((1, 65))  # of the background, and of what is cut out
        cv2.grabCut(seen, labels, (0, 0, 1, 1), *colours, GRAB_CUTS, cv2.GC_INIT_WITH_MASK)
    found: np.ndarray = inside == cv2.GC_PR_FGD
    return found if found.any() else guess


def upright(silhouette: np.ndarray) -> np.ndarray:
    """A silhouette (H, W) bool as large as it fits into (SMALL, SMALL), in the middle of its lower edge."""
    result = np.zeros((SMALL, SMALL), bool)
    x, y, width, height = cv2.boundingRect(silhouette.view(np.uint8))
    if width:
        scale = SMALL / max(width, height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        part = silhouette[y : y + height, x : x + width].astype(np.float32)
        x = (SMALL - size[0]) // 2
        result[SMALL - size[1] :, x : x + size[0]] = cv2.resize(part, size, interpolation=cv2.INTER_AREA) > 0.5
    return result


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Mean distance in pixels from the outline of each silhouette, bool, to that of the other (Barrow et al. 1977)."""
    outlines = [
        cv2.morphologyEx(np.pad(each, 1).view(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        for each in (one, other)
    ]
    if not (outlines[0].any() and outlines[1].any()):
        return float(SMALL)
    first, second = (cv2.distanceTransform((~each).view(np.uint8), cv2.DIST_L2, 3) for each in outlines)
    return float(second[outlines[0]].mean() + first[outlines[1]].mean()) / 2
