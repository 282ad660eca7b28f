"""What the browser makes of a generator's updates."""

from copy import deepcopy
from typing import Any

import gradio as gr

from groundingdino.page.whole_updates import WholeUpdates

ANSWER = {"props": {"view": "boxes", "status": "2 objects"}, "__type__": "update"}
NOTHING: dict[str, Any] = {"props": {}, "__type__": "update"}


def told(page: gr.Blocks, *updates: dict[str, Any], simple: bool = False) -> list[Any]:
    """What is sent for each update of a generator, and at its end."""
    with page:
        gr.Button().click(lambda: None, None, gr.HTML())
    (fn,) = page.fns.values()

    def tell(update: Any, final: bool) -> Any:
        (sent,) = page.handle_streaming_diffs(fn, [deepcopy(update)], "session", "run", final, simple)
        return sent

    return [*(tell(update, False) for update in updates), tell(None, True)]


def test_an_update_takes_nothing_from_the_one_before():
    answer, last, end = told(WholeUpdates(), ANSWER, NOTHING)
    assert answer == ANSWER
    # Gradio's page applies edits that have a path to the very object that came before, which may not be shown yet.
    assert last == [["replace", [], NOTHING]]
    assert end == NOTHING, "what came last is said at the end"


def test_programs_that_ask_for_whole_values_get_them():
    assert told(WholeUpdates(), ANSWER, NOTHING, simple=True) == [ANSWER, NOTHING, NOTHING]
