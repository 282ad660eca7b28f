"""The part of the page where a model is chosen, and downloaded if it is not there yet."""

from collections.abc import Iterator
from html import escape
from typing import Any, Generic

import gradio as gr

from groundingdino.page.model_cache import C, M, ModelCache, readable_size
from groundingdino.page.query import NO_MODEL
from groundingdino.page.request_log import logged


class Row:
    """Where one page shows a model and its download; Gradio keeps it.

    Attributes:
        model: The one that is chosen there.
    """

    model: str | None = None

    def turn_to(self, model: str) -> None:
        """Shows another model: the download of the one before goes on, but is not shown any more."""
        self.model = model


class Picker(Generic[M, C]):
    """The handlers behind a list of models and its download button."""

    def __init__(self, models: ModelCache[M, C]):
        self.models = models

    def choices(self) -> list[tuple[str, str]]:
        """The entries of the list: what a model is for, title and size, with an arrow if it has to be downloaded."""
        return [(self._entry(name, card), name) for name, card in self.models.cards.items()]

    def _entry(self, name: str, card: C) -> str:
        purpose = " and ".join(card.knows).capitalize()
        title = card.title.partition(" (")[0]  # what is in brackets says again what it is for
        if not card.size_bytes:
            return title
        size = ("" if self.models.is_ready(name) else "↓ ") + readable_size(card.size_bytes)
        return " · ".join(filter(None, [purpose, title, size]))

    def choose(self, model: str) -> tuple[str, Any]:
        """What a model is, and the button that downloads it if it is not there yet."""
        return self.about(model), gr.update(**self.fetch_button(model))

    def about(self, model: str) -> str:
        """What a model is, as HTML; page.css reads in it which controls mean nothing to the model."""
        card = self.models.card(model)
        ignored = " ".join(getattr(card, "ignores", ()))  # of an inpainter
        hidden = f'<span hidden data-ignores="{ignored}"></span>' if ignored else ""
        if getattr(card, "takes_examples", False):  # of a detector
            hidden += '<span hidden data-takes="examples"></span>'
        if getattr(card, "goes_back", False):  # of a tracker
            hidden += '<span hidden data-takes="backward"></span>'
        names = getattr(card, "names", ())  # of a detector that knows few
        known = f" It knows: {', '.join(names)}." if names else ""
        if getattr(card, "makes_masks", False):
            known += " Its masks are shown in the tab Segment, until another segmenter than the embedded one is chosen."
        return card.description + known + hidden

    def fetch_button(self, model: str) -> dict[str, Any]:
        """The download button's label, whether it is visible and whether it is enabled."""
        download = f"Download {readable_size(self.models.card(model).size_bytes)}"
        return {
            "value": "Follow its download" if self.models.is_on_its_way(model) else download,
            "visible": not self.models.is_ready(model),
            "interactive": not self.models.is_offline,
        }

    def download(self, row: Row, model: str, ready: int) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Fetches a model and reports it in its description, as long as its row shows this model.

        `ready` counts up when what is said of the model at the result has changed: a download has begun, has failed,
        or the model can be used.
        """
        row.turn_to(model)
        try:
            with logged("download") as line:
                line["model"] = model
                for done, total, what in self.models.download(model):
                    if row.model != model:
                        return
                    bar, far = "<progress></progress>", f"{what}: {readable_size(done)}"
                    if total:
                        bar = f'<progress value="{done}" max="{total}"></progress>'
                        far = f"{what}: {readable_size(done)} of {readable_size(total)}"
                    yield bar + escape(far), gr.update(interactive=False), gr.skip(), ready + 1
        except ValueError as error:
            if row.model == model:
                yield escape(str(error)), gr.update(**self.fetch_button(model)), gr.skip(), ready + 2
            return
        if row.model == model:
            yield self.about(model), gr.update(visible=False), gr.update(choices=self.choices()), ready + 2


class SecondPicker(Picker[M, C]):
    """The same of a second model, which there need not be; `none` is what is chosen then."""

    def __init__(self, models: ModelCache[M, C], none: str = "None"):
        super().__init__(models)
        self.none = none

    def choices(self) -> list[tuple[str, str]]:
        return [(self.none, NO_MODEL), *super().choices()]

    def first(self) -> str:
        """A model that is on this machine, if there is one."""
        return next(filter(self.models.is_ready, self.models.cards), NO_MODEL)

    def refresh(self) -> tuple[Any, str, Any]:
        """List, description and button as they are now, with the `first` one chosen."""
        model = self.first()
        return gr.update(choices=self.choices(), value=model), *self.choose(model)

    def about(self, model: str) -> str:
        return "" if model == NO_MODEL else super().about(model)

    def fetch_button(self, model: str) -> dict[str, Any]:
        return {"value": "Download", "visible": False} if model == NO_MODEL else super().fetch_button(model)
