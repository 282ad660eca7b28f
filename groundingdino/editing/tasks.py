"""What an edit does with the objects that were found: its task. Checked when it is made."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from PIL import Image, ImageColor

from groundingdino.editing.margins import Margins
from groundingdino.inputs.coordinates import Size, items, numbers, shown
from groundingdino.segmentation.mask_prompts import Box

MAX_TEXT = 2000  # characters; the text encoders read 77 tokens
MAX_REGIONS = 30  # as GLIGEN reads at most


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
    room = growth(max(box[2] - box[0], box[3] - box[1]))
    x0, y0 = (max(0.0, edge - room) for edge in box[:2])
    x1, y1 = (min(float(limit), edge + room) for edge, limit in zip(box[2:], size, strict=True))
    return x0, y0, x1, y1


def growth(longer: float) -> int:
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


def check_regions(count: int) -> None:
    """That there are regions, and not too many; a ValueError if not."""
    if not 1 <= count <= MAX_REGIONS:
        raise ValueError(f"Expected 1 to {MAX_REGIONS} regions, got {count}.")


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
