"""Pictures: files, arrays and tensors in, upright RGB out.

torch is imported by what needs it: a bad picture is reported without it.
"""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias, Union, cast

import numpy as np
from PIL import ExifTags, Image, ImageCms

from groundingdino.inputs import image_files
from groundingdino.inputs.image_files import FileSource

if TYPE_CHECKING:
    from torch import Tensor

ImageSource: TypeAlias = Union[FileSource, Image.Image, np.ndarray, "Tensor"]

DEPTHS = (8, 10, 12, 14, 16)  # bits of a channel, as sensors and scanners have them

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


def load_image(source: ImageSource, max_pixels: int = image_files.MAX_PIXELS) -> Image.Image:
    """Open a picture as people see it: upright, RGB, 8 bits, without transparency.

    Args:
        source: one of

            - a path, the bytes of a file, or a file that is open for reading bytes, of `image_files.FORMATS`;
            - a Pillow image of any mode (its current frame);
            - a uint8 array of shape (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA;
            - a tensor of shape (H, W), or (C, H, W) with C = 1, 3 or 4, uint8 or of floats in [0, 1].

        max_pixels: how many it may have, up to `image_files.MAX_PIXELS`.

    Returns:
        A new RGB image; one that comes from here and was not changed since is returned as it is. EXIF orientation is
        applied; transparent pixels are laid on white, as a page shows them (the colour stored under them is arbitrary);
        of an animated file the first frame is taken; more than 8 bits per channel are scaled, not clipped: one channel
        by the narrowest depth that holds all its values, see `_eight_bits`. Colour profiles are ignored, as in the
        authors' code.

    Raises:
        ValueError: one sentence that says what is wrong: no such file, not an image, truncated, empty or more than
            `max_pixels` pixels (read from the header, before anything is decoded).
    """
    if isinstance(source, Image.Image) and _is_loaded(source):
        return source
    with decoded(source, max_pixels) as image:
        return _as_seen(image)


def load_editable(source: ImageSource, max_pixels: int = image_files.MAX_PIXELS) -> Image.Image:
    """Open a picture as `load_image` does, but keep its transparency: upright, 8 bits, RGBA if it has any, else RGB.

    A colour profile of these channels stays in `info["icc_profile"]`: without it the same numbers are other colours.
    `load_image` of the result is `load_image` of the source. Errors are those of `load_image`.
    """
    if isinstance(source, Image.Image) and _is_loaded(source):
        return source
    with decoded(source, max_pixels) as image:
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
def decoded(source: ImageSource, max_pixels: int = image_files.MAX_PIXELS) -> Iterator[Image.Image]:
    """What a picture is stored as, its pixels read. Errors are those of `load_image`."""
    torch = sys.modules.get("torch")  # without it there are no tensors
    if isinstance(source, Image.Image):
        image = source
    elif isinstance(source, np.ndarray):
        image = _from_array(source)
    elif torch and isinstance(source, torch.Tensor):
        image = _from_tensor(source)
    else:
        with image_files.opened(*image_files.read(cast(FileSource, source)), max_pixels) as image:
            yield image
        return
    image_files.decode(image, "The picture", max_pixels)
    yield image


def content_hash(image: Image.Image) -> str:
    """Equal for equal pixels; a tenth of a second for 12 megapixels, and nothing for a picture that was hashed before.

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


def _as_seen(image: Image.Image) -> Image.Image:
    """A decoded image as `load_image` promises it."""
    rgb = _to_rgb(_upright(image))
    rgb.readonly = 1  # Pillow then copies before it changes; see `content_hash`
    vars(rgb)[_LOADED] = rgb.im
    rgb.info.clear()  # it still names the orientation, and loading the result again must not turn it again
    return rgb


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not is_picture:
        raise ValueError(
            "An array must be uint8 of shape (H, W), (H, W, 3) or (H, W, 4), "
            f"but this one is {array.dtype} of shape {tuple(array.shape)}."
        )
    if array.size == 0:
        raise ValueError(f"The picture is empty: its shape is {tuple(array.shape)}.")
    return Image.fromarray(np.ascontiguousarray(array))


def _from_tensor(tensor: "Tensor") -> Image.Image:
    shape, dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
    is_picture = len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3, 4))
    if not is_picture or not (dtype == "uint8" or tensor.is_floating_point()):
        raise ValueError(
            "A tensor must be uint8 or of floats in [0, 1], of shape (H, W) or (C, H, W) with 1, 3 or 4 channels, "
            f"but this one is {dtype} of shape {shape}."
        )
    values = tensor.detach().cpu()
    if dtype != "uint8" and values.numel():
        if not 0 <= values.min() <= values.max() <= 1:  # NaN is neither
            least, most = float(values.min()), float(values.max())
            raise ValueError(f"A tensor of floats must be in [0, 1], but this one goes from {least:g} to {most:g}.")
        values = (values.float() * 255).round().byte()
    channels_last = values.byte() if len(shape) == 2 else values.byte().permute(1, 2, 0)
    return _from_array(channels_last.numpy())


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

    Files seldom say which of their values is white. It is taken to be the greatest of the narrowest usual depth that
    holds all values: 8, 10, 12, 14 or 16 bits (of floats 1, before these). So a picture looks the same however it was
    stored, and 12 bits of a camera in a file of 16 are not black; one whose brightest pixel is far from white becomes
    brighter. Where no depth does, as in depth maps in millimetres below zero or 32-bit counts, the values are stretched
    from their least to their greatest. NaN and infinity become the least.
    """
    whites = [2**bits - 1 for bits in DEPTHS]
    if np.issubdtype(values.dtype, np.floating):
        whites.insert(0, 1)
        finite = np.isfinite(values)
        if not finite.any():
            raise ValueError("The picture holds no finite value.")
        values = np.where(finite, values, values[finite].min())
    low, high = float(values.min()), float(values.max())
    white = next((white for white in whites if low >= 0 and high <= white), None)
    start, end = (low, high) if white is None else (0, white)
    scaled = values.astype(np.float64)
    scaled -= start
    scaled *= 255 / max(end - start, 1e-12)
    return np.rint(scaled, out=scaled).astype(np.uint8)
