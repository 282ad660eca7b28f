"""One picture of what edits do without a model: before and after, for the README.

    pip install scikit-image && python -m benchmarks.edits --output assets/edits.webp

The first example gets the page's standard edits, found by words. Four photographs, which scikit-image brings along, get
one each. The embedded detector knows no photographs: boxes, clicks and a mask say there what is edited. They are in the
public domain: a rocket by SpaceX, a cat by Stefan van der Walt, coffee by Rachel Michetti, and Eileen Collins by NASA.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import supervision as sv
from PIL import Image, ImageDraw, ImageFont

from groundingdino.detection.detector import Detector
from groundingdino.editing.edits import Edit, MaskSettings, Sampling
from groundingdino.editing.mask import own_mask
from groundingdino.editing.perform import edit_picture
from groundingdino.editing.stickers import Stickers
from groundingdino.editing.tasks import (
    BlurBackground,
    Obscure,
    Recolor,
    Region,
    Regions,
    Remove,
    Replace,
    Spotlight,
    Task,
    TransparentBackground,
    box_around,
)
from groundingdino.inputs.image import load_editable
from groundingdino.page.layout import PAGE_FILES
from groundingdino.segmentation.mask_prompts import MaskPrompt
from groundingdino.segmentation.masks import smooth_masks
from groundingdino.segmentation.segmenter import Segmenter

EXAMPLE = PAGE_FILES.parent / "examples" / "picnic.webp"
TILE = (300, 225)  # pixels
COLUMNS = 4
CHECKER = 10  # pixels of a square behind what is transparent
# Where things are in the photographs, in pixels: boxes, clicks (x, y, 1) on the cat, ellipses of saucer and cup.
ROCKET, FACE, CAT = (300, 118, 346, 427), (165, 40, 285, 180), (0, 0, 398, 299)
ON_THE_CAT = [(200, 60, 1), (60, 120, 1), (150, 220, 1), (330, 130, 1), (260, 285, 1)]
SAUCER, CUP, SPOON = (76, 66, 478, 388), (172, 19, 409, 300), ((400, 150), (416, 72))


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
    ]
    return [("before", image), *((name, _edited(image, objects, task)) for name, objects, task in edits)]


def on_photographs(segmenter: Segmenter) -> list[tuple[str, Image.Image]]:
    """Photographs and what becomes of each, with names."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    files = ("rocket.jpg", "astronaut.png", "chelsea.png", "coffee.png")
    rocket, astronaut, cat, coffee = (load_editable(folder / file) for file in files)
    mask = Image.new("L", coffee.size)
    draw = ImageDraw.Draw(mask)
    for ellipse in (SAUCER, CUP):
        draw.ellipse(ellipse, fill=255)
    draw.line(SPOON, fill=255, width=18)
    edits: list[tuple[str, Image.Image, sv.Detections, Task]] = [
        ("removed, by a box", rocket, _cut_out(rocket, segmenter, ROCKET), Remove()),
        ("pixelated, by a box", astronaut, sv.Detections(np.array([FACE], np.float32)), Obscure("pixelate")),
        ("blurred background, by clicks", cat, _cut_out(cat, segmenter, CAT, ON_THE_CAT), BlurBackground()),
        ("spotlight, in a mask of one's own", coffee, own_mask(mask, coffee.size), Spotlight()),
    ]
    pictures = []
    for name, image, objects, task in edits:
        pictures += [("before", image), (name, _edited(image, objects, task))]
    return pictures


def _cut_out(
    image: Image.Image, segmenter: Segmenter, box: tuple[int, ...], points: Sequence[tuple[int, int, int]] = ()
) -> sv.Detections:
    return smooth_masks(segmenter.segment(segmenter.encode_image(image), [MaskPrompt(box, points)]))


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
    options = parser.parse_args()
    segmenter = Segmenter.from_pretrained("embedded")
    pictures = on_the_example(Detector.from_pretrained("embedded"), segmenter) + on_photographs(segmenter)
    _sheet(pictures).save(options.output, quality=82, method=6)


if __name__ == "__main__":
    main()
