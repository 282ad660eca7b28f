"""Makes `labels.ttf.xz`, the one font of all labels, out of fonts of several scripts: `python build.py FONT ...`.

Each font adds the letters that none before it has; README.md names them. Needs fonttools and brotli.
"""

import io
import lzma
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from fontTools.merge import Merger
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from fontTools.ttLib.scaleUpem import scale_upem

UNITS = 1024  # per em, a multiple of the 256 of the largest font, whose outlines so stay exact
DROPPED = ["vhea", "vmtx", "VORG", "BASE", "STAT", "MVAR", "HVAR", "meta", "DSIG", "gasp", "prep", "fpgm", "cvt "]
# Private letters, and the rare Chinese ones of Extension A, for which a font has too few places (65,535).
LEFT_OUT = {*range(0x3400, 0x4DC0), *range(0xE000, 0xF900)}
VERTICAL = {"vert", "vrt2", "vkrn", "vpal", "vhal"}


def build(sources: list[Path]) -> TTFont:
    """One font with all letters of the sources; lines are as high as the first one's."""
    parts, taken = [], set[int]()
    with TemporaryDirectory() as folder:
        for source in sources:
            font = TTFont(source)
            font.flavor = None
            options = Options(hinting=False, notdef_outline=True, name_IDs=[1, 2], drop_tables=DROPPED)
            options.layout_features = [each for each in Options().layout_features if each not in VERTICAL]
            options.glyph_names = False
            subsetter = Subsetter(options)
            letters = set(font.getBestCmap()) - taken - LEFT_OUT
            subsetter.populate(unicodes=letters)
            subsetter.subset(font)
            taken |= letters
            scale_upem(font, UNITS)
            parts.append(Path(folder) / f"{len(parts)}.ttf")
            font.save(parts[-1])
        merged = Merger().merge([str(part) for part in parts])
        merged["post"].formatType = 3.0  # no names of glyphs
        for record in merged["name"].names:
            record.string = "Labels" if record.nameID == 1 else "Regular"
        first = TTFont(parts[0])
        for name in ("ascent", "descent", "lineGap"):
            setattr(merged["hhea"], name, getattr(first["hhea"], name))
    return merged


if __name__ == "__main__":
    buffer = io.BytesIO()
    build([Path(argument) for argument in sys.argv[1:]]).save(buffer)
    packed = lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME)
    Path(__file__).with_name("labels.ttf.xz").write_bytes(packed)
