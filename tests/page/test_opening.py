"""What comes back when the page is opened again."""

from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.processing_utils import save_bytes_to_cache

from groundingdino.page.layout import slider
from groundingdino.page.opening import known_of, restored


def uploaded(name: str = "cats.png") -> str:
    return save_bytes_to_cache(b"picture", name, gr.utils.get_upload_folder())


def test_a_picture_comes_back_with_its_prompt_tab_and_selection():
    path = uploaded()
    kept = {
        "path": {"path": path, "url": "?"},
        "prompt": "cat",
        "tab": "segment",
        "selection": {"marked": "a"},
        "box": 0.4,
    }
    assert known_of(kept, ()) == {**kept, "path": path}


@pytest.mark.parametrize("path", [None, "", 3, "/etc/passwd", "../../etc/passwd", "no such file", "http://a.b/c.png"])
def test_without_the_picture_the_settings_come_back_alone(path: Any):
    kept = {"path": {"path": path}, "prompt": "cat", "tab": "segment", "selection": {}, "box": 0.4}
    assert known_of(kept, ()) == {"box": 0.4}


def test_a_picture_that_was_cleared_away_is_gone():
    path = uploaded("gone.png")
    Path(path).unlink()
    assert known_of({"path": {"path": path}, "prompt": "cat"}, ()) == {}


def test_examples_may_be_named_and_other_files_of_theirs_may_not(tmp_path: Path):
    for name in ("first.png", "secret.png"):
        (tmp_path / name).write_bytes(b"picture")
    first, secret = str(tmp_path / "first.png"), str(tmp_path / "secret.png")
    assert known_of({"path": {"path": first}}, [first]) == {"path": first}
    assert known_of({"path": {"path": secret}}, [first]) == {}


@pytest.mark.parametrize("kept", [None, "", [], 3, {"path": "text"}, {"path": []}])
def test_what_cannot_be_read_brings_nothing_back(kept: Any):
    assert known_of(kept, ()) == {}


@pytest.mark.parametrize(
    ("control", "value", "expected"),
    [
        (gr.Dropdown(["a", "b"]), "b", "b"),
        (gr.Dropdown(["a", "b"]), "gone", None),
        (gr.Radio(["a", "b"]), {"a": 1}, None),
        (gr.CheckboxGroup(["a", "b"]), ["b"], ["b"]),
        (gr.CheckboxGroup(["a", "b"]), ["c"], None),
        (slider(0, 1, 0.5), 0.7, 0.7),
        (slider(0, 1, 0.5), 70, 1),
        (slider(0, 1, 0.5), "wide", 0.2),
        (gr.Image(), {"path": "secret"}, 0.2),
        (gr.Textbox(), "cat", "cat"),
    ],
)
def test_a_control_gets_back_only_what_it_can_be(control: Any, value: Any, expected: Any):
    found = restored({"name": value}, "name", control, now=0.2)
    assert found == (0.2 if expected is None else expected)
