"""Pictures: whatever Pillow opens in, upright RGB and then normalised batches out.

The order of use is the order of the file: `load_image` -> `preprocess` -> `collate`.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from groundingdino.config import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from torch import Tensor

# A picture of this many pixels takes 192 MB as RGB; every phone and most cameras stay below.
MAX_PIXELS = 64_000_000
# Scaled pictures whose short side has fewer pixels than this show nothing a detector could find.
MIN_SCALED_SIDE = 8

# What undoes each EXIF orientation; 1 is upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What is remembered in an image: the pixels that `load_image` made, and the pixels that have a hash, with it.
_LOADED, _HASH = "_groundingdino_loaded", "_groundingdino_hash"


def load_image(source: str | Path | bytes | Image.Image | np.ndarray) -> Image.Image:
    """Open a picture as people see it: upright, RGB, 8 bits, without transparency.

    Args:
        source: a path, the bytes of a file, a Pillow image of any mode (its current frame), or a uint8 array of shape
            (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.

    Returns:
        A new RGB image; one that comes from here and was not changed since is returned as it is. EXIF orientation is
        applied; transparent pixels are laid on white, as a page shows them (the colour stored under them is arbitrary);
        of an animated file the first frame is taken; more than 8 bits per channel are scaled, not clipped. Colour
        profiles are ignored, as in the authors' code.

    Raises:
        ValueError: one sentence that says what is wrong: no such file, not an image, truncated, empty or more than
            `MAX_PIXELS` pixels (read from the header, before anything is decoded).
    """
    if isinstance(source, Image.Image) and _is_loaded(source):
        return source
    with decoded(source) as image:
        return _as_seen(image)


def load_editable(source: str | Path | bytes | Image.Image | np.ndarray) -> Image.Image:
    """Open a picture as `load_image` does, but keep its transparency: upright, 8 bits, RGBA if it has any, else RGB.

    A colour profile of these channels stays in `info["icc_profile"]`: without it the same numbers are other colours.
    `load_image` of the result is `load_image` of the source. Errors are those of `load_image`.
    """
    if isinstance(source, Image.Image) and _is_loaded(source):
        return source
    with decoded(source) as image:
        profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
        # Of more than 8 bits `load_image` keeps the channel alone.
        if not image.has_transparency_data or _is_deep(image):
            editable = _as_seen(image)
        else:
            editable = _upright(image.convert("LA") if image.mode == "La" else image).convert("RGBA")
            editable.info.clear()  # as in `_as_seen`
    if profile:
        editable.info["icc_profile"] = profile
    return editable


@contextmanager
def decoded(source: str | Path | bytes | Image.Image | np.ndarray) -> Iterator[Image.Image]:
    """What a picture is stored as, its pixels read; a file is open within it. Errors are those of `load_image`."""
    if isinstance(source, (Image.Image, np.ndarray)):
        image = _from_array(source) if isinstance(source, np.ndarray) else source
        _decode(image, "The picture")
        yield image
    else:
        name = "The picture" if isinstance(source, bytes) else f"'{source}'"
        with _open(BytesIO(source), name) if isinstance(source, bytes) else _open_file(source) as image:
            _decode(image, name)
            yield image


def scaled_size(width: int, height: int, short_side: int, long_side: int) -> tuple[int, int]:
    """Published size rule: the short side becomes `short_side` unless the long side would exceed `long_side`.

    Returns (width, height) in pixels, each side rounded down except for the first rounding when the long side rules,
    as DETR's transforms (`get_size_with_aspect_ratio`) do: boxes depend on the exact size.
    """
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
) -> "Tensor":
    """Scale an RGB picture by `scaled_size` and normalise it with a mean and a deviation of each channel in [0, 1].

    The filter is Pillow's antialiased bilinear one, the published choice.

    Returns:
        (3, H, W) float32.

    Raises:
        ValueError: the picture is so long and narrow that fewer than `MIN_SCALED_SIDE` pixels would be left.
    """
    import torch  # here and below: that a file is no picture is told without it, in a second less

    size = scaled_size(*image.size, short_side, long_side)
    if min(size) < MIN_SCALED_SIDE:
        raise ValueError(
            f"The picture is too narrow: scaled to {long_side} pixels, its {image.width} x {image.height} pixels leave "
            f"{min(size)} across; crop it to at most {long_side // MIN_SCALED_SIDE} : 1."
        )
    pixels = torch.from_numpy(np.array(image.resize(size, Image.Resampling.BILINEAR))).permute(2, 0, 1)  # (3, H, W)
    centre, spread = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    return (pixels.float() / 255 - centre) / spread


def collate(pictures: "Sequence[Tensor]") -> "tuple[Tensor, Tensor]":
    """Pad pictures (3, h, w) with zeros at the right and the bottom to the largest height and width.

    Returns:
        pixels (B, 3, H, W) and padding_mask (B, H, W) bool, True on padding.
    """
    import torch

    height = max(picture.shape[1] for picture in pictures)
    width = max(picture.shape[2] for picture in pictures)
    pixels = pictures[0].new_zeros(len(pictures), 3, height, width)
    padding_mask = torch.ones(len(pictures), height, width, dtype=torch.bool, device=pixels.device)
    for index, picture in enumerate(pictures):
        _, h, w = picture.shape
        pixels[index, :, :h, :w] = picture
        padding_mask[index, :h, :w] = False
    return pixels, padding_mask


def content_hash(image: Image.Image) -> str:
    """Equal for equal pixels; a tenth of a second for 12 megapixels, and nothing for a picture it has seen before.

    What it found stays with a read-only picture, such as `load_image` gives: before Pillow changes one of those it
    gives it new pixels (`Image.im`), by which the change is known.
    """
    pixels, known = vars(image).get(_HASH, (None, ""))
    if pixels is not None and pixels is image.im:
        return known
    content = hashlib.sha256(repr(image.size).encode())
    content.update(image.tobytes())
    if image.readonly:
        vars(image)[_HASH] = (image.im, content.hexdigest())
    return content.hexdigest()


def _is_loaded(image: Image.Image) -> bool:
    """Whether a picture is as `load_image` left it, its pixels too. One that was only opened has none yet."""
    pixels = vars(image).get(_LOADED)
    return pixels is not None and pixels is image.im


def _open_file(path: str | Path) -> Image.Image:
    if not os.path.isfile(path):  # where `Path.is_file` raises, as for a name that is too long, this says no
        raise ValueError(f"There is no picture at '{path}': expected the path of an image file.")
    return _open(Path(path), f"'{path}'")


def _open(file: Path | BytesIO, name: str) -> Image.Image:
    """Read the header only."""
    try:
        return Image.open(file)
    # Pillow warns from 89 and refuses from 179 million pixels; both are over our limit, which `_decode` looks at.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(_too_large(name)) from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not an image that Pillow can read (PNG, JPEG, WebP, GIF, TIFF, ...).") from error
    except Exception as error:  # decoders raise whatever damaged bytes provoke: OSError, SyntaxError, struct.error, ...
        raise ValueError(f"{name} cannot be read as an image: {error}.") from error


def _decode(image: Image.Image, name: str) -> None:
    _check_size(image, name)
    try:
        image.load()
    except Exception as error:  # as in `_open`
        raise ValueError(f"{name} is truncated or damaged and cannot be decoded: {error}.") from error


def _as_seen(image: Image.Image) -> Image.Image:
    """A decoded image as `load_image` promises it."""
    rgb = _to_rgb(_upright(image))
    rgb.readonly = 1  # Pillow then copies before it changes; see `content_hash`
    vars(rgb)[_LOADED] = rgb.im
    rgb.info.clear()  # it still names the orientation, and loading the result again must not turn it again
    return rgb


def _check_size(image: Image.Image, name: str) -> None:
    if image.width * image.height == 0:
        raise ValueError(f"{name} is empty: its size is {image.width} x {image.height} pixels.")
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(_too_large(name, f"{image.width} x {image.height} pixels, "))


def _too_large(name: str, size: str = "") -> str:
    return f"{name} is too large: {size}more than {MAX_PIXELS / 1e6:.0f} megapixels; scale it down first."


def _from_array(array: np.ndarray) -> Image.Image:
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not is_picture:
        raise ValueError(
            "An array must be uint8 of shape (H, W), (H, W, 3) or (H, W, 4), "
            f"but this one is {array.dtype} of shape {tuple(array.shape)}."
        )
    if array.size == 0:
        raise ValueError(f"The picture is empty: its shape is {tuple(array.shape)}.")
    return Image.fromarray(np.ascontiguousarray(array))


def _upright(image: Image.Image) -> Image.Image:
    """Turn the picture as its EXIF orientation says; one whose EXIF block is damaged counts as upright.

    Pillow's `exif_transpose` also writes the block back, which fails where any other tag is malformed.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # as in `_open`; the pixels are fine, so the picture is worth showing
        return image
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _is_deep(image: Image.Image) -> bool:
    """Whether it has one channel of more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def _to_rgb(image: Image.Image) -> Image.Image:
    if _is_deep(image):
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converter = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
        return converter.apply(image)
    if image.mode == "La":  # Pillow converts premultiplied grey only to plain grey with alpha
        image = image.convert("LA")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Scale one channel (H, W) of integers or floats to uint8.

    The range is the narrowest usual one that holds all values (floats: 1, 255, 65535; integers: 65535), so that a
    picture looks the same however it was stored; where none does, as in depth maps in millimetres below zero or
    32-bit counts, the values are stretched from their least to their greatest. NaN and infinity become the least.
    """
    finite = np.isfinite(values)
    if not finite.any():
        raise ValueError("The picture holds no finite value.")
    low, high = float(values[finite].min()), float(values[finite].max())
    ranges = (1, 255, 65535) if np.issubdtype(values.dtype, np.floating) else (65535,)
    fitting = [top for top in ranges if low >= 0 and high <= top]
    start, end = (0.0, float(fitting[0])) if fitting else (low, high)
    scaled = (np.where(finite, values, low).astype(np.float64) - start) * (255 / max(end - start, 1e-12))
    return np.rint(scaled).astype(np.uint8)
