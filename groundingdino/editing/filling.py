"""Fill a hole in a picture with patches from around it, without a model.

Coarse to fine (Wexler et al. 2007): at each scale every patch that touches the hole looks for the nearest one outside
it, and the hole's pixels become what the patches over them say, see `patch_voting`. At the coarsest scale colours run
into each other, and edges go astray that a finer one would have continued: several scales begin, and the best goes on.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from groundingdino.editing.crops import Crop

try:
    from groundingdino.editing import patch_voting
except ImportError:  # numba is not there: the colours around the hole are continued, without their texture
    patch_voting = None  # type: ignore[assignment]

FILL_SIZE = 1200  # pixels: the side of a square with as many pixels as are searched
CONTEXT = 0.6  # how much around the hole is searched, as a share of its longer side, on each side
_SMALLEST_HOLE = 2.5  # pixels from the hole's middle to its edge at the coarsest scale
_SMALLEST_SIDE = 40  # pixels: a picture that is smaller is not reduced
_STARTS = 4  # scales at which a fill begins, from the coarsest on
_ALIKE = 1.03  # times the smallest distance of patches: about as good
_MEET = 1  # halvings of the picture at the scale where they are compared, after a round
_ROUNDS = (4, 6, 6, 10)  # of search and vote: at the finest scale, the next two, and all others; one where it is large


def fill(pixels: np.ndarray, mask: np.ndarray, alpha: np.ndarray) -> tuple[Crop, np.ndarray]:
    """What might be in the place of a mask; the same each time.

    Args:
        pixels: (H, W, 3) uint8.
        mask: (H, W) bool, what is filled.
        alpha: (H, W) uint8, the mask with its soft edge.

    Returns:
        Where it lies, and (h, w, 3) uint8 at the size of that rectangle: the picture itself outside the mask.

    Raises:
        ValueError: the mask covers the whole picture.
    """
    crop = Crop.around(alpha, FILL_SIZE, CONTEXT, multiple=1)
    if crop.scale > 1:
        x0, y0, x1, y1 = crop.box
        crop = Crop(crop.box, (x1 - x0, y1 - y0), (x1 - x0, y1 - y0))
    hole = crop.cut_mask(mask, 1)
    if hole.all():
        raise ValueError("The mask covers the whole picture: there is nothing around it to fill it with.")
    return crop, crop.uncut(fill_hole(crop.cut(pixels), hole))


def fill_hole(pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) uint8 with other content where `hole` (H, W) bool is True; some of it must be known."""
    scales = _pyramid(pixels, hole) if patch_voting is not None else []
    if not scales:
        return np.where(hole[..., None], continued(pixels, hole), pixels)
    meet, last = min(_MEET, len(scales) - 1), len(scales) - 1
    starts = range(min(last, max(meet + 1, last - _STARTS + 1)), last + 1)
    for scale in scales[meet:]:
        scale.prepare()
    with ThreadPoolExecutor(min(len(starts), os.cpu_count() or 1)) as pool:
        # From the finest on, which copies least from afar.
        grown = list(pool.map(lambda start: _grown_from(scales, start, meet), starts))
    found = next(each for each in grown if each.apart <= _ALIKE * min(other.apart for other in grown))
    found = scales[meet].improve(found, max(1, _rounds(scales, meet) - 1), finest=meet == 0)
    for depth in reversed(range(meet)):
        found = scales[depth].improve(scales[depth].enlarge(found), _rounds(scales, depth), finest=depth == 0)
    filled = np.clip(found.pixels[..., :3] + 0.5, 0, 255).astype(np.uint8)
    return np.where(hole[..., None], filled, pixels)


def continued(pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The hole's edges continued into it (OpenCV's Telea 2004); of (H, W) or (H, W, 3) uint8."""
    return cv2.inpaint(np.ascontiguousarray(pixels), hole.view(np.uint8), 3, cv2.INPAINT_TELEA)


def _pyramid(pixels: np.ndarray, hole: np.ndarray) -> list["patch_voting.Scale"]:
    """The picture at ever smaller scales, each half of the one before; [] if no whole patch of it is known."""
    scales = [patch_voting.Scale.of(pixels, hole)]
    if not scales[0].is_usable:
        return []
    while scales[-1].depth > _SMALLEST_HOLE and min(scales[-1].hole.shape) >= _SMALLEST_SIDE:
        smaller = scales[-1].half()
        if not smaller.is_usable:
            break
        scales.append(smaller)
    return scales


def _grown_from(scales: list["patch_voting.Scale"], start: int, meet: int) -> "patch_voting.Found":
    """What comes of colours continued at one scale, at that where all meet."""
    scale = scales[start]
    guess = np.dstack([continued(part, scale.hole) for part in scale.colours_and_texture])
    found = scale.improve(scale.begin(guess), 1 if start == meet else _rounds(scales, start), widely=True)
    for depth in reversed(range(meet, start)):
        rounds = 1 if depth == meet else _rounds(scales, depth)
        found = scales[depth].improve(scales[depth].enlarge(found), rounds)
    return found


def _rounds(scales: list["patch_voting.Scale"], depth: int) -> int:
    return 1 if scales[depth].is_large else _ROUNDS[min(depth, len(_ROUNDS) - 1)]
