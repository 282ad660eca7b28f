"""The drawings of the scenes: vector artwork in several styles, shipped in `assets/artwork`.

Each style is one xz-compressed JSON file, code points -> {"body", "left", "top", "width", "height"}, cut from a pinned
npm package of the Iconify project. Nothing has to be fetched to train or to evaluate; when `names.tsv` gains a drawing,

    python -m groundingdino.training.artwork                 # fetches the packages with npm
    python -m groundingdino.training.artwork --from FOLDER   # or reads *.tgz that `npm pack` left there

writes the files anew. Licences and authors: `assets/artwork/ATTRIBUTION.md`.
"""

import argparse
import io
import json
import lzma
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from groundingdino.training.names import load_names

FOLDER = Path(__file__).parents[2] / "assets" / "artwork"
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
# Older drawings of something else: a cricket bat for the insect, a pistol for the water gun, wind for the leaf, a
# desktop computer for the laptop, a pink book for the red one.
MISLEADING = {
    "noto-v1": ("1f997", "1f52b", "1f343", "1f4bb", "1f4d5"),
    "emojione": ("1f997", "1f52b", "1f343"),
}
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


def cut(packages: dict[str, Path]) -> None:
    """Write the files of `FOLDER` from packages (style -> *.tgz): only the drawings of `names.tsv`."""
    icons = {style: _member(path, "icons.json") for style, path in packages.items()}
    slugs = _slugs(packages, icons)
    wanted = [drawing.codepoints for name in load_names() for drawing in name.drawings]
    FOLDER.mkdir(parents=True, exist_ok=True)
    for style, pack in icons.items():
        found = {}
        for codepoints in wanted:
            icon = _find(pack, slugs[codepoints])
            if icon is not None and codepoints not in MISLEADING.get(style, ()):
                found[codepoints] = {
                    "body": icon["body"],
                    "left": icon.get("left", 0),
                    "top": icon.get("top", 0),
                    "width": icon.get("width", pack.get("width", 16)),
                    "height": icon.get("height", pack.get("height", 16)),
                }
        text = json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
        (FOLDER / f"{style}.json.xz").write_bytes(lzma.compress(text, preset=9))
        print(f"{style}: {len(found)} of {len(wanted)} drawings")


def _slugs(packages: dict[str, Path], icons: dict[str, dict]) -> dict[str, list[str]]:
    """Every name under which a character appears in any package: older packages lack the list of characters."""
    slugs: dict[str, list[str]] = {}
    for path in packages.values():
        for codepoints, slug in _member(path, "chars.json").items():
            bare = "-".join(part for part in codepoints.split("-") if part != "fe0f")
            slugs.setdefault(bare, []).append(slug)
    aliases: dict[str, list[str]] = {}
    for pack in icons.values():
        for alias, target in pack.get("aliases", {}).items():
            aliases.setdefault(target["parent"], []).append(alias)
            aliases.setdefault(alias, []).append(target["parent"])
    return {
        key: list(dict.fromkeys(s for v in values for s in (v, *aliases.get(v, ())))) for key, values in slugs.items()
    }


def _find(pack: dict, slugs: list[str]) -> dict | None:
    aliases = pack.get("aliases", {})
    for slug in slugs:
        icon = pack["icons"].get(slug) or pack["icons"].get(aliases.get(slug, {}).get("parent"))
        if icon is not None:
            return icon
    return None


def _member(path: Path, name: str) -> dict:
    with tarfile.open(path) as archive:
        file = archive.extractfile(f"package/{name}")
        assert file is not None
        return json.load(file)


def _packages(folder: Path) -> dict[str, Path]:
    packages = {style.name: folder / f"iconify-json-{style.name}-{style.version}.tgz" for style in STYLES}
    missing = [path.name for path in packages.values() if not path.is_file()]
    if missing:
        raise ValueError(f"{folder} lacks {', '.join(missing)}; `npm pack @iconify-json/NAME@VERSION` fetches one.")
    return packages


def _fetch(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError("npm is needed to fetch the artwork; install Node.js, or give packages with --from FOLDER.")
    for style in STYLES:
        subprocess.run([npm, "pack", f"@iconify-json/{style.name}@{style.version}"], cwd=folder, check=True)


def main() -> None:
    """Command line, see the top of the file."""
    parser = argparse.ArgumentParser(
        prog="python -m groundingdino.training.artwork", description="Cut the artwork anew."
    )
    parser.add_argument("--from", dest="folder", type=Path, help="folder with *.tgz of `npm pack`, instead of fetching")
    folder = parser.parse_args().folder
    try:
        if folder is not None:
            cut(_packages(folder))
            return
        with tempfile.TemporaryDirectory() as scratch:
            _fetch(Path(scratch))
            cut(_packages(Path(scratch)))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
