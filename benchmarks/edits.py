"""One picture of what edits do without a model: before and after, for the README.

    python -m benchmarks.edits --output assets/edits.webp [--photo FILE --find PHRASE ...]

The first example gets the page's standard edits. Photographs, in which `--model` finds what is edited, get four:
removed, a blurred background, pixelated, and a sticker.
"""

import argparse
from pathlib import Path

import numpy as np
import supervision as sv
from PIL import Image, ImageDraw, ImageFont

from groundingdino.detection.detector import Detector
from groundingdino.editing.edits import (
    BlurBackground,
    Edit,
    MaskSettings,
    Obscure,
    Recolor,
    Region,
    Regions,
    Remove,
    Replace,
    Sampling,
    Spotlight,
    StickerCutOut,
    Task,
    TransparentBackground,
    box_around,
)
from groundingdino.editing.perform import edit_picture
from groundingdino.editing.stickers import Stickers
from groundingdino.inputs.image import load_editable
from groundingdino.page.layout import PAGE_FILES
from groundingdino.segmentation.masks import smooth_masks
from groundingdino.segmentation.segmenter import Segmenter

EXAMPLE = PAGE_FILES.parent / "examples" / "picnic.webp"
TILE = (400, 300)  # pixels
COLUMNS = 3
CHECKER = 10  # pixels of a square behind what is transparent


def on_the_example(detector: Detector, segmenter: Segmenter) -> list[tuple[str, Image.Image]]:
    """The first example and its edits, with their names."""
    image = load_editable(EXAMPLE)
    cat, pizza, bread = (_find(image, phrase, detector, segmenter) for phrase in ("cat", "pizza", "bread"))
    placed = ((bread, "teddy bear"), (pizza, "red car"))
    regions = Regions(tuple(Region(box_around(tuple(each.xyxy[0]), image.size), text) for each, text in placed))
    edits: list[tuple[str, sv.Detections, Task]] = [
        ("replace: cat by dog", cat, Replace("dog")),
        ("remove: cat", cat, Remove()),
        ("blurred background", cat, BlurBackground()),
        ("spotlight", cat, Spotlight()),
        ("transparent", cat, TransparentBackground()),
        ("two regions", cat, regions),
        ("recoloured", cat, Recolor("royalblue")),
        ("sticker", cat, StickerCutOut()),
    ]
    return [("before", image), *((name, _edited(image, objects, task)) for name, objects, task in edits)]


def on_a_photograph(path: Path, phrase: str, detector: Detector, segmenter: Segmenter) -> list[tuple[str, Image.Image]]:
    """A photograph and its edits."""
    image = load_editable(path)
    found = _find(image, phrase, detector, segmenter)
    tasks: dict[str, Task] = {
        "remove": Remove(),
        "blurred background": BlurBackground(),
        "pixelated": Obscure("pixelate"),
        "sticker": StickerCutOut(),
    }
    return [("before", image), *((f"{name}: {phrase}", _edited(image, found, task)) for name, task in tasks.items())]


def _find(image: Image.Image, phrase: str, detector: Detector, segmenter: Segmenter) -> sv.Detections:
    found = detector(image, phrase)
    if not len(found):
        raise ValueError(f"'{phrase}' was not found.")
    return smooth_masks(segmenter.segment_boxes(segmenter.encode_image(image), found))


def _edited(image: Image.Image, objects: sv.Detections, task: Task) -> Image.Image:
    stickers = Stickers()
    settings = stickers.card.mask_for(task) if task.needs_model else MaskSettings()
    return edit_picture(image, objects, Edit(task, settings, sampling=Sampling(seed=0)), stickers).images[0]


def _sheet(pictures: list[tuple[str, Image.Image]]) -> Image.Image:
    """All of them in rows, with their names below."""
    font = ImageFont.load_default(15)
    rows = -(-len(pictures) // COLUMNS)
    height = TILE[1] + 26
    sheet = Image.new("RGB", (COLUMNS * (TILE[0] + 8) - 8, rows * height), "white")
    y, x = np.mgrid[: TILE[1], : TILE[0]]
    checker = Image.fromarray(np.where((x // CHECKER + y // CHECKER) % 2, 225, 255).astype(np.uint8)).convert("RGB")
    for index, (name, picture) in enumerate(pictures):
        left, top = index % COLUMNS * (TILE[0] + 8), index // COLUMNS * height
        small = picture.convert("RGBA")
        small.thumbnail(TILE, Image.Resampling.LANCZOS)
        tile = checker.crop((0, 0, *small.size))
        tile.paste(small, (0, 0), small)
        sheet.paste(tile, (left, top))
        ImageDraw.Draw(sheet).text((left + 2, top + small.height + 3), name, "black", font)
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="picture to write")
    parser.add_argument("--photo", type=Path, action="append", default=[], help="a photograph; several may be given")
    parser.add_argument("--find", action="append", default=[], help="what is edited in each photograph")
    parser.add_argument("--model", default="swin-t", help="finds it (%(default)s)")
    parser.add_argument("--segmenter", default="vit_b", help="cuts it out (%(default)s)")
    options = parser.parse_args()
    pictures = on_the_example(Detector.from_pretrained("embedded"), Segmenter.from_pretrained("embedded"))
    if options.photo:
        detector, segmenter = Detector.from_pretrained(options.model), Segmenter.from_pretrained(options.segmenter)
        for path, phrase in zip(options.photo, options.find, strict=True):
            pictures += on_a_photograph(path, phrase, detector, segmenter)
    _sheet(pictures).save(options.output, quality=82, method=6)


if __name__ == "__main__":
    main()
