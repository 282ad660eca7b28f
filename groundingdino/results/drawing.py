"""Boxes, masks and labels on a picture, drawn by supervision; one colour per phrase, the same on every run."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import supervision as sv
from PIL import Image

from groundingdino.detection.objects import labels_of, select, vocabulary
from groundingdino.results import lettering
from groundingdino.segmentation.masks import check_size

# Okabe and Ito's colours, told apart by all common kinds of colour blindness ("Color Universal Design", 2008).
# Their eighth, black, is left out: it disappears in dark pictures.
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")


MOST_LABELS = 300  # as many as a detector finds by default; more hide each other and the picture

# Invisible, but they join letters of Persian and Hindi, and emoji of several parts.
JOINERS = "\u200c\u200d"


@dataclass(frozen=True)
class MaskStyle:
    """How masks are drawn; an opacity of 0 with an outline is the contour alone.

    Raises:
        ValueError: The opacity is outside [0, 1].
    """

    opacity: float = 0.45  # of the fill, 0 to 1
    outline: bool = True
    boxes: bool = False  # the boxes too
    labels: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1:
            raise ValueError(f"The opacity must be between 0 and 1, but it is {self.opacity}.")


DEFAULT_MASK_STYLE = MaskStyle()


def phrase_colors(phrases: Sequence[str]) -> list[sv.Color]:
    """One colour for each phrase of a prompt, in order.

    A phrase asks for the colour its letters hash to and gets the next free one if an earlier phrase of the prompt has
    it. So a phrase has the same colour on every run, phrases typed behind it do not change it, and as long as there
    are no more phrases than colours no two share one.
    """
    colors, free = [], list(range(len(PALETTE)))
    for phrase in phrases:
        wanted = crc32(phrase.casefold().encode(errors="replace")) % len(PALETTE)
        index = min(free, key=lambda candidate: (candidate - wanted) % len(PALETTE))
        free.remove(index)
        free = free or list(range(len(PALETTE)))
        colors.append(sv.Color.from_hex(PALETTE[index]))
    return colors


def text_color(background: sv.Color) -> sv.Color:
    """Black or white, whichever has the higher contrast to `background` (relative luminance, WCAG 2.2)."""
    srgb = np.array(background.as_rgb()) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return sv.Color.BLACK if (luminance + 0.05) ** 2 > 0.05 * 1.05 else sv.Color.WHITE


def annotate(
    image: Image.Image,
    detections: sv.Detections,
    phrases: Sequence[str] = (),
    marked: Collection[int] = (),
    unit: float | None = None,
    mask_style: MaskStyle = DEFAULT_MASK_STYLE,
) -> Image.Image:
    """Draws boxes, or masks where there are any, with "phrase score" labels on a copy of the picture.

    Where nobody scored the objects, as those of a data set, labels are phrases.

    Args:
        image: RGB picture.
        detections: N objects, `xyxy` in pixels of the picture, `data["class_name"]` their phrases.
        phrases: All phrases of the prompt, also those that were not found: colours are given in their order.
        marked: Indices of objects to stand out; they are drawn last, on a white outline.
        unit: Pixels that stand for one: letters are 13 units high, lines 2.5 wide. By default a 600th of the short
            side, so that lines and letters grow with the picture.
        mask_style: What is drawn of objects that have masks.

    Returns:
        An RGB picture of the same size; labels stay inside it, and beyond `MOST_LABELS` objects the weakest have none.
    """
    check_size(detections.mask, image.size)
    unit = max(0.8, min(image.size) / 600) if unit is None else unit
    thickness = max(1, round(2.5 * unit))
    names = vocabulary(detections, phrases)
    # The best object is drawn over the others, and what is marked over everything.
    order = np.array(sorted(range(len(detections)), key=lambda index: (index in marked, -index)), dtype=int)
    found = replace(select(detections, order), xyxy=detections.xyxy[order].round())
    on_top = np.isin(order, list(marked))
    plain, outlined = select(found, ~on_top), select(found, on_top)
    labels = labels_of(found)
    places = {name: index for index, name in enumerate(names)}
    lookup = np.array([places[label] for label in labels], dtype=int)
    palette = sv.ColorPalette(phrase_colors(names) or [sv.Color.BLACK])

    scene = image.copy()
    shapes: list[type[sv.BoxAnnotator] | type[sv.PolygonAnnotator]] = []
    if found.mask is None or mask_style.boxes:
        shapes.append(sv.BoxAnnotator)
    if found.mask is not None:
        scene = sv.MaskAnnotator(palette, mask_style.opacity).annotate(scene, found, lookup)
        if mask_style.outline:
            shapes.append(sv.PolygonAnnotator)
    for draw in shapes:
        scene = draw(palette, thickness).annotate(scene, plain, lookup[~on_top])
    # What is marked stands out by its outline, also where outlines are off.
    for draw in shapes or [sv.PolygonAnnotator]:
        scene = draw(sv.Color.WHITE, 4 * thickness).annotate(scene, outlined)
        scene = draw(palette, 2 * thickness).annotate(scene, outlined, lookup[on_top])
    if found.mask is not None and not mask_style.labels:
        return scene
    writer = sv.RichLabelAnnotator(
        palette,
        text_color=sv.ColorPalette([text_color(color) for color in palette.colors]),
        font_size=max(1, round(13 * unit)),
        text_padding=max(1, round(3.5 * unit)),
        border_radius=thickness,
        smart_position=True,
    )
    # The best and those on top; supervision takes quadratic time to spread labels out.
    found, labels, lookup = (
        select(found, np.arange(len(found))[-MOST_LABELS:]),
        labels[-MOST_LABELS:],
        lookup[-MOST_LABELS:],
    )
    writer.font = lettering.font(writer.font_size)
    room = image.width - 2 * writer.text_padding
    # Cut in the middle, so that the score stays readable.
    scores = [""] * len(found) if found.confidence is None else [f" {score:.2f}" for score in found.confidence]
    texts = [
        lettering.shorten(_on_one_line(label), writer.font, room, score)
        for label, score in zip(labels, scores, strict=True)
    ]
    return writer.annotate(scene, found, texts, lookup)


def _on_one_line(label: str) -> str:
    """Without what is no letter: line ends, tabs and control characters would be drawn as empty boxes."""
    return " ".join("".join(each if each.isprintable() or each in JOINERS else " " for each in label).split())
