"""What the controls of the tab Inpaint say, read as an `Edit`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import supervision as sv
from PIL import Image

from groundingdino.detection.objects import labels_of
from groundingdino.editing.available_models import InpainterCard
from groundingdino.editing.edits import MAX_REACH, BrushStroke, Edit, MaskSettings, Sampling
from groundingdino.editing.margins import Margins
from groundingdino.editing.modes import parse_regions, parse_task
from groundingdino.editing.tasks import Outpaint, Remove, Task, TransparentBackground, box_around
from groundingdino.page.studio import OFF
from groundingdino.segmentation.object_ids import object_ids
from groundingdino.segmentation.pointing import Pointing

REPLACE, REMOVE, BACKGROUND, EFFECT, REGIONS = "Replace", "Remove", "Background", "Effect", "Regions"  # the modes
EXTEND = "Extend"  # likewise
NOT_OBJECTS = (REGIONS, EXTEND)  # the modes that edit boxes, or what is not there yet
MASKS, WHOLE_BOXES = "Masks", "Boxes"  # what of the objects is edited
PAINTED, TRANSPARENT, COLOR, PICTURE = "Painted", "Transparent", "Colour", "Picture"  # the new background
BLURRED, GREY, DARK, OUTLINED = "Blurred", "Grey", "Dark", "Sticker"  # likewise
BLUR, PIXELATE, RECOLOR = "Blur", "Pixelate", "Recolour"  # what is done to the objects
MODEL, QUICK = "Inpainter", "Fill"  # what removes
# To start with, in percent of an object's longer side and of the picture's: `MaskSettings`' own twelfth and
# two-hundredth, but growing without its limit of 64 pixels, for a slider that says percent has to mean it.
GROW = {REPLACE: 8.3, REMOVE: 8.3, BACKGROUND: 0.0, EFFECT: 0.0, REGIONS: 0.0, EXTEND: 0.0}
FEATHER = 0.5
NO_REGION = "There is no region: name something that is found and tick it, or draw a box."


# Modes of `parse_task`, and their texts where the form has no other.
_TASKS = {
    REPLACE: ("replace", ""),
    EXTEND: ("outpaint", ""),
    MODEL: ("remove", ""),
    QUICK: ("fill", ""),
    PAINTED: ("background", ""),
    TRANSPARENT: ("transparent", ""),
    COLOR: ("color", ""),
    PICTURE: ("picture", ""),
    BLURRED: ("blur-background", ""),
    GREY: ("spotlight", "grey"),
    DARK: ("spotlight", "dark"),
    OUTLINED: ("sticker", "white"),
    BLUR: ("blur", ""),
    PIXELATE: ("pixelate", ""),
    RECOLOR: ("recolor", ""),
}


class MaskForm(NamedTuple):
    """The controls that say where is painted; each of them changes what the canvas shows."""

    mode: str = REPLACE
    shape: str = MASKS
    grow: float = GROW[REPLACE]  # percent of each object's longer side
    feather: float = FEATHER  # percent of the picture's longer side
    margins: str = "25%"  # by which the picture grows

    @property
    def boxes(self) -> bool:
        """Whether boxes are edited, for which no masks need to be made."""
        return self.shape == WHOLE_BOXES or self.mode in NOT_OBJECTS

    def settings(self, size: tuple[int, int], one_by_one: bool = False) -> MaskSettings:
        """For a picture of that (width, height) in pixels."""
        return MaskSettings(
            feather=min(round(self.feather / 100 * max(size)), MAX_REACH),
            one_by_one=one_by_one,
            boxes=self.boxes,
            grow_share=0 if self.mode in NOT_OBJECTS else self.grow / 100,
        )

    def preview(self, size: tuple[int, int], strokes: tuple[BrushStroke, ...]) -> Edit:
        """An edit with the mask that will be used, whatever will be painted in it."""
        if self.mode == EXTEND:
            return Edit(Outpaint(Margins.parse(self.margins)), self.settings(size))
        if self.mode == REGIONS:  # the brush corrects objects, and regions are boxes
            strokes = ()
        task = TransparentBackground() if self.mode == BACKGROUND else Remove("fill")
        return Edit(task, self.settings(size), strokes)


class Form(NamedTuple):
    """The other controls, in the order in which they are wired up."""

    text: str
    backdrop: str
    color: str
    picture: str | None  # path of the new background
    remover: str
    one_by_one: bool
    model: str
    steps: float
    guidance: float
    strength: float
    seed: str
    negative_prompt: str
    candidates: float
    scheduler: str
    effect: str
    few_steps: str = OFF

    def edit(
        self,
        mask: MaskForm,
        size: tuple[int, int],
        objects: sv.Detections,
        strokes: tuple[BrushStroke, ...],
        texts: Mapping[str, str],
        open_picture: Callable[[str], Image.Image],
    ) -> Edit:
        """All of it as an edit; a ValueError says in one sentence what is missing.

        Args:
            mask: The controls of the mask.
            size: (width, height) of the picture.
            objects: Those that are ticked.
            strokes: Of the brush.
            texts: What each region is to show, by the id of its object; where it is missing, `text` is used.
            open_picture: Gives the new background by its path.
        """
        sampling = Sampling(
            steps=int(self.steps),
            guidance=float(self.guidance),
            strength=float(self.strength),
            seed=_seed(self.seed),
            negative_prompt=self.negative_prompt.strip(),
            candidates=int(self.candidates),
            scheduler=self.scheduler or None,
            few_steps=None if self.few_steps == OFF else self.few_steps,
        )
        task = self._task(mask, objects, texts, open_picture)
        strokes = () if mask.mode in NOT_OBJECTS else strokes
        return Edit(task, mask.settings(size, self.one_by_one), strokes, sampling)

    def _task(
        self,
        mask: MaskForm,
        objects: sv.Detections,
        texts: Mapping[str, str],
        open_picture: Callable[[str], Image.Image],
    ) -> Task:
        if mask.mode == REGIONS:
            return parse_regions(self._regions(objects, texts))
        choices = {REMOVE: self.remover, EFFECT: self.effect, BACKGROUND: self.backdrop}
        mode, text = _TASKS[choices.get(mask.mode, mask.mode)]
        if mode == "picture" and not self.picture:
            raise ValueError("Choose a picture for the background first.")
        own = hex_color(self.color) if mode in ("color", "recolor") else self.text
        picture = open_picture(self.picture) if mode == "picture" and self.picture else None
        return parse_task(mode, text or own, picture, margins=mask.margins)

    def _regions(self, objects: sv.Detections, texts: Mapping[str, str]) -> list[list[float | str]]:
        if not len(objects):
            raise ValueError(NO_REGION)
        regions: list[list[float | str]] = []
        rows = zip(object_ids(objects), labels_of(objects), objects.xyxy.tolist(), strict=True)
        for name, label, box in rows:
            text = texts.get(name, "").strip() or self.text.strip()
            if not text:
                raise ValueError(f"Say in the table what '{label}' becomes, or what to put there in all regions.")
            regions.append([*box, text])
        return regions


def _seed(text: str) -> int | None:
    text = text.strip()
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(f"Expected a seed of digits alone, or none, got '{text}'.")
    return int(text) if text else None


def suited_shape(card: InpainterCard, mode: str) -> str:
    """What of the objects is best edited by a model."""
    return WHOLE_BOXES if card.boxes and mode == REPLACE else MASKS


def suited_grow(mode: str, before: str, grow: float) -> float:
    """How far masks best grow in a mode; stays as it is if in the mode `before` it was chosen by hand."""
    return GROW[mode] if grow == GROW[before] else grow


def as_drawn(objects: sv.Detections, pointing: Pointing, room: tuple[int, int] | None = None) -> sv.Detections:
    """The objects with the boxes that were drawn by hand, where a segmenter has fitted others to its masks.

    Args:
        objects: Those that are ticked.
        pointing: What was drawn.
        room: (width, height) of the picture where the other boxes get some, see `box_around`.
    """
    drawn = {gesture.target: gesture.box for gesture in pointing.gestures if gesture.box}
    found = [
        (x0, y0, x1, y1) if room is None else box_around((x0, y0, x1, y1), room)
        for x0, y0, x1, y1 in objects.xyxy.tolist()
    ]
    boxes = [drawn.get(name, box) for name, box in zip(object_ids(objects), found, strict=True)]
    return replace(objects, xyxy=np.array(boxes, np.float32).reshape(-1, 4))


def hex_color(color: str) -> str:
    """What Gradio's colour picker sends, "rgba(12.3, 45, 6, 1)" or "#rrggbb", as "#rrggbb"."""
    if not color.startswith("rgb"):
        return color
    parts = color[color.index("(") + 1 : color.rindex(")")].split(",")
    return "#" + "".join(f"{min(255, max(0, round(float(part)))):02x}" for part in parts[:3])
