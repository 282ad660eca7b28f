"""What is remembered of one open page; Gradio keeps it."""

from groundingdino.page.edit_form import REPLACE
from groundingdino.page.edit_history import History
from groundingdino.page.edit_view import Outcome
from groundingdino.page.following import TrackQuestion
from groundingdino.page.query import Query
from groundingdino.page.selection import Selection
from groundingdino.page.view import Canvas
from groundingdino.tracking.corrections import Correction


class Session:
    """One open page: its newest request, the picture it was sent last, what it shows at rest, and its edits."""

    def __init__(self) -> None:
        self.newest = 0.0
        self.interrupted = 0.0  # when something was changed last
        self.picture: str | None = None
        self.suggested: str | None = None  # the picture for which words are suggested
        self.suited: str | None = None  # the picture for which the model was chosen that knows such pictures
        self.shown: tuple[Query, Selection, Canvas] | None = None
        self.cancelled = 0.0  # when an edit was cancelled last
        self.path: str | None = None  # the picture whose edits are wanted
        self.outcome: Outcome | None = None
        self.history = History()
        self.mode = REPLACE  # of edits, as it was chosen last
        self.video: str | None = None  # whose tracks are wanted
        self.paused: tuple[str, float] | None = None  # the frame that is the picture, and its seconds
        self.tracked: TrackQuestion | None = None  # what was followed in it last
        self.corrections: dict[tuple[str, str], tuple[Correction, ...]] = {}  # by video and prompt
        self.track_cancelled = 0.0  # when that was cancelled last
        self.show_changed = 0.0  # when what is made of it was changed last
        self.chose_shape = False  # whether masks or boxes were chosen by hand
