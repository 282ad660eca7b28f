"""One line for each request."""

import json
import logging
from typing import Any

import gradio as gr
import pytest

from groundingdino.page.request_log import logged, logger, write_log
from groundingdino.runtime.interruption import Stopped


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Any:
    """What was logged so far, read."""
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "level", logging.INFO)
    caplog.set_level(logging.INFO, logger.name)
    return lambda: [json.loads(record.message) for record in caplog.records if record.name == logger.name]


def test_a_line_says_what_how_long_and_how_it_ended(lines):
    with logged("detect", prompt="secret") as line:
        line["model"] = "embedded"
    ((written),) = lines()
    assert written.pop("seconds") >= 0
    assert written == {"request": "detect", "model": "embedded", "ended": "ok"}


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (ValueError("no"), "refused"),
        (gr.Error("no"), "refused"),
        (Stopped(), "given up"),
        (GeneratorExit(), "given up"),
        (RuntimeError("oh"), "failed"),
        (KeyboardInterrupt(), "failed"),
    ],
)
def test_an_error_is_passed_on_and_told_apart(error, ended, lines):
    with pytest.raises(type(error)), logged("render"):
        raise error
    assert [line["ended"] for line in lines()] == [ended]


@pytest.mark.parametrize(("wanted", "words"), [(True, "Katze"), (False, None)])
@pytest.mark.usefixtures("lines")
def test_what_was_typed_is_written_only_if_it_is_wanted(wanted, words, capsys):
    write_log(wanted)
    with logged("render", prompt="Katze"):
        pass
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line).get("prompt") == words
