"""The drawings: vector artwork in several styles, shipped in `assets/artwork`, as pixels.

Each style is one xz-compressed JSON file, code points -> {"body", "left", "top", "width", "height"}, cut from a pinned
npm package of the Iconify project by `training.artwork`. Licences and authors: `assets/artwork/ATTRIBUTION.md`.
"""

import io
import json
import lzma
from dataclasses import dataclass

import numpy as np
import resvg_py
from PIL import Image

from groundingdino.files.assets import ASSETS

FOLDER = ASSETS / "artwork"
PREVIEW = 96  # pixels of the first look at a drawing, which finds its margins


@dataclass(frozen=True)
class Style:
    """One set of drawings: the npm package `@iconify-json/{name}` it is cut from."""

    name: str
    version: str


STYLES = (
    Style("noto", "1.2.9"),
    Style("noto-v1", "1.2.5"),
    Style("twemoji", "1.2.5"),
    Style("fluent-emoji-flat", "1.2.6"),
    Style("fluent-emoji", "1.2.7"),
    Style("emojione", "1.2.3"),
    Style("openmoji", "1.2.29"),
)
MAIN_STYLE = "noto"
HELD_OUT_STYLE = "openmoji"  # never trained on: it measures whether the thing is seen, or the font
TRAINING_STYLES = tuple(style.name for style in STYLES if style.name != HELD_OUT_STYLE)


class Artwork:
    """Drawings as pixels, rendered when first asked for and kept.

    Args:
        styles: names of `STYLES` to load.
        resolution: the longest side of a rendered drawing in pixels; its empty margin is cut off.
    """

    def __init__(self, styles: tuple[str, ...] = TRAINING_STYLES, resolution: int = 160):
        self.styles = styles
        self.resolution = resolution
        self._sources = {style: _read(style) for style in styles}
        self._sprites: dict[tuple[str, str], Image.Image] = {}

    def has(self, style: str, codepoints: str) -> bool:
        """Whether a style draws this character; `MAIN_STYLE` and `HELD_OUT_STYLE` draw all of `names.tsv`."""
        return codepoints in self._sources[style]

    def sprite(self, style: str, codepoints: str) -> Image.Image:
        """RGBA picture of one drawing, its longest side `resolution` pixels, shared: do not write into it."""
        key = (style, codepoints)
        if key not in self._sprites:
            self._sprites[key] = _render(self._sources[style][codepoints], self.resolution)
        return self._sprites[key]

    def draw(self, style: str, codepoints: str, side: int) -> Image.Image:
        """One drawing anew, as `sprite`, its longest side so many pixels."""
        return _render(self._sources[style][codepoints], side)

    def render(self) -> None:
        """Render everything now (under a minute for all styles), so that processes forked later share it."""
        for style, drawings in self._sources.items():
            for codepoints in drawings:
                self.sprite(style, codepoints)


def _read(style: str) -> dict[str, dict]:
    path = FOLDER / f"{style}.json.xz"
    if not path.is_file():
        known = ", ".join(style.name for style in STYLES)
        raise ValueError(f'No artwork of style "{style}" at {path}; the styles are {known}.')
    return json.loads(lzma.decompress(path.read_bytes()))


def _render(icon: dict, resolution: int) -> Image.Image:
    """Cut to what is drawn, so that the box of a drawing is the box of the thing."""
    view = (icon["left"], icon["top"], icon["width"], icon["height"])
    preview = _rasterise(icon["body"], view, PREVIEW)
    left, top, right, bottom = _extent(preview, margin=1)
    step_x, step_y = icon["width"] / preview.width, icon["height"] / preview.height
    view = (view[0] + left * step_x, view[1] + top * step_y, (right - left) * step_x, (bottom - top) * step_y)
    picture = _rasterise(icon["body"], view, resolution)
    picture = picture.crop(_extent(picture, margin=0))
    scale = resolution / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC)


def _rasterise(body: str, view: tuple[float, float, float, float], side: int) -> Image.Image:
    """The part `view` (left, top, width, height) of a drawing as RGBA, its longest side `side` pixels."""
    scale = side / max(view[2:])
    width, height = max(1, round(view[2] * scale)), max(1, round(view[3] * scale))
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" preserveAspectRatio="none" '
        f'viewBox="{view[0]} {view[1]} {view[2]} {view[3]}" width="{width}" height="{height}">{body}</svg>'
    )
    png = resvg_py.svg_to_bytes(svg_string=svg, width=width, height=height, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def _extent(picture: Image.Image, margin: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of what is drawn; a veil of nearly transparent pixels does not count."""
    solid = np.asarray(picture)[..., 3] >= 32
    columns, rows = np.flatnonzero(solid.any(0)), np.flatnonzero(solid.any(1))
    left, top = max(0, int(columns[0]) - margin), max(0, int(rows[0]) - margin)
    right, bottom = min(picture.width, int(columns[-1]) + 1 + margin), min(picture.height, int(rows[-1]) + 1 + margin)
    return left, top, right, bottom
