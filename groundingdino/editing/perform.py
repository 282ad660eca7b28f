"""One edit of a picture, from the objects found in it to the candidates: at the picture's own resolution.

Whatever the task, pixels outside the soft mask are those of the picture, to the bit, but for one case: behind what is
translucent a new colour or picture shows. Transparency stays, except where something is put there that was not.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import supervision as sv
from PIL import Image

from groundingdino.editing.backgrounds import lay_behind, make_transparent
from groundingdino.editing.blending import blend
from groundingdino.editing.crops import Crop
from groundingdino.editing.edits import MAX_SEED, Edit, Sampling
from groundingdino.editing.effects import change, make_sticker
from groundingdino.editing.filling import fill
from groundingdino.editing.mask import EditMask, edit_mask
from groundingdino.editing.outpainting import grown
from groundingdino.editing.preview import EditPreview, PaintStep
from groundingdino.editing.recipe import recipe_of
from groundingdino.editing.tasks import (
    Background,
    BlurBackground,
    ColorBackground,
    Obscure,
    Outpaint,
    PictureBackground,
    Recolor,
    Regions,
    Remove,
    Spotlight,
    StickerCutOut,
    TransparentBackground,
)
from groundingdino.inputs.image import load_editable, load_image
from groundingdino.inputs.prompt import meaning
from groundingdino.runtime.interruption import StopCheck
from groundingdino.segmentation.mask_prompts import Box
from groundingdino.segmentation.masks import union

NO_BACKGROUND = (
    "Stickers cannot paint a background by words: blur it, make it transparent, put a colour or a picture behind, or "
    "choose a diffusion model."
)
NO_GROWTH = "Growing a picture needs a model that paints: choose a diffusion model, such as sd15."


class Painted(NamedTuple):
    """What a model painted."""

    crop: Crop
    pixels: np.ndarray  # (h, w, 3) uint8, of the part of the crop in the picture
    notes: tuple[str, ...] = ()  # sentences for the user
    settings: dict[str, Any] = {}  # noqa: RUF012  # as used, for the recipe


class HeldBack(ValueError):
    """A model painted, and what it painted is not to be shown, or shows nothing."""


class BoxText(NamedTuple):
    """A box in pixels of the picture, and what it is to show; "" to continue what is around it."""

    box: Box
    text: str


class Painter(Protocol):
    """What `edit_picture` needs of a model; `Inpainter` is one."""

    @property
    def name(self) -> str: ...
    @property
    def paints_regions(self) -> bool:
        """Whether one pass paints several boxes, each by its own text."""

    @property
    def lays_drawings(self) -> bool:
        """Whether it lays a drawing into each box, over what it filled all of the mask with."""

    def paint(
        self,
        pixels: np.ndarray,
        mask: np.ndarray,
        alpha: np.ndarray,
        texts: tuple[BoxText, ...],
        sampling: Sampling,
        report: Callable[[PaintStep], None],
        stop: StopCheck | None,
    ) -> Painted: ...


@dataclass(frozen=True, eq=False)
class EditProgress:
    """How far an edit is.

    Attributes:
        step, steps: Done and in all, of all parts of all candidates together.
        candidate, candidates: Which one is being painted, from 1, and how many there will be.
        preview: RGB, the whole picture as it looks by now, its long side at most 640 pixels; None before the first
            step.
    """

    step: int
    steps: int
    candidate: int
    candidates: int
    preview: Image.Image | None = field(default=None, repr=False)

    @property
    def share(self) -> float:
        """Done, in [0, 1]."""
        return self.step / self.steps if self.steps else 0.0


@dataclass(frozen=True, eq=False)
class Edited:
    """What came of an edit.

    Attributes:
        images: One for each candidate, of the picture's size, but where it grew, and colour profile; RGB, or RGBA where
            the picture or its new background has transparency.
        mask: (H, W) uint8, how much of each pixel is new: where it is 0 the images are the picture to the bit; of what
            is translucent there a new colour or picture shows through.
        seeds: Of the candidates; empty where no model painted. Asked for with one of them and the same settings, an
            edit gives that picture again.
        recipe: How they were made, see `recipe`.
        notes: Sentences for the user.
        milliseconds: What it took.
    """

    images: tuple[Image.Image, ...]
    mask: np.ndarray = field(repr=False)
    seeds: tuple[int, ...]
    recipe: dict[str, Any]
    notes: tuple[str, ...]
    milliseconds: float

    def recipe_of(self, index: int) -> dict[str, Any]:
        """The recipe of one candidate, with its own "seed" in place of all "seeds"."""
        recipe = {name: value for name, value in self.recipe.items() if name != "seeds"}
        return {**recipe, "seed": self.seeds[index]} if self.seeds else recipe


def unchanged(picture: Image.Image) -> Edited:
    """The picture as it is, where there is nothing to edit."""
    return Edited((picture,), np.zeros(picture.size[::-1], np.uint8), (), {}, (), 0.0)


def edit_picture(
    image: Image.Image,
    objects: sv.Detections,
    edit: Edit,
    painter: Painter | None = None,
    progress: Callable[[EditProgress], None] | None = None,
    stop: StopCheck | None = None,
) -> Edited:
    """Edits a picture in which objects were found.

    Args:
        image: As `load_editable` gives it, or anything that `load_image` takes.
        objects: Those chosen, in its pixels, with masks or boxes; regions need none.
        edit: The task and its settings.
        painter: Needed if `edit.task.needs_model`, and not used otherwise; without one, what is removed is filled.
        progress: Called before the first step and after each.
        stop: Called several times in each step; once it returns True, `interruption.Stopped` is raised.

    Raises:
        ValueError: one sentence: there is nothing to paint, the task needs a model, the model cannot do the task,
            what it painted was held back, or memory does not suffice.
    """
    start = time.perf_counter()
    picture = load_editable(image)
    if painter is None and isinstance(edit.task, Remove):
        edit = replace(edit, task=Remove("fill"))
    if painter is not None and painter.lays_drawings and isinstance(edit.task, Background):
        raise ValueError(NO_BACKGROUND)
    if (painter is None or painter.lays_drawings) and isinstance(edit.task, Outpaint):
        raise ValueError(NO_GROWTH)
    mask = edit_mask(objects, picture.size, edit)
    profile = picture.info.get("icc_profile")
    if isinstance(edit.task, Outpaint):
        picture = grown(picture, edit.task.margins)
    run = _Run(picture, mask, edit, progress, stop)
    if not edit.task.needs_model:
        images, seeds = [run.without_model()], list[int]()
    elif painter is None:
        raise ValueError("This edit is painted by a model: choose an inpainter.")
    else:
        images, seeds = run.candidates(painter)
    if profile:
        for each in images:
            each.info["icc_profile"] = profile
    took = 1000 * (time.perf_counter() - start)
    model = painter.name if edit.task.needs_model and painter else None
    recipe = recipe_of(edit, picture.size, model, seeds, run.settings)
    return Edited(tuple(images), run.alpha, tuple(seeds), recipe, tuple(dict.fromkeys(run.notes)), took)


class _Run:
    """What the candidates of one edit share."""

    def __init__(
        self,
        picture: Image.Image,
        mask: EditMask,
        edit: Edit,
        progress: Callable[[EditProgress], None] | None,
        stop: StopCheck | None,
    ):
        self.original = np.asarray(picture)  # (H, W, 3 or 4)
        self.opaque = np.asarray(load_image(picture))  # (H, W, 3), as people and models see it
        self.mask, self.edit, self.stop = mask, edit, stop
        self.alpha = mask.alpha()
        self.notes: list[str] = []
        self.settings: dict[str, Any] = {}
        self._progress = progress
        self._done = 0  # candidates

    def without_model(self) -> Image.Image:
        task = self.edit.task
        if isinstance(task, TransparentBackground):
            return Image.fromarray(make_transparent(self.original, self.alpha))
        if isinstance(task, StickerCutOut):
            return Image.fromarray(make_sticker(self.original, self.alpha, task))
        if isinstance(task, (ColorBackground, PictureBackground)):
            return Image.fromarray(lay_behind(self.original, self.alpha, task))
        result, opaque = self.original.copy(), self.opaque.copy()
        if isinstance(task, (Obscure, Recolor, BlurBackground, Spotlight)):
            for part, alpha in self._parts():
                result[..., :3] = change(result[..., :3], part, alpha, task)
            return Image.fromarray(result)
        for part, alpha in self._parts():
            _paste(result, opaque, *fill(opaque, part, alpha), alpha, covers=False)
        return Image.fromarray(result)

    def candidates(self, painter: Painter) -> tuple[list[Image.Image], list[int]]:
        """Those that were not held back, and their seeds."""
        images, seeds = [], []
        for seed in _seeds(self.edit.sampling):
            try:
                images.append(self._by_model(painter, seed))
                seeds.append(seed)
            except HeldBack as error:
                if self._done + 1 == self.edit.sampling.candidates and not images:
                    raise
                self.notes.append(f"A candidate is missing. {error}")
            self._done += 1
        return images, seeds

    def _by_model(self, painter: Painter, seed: int) -> Image.Image:
        result, opaque = self.original.copy(), self.opaque.copy()
        sampling = replace(self.edit.sampling, seed=seed)
        covers = not isinstance(self.edit.task, Remove)
        passes = list(self._passes(painter))
        for index, (part, alpha, texts) in enumerate(passes):
            report = self._reporter(opaque, alpha, index, len(passes))
            read = tuple(BoxText(box, meaning(text)) for box, text in texts)
            painted = painter.paint(opaque, part, alpha, read, sampling, report, self.stop)
            _paste(result, opaque, painted.crop, painted.pixels, alpha, covers)
            self.notes += painted.notes
            self.settings |= painted.settings
        return Image.fromarray(result)

    def _parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for index in range(len(self.mask.parts)):
            yield self.mask.parts[index], self.mask.alpha(index)

    def _passes(self, painter: Painter) -> Iterator[tuple[np.ndarray, np.ndarray, tuple[BoxText, ...]]]:
        """What is painted in one go each: the mask, the same with its soft edge, and the text of each box in it."""
        task = self.edit.task
        texts = [region.text for region in task.regions] if isinstance(task, Regions) else None
        if isinstance(task, Regions) and painter.paints_regions:
            boxes = tuple(BoxText(region.box, region.text) for region in task.regions)
            yield union(self.mask.parts, self.mask.size), self.alpha, boxes
            return
        if painter.lays_drawings:  # one object is no pattern to fill the place of another with
            text = getattr(task, "text", "")
            boxes = tuple(BoxText(_box_of(part), text) for part, _ in self._parts())
            yield union(self.mask.parts, self.mask.size), self.alpha, boxes
            return
        for index, (part, alpha) in enumerate(self._parts()):
            text = texts[index] if texts else getattr(task, "text", "")  # there is none to remove by
            yield part, alpha, (BoxText(_box_of(part), text),)

    def _reporter(self, opaque: np.ndarray, alpha: np.ndarray, index: int, passes: int) -> Callable[[PaintStep], None]:
        candidates = self.edit.sampling.candidates
        preview = EditPreview(opaque, alpha) if self._progress else None

        def report(painted: PaintStep) -> None:
            if self._progress and preview:
                done = (self._done * passes + index) * painted.steps + painted.step
                steps = candidates * passes * painted.steps
                self._progress(EditProgress(done, steps, self._done + 1, candidates, preview.show(painted)))

        return report


def _paste(
    result: np.ndarray, opaque: np.ndarray, crop: Crop, pixels: np.ndarray, alpha: np.ndarray, covers: bool
) -> None:
    """Blends what was painted into the result (H, W, 3 or 4), and into what is seen of it.

    What `covers` is opaque where the picture was transparent, too; otherwise its transparency stays.
    """
    window, weight = crop.window, alpha[crop.window]
    share = weight
    if covers and result.shape[2] == 4:
        opacity = result[window][..., 3]
        share = np.where((opacity == 0) & (weight > 0), 255, weight)  # a colour that nobody sees would shine through
        result[window][..., 3] = np.maximum(opacity, weight)
    result[window][..., :3] = blend(result[window][..., :3], pixels, share)
    opaque[window] = blend(opaque[window], pixels, weight)


def _box_of(part: np.ndarray) -> Box:
    x, y, width, height = cv2.boundingRect(part.view(np.uint8))
    return float(x), float(y), float(x + width), float(y + height)


def _seeds(sampling: Sampling) -> list[int]:
    first = secrets.randbelow(MAX_SEED + 1) if sampling.seed is None else sampling.seed
    return [(first + index) % (MAX_SEED + 1) for index in range(sampling.candidates)]
