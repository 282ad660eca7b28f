"""How handlers are connected."""

import gradio as gr

from groundingdino.page.wiring import answering


def test_a_handler_without_an_answer_changes_nothing():
    assert list(answering(lambda: iter(()))()) == [gr.skip()]


def test_answers_are_passed_on():
    assert list(answering(lambda *values: iter(values))(1, 2)) == [1, 2]
