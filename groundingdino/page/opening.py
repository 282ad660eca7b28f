"""What the browser keeps of a session, and how a page that is opened again becomes what it was."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency
from gradio.exceptions import Error, InvalidPathError
from gradio.processing_utils import check_all_files_in_cache

from groundingdino.page.edit_form import Form
from groundingdino.page.layout import Answer, Choice, Question
from groundingdino.page.picker import Picker
from groundingdino.page.query import TABS, Query
from groundingdino.page.session import Session

# The same in each run of the program, so that what is kept outlives it. It is no secret: every browser is sent it.
STORE = "groundingdino"
NAMES = (*Query._fields, *(f"edit {name}" for name in Form._fields))  # under which the controls' values are kept
OF_PICTURE = ("path", "prompt", "tab", "selection")  # what means nothing without the picture it belongs to

# A link that was shared says itself what the page shows.
TAKE_KEPT = """(session, tab, kept, ...now) =>
  [session, tab, new URLSearchParams(location.search).has("deep_link") ? null : kept, ...now]"""
# Whoever has begun to type goes on.
OPENED = """(kept, now) => {
  const prompt = document.querySelector("#prompt");
  return prompt?.dataset.typed === undefined ? kept : now;
}"""
BEGIN = """() => {
  document.body.dataset.opened = "";
  window.groundingDino?.selectExample();
}"""
# Until what was kept is back there is nothing to keep.
KEEP = f"""(kept, ...values) => {{
  if (!("opened" in document.body.dataset)) return kept;
  return Object.fromEntries({[*NAMES, "selection"]}.map((name, index) => [name, values[index]]));
}}"""


def wire_opening(
    demo: gr.Blocks,
    session: gr.State,
    question: Question,
    answer: Answer,
    controls: Sequence[Any],
    choices: Sequence[tuple[Picker[Any, Any], Choice]],
    examples: Collection[str],
    private: Mapping[str, Any],
) -> Dependency:
    """Brings back what the browser kept of the last session, and lets it keep what is chosen from then on.

    The lists of models are as they are when a page is opened, not when the program was started.

    Args:
        controls: Those of `NAMES`.
        choices: The lists of models, which are among the controls.
        examples: Paths of pictures that come along.
        private: Options of each event.
    """

    def open_page(session: Session, tab: str, kept: Any, *now: Any) -> list[Any]:
        kept = known_of(kept, examples)
        models = [now[controls.index(choice.model)] for _, choice in choices]
        values = [restored(kept, *rest) for rest in zip(NAMES, controls, now, strict=True)]
        if isinstance(mode := values[NAMES.index("mode")], str):
            session.mode = mode
        prompt, values[1] = values[1], now[1]
        described: list[Any] = []
        for (picker, choice), model in zip(choices, models, strict=True):
            place, known = controls.index(choice.model), picker.models
            before = values[place]  # if it is not there any more, the first sight would be an error
            is_known = isinstance(before, str) and before in known.cards
            if is_known and (known.is_ready(before) or known.is_on_its_way(before)):
                model = before
            # After an update Gradio no longer takes what is chosen here for a part of a link that is shared.
            choices_now = picker.choices()
            is_same = [list(entry) for entry in choices_now] == [list(entry) for entry in choice.model.choices]
            values[place] = model if is_same else gr.update(choices=choices_now, value=model)
            described += picker.choose(model)
        shown = kept["tab"] if kept.get("tab") in TABS else tab
        selection = kept.get("selection")
        selected = gr.update(value=selection) if selection else gr.skip()
        return [prompt, *values[:1], *values[2:], *described, gr.update(selected=shown), selected]

    kept = gr.BrowserState({}, storage_key=STORE, secret=STORE)
    described = [part for _, choice in choices for part in (choice.about, choice.fetch)]
    opened = demo.load(
        open_page,
        [session, answer.tab, kept, *controls],
        [question.replaced, *controls[:1], *controls[2:], *described, answer.row, answer.result],
        queue=False,
        js=TAKE_KEPT,
        **private,
    )
    opened = opened.then(None, [question.replaced, question.prompt], question.prompt, js=OPENED, **private)
    opened.then(None, js=BEGIN, **private)
    keep: dict[str, Any] = {
        "fn": None,
        "inputs": [kept, *controls, answer.result],
        "outputs": kept,
        "js": KEEP,
        **private,
    }
    # At each key it would make typing slow: the result, which follows the prompt, says when that rests.
    others = [control.change for control in controls if control is not question.prompt]
    gr.on([*others, answer.result.input], **keep)
    answer.result.keep(**keep)
    return opened


def known_of(kept: Any, examples: Collection[str]) -> dict[str, Any]:
    """What the browser kept, if it can be read; without the picture and what belongs to it where that is gone."""
    if not isinstance(kept, Mapping):
        return {}
    picture = restored_picture(kept, examples)
    known = {name: value for name, value in kept.items() if name not in OF_PICTURE} if not picture else dict(kept)
    for chosen in ("edit picture", "own"):  # a new background and a mask are chosen again
        known.pop(chosen, None)
    return {**known, "path": picture} if picture else known


def restored_picture(kept: Mapping[str, Any], examples: Collection[str]) -> str | None:
    """Path of the picture that was there, if it is one that a browser may name and still on the server."""
    file = kept.get("path")
    path: Any = file.get("path") if isinstance(file, Mapping) else None
    if not isinstance(path, str) or not path:
        return None
    try:
        if path not in examples:
            named: Any = {"path": path}
            check_all_files_in_cache(named)
        return path if Path(path).is_file() else None
    except (Error, InvalidPathError, ValueError, OSError):
        return None


def restored(kept: Mapping[str, Any], name: str, control: Component, now: Any) -> Any:
    """The value that a control had, if it is one that it can have; else it stays as it is `now`."""
    # Not `gr.skip()`, which is an update to Gradio: it would make the component anew, see `layout.slider`.
    if name == "path" or name not in kept:
        return kept.get(name, now)
    try:
        return control.preprocess(kept[name])
    except (Error, TypeError, ValueError, AttributeError):
        return now
