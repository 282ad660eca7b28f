"""An edit: its task, where it paints, and how the model samples. Checked when it is made."""

import math
from dataclasses import dataclass, field
from operator import index
from typing import Any, get_args

from groundingdino.editing.few_steps import FEW_STEPS
from groundingdino.editing.schedulers import SCHEDULERS
from groundingdino.editing.tasks import BACKGROUNDS, MAX_TEXT, PLACED, Recolor, Task, growth
from groundingdino.inputs.coordinates import Size, items, number, shown
from groundingdino.segmentation.mask_prompts import read_line

MAX_STEPS = 150
MAX_GUIDANCE = 30.0
MAX_CANDIDATES = 4
MAX_SEED = 2**32 - 1
MAX_REACH = 512  # pixels by which a mask grows, shrinks or fades
MAX_STROKES = 1000
MAX_BRUSH = 32_767  # pixels that a brush is wide: OpenCV draws no wider line


@dataclass(frozen=True)
class BrushStroke:
    """A line drawn by hand over the mask: it adds to the objects or erases from them.

    Attributes:
        line: One or more (x, y) in pixels of the picture.
        width: Of the brush, pixels of the picture, in (0, 32767].
        adds: False erases.
    """

    line: tuple[tuple[float, float], ...]
    width: float
    adds: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "line", read_line(self.line))
        width = number(self.width)
        if width is None or not 0 < width <= MAX_BRUSH:
            raise ValueError(f"A brush is wider than 0 and at most {MAX_BRUSH} pixels, but it is {shown(self.width)}.")
        object.__setattr__(self, "width", width)


@dataclass(frozen=True)
class MaskSettings:
    """How the objects become the mask of an edit; distances are in pixels of the picture.

    Attributes:
        grow: The objects' masks grow by so much, or shrink if it is negative, in [-512, 512]. None: by `grow_share`.
        feather: Width of the soft edge around what is painted, in [0, 512]; None: a two-hundredth of the long side.
        one_by_one: Each object is painted by itself, with its own surroundings; otherwise all together.
        boxes: The objects' boxes count instead of their masks.
        grow_share: Each object's mask grows by this share of its longer side, in [-1, 1], up to 512 pixels. None: by a
            twelfth, at most 64, where objects are painted over, because masks are tight and shadows are not in them; by
            nothing where they are kept.
    """

    grow: int | None = None
    feather: int | None = None
    one_by_one: bool = False
    boxes: bool = False
    grow_share: float | None = None

    def __post_init__(self) -> None:
        if not _is_within(self.grow, -MAX_REACH, MAX_REACH):
            given = shown(self.grow)
            raise ValueError(f"A mask grows by -{MAX_REACH} to {MAX_REACH} pixels, but {given} were asked for.")
        if not _is_within(self.grow_share, -1, 1):
            raise ValueError(f"A mask grows by a share of -1 to 1 of an object, but it is {shown(self.grow_share)}.")
        if not _is_within(self.feather, 0, MAX_REACH):
            raise ValueError(f"A mask fades over 0 to {MAX_REACH} pixels, but {shown(self.feather)} were asked for.")

    def grow_of(self, longer: int, task: Task) -> int:
        """Pixels by which an object grows whose longer side has so many."""
        if self.grow is not None:
            return round(self.grow)
        if self.grow_share is not None:
            return max(-MAX_REACH, min(round(self.grow_share * longer), MAX_REACH))
        return 0 if isinstance(task, (*BACKGROUNDS, *PLACED, Recolor)) else growth(longer)

    def feather_in(self, size: Size) -> int:
        """Pixels to fade over in a picture of that size."""
        return math.ceil(max(size) / 200) if self.feather is None else round(self.feather)


@dataclass(frozen=True)
class Sampling:
    """How the model paints.

    Attributes:
        steps: Denoising steps, in [1, 150]; None: what suits the model.
        guidance: How closely the text is followed, in [0, 30]; 1 or less switches guidance, and with it the negative
            prompt, off. None: what suits the model.
        strength: How much of what was there is forgotten, in (0, 1]; 1 forgets all. Only strength x steps are run.
        seed: Of the first candidate, in [0, 2^32 - 1], the next ones count up from it; None: drawn by lot.
        negative_prompt: What must not appear.
        candidates: Pictures to choose from, 1 to 4.
        scheduler: A name of `Inpainter.schedulers`; None: the model's own.
        few_steps: A name of `Inpainter.few_steps`, a LoRA by which it paints in a few steps and that brings a scheduler
            of its own; None: none.
    """

    steps: int | None = None
    guidance: float | None = None
    strength: float = 1.0
    seed: int | None = None
    negative_prompt: str = ""
    candidates: int = 1
    scheduler: str | None = None
    few_steps: str | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "seed", "candidates"):
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        _in_range("steps", self.steps, 1, MAX_STEPS)
        _in_range("guidance", self.guidance, 0, MAX_GUIDANCE)
        _in_range("seed", self.seed, 0, MAX_SEED)
        _in_range("candidates", self.candidates, 1, MAX_CANDIDATES)
        strength = number(self.strength)
        if strength is None or not 0 < strength <= 1:
            raise ValueError(f"Expected a strength over 0 and up to 1, got {shown(self.strength)}.")
        if self.scheduler is not None and self.scheduler not in list(SCHEDULERS):
            scheduler = shown(str(self.scheduler))
            raise ValueError(f"There is no scheduler {scheduler}: choose one of {', '.join(SCHEDULERS)}.")
        if self.few_steps is not None and self.few_steps not in list(FEW_STEPS):
            few_steps = shown(str(self.few_steps))
            raise ValueError(f"There are no few steps {few_steps}: choose one of {', '.join(FEW_STEPS)}, or none.")
        if self.few_steps is not None and self.scheduler is not None:
            raise ValueError(f"'{self.few_steps}' brings its own scheduler: choose none beside it.")
        if not isinstance(self.negative_prompt, str):
            raise ValueError(f"Expected a text as negative prompt, got {shown(self.negative_prompt)}.")
        if len(self.negative_prompt) > MAX_TEXT:
            raise ValueError(f"The negative prompt is longer than {MAX_TEXT} characters.")


@dataclass(frozen=True, eq=False)
class Edit:
    """One edit of a picture in which objects were found."""

    task: Task
    mask: MaskSettings = field(default_factory=MaskSettings)
    brush: tuple[BrushStroke, ...] = ()  # in the order in which they were drawn
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if not isinstance(self.task, get_args(Task)):
            raise ValueError(f"Expected a task such as Replace('dog') or TransparentBackground(), got {self.task!r}.")
        brush = items(self.brush)
        if brush is None or not all(isinstance(stroke, BrushStroke) for stroke in brush):
            raise ValueError(f"Expected a list of brush strokes, got {shown(self.brush)}.")
        check_brush(len(brush))
        object.__setattr__(self, "brush", tuple(brush))


def check_brush(count: int) -> None:
    """That so many strokes of a brush are not too many; a ValueError if they are."""
    if count > MAX_STROKES:
        raise ValueError(f"Expected at most {MAX_STROKES} brush strokes, got {count}.")


def _whole(name: str, value: Any) -> int | None:
    """The value as Python's own integer, numpy's too."""
    try:
        if isinstance(value, bool):
            raise TypeError("It is true or false.")
        return None if value is None else index(value)
    except TypeError as error:
        raise ValueError(f"Expected a whole number as {name}, got {shown(value)}.") from error


def _is_within(value: Any, low: float, high: float) -> bool:
    """Whether it is a number between the two, or None."""
    read = number(value)
    return value is None or (read is not None and low <= read <= high)


def _in_range(name: str, value: Any, low: float, high: float) -> None:
    if not _is_within(value, low, high):
        raise ValueError(f"Expected {name} from {low:.10g} to {high:.10g}, got {shown(value)}.")
