"""The letters of labels: one font has those of most scripts, so that a picture is the same on every machine."""

import io
import lzma
from functools import lru_cache

from PIL import ImageFont

from groundingdino.files.assets import ASSETS

# Its contents and licences are described beside it.
_FONT_FILE = ASSETS / "fonts" / "labels.ttf.xz"


def font(size: int) -> ImageFont.FreeTypeFont:
    """The font of labels at a size in pixels; a new one for each caller, as FreeType's are of one thread."""
    return ImageFont.truetype(io.BytesIO(_font_bytes()), size)


def shorten(text: str, font: ImageFont.FreeTypeFont, room: float, end: str = "") -> str:
    """The text with `end` behind it, cut to `room` pixels; "…" stands for what is missing.

    The time it takes is bounded by the room, not by the text: no visible letter is narrower than a pixel.
    """
    beginning = text[: max(1, int(room))]
    if len(beginning) == len(text) and font.getlength(text + end) <= room:
        return text + end
    shortest, longest = 0, len(beginning)
    while shortest < longest:
        middle = (shortest + longest + 1) // 2
        if font.getlength(f"{beginning[:middle].rstrip()}…{end}") <= room:
            shortest = middle
        else:
            longest = middle - 1
    return f"{beginning[:shortest].rstrip()}…{end}"


@lru_cache(maxsize=1)
def _font_bytes() -> bytes:
    """7 MB; unpacking takes a fifth of a second."""
    return lzma.decompress(_FONT_FILE.read_bytes())
