"""How handlers are connected."""

import gradio as gr

from groundingdino.page.layout import Choice
from groundingdino.page.picker import Picker
from groundingdino.page.shelf import Shelf
from groundingdino.page.wiring import _wire_download, answering


def test_a_handler_without_an_answer_changes_nothing():
    assert list(answering(lambda: iter(()))()) == [gr.skip()]


def test_answers_are_passed_on():
    assert list(answering(lambda *values: iter(values))(1, 2)) == [1, 2]


def test_another_model_is_told_of_only_after_the_download_before_is_no_longer_followed():
    with gr.Blocks() as demo:
        choice = Choice(gr.Dropdown(["a", "b"]), gr.HTML(), gr.Button())
        _wire_download(Picker(Shelf({}, str, bool)), choice, gr.State(0))
    follow, cancel = (index for index, fn in demo.fns.items() if fn.name == "download" or fn.cancels)
    assert demo.fns[cancel].cancels == [follow]
    assert demo.fns[cancel].targets == [(choice.model._id, "input")]
