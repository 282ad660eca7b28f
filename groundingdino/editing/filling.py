"""Fill a hole in a picture with patches from around it, without a model.

Coarse to fine (Wexler et al. 2007): at each scale every patch that touches the hole looks for the nearest one outside
it (PatchMatch, Barnes et al. 2009), and the hole's pixels become what the patches over them say. How busy the
neighbourhood of a pixel is counts as a fourth channel (Newson et al. 2014), without which plain patches drive out the
others. At the end what remains of a seam is spread inwards.
"""

from typing import NamedTuple

import cv2
import numpy as np
from scipy.ndimage import binary_dilation

from groundingdino.editing.crops import Crop

try:
    from groundingdino.kernels import patch_match
except ImportError:  # numba is not there: the colours around the hole are continued, without their texture
    patch_match = None  # type: ignore[assignment]

FILL_SIZE = 1200  # pixels: the side of the square that has as many as are looked at
CONTEXT = 0.6  # how much around the hole is looked at, as a share of its longer side, on each side
_SMALLEST_HOLE = 2.5  # pixels from the hole's middle to its edge at the coarsest scale
_SMALLEST_SIDE = 40  # pixels: a picture that is smaller is not reduced
_ROUNDS = (4, 6, 10)  # of search and vote: at the finest scale, the next, and all others
_FEW_ROUNDS = 1  # at a scale of more than `_LARGE` pixels
_LARGE = 100_000
_RIM = 1.0  # how far around the hole it is looked for what belongs into it, as a share of the hole's depth
_BINS = np.array([24, 24, 24, 48], np.float32)  # colours and texture that are taken for the same
_MOST_BIN = 10
_NEAR = 8  # pixels around what was found before, in which later rounds look
_TEXTURE = 2.0  # weight of the fourth channel
_SHARP = 0.1  # share of the usual distance beyond which a patch has no say, in the last round; 1 in the others
_KNOWN = 1.3  # how much more a patch counts that is a pixel closer to the hole's edge
_SEAM = 40  # grey levels: larger steps at the hole's edge are the picture's own
_SEAM_FADES = 0.9  # with each pixel into the hole


class _Level(NamedTuple):
    pixels: np.ndarray  # (H, W, 4) float32
    hole: np.ndarray  # (H, W) bool


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
    """The picture (H, W, 3) uint8 with another content where `hole` (H, W) bool says; some of it must be known."""
    levels = _pyramid(pixels, hole) if patch_match is not None else []
    if not levels:
        return np.where(hole[..., None], _continued(pixels, hole), pixels)
    guess, nearest = _coarsest_guess(levels[-1]), None
    for depth in reversed(range(len(levels))):
        guess, nearest = _refine(levels[depth], guess, nearest, depth)
    filled = np.clip(guess[..., :3] + 0.5, 0, 255).astype(np.uint8)
    return np.where(hole[..., None], filled, pixels)


def _pyramid(pixels: np.ndarray, hole: np.ndarray) -> list[_Level]:
    """The picture at ever smaller scales, each half of the one before; [] if no whole patch of it is known."""
    levels = [_Level(np.dstack([pixels.astype(np.float32), _texture(pixels, hole)]), hole)]
    if not _usable(hole).any():
        return []
    while _depth_of(levels[-1].hole).max() > _SMALLEST_HOLE and min(levels[-1].hole.shape) >= _SMALLEST_SIDE:
        smaller = _half(levels[-1])
        if not _usable(smaller.hole).any():
            break
        levels.append(smaller)
    return levels


def _half(level: _Level) -> _Level:
    height, width = level.hole.shape
    size = ((width + 1) // 2, (height + 1) // 2)
    known = (~level.hole).astype(np.float32)
    share = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(level.pixels * known[..., None], size, interpolation=cv2.INTER_AREA)
    return _Level(total / np.maximum(share, 1e-6)[..., None], share < 1 - 1e-3)


def _texture(pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """How busy the neighbourhood of each pixel is, (H, W) float32 in [0, 255]; of a hole, as far as it is known."""
    size = (2 * patch_match.RADIUS + 1,) * 2
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    steps = sum(np.abs(cv2.Sobel(grey, cv2.CV_32F, *axis, scale=0.25)) for axis in ((1, 0), (0, 1)))
    known = cv2.erode((~hole).view(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    busy = cv2.blur(steps * known, size) / np.maximum(cv2.blur(known, size), 1e-3)
    return np.minimum(_TEXTURE * busy, 255)


def _continued(pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The hole's edges continued into it (OpenCV's Navier-Stokes); of (H, W) or (H, W, 3) uint8."""
    return cv2.inpaint(np.ascontiguousarray(pixels), hole.view(np.uint8), 3, cv2.INPAINT_NS)


def _coarsest_guess(level: _Level) -> np.ndarray:
    pixels = np.clip(level.pixels, 0, 255).astype(np.uint8)
    return np.dstack([_continued(part, level.hole) for part in (pixels[..., :3], pixels[..., 3])]).astype(np.float32)


def _usable(hole: np.ndarray) -> np.ndarray:
    """(H, W) bool, the middles of patches that are known as a whole."""
    known = np.pad(~hole, 1)  # what is beyond the picture is not known
    return cv2.erode(known.view(np.uint8), _patch())[1:-1, 1:-1].astype(bool)


def _like_rim(level: _Level) -> np.ndarray:
    """(H, W) bool, the usable patches that are about as light, coloured and busy as some pixel around the hole.

    Without this, whole objects are copied from elsewhere in the picture.
    """
    usable = _usable(level.hole)
    bins = np.minimum(level.pixels / _BINS, _MOST_BIN).astype(np.intp)
    reach = max(2 * patch_match.RADIUS, round(_RIM * float(_depth_of(level.hole).max())))
    grown = cv2.dilate(level.hole.view(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)).astype(bool)
    seen = np.zeros((_MOST_BIN + 1,) * bins.shape[2], bool)
    seen[tuple(bins[grown & ~level.hole].T)] = True
    alike = binary_dilation(seen, np.ones((3,) * seen.ndim, bool))[tuple(bins.transpose(2, 0, 1))] & usable
    return alike if alike.any() else usable


def _patch() -> np.ndarray:
    return np.ones((2 * patch_match.RADIUS + 1,) * 2, np.uint8)


def _depth_of(hole: np.ndarray) -> np.ndarray:
    """Pixels from each pixel to the nearest known one, (H, W) float32."""
    return cv2.distanceTransform(hole.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)


def _refine(level: _Level, guess: np.ndarray, nearest: np.ndarray | None, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture (H, W, 4) float32 and the nearest patches at a scale, from those of half of it."""
    radius = patch_match.RADIUS
    height, width = level.hole.shape
    # Patches reach beyond the picture's edge, which mirrors what is known or guessed.
    usable = np.pad(_like_rim(level), radius)
    places = np.argwhere(np.pad(cv2.dilate(level.hole.view(np.uint8), _patch()), radius)).astype(np.int32)
    nearest = _placed(nearest, places, usable)
    known = _Patches(_mirrored(level.pixels))
    near_edge = np.pad(_KNOWN ** -_depth_of(level.hole), radius).astype(np.float32)
    is_first = guess.shape[:2] == level.hole.shape
    if not is_first:
        guess = cv2.resize(guess, (width, height), interpolation=cv2.INTER_LINEAR)
    guess = np.where(level.hole[..., None], guess, level.pixels)
    rounds = _ROUNDS[min(depth, len(_ROUNDS) - 1)] if level.hole.size <= _LARGE else _FEW_ROUNDS
    cost = np.zeros(usable.shape, np.float32)
    if not is_first:  # else the blur of what was enlarged would look for blurred patches
        now = _Patches(_mirrored(guess))
        patch_match.measure(now.rows, known.rows, now.means, known.means, places, nearest, cost)
        guess = _voted(level, now, known, places, nearest, cost, near_edge, sharpness=1, seamless=False)
    for turn in range(rounds):
        now = _Patches(_mirrored(guess))
        patch_match.measure(now.rows, known.rows, now.means, known.means, places, nearest, cost)
        widely = is_first or (turn == 0 and level.hole.size <= _LARGE)
        for again in range(2 if depth else 1):
            patch_match.sweep(
                *(now.rows, known.rows, now.means, known.means, usable, places, nearest, cost),
                bool((turn + again) % 2),
                max(height, width) if widely else _NEAR,
                7 * turn + again + 1,
            )
        is_last = depth == 0 and turn == rounds - 1
        guess = _voted(level, now, known, places, nearest, cost, near_edge, _SHARP if is_last else 1, is_last)
    return guess, nearest


class _Patches:
    """A picture (H, W, 4) as `patch_match` reads it, with the mean of each patch."""

    def __init__(self, pixels: np.ndarray):
        side = 2 * patch_match.RADIUS + 1
        self.pixels = pixels
        self.rows = np.ascontiguousarray(pixels.reshape(len(pixels), -1), np.float32)
        self.means = cv2.blur(pixels, (side, side)).reshape(len(pixels), -1)


def _mirrored(pixels: np.ndarray) -> np.ndarray:
    return cv2.copyMakeBorder(pixels, *(patch_match.RADIUS,) * 4, cv2.BORDER_REFLECT)


def _placed(nearest: np.ndarray | None, places: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Where each place begins to look: at what was found at half the scale, else anywhere. (H, W, 2) int32."""
    radius = patch_match.RADIUS
    found = np.full((len(places), 2), -1, np.int32)
    if nearest is not None:
        inside = places - radius
        half = np.minimum(inside // 2 + radius, np.array(nearest.shape[:2]) - radius - 1)
        coarse = nearest[half[:, 0], half[:, 1]]
        found = np.where(coarse >= 0, 2 * (coarse - radius) + inside % 2 + radius, -1).astype(np.int32)
        found = np.minimum(found, np.array(usable.shape, np.int32) - 1)
    lost = (found[:, 0] < 0) | ~usable[found[:, 0], found[:, 1]]
    anywhere = np.argwhere(usable).astype(np.int32)
    found[lost] = anywhere[np.random.default_rng(0).integers(len(anywhere), size=int(lost.sum()))]
    placed = np.full((*usable.shape, 2), -1, np.int32)
    placed[places[:, 0], places[:, 1]] = found
    return placed


def _voted(
    level: _Level,
    now: _Patches,
    known: _Patches,
    places: np.ndarray,
    nearest: np.ndarray,
    cost: np.ndarray,
    near_edge: np.ndarray,
    sharpness: float,
    seamless: bool,
) -> np.ndarray:
    """The picture (H, W, 4) float32 whose hole is what the patches over it say."""
    radius, (y, x) = patch_match.RADIUS, places.T
    apart = cost[y, x] / patch_match.AREA / 3
    usual = max(float(np.median(apart)) * sharpness, 0.5)
    weights = np.zeros(cost.shape, np.float32)
    weights[y, x] = np.exp(-apart / (2 * usual)) * near_edge[y, x] + 1e-8
    votes = np.zeros((*cost.shape, patch_match.CHANNELS + 1), np.float32)
    patch_match.vote(known.rows, now.means, known.means, places, nearest, weights, votes)
    votes = votes[radius:-radius, radius:-radius]
    said = votes[..., :-1] / np.maximum(votes[..., -1:], 1e-12)
    if seamless:
        said[..., :3] += _seam(level, said, votes[..., -1] > 0)
    return np.where(level.hole[..., None], np.clip(said, 0, 255), level.pixels)


def _seam(level: _Level, said: np.ndarray, voted: np.ndarray) -> np.ndarray:
    """What is missing at the hole's edge, spread into it and fading with each pixel, (H, W, 3) float32."""
    grown = cv2.dilate(level.hole.view(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    edge = grown & ~level.hole & voted
    missing = np.where(edge[..., None], np.clip(level.pixels - said, -_SEAM, _SEAM), 0)[..., :3]
    fading = (_SEAM_FADES ** _depth_of(level.hole))[..., None]
    return _spread(missing.astype(np.float32), edge.astype(np.float32)) * fading


def _spread(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values (H, W, 3) that are known where weights (H, W) in [0, 1] are, spread to all pixels (push and pull)."""
    if max(weights.shape) <= 2:
        mean = (values * weights[..., None]).sum((0, 1)) / max(float(weights.sum()), 1e-9)
        return np.broadcast_to(mean, values.shape)
    height, width = weights.shape
    size = ((width + 1) // 2, (height + 1) // 2)
    total = cv2.resize(values * weights[..., None], size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(weights, size, interpolation=cv2.INTER_AREA)
    coarse = _spread(total / np.maximum(share, 1e-9)[..., None], np.minimum(4 * share, 1))
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return values * weights[..., None] + smooth * (1 - weights[..., None])
