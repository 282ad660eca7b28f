"""What the page asks: the values of its controls, which each request carries all of."""

from typing import NamedTuple

from groundingdino.detection.available_models import ModelCard
from groundingdino.inputs.prompt import Prompt
from groundingdino.page.edit_form import MASKS, NOT_OBJECTS, MaskForm
from groundingdino.page.studio import Thresholds
from groundingdino.results.drawing import MaskStyle

TABS = DETECT, SEGMENT, INPAINT, TRACK = "detect", "segment", "inpaint", "track"
NO_MODEL = "none"
FILL, OUTLINE, BOXES, LABELS = "Fill", "Outline", "Boxes", "Labels"  # what can be drawn of masks


class Query(NamedTuple):
    """What the page asks: the values of its controls, in the order in which they are wired up."""

    path: str | None  # of the uploaded picture
    prompt: str
    model: str
    box_threshold: float | None  # None: the model's own
    text_threshold: float | None
    nms_threshold: float
    tab: str
    segmenter: str
    shapes: list[str]
    opacity: float
    specks: float  # percent of each object's pixels
    mode: str = MaskForm().mode
    shape: str = MaskForm().shape
    grow: float = MaskForm().grow
    feather: float = MaskForm().feather
    own: str | None = None  # path of a mask that is edited in place of what was found
    margins: str = MaskForm().margins
    best_only: bool = False
    each: bool = False  # phrase has a pass of its own
    tiles: bool = False  # of a large picture are looked at, too
    compare: str = NO_MODEL  # a second one, whose result is shown beside the first one's

    @property
    def mask(self) -> MaskForm:
        """Where an edit paints; an own mask is taken as it is."""
        if self.own and self.mode not in NOT_OBJECTS:
            return MaskForm(self.mode, MASKS, 0, self.feather)
        return MaskForm(self.mode, self.shape, self.grow, self.feather, self.margins)

    @property
    def keys(self) -> tuple[str, str]:
        """Keys of the picture, and of the model and prompt."""
        how = "".join(f" {name}" for name in ("each", "tiles") if getattr(self, name))
        return self.path or "", f"{self.model}{how}: {self.prompt}"

    @property
    def names_something(self) -> bool:
        """Whether the prompt has phrases."""
        return bool(Prompt.parse(self.prompt).phrases)

    @property
    def thresholds(self) -> Thresholds:
        """The sliders, and the switches below them."""
        sliders = self.box_threshold, self.text_threshold, self.nms_threshold
        return Thresholds(*sliders, self.best_only, self.each, self.tiles)

    @property
    def compares(self) -> bool:
        """Whether a second model's result is asked for. Edits are of what one model found."""
        return self.compare not in (NO_MODEL, self.model) and self.tab != INPAINT

    def with_second(self, own: ModelCard) -> "Query":
        """The same of the second model, at its own thresholds where those of the first one, `own`, were not moved."""
        moved = self.thresholds
        box = None if moved.box == own.box_threshold else moved.box
        text = None if moved.text == own.text_threshold else moved.text
        return self._replace(model=self.compare, compare=NO_MODEL, box_threshold=box, text_threshold=text)

    @property
    def mask_style(self) -> MaskStyle:
        """How masks are drawn."""
        return MaskStyle(
            opacity=self.opacity if FILL in self.shapes else 0,
            outline=OUTLINE in self.shapes,
            boxes=BOXES in self.shapes,
            labels=LABELS in self.shapes,
        )
