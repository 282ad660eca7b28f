"""An edit: the task, where it paints, and how the model samples. Checked when it is made."""

import math
from dataclasses import dataclass, field
from operator import index
from typing import Any, ClassVar, Literal, get_args

from PIL import Image, ImageColor

from groundingdino.editing.few_steps import FEW_STEPS
from groundingdino.editing.margins import Margins
from groundingdino.editing.schedulers import SCHEDULERS
from groundingdino.inputs.coordinates import Size, items, number, numbers, shown
from groundingdino.segmentation.mask_prompts import Box, read_line

MAX_TEXT = 2000  # characters; the text encoders read 77 tokens
MAX_REGIONS = 30  # as GLIGEN reads at most
MAX_STEPS = 150
MAX_GUIDANCE = 30.0
MAX_CANDIDATES = 4
MAX_SEED = 2**32 - 1
MAX_REACH = 512  # pixels by which a mask grows, shrinks or fades
MAX_STROKES = 1000
MAX_BRUSH = 32_767  # pixels that a brush is wide: OpenCV draws no wider line


@dataclass(frozen=True)
class Replace:
    """The objects become what the text says."""

    text: str
    mode: ClassVar[str] = "replace"
    needs_model: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", _text(self.text, "what to put in their place, such as 'a red apple'"))


@dataclass(frozen=True)
class Remove:
    """The objects go, and what is around them fills the gap.

    Attributes:
        by: "model" leaves it to the inpainter, which gets no text; "fill" puts patches from around the mask into it,
            without a model. "opencv", the fill of earlier versions, means "fill".
    """

    by: Literal["model", "fill", "opencv"] = "model"
    mode: ClassVar[str] = "remove"

    def __post_init__(self) -> None:
        if self.by == "opencv":
            object.__setattr__(self, "by", "fill")
        if self.by not in ("model", "fill"):
            raise ValueError(f"Objects are removed by 'model' or 'fill', not by '{self.by}'.")

    @property
    def needs_model(self) -> bool:
        return self.by == "model"


@dataclass(frozen=True)
class Background:
    """The objects stay, and all else becomes what the text says."""

    text: str
    mode: ClassVar[str] = "background"
    needs_model: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", _text(self.text, "what to paint behind them, such as 'a sandy beach'"))


@dataclass(frozen=True)
class TransparentBackground:
    """The objects stay, and all else becomes transparent: the result is RGBA."""

    mode: ClassVar[str] = "transparent"
    needs_model: ClassVar[bool] = False


@dataclass(frozen=True)
class _OneColor:
    """What takes a colour: a name of CSS or "#rrggbb"."""

    color: str

    def __post_init__(self) -> None:
        try:
            rgba = ImageColor.getrgb(self.color)
        except (ValueError, TypeError, AttributeError) as error:
            color = shown(str(self.color))
            raise ValueError(f"{color} is no colour: expected a name such as 'white', or '#rrggbb'.") from error
        if max(rgba) > 255:
            raise ValueError(f"'{self.color}' is no colour: expected red, green and blue from 0 to 255.")
        if rgba[3:] not in ((), (255,)):
            raise ValueError(f"'{self.color}' lets something show through: expected a whole colour, such as '#rrggbb'.")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue in [0, 255]."""
        red, green, blue = ImageColor.getrgb(self.color)[:3]
        return red, green, blue


@dataclass(frozen=True)
class ColorBackground(_OneColor):
    """The objects stay, and all else becomes one colour."""

    mode: ClassVar[str] = "color"
    needs_model: ClassVar[bool] = False


@dataclass(frozen=True)
class StickerCutOut(_OneColor):
    """The objects stay with an edge of a colour around them, and all else becomes transparent: the result is RGBA."""

    color: str = "white"
    mode: ClassVar[str] = "sticker"
    needs_model: ClassVar[bool] = False


@dataclass(frozen=True)
class Recolor(_OneColor):
    """The objects take a colour, and keep their light and shade."""

    mode: ClassVar[str] = "recolor"
    needs_model: ClassVar[bool] = False


@dataclass(frozen=True)
class Obscure:
    """The objects are blurred or pixelated, so that nobody is recognised and nothing is read."""

    by: Literal["blur", "pixelate"] = "blur"
    needs_model: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.by not in ("blur", "pixelate"):
            raise ValueError(f"Objects are obscured by 'blur' or 'pixelate', not by '{self.by}'.")

    @property
    def mode(self) -> str:
        return self.by


@dataclass(frozen=True)
class BlurBackground:
    """The objects stay sharp, and all else is blurred, as in a portrait."""

    mode: ClassVar[str] = "blur-background"
    needs_model: ClassVar[bool] = False


@dataclass(frozen=True)
class Spotlight:
    """The objects stay as they are, and all else becomes grey or dark."""

    by: Literal["grey", "dark"] = "grey"
    mode: ClassVar[str] = "spotlight"
    needs_model: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.by not in ("grey", "dark"):
            raise ValueError(f"All else becomes 'grey' or 'dark', not '{self.by}'.")


@dataclass(frozen=True, eq=False)
class PictureBackground:
    """The objects stay, and another picture lies behind them, scaled to cover and cropped around its middle."""

    picture: Image.Image  # RGB
    mode: ClassVar[str] = "picture"
    needs_model: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.picture, Image.Image):
            raise ValueError(f"Expected a picture as `load_image` gives it, got {shown(self.picture)}.")


@dataclass(frozen=True)
class Region:
    """A box, and what it is to show."""

    box: Box
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", _text(self.text, "what the box is to show"))
        box = numbers(self.box, 4)
        if box is None or not all(map(math.isfinite, box)) or box[2] <= box[0] or box[3] <= box[1]:
            raise ValueError(f"A region's box is x0, y0, x1, y1 with x0 < x1 and y0 < y1, but it is {shown(self.box)}.")
        object.__setattr__(self, "box", box)


def box_around(box: Box, size: Size) -> Box:
    """A box that was found, larger by as much as masks grow, inside a picture of (width, height) pixels.

    It is tight, and the edge and the shadow of what was there would show around what takes its place.
    """
    room = _around(max(box[2] - box[0], box[3] - box[1]))
    x0, y0 = (max(0.0, edge - room) for edge in box[:2])
    x1, y1 = (min(float(limit), edge + room) for edge, limit in zip(box[2:], size, strict=True))
    return x0, y0, x1, y1


def _around(longer: float) -> int:
    """Pixels around an object whose longer side has so many that may still be its edge or shadow."""
    return min(64, math.ceil(longer / 12))


@dataclass(frozen=True)
class Regions:
    """Each box becomes what its own text says: in one pass by GLIGEN, by other models one after the other."""

    regions: tuple[Region, ...]
    mode: ClassVar[str] = "regions"
    needs_model: ClassVar[bool] = True

    def __post_init__(self) -> None:
        regions = items(self.regions)
        if regions is None or not all(isinstance(region, Region) for region in regions):
            raise ValueError(f"Expected a list of regions, got {shown(self.regions)}.")
        check_regions(len(regions))
        object.__setattr__(self, "regions", tuple(regions))


@dataclass(frozen=True)
class Outpaint:
    """The picture grows, and what is new continues it, or shows what the text says.

    Attributes:
        margins: By how much on each side; also as `Margins.parse` reads them.
        text: "" leaves it to the inpainter.
    """

    margins: Margins
    text: str = ""
    mode: ClassVar[str] = "outpaint"
    needs_model: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "margins", Margins.parse(self.margins))
        if self.text != "":
            meaning = "what the new part shows, or pass none"
            object.__setattr__(self, "text", _text(self.text, meaning) if _is_said(self.text) else "")


Task = (
    Replace
    | Remove
    | Background
    | TransparentBackground
    | ColorBackground
    | PictureBackground
    | BlurBackground
    | Spotlight
    | StickerCutOut
    | Obscure
    | Recolor
    | Regions
    | Outpaint
)
# Tasks that say themselves where they paint: nothing has to be found for them.
PLACED = (Regions, Outpaint)
# Tasks that keep the objects and change what is around them.
BACKGROUNDS = (
    Background,
    TransparentBackground,
    ColorBackground,
    PictureBackground,
    BlurBackground,
    Spotlight,
    StickerCutOut,
)


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
        return 0 if isinstance(task, (*BACKGROUNDS, *PLACED, Recolor)) else _around(longer)

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


def check_regions(count: int) -> None:
    """That there are regions, and not too many; a ValueError if not."""
    if not 1 <= count <= MAX_REGIONS:
        raise ValueError(f"Expected 1 to {MAX_REGIONS} regions, got {count}.")


def check_brush(count: int) -> None:
    """That so many strokes of a brush are not too many; a ValueError if they are."""
    if count > MAX_STROKES:
        raise ValueError(f"Expected at most {MAX_STROKES} brush strokes, got {count}.")


def _is_said(text: Any) -> bool:
    return not isinstance(text, str) or bool(text.strip())


def _text(text: Any, meaning: str) -> str:
    if not isinstance(text, str):
        raise ValueError(f"Expected a text, got {shown(text)}: say {meaning}.")
    text = text.encode(errors="ignore").decode().strip()  # half of a character, no tokenizer reads
    if not text:
        raise ValueError(f"There is no text: say {meaning}.")
    if len(text) > MAX_TEXT:
        raise ValueError(f"The text is longer than {MAX_TEXT} characters.")
    return text


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
