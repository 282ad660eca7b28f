"""One scale of a picture whose hole is filled: patches look for the nearest outside it, and vote for its pixels.

The search is PatchMatch (Barnes et al. 2009). How busy the neighbourhood of a pixel is counts as a fourth channel
(Newson et al. 2014), without which plain patches drive out the others. At the end what remains of a seam is spread
inwards.
"""

from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from scipy.ndimage import binary_dilation
from typing_extensions import Self

from groundingdino.kernels import patch_match
from groundingdino.kernels.patch_match import RADIUS

# Where so much of a pixel of the smaller picture is known, it is. Were it all, the hole would grow with each scale, and
# what shows between its parts would be lost.
_KNOWN_SHARE = 0.1
_RIM = 1.0  # how far around the hole it is looked for what belongs into it, as a share of the hole's depth
_BINS = np.array([24, 24, 24, 48], np.float32)  # colours and texture that are taken for the same
_MOST_BIN = 10
_NEAR = 8  # pixels around what was found before, in which later rounds look
_LARGE = 100_000  # pixels: scales that have more look that near in their first round, too
_TEXTURE = 2.0  # weight of the fourth channel
_SHARP = 0.1  # share of the usual distance beyond which a patch has no say, in the last round; 1 in the others
_KNOWN = 1.3  # how much more a patch counts that is a pixel closer to the hole's edge
_SEAM = 40  # grey levels: larger steps at the hole's edge are the picture's own
_SEAM_FADES = 0.9  # with each pixel into the hole
_PATCH = np.ones((2 * RADIUS + 1,) * 2, np.uint8)


class Found(NamedTuple):
    """A picture whose hole is filled, and with what.

    Attributes:
        pixels: (H, W, 4) float32.
        nearest: (H + 2 * RADIUS, W + 2 * RADIUS, 2) int32, the place of the nearest patch of each that touches the
            hole, -1 elsewhere.
        apart: Mean squared distance of those patches, how little they agree; infinite before they are looked for.
    """

    pixels: np.ndarray
    nearest: np.ndarray
    apart: float = np.inf


class Scale:
    """A picture, (H, W, 4) float32 of colours and texture in [0, 255], with a hole (H, W) bool.

    Patches reach beyond the picture's edge, which mirrors what is known or guessed: places count that border.
    """

    def __init__(self, pixels: np.ndarray, hole: np.ndarray):
        self.pixels, self.hole = pixels, hole
        self._depths = cv2.distanceTransform(hole.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)

    @classmethod
    def of(cls, pixels: np.ndarray, hole: np.ndarray) -> Self:
        """A picture (H, W, 3) uint8 at its own scale."""
        return cls(np.dstack([pixels.astype(np.float32), _texture(pixels, hole)]), hole)

    def half(self) -> "Scale":
        """Half as wide and high."""
        height, width = self.hole.shape
        size = ((width + 1) // 2, (height + 1) // 2)
        known = (~self.hole).astype(np.float32)
        share = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
        total = cv2.resize(self.pixels * known[..., None], size, interpolation=cv2.INTER_AREA)
        return Scale(total / np.maximum(share, 1e-6)[..., None], share < _KNOWN_SHARE)

    def prepare(self) -> None:
        """Computes what all who improve at this scale share, before several threads do."""
        _ = self._known, self._usable, self._places, self._near_edge

    @property
    def is_usable(self) -> bool:
        """Whether there is a patch of which all is known."""
        return bool(self._whole.any())

    @property
    def depth(self) -> float:
        """Pixels from the middle of the hole to what is known."""
        return float(self._depths.max())

    @property
    def is_large(self) -> bool:
        """Whether a round takes so long that it has to do with little."""
        return self.hole.size > _LARGE

    @property
    def colours_and_texture(self) -> tuple[np.ndarray, np.ndarray]:
        """The picture's colours, (H, W, 3), and texture, (H, W), as uint8."""
        pixels = np.clip(self.pixels, 0, 255).astype(np.uint8)
        return pixels[..., :3], pixels[..., 3]

    def begin(self, guess: np.ndarray) -> Found:
        """A guess, (H, W, 4), where nothing was found yet."""
        return Found(self._inside(guess.astype(np.float32)), self._placed(None))

    def enlarge(self, coarse: Found) -> Found:
        """What was found at half the scale, as its patches say it at this one: enlarged alone it would be blurred."""
        enlarged = cv2.resize(coarse.pixels, self.hole.shape[::-1], interpolation=cv2.INTER_LINEAR)
        found = Found(self._inside(enlarged), self._placed(coarse.nearest))
        now, cost = self._measured(found)
        return found._replace(pixels=self._voted(now, found.nearest, cost))

    def improve(self, found: Found, rounds: int, widely: bool = False, finest: bool = False) -> Found:
        """The same after rounds of search and vote.

        Args:
            found: Changes as well.
            rounds: How many, at least one.
            widely: Whether all of the picture is looked at in each; otherwise in the first, if it is not too large.
            finest: What comes of it is shown: each round is a single pass, and the last one leaves no blur and no seam.
        """
        guess, nearest, apart = found
        for turn in range(rounds):
            now, cost = self._measured(Found(guess, nearest))
            is_wide = widely or (np.isinf(apart) and not self.is_large)
            for again in range(1 if finest else 2):
                patch_match.sweep(
                    *(now.rows, self._known.rows, now.means, self._known.means),
                    *(self._usable, self._places, nearest, cost),
                    bool((turn + again) % 2),
                    max(self.hole.shape) if is_wide else _NEAR,
                    7 * turn + again + 1,
                )
            guess = self._voted(now, nearest, cost, is_shown=finest and turn == rounds - 1)
            apart = float(cost[tuple(self._places.T)].mean())
        return Found(guess, nearest, apart)

    @cached_property
    def _known(self) -> "_Patches":
        return _Patches(_mirrored(self.pixels))

    @cached_property
    def _whole(self) -> np.ndarray:
        """(H, W) bool, the middles of patches that are known as a whole."""
        known = np.pad(~self.hole, 1)  # what is beyond the picture is not known
        return cv2.erode(known.view(np.uint8), _PATCH)[1:-1, 1:-1].astype(bool)

    @cached_property
    def _usable(self) -> np.ndarray:
        """Bool, with the border: the middles of patches about as light, coloured and busy as some pixel at the hole.

        Without this, whole objects are copied from elsewhere in the picture.
        """
        bins = np.minimum(self.pixels / _BINS, _MOST_BIN).astype(np.intp)
        reach = max(2 * RADIUS, round(_RIM * self.depth))
        grown = cv2.dilate(self.hole.view(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)).astype(bool)
        seen = np.zeros((_MOST_BIN + 1,) * bins.shape[2], bool)
        seen[tuple(bins[grown & ~self.hole].T)] = True
        alike = binary_dilation(seen, np.ones((3,) * seen.ndim, bool))[tuple(bins.transpose(2, 0, 1))] & self._whole
        return np.pad(alike if alike.any() else self._whole, RADIUS)

    @cached_property
    def _places(self) -> np.ndarray:
        """(N, 2) int32, the patches that touch the hole."""
        return np.argwhere(np.pad(cv2.dilate(self.hole.view(np.uint8), _PATCH), RADIUS)).astype(np.int32)

    @cached_property
    def _near_edge(self) -> np.ndarray:
        """How much each patch counts, (H, W) float32 with the border."""
        return np.pad(_KNOWN**-self._depths, RADIUS).astype(np.float32)

    def _inside(self, guess: np.ndarray) -> np.ndarray:
        """A guess in the hole, and the picture around it."""
        return np.where(self.hole[..., None], guess, self.pixels)

    def _placed(self, nearest: np.ndarray | None) -> np.ndarray:
        """Where each patch begins to look: at what was found at half the scale, else anywhere."""
        places, usable = self._places, self._usable
        found = np.full((len(places), 2), -1, np.int32)
        if nearest is not None:
            inside = places - RADIUS
            half = np.minimum(inside // 2 + RADIUS, np.array(nearest.shape[:2]) - RADIUS - 1)
            coarse = nearest[half[:, 0], half[:, 1]]
            found = np.where(coarse >= 0, 2 * (coarse - RADIUS) + inside % 2 + RADIUS, -1).astype(np.int32)
            found = np.minimum(found, np.array(usable.shape, np.int32) - 1)
        lost = (found[:, 0] < 0) | ~usable[found[:, 0], found[:, 1]]
        anywhere = np.argwhere(usable).astype(np.int32)
        found[lost] = anywhere[np.random.default_rng(0).integers(len(anywhere), size=int(lost.sum()))]
        placed = np.full((*usable.shape, 2), -1, np.int32)
        placed[places[:, 0], places[:, 1]] = found
        return placed

    def _measured(self, found: Found) -> tuple["_Patches", np.ndarray]:
        """What is there by now as patches, and how far each is from the nearest that was found."""
        now, cost = _Patches(_mirrored(found.pixels)), np.zeros(self._usable.shape, np.float32)
        pairs = (now.rows, self._known.rows, now.means, self._known.means)
        patch_match.measure(*pairs, self._places, found.nearest, cost)
        return now, cost

    def _voted(self, now: "_Patches", nearest: np.ndarray, cost: np.ndarray, is_shown: bool = False) -> np.ndarray:
        """The picture (H, W, 4) float32 whose hole is what the patches over it say."""
        y, x = self._places.T
        apart = cost[y, x] / patch_match.AREA / 3
        usual = max(float(np.median(apart)) * (_SHARP if is_shown else 1), 0.5)
        weights = np.zeros(cost.shape, np.float32)
        weights[y, x] = np.exp(-apart / (2 * usual)) * self._near_edge[y, x] + 1e-8
        votes = np.zeros((*cost.shape, patch_match.CHANNELS + 1), np.float32)
        known = self._known
        patch_match.vote(known.rows, now.means, known.means, self._places, nearest, weights, votes)
        votes = votes[RADIUS:-RADIUS, RADIUS:-RADIUS]
        said = votes[..., :-1] / np.maximum(votes[..., -1:], 1e-12)
        if is_shown:
            said[..., :3] += self._seam(said, votes[..., -1] > 0)
        return self._inside(np.clip(said, 0, 255))

    def _seam(self, said: np.ndarray, voted: np.ndarray) -> np.ndarray:
        """What is missing at the hole's edge, spread into it and fading with each pixel, (H, W, 3) float32."""
        grown = cv2.dilate(self.hole.view(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        edge = grown & ~self.hole & voted
        missing = np.where(edge[..., None], np.clip(self.pixels - said, -_SEAM, _SEAM), 0)[..., :3]
        fading = (_SEAM_FADES**self._depths)[..., None]
        return _spread(missing.astype(np.float32), edge.astype(np.float32)) * fading


class _Patches:
    """A picture (H, W, 4) as `patch_match` reads it, with the mean of each patch."""

    def __init__(self, pixels: np.ndarray):
        side = 2 * RADIUS + 1
        self.rows = np.ascontiguousarray(pixels.reshape(len(pixels), -1), np.float32)
        self.means = cv2.blur(pixels, (side, side)).reshape(len(pixels), -1)


def _texture(pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """How busy the neighbourhood of each pixel is, (H, W) float32 in [0, 255]; of a hole, as far as it is known."""
    size = (2 * RADIUS + 1,) * 2
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    steps = sum(np.abs(cv2.Sobel(grey, cv2.CV_32F, *axis, scale=0.25)) for axis in ((1, 0), (0, 1)))
    known = cv2.erode((~hole).view(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    busy = cv2.blur(steps * known, size) / np.maximum(cv2.blur(known, size), 1e-3)
    return np.minimum(_TEXTURE * busy, 255)


def _mirrored(pixels: np.ndarray) -> np.ndarray:
    return cv2.copyMakeBorder(pixels, *(RADIUS,) * 4, cv2.BORDER_REFLECT)


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
