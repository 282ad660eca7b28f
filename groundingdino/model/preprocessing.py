"""Pictures as the model takes them: scaled, normalised, padded to a batch. The order of use is that of the file."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from groundingdino.inputs.image_files import MAX_PIXELS
from groundingdino.model.config import IMAGENET_MEAN, IMAGENET_STD

# Scaled pictures whose short side has fewer pixels than this show nothing a detector could find.
MIN_SCALED_SIDE = 8


def scaled_size(width: int, height: int, short_side: int, long_side: int) -> tuple[int, int]:
    """Published size rule: the short side becomes `short_side` unless the long side would exceed `long_side`.

    Returns (width, height) in pixels, each side rounded down except for the first rounding when the long side rules,
    as DETR's transforms (`get_size_with_aspect_ratio`) do: boxes depend on the exact size.

    Raises:
        ValueError: a side is less than `MIN_SCALED_SIDE` or so long that the picture could have over `MAX_PIXELS`.
    """
    for side in (short_side, long_side):
        if not MIN_SCALED_SIDE <= side <= math.isqrt(MAX_PIXELS):
            raise ValueError(
                f"A side to scale to must be from {MIN_SCALED_SIDE} to {math.isqrt(MAX_PIXELS)} pixels, not {side}."
            )
    short, long = min(width, height), max(width, height)
    if long / short * short_side > long_side:
        short_side = round(long_side * short / long)
    scaled_long = short_side if short == long else int(short_side * long / short)
    return (short_side, scaled_long) if width < height else (scaled_long, short_side)


def preprocess(
    image: Image.Image,
    short_side: int,
    long_side: int,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Tensor:
    """Scale an RGB picture by `scaled_size` and normalise it with a mean and a deviation of each channel in [0, 1].

    The filter is Pillow's antialiased bilinear one, the published choice.

    Returns:
        (3, H, W) float32.

    Raises:
        ValueError: the picture is so long and narrow that fewer than `MIN_SCALED_SIDE` pixels would be left, see
            `check_shape`, or so few are asked for.
    """
    size = scaled_size(*image.size, short_side, long_side)
    check_shape(image.size, size, long_side)
    pixels = torch.from_numpy(np.array(image.resize(size, Image.Resampling.BILINEAR))).permute(2, 0, 1)  # (3, H, W)
    centre, spread = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    return (pixels.float() / 255 - centre) / spread


def check_shape(size: tuple[int, int], scaled: tuple[int, int], long_side: int) -> None:
    """A ValueError where a picture is so narrow that a model sees nothing of it.

    Args:
        size: (width, height) of the picture.
        scaled: the same as the model gets it, the longer one about `long_side`.
    """
    if min(scaled) < MIN_SCALED_SIDE:
        raise ValueError(
            f"The picture is too narrow: scaled to {long_side} pixels, its {size[0]} x {size[1]} pixels leave "
            f"{min(scaled)} across; crop it to at most {max(1, long_side // MIN_SCALED_SIDE)} : 1."
        )


def collate(pictures: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Pad pictures (3, h, w) with zeros at the right and the bottom to the largest height and width.

    Returns:
        pixels (B, 3, H, W) and padding_mask (B, H, W) bool, True on padding.
    """
    height = max(picture.shape[1] for picture in pictures)
    width = max(picture.shape[2] for picture in pictures)
    pixels = pictures[0].new_zeros(len(pictures), 3, height, width)
    padding_mask = torch.ones(len(pictures), height, width, dtype=torch.bool, device=pixels.device)
    for index, picture in enumerate(pictures):
        _, h, w = picture.shape
        pixels[index, :, :h, :w] = picture
        padding_mask[index, :h, :w] = False
    return pixels, padding_mask
