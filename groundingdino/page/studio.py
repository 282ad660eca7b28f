"""The models and pictures of a running page: the only state there is, shared by all who use it."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar

import numpy as np
import supervision as sv
from PIL import Image
from typing_extensions import Self

from groundingdino.detection import florence2
from groundingdino.detection.available_models import MODELS, ModelCard, is_cached
from groundingdino.detection.examples import NO_EXAMPLES, Examples, called
from groundingdino.detection.florence2 import NAMERS, NamerCard, load_namer
from groundingdino.detection.objects import labels_of, no_objects
from groundingdino.detection.phrases import NMS_THRESHOLD, Grounding
from groundingdino.detection.picture_kinds import is_choice, suited
from groundingdino.editing.available_models import INPAINTERS, InpainterCard, has_inpainter
from groundingdino.editing.edits import Edit
from groundingdino.editing.few_steps import FEW_STEPS, FewStepsCard, fetch_few_steps, has_few_steps
from groundingdino.editing.inpainter import Inpainter
from groundingdino.editing.out_of_memory import memory_errors
from groundingdino.editing.perform import Edited, EditProgress, Painter, edit_picture
from groundingdino.files.assets import PHOTOGRAPHS
from groundingdino.inputs.image import load_editable, load_image
from groundingdino.inputs.image_files import named
from groundingdino.inputs.prompt import Prompt, Span
from groundingdino.page.lent_models import find_loaders, keep_ready
from groundingdino.page.limits import Limits
from groundingdino.page.model_cache import ALWAYS_KEPT, C, ModelCache
from groundingdino.page.turns import Turns
from groundingdino.runtime.cache import ByteCache
from groundingdino.runtime.interruption import StopCheck, unless_stopped
from groundingdino.segmentation.available_models import SEGMENTERS, SegmenterCard, has_segmenter
from groundingdino.segmentation.cutting import EVERYTHING, Encoded, SegmenterLike, cut, is_cut
from groundingdino.segmentation.masks import size_bytes
from groundingdino.segmentation.object_ids import object_ids
from groundingdino.segmentation.pointing import Pointing
from groundingdino.tracking.available_trackers import EMBEDDED, TRACKERS, TrackerCard, has_tracker
from groundingdino.tracking.looks import Finder
from groundingdino.tracking.video_models import VideoModel, load_video_model

_PICTURE_BYTES = 512 << 20  # decoded pictures that stay in memory: a dozen photographs of 12 megapixels
_MOST_PICTURES = 64  # small ones would take as much, for nobody: fewer visitors type at once
_CUT_BYTES = 64 << 20  # masks as they are shown, so that a new colour or tick does not make them again
_MAX_ENLARGEMENT = 4  # beyond it a picture is but blocks

OFF = "off"  # no LoRA of few steps

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class NoFewSteps:
    """The card of none, which is chosen like one."""

    title: str = "Off"
    size_bytes: int = 0
    description: str = "As many steps as the inpainter takes."
    knows: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture in two sizes, both RGB and upright."""

    image: Image.Image  # as given
    shown: Image.Image  # as it fits the canvas, small ones enlarged so that what is drawn on them is sharp

    @property
    def scale(self) -> float:
        """Pixels of `shown` per pixel of `image`."""
        return self.shown.width / self.image.width


@dataclass(frozen=True)
class Thresholds:
    """What turns scores into objects; but for `each` and `tiles`, none of it runs the model.

    None stands for the checkpoint's own value.
    """

    box: float | None = None
    text: float | None = None
    nms: float | None = NMS_THRESHOLD  # IoU; 1 keeps every box
    best_only: bool = False  # one box of each phrase
    each: bool = False  # phrase has a pass of its own
    tiles: bool = False  # of a large picture are looked at, too, with a pass each

    def named(self) -> dict[str, float | None]:
        """As a recipe has them; what is off goes without saying."""
        named = {"box_threshold": self.box, "text_threshold": self.text, "nms_threshold": self.nms}
        return named | {name: True for name in ("best_only", "each", "tiles") if getattr(self, name)}


@dataclass(frozen=True, eq=False)
class Findings:
    """What a model found in a picture, and how long each part took."""

    detections: sv.Detections  # in pixels of the picture
    phrases: tuple[str, ...]  # of the prompt, found or not; of a sentence: what it names
    best_score: float  # of any candidate, also below the threshold; 0 without a prompt
    card: ModelCard
    box_threshold: float  # as used
    notes: tuple[str, ...]  # sentences for the user
    timing: "Timing"
    segmenter: SegmenterCard | None = None  # of the masks, if there are any that the detector did not make
    draft_side: int | None = None  # pixels of the short side, if this is a draft made of a smaller copy
    passes: int = 1  # of the detector's, of a prompt that is new
    by_examples: bool = False  # boxes were asked for in the place of words
    other: "Findings | None" = None  # what a second model found, to be compared

    @property
    def is_draft(self) -> bool:
        """Whether something is left to do, also of the second model."""
        return self.draft_side is not None or (self.other is not None and self.other.is_draft)

    @property
    def lacks_tiles(self) -> bool:
        """Whether this is a draft that lacks nothing else: one at the model's own size."""
        return self.draft_side == self.card.config.short_side

    @property
    def follows(self) -> str:
        """What a draft is followed by."""
        return "its tiles follow" if self.lacks_tiles else "the whole picture follows"

    @property
    def is_drawing(self) -> bool:
        """Whether the picture seems to be one: something was found by a model that knows nothing else."""
        is_named = np.isin(labels_of(self.detections), self.phrases)
        return PHOTOGRAPHS not in self.card.knows and bool(is_named.any())


class Timing(NamedTuple):
    """Milliseconds; `None` where nothing was computed because the answer was kept from before."""

    text: float | None
    picture: float | None  # of the detector
    grounding: float | None
    embedding: float | None = None  # the picture again, of the segmenter
    masks: float | None = None


class DetectorLike(Finder, Protocol):
    """What the page needs of a detector; `Detector` is one. `encoded` is what its own `encode_image` gave."""

    def draft_side(self, image: Image.Image, prompt: str, each: bool = False, tiles: bool = False) -> int | None: ...

    def encode_image(
        self,
        image: Image.Image,
        short_side: int | None = None,
        stop: StopCheck | None = None,
        tiles: bool = False,
    ) -> Encoded: ...

    def ground(
        self,
        encoded: Any,
        prompt: str | Iterable[str],
        spans: Sequence[Sequence[Span]] | None = None,
        stop: StopCheck | None = None,
    ) -> Grounding: ...

    def ground_each(self, encoded: Any, prompt: str, stop: StopCheck | None = None) -> Grounding: ...

    def ground_like(
        self,
        encoded: Any,
        like: Iterable[Sequence[float]],
        unlike: Iterable[Sequence[float]] = (),
        of: Any = None,
        name: str = ...,
        stop: StopCheck | None = None,
    ) -> Grounding: ...


class Namer(Protocol):
    """What the page needs of a model that names what is in pictures; `Florence2` is one."""

    def names(self, image: Image.Image, *, stop: StopCheck | None = None) -> list[str]: ...


def _within_memory(method: "Callable[Concatenate[Studio, P], R]") -> "Callable[Concatenate[Studio, P], R]":
    """The same, but that a lack of memory is told in a sentence, see `memory_errors`."""

    @wraps(method)
    def compute(self: "Studio", *arguments: P.args, **options: P.kwargs) -> R:
        with memory_errors(self.make_room):
            return method(self, *arguments, **options)

    return compute


class Studio:
    """Decodes each picture once; finds, cuts out and edits objects in it.

    Args:
        detectors: The models that turn words into boxes.
        segmenters: The models that turn boxes and points into masks.
        inpainters: The models that paint; without them only edits that need none are possible.
        few_steps: What lets them paint in a few steps, and `OFF`; without it they take as many as they take.
        trackers: What follows through videos; without it the embedded one.
        namers: What names all that is in a picture; without it a detector is asked for names.
        limits: What a request may ask for.
        borrows_gpu: Whether all models but those that come along borrow a GPU for each run.
    """

    def __init__(
        self,
        detectors: ModelCache[DetectorLike, ModelCard],
        segmenters: ModelCache[SegmenterLike, SegmenterCard],
        inpainters: ModelCache[Painter, InpainterCard] | None = None,
        few_steps: ModelCache[Path, FewStepsCard | NoFewSteps] | None = None,
        limits: Limits | None = None,
        borrows_gpu: bool = False,
        trackers: ModelCache[VideoModel, TrackerCard] | None = None,
        namers: ModelCache[Namer, NamerCard] | None = None,
    ):
        self.limits = limits or Limits()
        self._borrows_gpu = borrows_gpu
        self.detectors = detectors
        self.segmenters = segmenters
        self.inpainters = inpainters or ModelCache({}, Inpainter.from_pretrained, has_inpainter)
        self.few_steps = few_steps or ModelCache({OFF: NoFewSteps()}, fetch_few_steps, _has_few_steps)
        self.trackers = trackers or ModelCache({EMBEDDED: TRACKERS[EMBEDDED]}, load_video_model, has_tracker)
        self.namers: ModelCache[Namer, NamerCard] = namers or ModelCache({}, load_namer, florence2.is_here)
        self.turns = Turns()  # of those who follow the same through a video
        self._pictures: ByteCache[Image.Image] = ByteCache(
            _PICTURE_BYTES, lambda image: image.width * image.height * len(image.getbands()), _MOST_PICTURES
        )
        self._cuts: ByteCache[sv.Detections] = ByteCache(_CUT_BYTES, _mask_bytes)

    @classmethod
    def open(
        cls,
        device: str | None = None,
        local_files_only: bool = False,
        offered: Collection[str] | None = None,
        limits: Limits | None = None,
    ) -> Self:
        """A studio with published models.

        Args:
            device: None: on the GPU if there is one.
            local_files_only: Refuse downloads.
            offered: Names of models besides those that come along; None: all there are.
        """
        few_steps: dict[str, FewStepsCard | NoFewSteps] = {OFF: NoFewSteps(), **FEW_STEPS}
        kinds: tuple[Mapping[str, Any], ...] = (MODELS, SEGMENTERS, INPAINTERS, few_steps, NAMERS)
        known = {name for kind in kinds for name in kind} - {*ALWAYS_KEPT, OFF}
        if unknown := sorted({*(offered or ())} - known):
            raise ValueError(f"There is no model {named(unknown[0])}; offer some of {', '.join(sorted(known))}.")

        def some(kind: Mapping[str, C]) -> dict[str, C]:
            return {
                name: card for name, card in kind.items() if offered is None or name in (*ALWAYS_KEPT, OFF, *offered)
            }

        loaders = find_loaders(device)
        studio = cls(
            ModelCache(some(MODELS), loaders.detector, is_cached, device, local_files_only),
            ModelCache(some(SEGMENTERS), loaders.segmenter, has_segmenter, device, local_files_only),
            ModelCache(some(INPAINTERS), loaders.inpainter, has_inpainter, device, local_files_only),
            ModelCache(some(few_steps), fetch_few_steps, _has_few_steps, device, local_files_only),
            limits,
            borrows_gpu=loaders.gpu is not None,
            # What is remembered of a video stays between frames, and a borrowed GPU does not.
            trackers=ModelCache(
                {EMBEDDED: TRACKERS[EMBEDDED]} if loaders.gpu else some(TRACKERS),
                load_video_model,
                has_tracker,
                device,
                local_files_only,
            ),
            # Where a GPU is borrowed for each call there is none to keep a model on.
            namers=ModelCache(
                some(NAMERS), load_namer, florence2.is_here, "cpu" if loaders.gpu else device, local_files_only
            ),
        )
        if loaders.gpu:
            keep_ready(loaders.gpu, studio.detectors, studio.segmenters)
        return studio

    def borrows_gpu(self, model: str) -> bool:
        """Whether a model of that name borrows a GPU for each run, which is worth it only once somebody waits."""
        return self._borrows_gpu and model not in ALWAYS_KEPT

    def make_room(self) -> None:
        """Lets go of all that is only kept for later, as memory is short; requests under way hold what they need."""
        for models in (self.detectors, self.segmenters, self.inpainters, self.namers):
            models.let_go()
        self._pictures.clear()
        self._cuts.clear()

    @_within_memory
    def image(self, path: str | Path) -> Image.Image:
        """The picture in a file, decoded once for as long as it is in use; errors are those of `load_image`."""
        path, most = Path(path), self.limits.pixels
        # Loaded from bytes, so that a message does not name the server's folders.
        return self._pictures.get_or_compute(_version(path), lambda: load_image(path.read_bytes(), most))[0]

    @_within_memory
    def editable(self, path: str | Path) -> Image.Image:
        """The picture in a file with its transparency, see `load_editable`; also decoded once."""
        path, most = Path(path), self.limits.pixels
        key = (*_version(path), "editable")
        return self._pictures.get_or_compute(key, lambda: load_editable(path.read_bytes(), most))[0]

    def picture(self, path: str | Path, canvas: tuple[int, int]) -> Picture:
        """The picture in a file, and its copy for a canvas of that width and height in pixels."""
        image, version = self.image(path), _version(Path(path))
        shown, _ = self._pictures.get_or_compute((*version, canvas), lambda: _fit(image, canvas))
        return Picture(image, shown)

    @_within_memory
    def suited_models(self, path: str | Path, detector: str, segmenter: str) -> tuple[str, str]:
        """Detector and segmenter that come along and know pictures of that kind, see `picture_kinds`; others stay.

        Raises:
            ValueError: the picture cannot be read.
        """
        detector_depends = is_choice(detector, self.detectors.cards)
        segmenter_depends = is_choice(segmenter, self.segmenters.cards)
        if not (detector_depends or segmenter_depends):
            return detector, segmenter
        # Looked at once for both: those that come along have the same names.
        best = suited(self.image(path), detector if detector_depends else segmenter)
        return best if detector_depends else detector, best if segmenter_depends else segmenter

    @_within_memory
    def find(
        self,
        image: Image.Image,
        prompt: str,
        model: str,
        thresholds: Thresholds,
        draft: bool = False,
        stop: StopCheck | None = None,
        examples: Examples = NO_EXAMPLES,
        masks: bool = False,
    ) -> Findings:
        """Finds the prompt's phrases in a picture, see `Detector`; without a prompt the picture is only encoded.

        Args:
            draft: where the whole work would take long, make do with a smaller copy of the picture, or without tiles.
            stop: called now and then; once it returns True, `interruption.Stopped` is raised.
            examples: Boxes in the place of words, if there is one of what is looked for; the prompt then says what that
                is called, and neither a draft nor tiles are looked at.
            masks: Those of a detector that makes them are wanted; where it does not, there are boxes alone.

        Raises:
            ValueError: The model takes no examples, or they lie outside the picture; or see `Detector`.
        """
        if examples.like:
            self.detectors.card(model).require_examples()
        detector = self.detectors.get(model)
        side, tiles = None, thresholds.tiles and not examples.like
        if draft and not examples.like:
            side = detector.draft_side(image, prompt, thresholds.each, thresholds.tiles)
        encoded = detector.encode_image(image, side, stop, tiles=tiles and side is None)
        if examples.like:
            name = called(Prompt.parse(prompt).phrases)
            grounding = detector.ground_like(encoded, *examples, name=name, stop=stop)
        else:
            grounding = (detector.ground_each if thresholds.each else detector.ground)(encoded, prompt, stop=stop)
        detections = grounding.detections(
            thresholds.box,
            thresholds.text,
            thresholds.nms,
            best_only=thresholds.best_only,
            masks=masks and grounding.masks is not None,
        )
        return Findings(
            detections,
            grounding.phrases,
            best_score=float(grounding.scores.max(initial=0)),
            card=self.detectors.card(model),  # a file's own card does not say what the model is for
            box_threshold=grounding.box_threshold if thresholds.box is None else thresholds.box,
            notes=grounding.notes,
            timing=Timing(
                text=None if grounding.text_cached else grounding.text_milliseconds,
                picture=None if encoded.cached else encoded.milliseconds,
                grounding=None if grounding.cached else grounding.grounding_milliseconds,
            ),
            draft_side=side,
            passes=grounding.passes,
            by_examples=bool(examples.like),
        )

    def unnamed(self, model: str) -> Findings:
        """What there is without a prompt, to be pointed at: nothing yet, for which no model runs."""
        card = self.detectors.card(model)
        return Findings(no_objects(), (), 0.0, card, card.box_threshold, (), Timing(None, None, None))

    @_within_memory
    def cut_out(
        self,
        image: Image.Image,
        findings: Findings,
        model: str,
        pointing: Pointing,
        min_area: float,
        stop: StopCheck | None = None,
    ) -> Findings:
        """Findings with masks, and with what was pointed at, see `segmentation.cutting.cut`; `stop` as in `find`.

        No segmenter is asked where the detector has made the masks and nothing is pointed at.
        """
        found = findings.detections
        if is_cut(found, pointing):
            return replace(findings, detections=cut(None, None, found, pointing, min_area))
        segmenter = self.segmenters.get(model)
        encoded = segmenter.encode_image(image)  # to the end: the next request about the picture needs it, too
        start = time.perf_counter()
        own = None if found.mask is None else findings.card.name
        key = (model, own, encoded.key, _content(found), pointing, min_area)
        objects, cached = unless_stopped(
            lambda: self._cuts.get_or_compute(key, lambda: cut(segmenter, encoded, found, pointing, min_area)), stop
        )
        took = 1000 * (time.perf_counter() - start)
        timing = findings.timing._replace(
            embedding=None if encoded.cached else encoded.milliseconds, masks=None if cached else took
        )
        notes = findings.notes
        if pointing.everything and EVERYTHING not in objects.data["group"]:
            notes += ("There is nothing else that the segmenter is sure of.",)
        return replace(findings, detections=objects, timing=timing, segmenter=self.segmenters.card(model), notes=notes)

    @_within_memory
    def edit(
        self,
        image: Image.Image,
        objects: sv.Detections,
        edit: Edit,
        model: str = "embedded",
        progress: Callable[[EditProgress], None] | None = None,
        stop: StopCheck | None = None,
    ) -> Edited:
        """Edits a picture, see `perform.edit_picture`; the model is loaded only if the task needs it."""
        painter = None
        if edit.task.needs_model:
            edit = replace(edit, sampling=self.limits.heeded(edit.sampling, self.inpainters.card(model).steps))
            painter = self.inpainters.get(model)
        with self.limits.in_time(stop) as stop:
            return edit_picture(image, objects, edit, painter, progress, stop)


def _has_few_steps(name: str) -> bool:
    return name == OFF or has_few_steps(name)


def _mask_bytes(objects: sv.Detections) -> int:
    assert isinstance(objects.mask, sv.CompactMask)
    return size_bytes(objects.mask)


def _content(detections: sv.Detections) -> tuple[object, ...]:
    """Detections without masks, as a key."""
    assert detections.confidence is not None
    return detections.xyxy.tobytes(), detections.confidence.tobytes(), *labels_of(detections), *object_ids(detections)


def _version(path: Path) -> tuple[Path, int]:
    """Names what is in a file now: its path and when it was written."""
    try:
        return path, path.stat().st_mtime_ns
    except OSError as error:
        raise ValueError("The picture is no longer on the server: please choose it again.") from error


def _fit(image: Image.Image, canvas: tuple[int, int]) -> Image.Image:
    scale = min(canvas[0] / image.width, canvas[1] / image.height, _MAX_ENLARGEMENT)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
