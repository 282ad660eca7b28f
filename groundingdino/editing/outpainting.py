"""A picture that grows: where a model paints, and what lies there before it does."""

import cv2
import numpy as np
import supervision as sv
from PIL import Image

from groundingdino.editing.margins import Margins
from groundingdino.inputs.coordinates import Size
from groundingdino.segmentation.masks import compact

_EMPTY = (128, 128, 128)  # what is shown where the picture was not yet


def new_part(margins: Margins, size: Size) -> sv.CompactMask:
    """What of the grown picture is new, (1, H, W), of one of that (width, height).

    Raises:
        ValueError: it cannot grow by so much.
    """
    width, height = margins.grown(size)
    left, top, _, _ = margins.pixels(size)
    new = np.ones((height, width), bool)
    new[top : top + size[1], left : left + size[0]] = False
    return compact(new)


def grown(picture: Image.Image, margins: Margins) -> Image.Image:
    """The picture (RGB or RGBA) in the middle of its mirror images, which tell a model what there is around.

    Transparency is mirrored, too.
    """
    left, top, right, bottom = margins.pixels(picture.size)
    return Image.fromarray(cv2.copyMakeBorder(np.asarray(picture), top, bottom, left, right, cv2.BORDER_REFLECT))


def framed(picture: Image.Image, margins: Margins) -> Image.Image:
    """The picture (RGB) where it will be in the grown one, with nothing around it yet."""
    canvas = Image.new("RGB", margins.grown(picture.size), _EMPTY)
    left, top, _, _ = margins.pixels(picture.size)
    canvas.paste(picture, (left, top))
    return canvas
