"""How handlers are connected."""

import gradio as gr
import pytest

from groundingdino.page.layout import Choice
from groundingdino.page.model_cache import ModelCache
from groundingdino.page.picker import Picker
from groundingdino.page.query import Query
from groundingdino.page.wiring import answering, by_name, wire_download


def test_a_handler_without_an_answer_changes_nothing():
    assert list(answering(lambda: iter(()))()) == [gr.skip()]


def test_answers_are_passed_on_and_not_said_again():
    assert list(answering(lambda *values: iter(values))(1, 2)) == [1, 2, gr.skip()]


def test_controls_are_put_in_the_order_of_the_values_that_are_sent():
    names = Query._fields
    assert by_name(Query, **dict(reversed([(name, name) for name in names]))) == list(names)


@pytest.mark.parametrize("wrong", [{"prompt": 1}, dict.fromkeys((*Query._fields, "colour"), 1)])
def test_a_control_that_is_missing_or_unknown_is_named(wrong: dict[str, int]):
    with pytest.raises(ValueError, match=r"Query and its controls do not agree on \["):
        by_name(Query, **wrong)


def test_another_model_is_told_of_only_after_the_row_has_turned_to_it():
    with gr.Blocks() as demo:
        choice = Choice(gr.Dropdown(["a", "b"]), gr.HTML(), gr.Button())
        wire_download(Picker(ModelCache({}, str, bool)), choice, gr.State(0))
    turn, follow = demo.fns.values()
    assert (turn.name, follow.name) == ("turn_to", "download")
    assert turn.targets == [(choice.model._id, "input")]
    assert turn.inputs[0] == follow.inputs[0], "the row is the same one"
    assert not turn.queue, "it is not told after what is shown next"
