"""Files of pictures: which formats are opened, and what bounds the work of reading one.

A page opens what strangers send it, so that each file is taken for hostile: Pillow opens the formats that are named
here and no others (for EPS it starts another program), it gets the bytes from a reader that ends when reading has taken
too long, and sizes are checked before anything is decoded.
"""

import io
import math
import os
import re
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image, ImageFile, PpmImagePlugin, TiffImagePlugin, UnidentifiedImageError

FileSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

# A picture of this many pixels takes 192 MB as RGB; every phone and most cameras stay below.
MAX_PIXELS = 64_000_000
# No picture of `MAX_PIXELS` is a larger file, at 16 bits for each of four channels and as much beside the pixels.
MAX_BYTES = 2 * 8 * MAX_PIXELS

# What browsers and cameras make, by Pillow's names: PPM is also PBM, PGM and PNM, MPO a JPEG of several views that
# Pillow opens as JPEG.
_OPENED = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")
FORMATS = (*_OPENED, "MPO")

_MOST_SECONDS = 5.0  # of this thread's own time, for what takes two at most where nobody means harm
# Of a JPEG; encoders make a dozen scans. Each goes over all pixels and may be a few bytes long.
_MOST_SCANS, _MOST_SEGMENTS = 100, 10_000
_MOST_TILES = 200_000  # or strips of a TIFF; Pillow makes a list of them before it gives the size
_LONGEST_NAME = 120

# Formats that people have and Pillow does not know, by how their files begin, and what to do.
_STRANGERS = (
    (rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", "HEIC", "export it as JPEG (on an iPhone: Camera, Most Compatible)"),
    (rb"....ftyp(iso|mp4|avc1|M4V|qt|3gp)|\x1aE\xdf\xa3", "a video", "save one of its frames as JPEG or PNG"),
    (rb"%PDF", "PDF", "save its page as PNG"),
    (rb"(?!\s*<!doctype html)\s*(<[?!][^\0]{,2000}?)?<svg\b", "SVG", "save it as PNG"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL", "save it as JPEG or PNG"),
)


class _TooSlow(Exception):
    """Nothing that Pillow takes for a damaged file."""


class _Bounded(io.BytesIO):
    """Bytes that are given no longer than `_MOST_SECONDS`.

    Pillow reads headers in loops, some of them of quadratic time: a comment of 40 MB in a GIF takes minutes.
    """

    def __init__(self, data: bytes):
        super().__init__(data)
        self._until = time.thread_time() + _MOST_SECONDS

    def read(self, size: int | None = -1) -> bytes:
        if time.thread_time() > self._until:
            raise _TooSlow
        return super().read(size)


def read(source: FileSource) -> tuple[bytes, str]:
    """The bytes of a file, and what to call it in a sentence.

    Args:
        source: a path, the bytes themselves, or a file that is open for reading bytes, which is read from its start.

    Raises:
        ValueError: one sentence: there is no such file, it cannot be read, or it is larger than `MAX_BYTES`.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _small_enough(bytes(source), "The picture")
    if isinstance(source, (str, os.PathLike)):
        return _read_path(os.fsdecode(source))
    if isinstance(source, io.TextIOBase):
        raise ValueError("The file is open for reading text: open it for reading bytes, as in open(path, 'rb').")
    if not callable(getattr(source, "read", None)):
        raise ValueError(
            "Expected a picture as a path, bytes, an open file, a Pillow image, an array or a tensor, "
            f"but got {_kind_of(source)}."
        )
    with suppress(OSError, AttributeError, ValueError):  # a pipe is read from where it is; a closed file says so below
        source.seek(0)
    try:
        data = source.read(MAX_BYTES + 1)
    except Exception as error:  # whatever kind of file it is
        raise ValueError(f"The file cannot be read: {_words(error)}.") from error
    if not isinstance(data, bytes):
        raise ValueError(f"Expected a file that gives bytes, but it gave {_kind_of(data)}.")
    name = getattr(source, "name", None)
    return _small_enough(data, named(name) if isinstance(name, str) else "The picture")


@contextmanager
def opened(data: bytes, name: str, most: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """A file as Pillow has it, its pixels read.

    Args:
        most: Pixels that it may have, up to `MAX_PIXELS`.

    Raises:
        ValueError: one sentence that begins with `name`: not a picture, of another format, damaged, too large or
            empty; see `FORMATS`.
    """
    with _open_pixels(data, name, most) as image:
        yield image


def decode(image: Image.Image, name: str, most: int = MAX_PIXELS) -> None:
    """Reads the pixels of a picture that Pillow has opened, after a look at its size. Errors are those of `opened`."""
    _check_size(image, name, most)
    # One that was opened elsewhere is held to the same formats, unless it was decoded there.
    if getattr(image, "tile", None) and isinstance(image, ImageFile.ImageFile) and image.format not in FORMATS:
        raise ValueError(_other_format(name, str(image.format)))
    try:
        image.load()
    except _TooSlow as error:
        raise ValueError(_too_slow(name)) from error
    except Exception as error:  # decoders raise whatever damaged bytes provoke: OSError, SyntaxError, struct.error, ...
        raise ValueError(f"{name} is truncated or damaged and cannot be decoded: {_words(error)}.") from error


def named(path: str) -> str:
    """A path in a sentence: on one line, and of a length that can be read."""
    line = "".join(letter if letter.isprintable() else "?" for letter in path)
    half = _LONGEST_NAME // 2
    return f"'{line}'" if len(line) <= _LONGEST_NAME else f"'{line[:half]}…{line[-half:]}'"


def _read_path(path: str) -> tuple[bytes, str]:
    if re.match(r"[a-z][a-z0-9+.-]+://|data:", path, re.IGNORECASE):
        raise ValueError(f"{named(path)} is an address, and pictures are not fetched: save it and give its path.")
    if not os.path.isfile(path):  # where `Path.is_file` raises, as for a name that is too long, this says no
        raise ValueError(f"There is no picture at {named(path)}: expected the path of an image file.")
    try:
        with open(path, "rb") as file:
            return _small_enough(file.read(MAX_BYTES + 1), named(path))
    except OSError as error:
        raise ValueError(f"{named(path)} cannot be read: {_words(error)}.") from error


def _small_enough(data: bytes, name: str) -> tuple[bytes, str]:
    if len(data) > MAX_BYTES:
        raise ValueError(f"{name} is too large: more than {MAX_BYTES / 1e6:.0f} MB; scale it down first.")
    return data, name


def _open(data: bytes, name: str, most: int) -> Image.Image:
    _check_scans(data, name)
    _check_tiles(data, name)
    try:
        image = Image.open(_Bounded(data), formats=_OPENED)
    # Pillow warns from 89 and refuses from 179 million pixels; both are over our limit, which `decode` looks at.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(_too_large(name, most)) from error
    except UnidentifiedImageError as error:
        raise ValueError(_unknown(data, name)) from error
    except _TooSlow as error:
        raise ValueError(_too_slow(name)) from error
    except Exception as error:  # as in `decode`
        raise ValueError(f"{name} cannot be read as an image: {_words(error)}.") from error
    _check_size(image, name, most)
    if isinstance(image, PpmImagePlugin.PpmImageFile) and image.tile[0].codec_name == "ppm":
        return _of_own_depth(image, data, name)
    decode(image, name, most)
    return image


def _of_own_depth(image: PpmImagePlugin.PpmImageFile, data: bytes, name: str) -> Image.Image:
    """A PGM or PPM whose white is neither 255 nor 65535, in 8 bits.

    Pillow would read it in a loop over its pixels, at a second for each megapixel.
    """
    tile = image.tile[0]
    mode, white, offset = str(tile.args[0]), int(tile.args[1]), tile.offset  # type: ignore[index]
    shape = (image.height, image.width, 3) if mode == "RGB" else (image.height, image.width)
    kind = np.dtype("u1" if white < 256 else ">u2")
    if len(data) - offset < math.prod(shape) * kind.itemsize:
        raise ValueError(f"{name} is truncated or damaged and cannot be decoded: there are too few pixels.")
    values = np.frombuffer(data, kind, math.prod(shape), offset).reshape(shape)
    eight_bits = np.rint(np.arange(white + 1) * (255 / white)).astype(np.uint8)
    return Image.fromarray(eight_bits[np.minimum(values, white)])


def _open_pixels(data: bytes, name: str, most: int) -> Image.Image:
    """As `_open`, but the words and profiles of a PNG do no harm, however large or damaged: its pixels are fine."""
    try:
        return _open(data, name, most)
    except ValueError as error:
        bare = None if isinstance(error.__cause__, _TooSlow) else _pixels_of_png(data)
        if bare is None:
            raise
        with suppress(ValueError):
            return _open(bare, name, most)
        raise


def _unknown(data: bytes, name: str) -> str:
    """What a file is that is none of `FORMATS`."""
    for beginning, kind, advice in _STRANGERS:
        if re.match(beginning, data[:4096], re.DOTALL | re.IGNORECASE):
            return _other_format(name, kind, advice)
    Image.init()  # imports Pillow's other formats, which are only used to recognise the first bytes
    for kind in Image.ID:
        _, accept = Image.OPEN[kind]
        try:
            # What begins as a cursor does is mostly a TGA, which has no beginning of its own.
            if kind not in (*FORMATS, "CUR") and accept and accept(data[:16]) is True:
                return _other_format(name, kind)
        except Exception:  # too few bytes for it
            continue
    return f"{name} is not an image that Pillow can read (PNG, JPEG, WebP, GIF, TIFF, ...)."


def _other_format(name: str, kind: str, advice: str = "save it as JPEG or PNG") -> str:
    what = kind if " " in kind and kind.islower() else f"of the format {kind}"
    return f"{name} is {what}, which is not opened here: {advice}."


def _check_scans(data: bytes, name: str) -> None:
    """Counts the scans of a JPEG, up to the end of its picture."""
    if not data.startswith(b"\xff\xd8"):
        return
    at = scans = segments = 0
    # A marker; FF 00 and restarts (D0 to D7) are part of a scan, FF FF is filling.
    marker = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
    while (found := marker.search(data, at)) and found[1] != b"\xd9":
        segments += 1
        scans += found[1] == b"\xda"
        if scans > _MOST_SCANS or segments > _MOST_SEGMENTS:
            raise ValueError(_too_slow(name))
        at = found.end()
        if found[1] not in b"\x01\xd8":
            at += max(2, int.from_bytes(data[at : at + 2], "big"))


def _check_tiles(data: bytes, name: str) -> None:
    """Looks for the number of offsets that the first directory of a TIFF gives."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return
    with suppress(struct.error):  # of one that is cut off, Pillow has a word
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (entries,) = struct.unpack_from(f"{order}H", data, at)
        for entry in range(entries):
            tag, _, count = struct.unpack_from(f"{order}HHI", data, at + 2 + 12 * entry)
            if tag in (TiffImagePlugin.STRIPOFFSETS, TiffImagePlugin.TILEOFFSETS) and count > _MOST_TILES:
                raise ValueError(_too_slow(name))


def _pixels_of_png(data: bytes) -> bytes | None:
    """A PNG file with what makes its pixels, and without words and profiles; None if it is none."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    kept, at = [data[:8]], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if kind[:1].isupper() or kind in (b"tRNS", b"eXIf"):
            kept.append(data[at : at + 12 + length])
        at += 12 + length
    return b"".join(kept)


def _check_size(image: Image.Image, name: str, most: int) -> None:
    if image.width * image.height == 0:
        raise ValueError(f"{name} is empty: its size is {image.width} x {image.height} pixels.")
    if image.width * image.height > most:
        raise ValueError(_too_large(name, most, f"{image.width} x {image.height} pixels, "))


def _too_large(name: str, most: int, size: str = "") -> str:
    return f"{name} is too large: {size}more than {most / 1e6:g} megapixels; scale it down first."


def _too_slow(name: str) -> str:
    return f"{name} takes too long to read: open it in another program and save it as PNG."


def _kind_of(value: object) -> str:
    return "None" if value is None else f"{'an' if type(value).__name__[0] in 'aeiou' else 'a'} {type(value).__name__}"


def _words(error: Exception) -> str:
    """What a library says, on one line and without a full stop."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(text.split())[:200].rstrip(".")
