"""What the segmenter's training shows at each step: pictures, and the exact masks of things in them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from groundingdino.segmentation.close_ups import CONTEXT
from groundingdino.segmentation.embedded_encoder import DEEPEST_STRIDE, IMAGE_SIZE, STRIDE
from groundingdino.training.loop import InStages
from groundingdino.training.scenes.scenes import draw_scale

CLOSE_UP_OF = (400, 960)  # pixels of the picture's side along the close-up's width
UNKNOWN = 255  # among owners: it may be object or background
THIN = 0.5  # of its box an object fills, of those that close-ups show twice as often: most of what is wrong is theirs


class Masked(Protocol):
    """A picture and the masks of things in it, as `Scene` has them."""

    @property
    def image(self) -> np.ndarray: ...
    @property
    def masks(self) -> np.ndarray: ...
    @property
    def boxes(self) -> np.ndarray: ...
    @property
    def owners(self) -> np.ndarray: ...


Source = Callable[[int, tuple[int, int]], Masked]  # index and (width, height)


@dataclass(frozen=True)
class Stage:
    """A stretch of training on pictures of one kind."""

    steps: int
    pictures: int  # of a step
    objects: int  # of a picture; fewer where it has fewer; 0 teaches the image encoder alone
    side: int  # pixels: the root of the area of windows, the long side of whole pictures and of close-ups
    whole: bool  # pictures as the model will see them, padded to squares; otherwise windows of larger ones
    stages_learn: bool  # the backbone's; otherwise they stay what the detector made them, which saves a third
    # Batch norm measures each batch; otherwise it uses what it measured, as the trained model does. The statistics of
    # two pictures, and of the padding beside them, are not those of one.
    measured: bool = True
    close_up: bool = False  # parts of pictures around one object each, as `close_ups` shows them
    proposals_alone: bool = False  # learn; the rest stays, and needs no objects
    imitates: bool = False  # the image encoder learns to answer as that of the segmenter before; needs no objects


@dataclass(frozen=True)
class Plan(InStages[Stage]):
    """What to train on for how long, and how fast."""

    stages: tuple[Stage, ...]
    learning_rate: float = 1.5e-3
    backbone_rate: float = 0.3  # of the learning rate: it has learned already
    weight_decay: float = 0.01
    warm_up: int = 250  # steps
    clip: float = 5.0  # norm of all gradients together
    average: float = 0.995  # decay of the averaged weights, which are what is kept
    corrected: float = 0.3  # of the steps: the prompt has been corrected by clicks
    most_corrections: int = 3
    kinds: tuple[float, float, float] = (0.45, 0.4, 0.15)  # of the pictures: pointed at by box, click and scribble
    enlarged: float = 0.25  # of the pictures: made smaller and enlarged, as small pictures are for the model
    reduced: float = 0.3  # of the pictures: made larger and reduced, as most pictures are for the model
    restarts: tuple[int, ...] = ()  # stages at whose start the rate begins anew
    frozen: tuple[str, ...] = ()  # parts of names of parameters that stay as they are
    follows: str | None = None  # the segmenter to go on from, unless another one is named
    scenes: float = 0.5  # of the pictures: drawings, where there are photographs too
    least_area: int = 30  # pixels: fewer are no object one would point at
    seed: int = 0

    def first_picture(self, step: int) -> int:
        """How many pictures were shown before a step."""
        shown = 0
        for stage in self.stages:
            shown += min(step, stage.steps) * stage.pictures
            step = max(0, step - stage.steps)
        return shown


class MaskBatch(NamedTuple):
    """Pictures of one step and the objects pointed at in each."""

    pixels: Tensor  # (B, 3, H, W) uint8
    masks: list[Tensor]  # per picture (N, H, W) bool
    owners: Tensor  # (B, H, W) uint8, the index of each pixel's object plus one; 0 is background, or `UNKNOWN`
    extents: Tensor  # (B, 4, H / 8, W / 8) float32, see `extents`

    def to(self, device: torch.device) -> "MaskBatch":
        """The same for a model on a device; masks stay where one points at them."""
        pixels, owners, extents = (x.to(device, non_blocking=True) for x in (self.pixels, self.owners, self.extents))
        return MaskBatch(pixels, self.masks, owners, extents)


class MaskBatches(Dataset[MaskBatch]):
    """The batch of each step, made of nothing but the step's number."""

    def __init__(self, source: Source, plan: Plan):
        self.source, self.plan = source, plan

    def __len__(self) -> int:
        return self.plan.steps

    def __getitem__(self, step: int) -> MaskBatch:
        stage = self.plan.stage_at(step)
        rng = np.random.default_rng([self.plan.seed, step])
        size = _draw_size(stage, rng)
        pixels, chosen_masks, owners, distances = [], [], [], []
        for picture in range(stage.pictures):
            index = self.plan.first_picture(step) + picture
            if stage.close_up:
                long = int(rng.integers(CLOSE_UP_OF[0], CLOSE_UP_OF[1] + 1))
                scene = self.source(index, (long, round(long * size[1] / size[0])))
                shown, first = _draw_part(scene, size, rng)
            else:
                scale = draw_scale(rng, self.plan.enlarged, self.plan.reduced)
                scene = self.source(index, (round(size[0] * scale), round(size[1] * scale)))
                shown, first = (slice(None), slice(None)), None
            masks = np.zeros((len(scene.masks), *size[::-1]), bool)  # of none where nothing found a place
            for number, mask in enumerate(scene.masks):
                masks[number] = _resize(mask[shown].astype(np.uint8) * 255, size) > 127
            usable = np.flatnonzero(masks.sum((1, 2)) >= self.plan.least_area)
            chosen = rng.permutation(usable)
            if first is not None:  # what the close-up is of comes first; the others are smaller or cut off
                chosen = np.concatenate([usable[usable == first], chosen[chosen != first]])
            chosen = chosen[: stage.objects]
            image = _resize(scene.image[shown], size)
            seen = numbered(masks)
            if (scene.owners == UNKNOWN).any():
                seen[seen == 0] = UNKNOWN
            pixels.append(torch.from_numpy(image).permute(2, 0, 1))
            chosen_masks.append(torch.from_numpy(masks[chosen]))
            owners.append(torch.from_numpy(seen))
            distances.append(torch.from_numpy(extents(seen)))
        return MaskBatch(torch.stack(pixels), chosen_masks, torch.stack(owners), torch.stack(distances))


def numbered(masks: np.ndarray) -> np.ndarray:
    """(N, H, W) bool to (H, W) uint8: the index of each pixel's mask plus one, the last where several overlap; or 0."""
    return (masks * np.arange(1, len(masks) + 1, dtype=np.uint8)[:, None, None]).max(0, initial=0)


def extents(owners: np.ndarray) -> np.ndarray:
    """How far the object seen at the centre of each cell of the embedding reaches.

    Args:
        owners: (H, W) uint8, sides multiples of 8.

    Returns:
        (4, H / 8, W / 8) float32: pixels to the left, top, right and bottom of what is seen of it; NaN elsewhere.
    """
    y, x = np.mgrid[STRIDE // 2 : owners.shape[0] : STRIDE, STRIDE // 2 : owners.shape[1] : STRIDE]
    at_centre = owners[y, x]
    result = np.full((4, *at_centre.shape), np.nan, np.float32)
    for index in np.unique(at_centre[(at_centre > 0) & (at_centre != UNKNOWN)]):
        rows, columns = np.flatnonzero((owners == index).any(1)), np.flatnonzero((owners == index).any(0))
        reach = np.stack([x - columns[0], y - rows[0], columns[-1] + 1 - x, rows[-1] + 1 - y])
        result[:, at_centre == index] = reach[:, at_centre == index]
    return result


def _draw_size(stage: Stage, rng: np.random.Generator) -> tuple[int, int]:
    """(width, height) in one of the shapes that cameras and screens give; of close-ups in one that parts have."""
    if stage.close_up:  # at an edge of the picture they are narrower
        short = DEEPEST_STRIDE * round(stage.side * float(rng.choice((0.6, 0.8, 1, 1, 1))) / DEEPEST_STRIDE)
        return (stage.side, short) if rng.random() < 0.5 else (short, stage.side)
    shape = float(rng.choice((1.0, 4 / 3, 1.5, 16 / 9)))
    unit = STRIDE if stage.whole else DEEPEST_STRIDE
    long = stage.side if stage.whole else min(IMAGE_SIZE, unit * round(stage.side * shape**0.5 / unit))
    short = unit * round(long / shape / unit)
    return (long, short) if rng.random() < 0.5 else (short, long)


def _draw_part(
    scene: Masked, size: tuple[int, int], rng: np.random.Generator
) -> tuple[tuple[slice, slice], int | None]:
    """Rows and columns of a picture around one of its objects, in the shape of `size`, and the object's index."""
    height, width = scene.owners.shape
    if not len(scene.boxes):
        return (slice(None), slice(None)), None
    sides = scene.boxes[:, 2:] - scene.boxes[:, :2]
    chances = np.where(scene.masks.sum((1, 2)) < THIN * sides.prod(1), 2.0, 1.0)
    index = int(rng.choice(len(chances), p=chances / chances.sum()))
    x0, y0, x1, y1 = scene.boxes[index]
    side = CONTEXT * max(x1 - x0, y1 - y0) * math.exp(rng.uniform(-0.25, 0.4))
    scale = max(side / max(size), 32 / min(size))  # of the picture's pixels to those shown; some context in any case
    scale = min(scale, width / size[0], height / size[1])
    slices = []
    for low, high, length, shown in ((y0, y1, height, size[1]), (x0, x1, width, size[0])):
        taken = max(1, round(shown * scale))
        first = (low + high - taken) / 2 + rng.uniform(-0.15, 0.15) * taken
        first = min(max(0, round(float(first))), length - taken)
        slices.append(slice(first, first + taken))
    rows, columns = slices
    return (rows, columns), index


def _resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    how = cv2.INTER_AREA if pixels.shape[1] > size[0] else cv2.INTER_LINEAR
    return cv2.resize(pixels, size, interpolation=how)
