"""What the controls of the tab Track say, read as a question and as what is made of its answer."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from groundingdino.page.edit_form import hex_color
from groundingdino.page.following import Show, TrackQuestion
from groundingdino.page.query import Query
from groundingdino.page.track_view import EFFECTS
from groundingdino.tracking.available_trackers import EMBEDDED

NO_VIDEO = "Choose a video to start."


class TrackForm(NamedTuple):
    """The values of the tab's own controls, in the order in which they are wired up."""

    video: str | None  # path
    start: float | None  # seconds; None: from the first frame
    end: float | None  # None: to the last
    every: float  # frame is looked at; 0: as suits the video
    masks: bool
    effect: str  # one of `EFFECTS`
    color: str
    tracker: str
    backward: bool  # shown where the tracker can

    def question(self, query: Query) -> TrackQuestion:
        """What is followed; a ValueError in a sentence if it is nothing."""
        if not self.video:
            raise ValueError(NO_VIDEO)
        segmenter = query.segmenter if self.masks else None
        every = int(self.every) or None
        question = TrackQuestion(self.video, query.prompt, query.model, segmenter, query.thresholds, every)
        backward = self.backward and self.tracker != EMBEDDED
        return replace(question, start=self.start or 0.0, end=self.end, tracker=self.tracker, backward=backward)

    def show(self, ticked: Any, key: str) -> Show:
        """What is made of it.

        Args:
            ticked: What the browser says of ticks: {"key", "hidden": [ids]}; at first it says "".
            key: Of what was followed: ticks of something else mean nothing.
        """
        ours = isinstance(ticked, Mapping) and ticked.get("key") == key and isinstance(ticked.get("hidden"), list)
        hidden = frozenset(one for one in ticked["hidden"] if isinstance(one, int)) if ours else frozenset[int]()
        return Show(EFFECTS.get(self.effect, self.effect), hex_color(self.color), hidden)
