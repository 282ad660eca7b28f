import argparse
import json
from typing import Any

import pytest
from PIL import Image

from groundingdino.annotations.opening import open_annotations
from groundingdino.annotations.review import Review
from groundingdino.command_line.main import main
from groundingdino.command_line.options import build_parser
from groundingdino.command_line.review import _looker
from groundingdino.runtime.extras import LIBRARIES
from tests.annotations.test_round_trips import write
from tests.command_line.conftest import complaint


@pytest.fixture
def served(monkeypatch) -> dict[str, Any]:
    """How the page was served, by nobody who waits."""
    how: dict[str, Any] = {}
    monkeypatch.setattr("groundingdino.page.review_page.build", lambda page: page)
    monkeypatch.setattr("groundingdino.page.review_page.serve", lambda page, **options: how.update(options, page=page))
    return how


def test_the_page_is_served_until_it_ends(served, tmp_path, capsys):
    path = write("coco", tmp_path)
    assert main(["review", str(path), "--port", "8123", "--no-browser"]) == 0
    assert {name: served[name] for name in ("server_name", "server_port", "inbrowser")} == {
        "server_name": "127.0.0.1",
        "server_port": 8123,
        "inbrowser": False,
    }
    told = capsys.readouterr().err
    assert told == "groundingdino: 0 of 2 pictures done, 2 objects left to decide; Ctrl+C ends the review\n"
    Review(open_annotations(path)).close()  # and it is free again


@pytest.mark.usefixtures("served")
def test_pictures_may_lie_elsewhere(tmp_path, capsys):
    path = write("odvg", tmp_path)
    (tmp_path / "photographs").rename(tmp_path.parent / f"{tmp_path.name}-away")
    assert main(["review", str(path)]) == 2
    assert "2 of 2 pictures of" in complaint(capsys)
    assert main(["review", str(path), "--pictures", str(tmp_path.parent / f"{tmp_path.name}-away")]) == 0


def test_bad_input_is_one_line_and_status_2(tmp_path, capsys, monkeypatch, served):
    path = write("coco", tmp_path)
    assert main(["review", str(tmp_path / "none.json")]) == 2
    assert "There is no '" in complaint(capsys)
    assert main(["review", str(path), "--model", "swin-x"]) == 2
    assert "There is no model 'swin-x'" in complaint(capsys)
    with Review(open_annotations(path)):
        assert main(["review", str(path)]) == 2
    assert "is being reviewed already" in complaint(capsys)

    def taken(*_: Any, **__: Any) -> None:
        raise OSError("Cannot find empty port")

    monkeypatch.setattr("groundingdino.page.review_page.serve", taken)
    assert main(["review", str(path), "--port", "7999"]) == 2
    assert "Port 7999 cannot be listened on" in capsys.readouterr().err
    monkeypatch.setitem(LIBRARIES, "demo", ("gradio_that_is_not_there",))
    assert main(["review", str(path)]) == 2
    assert "A review needs gradio_that_is_not_there" in complaint(capsys)
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    monkeypatch.undo()
    assert main(["review", str(path)]) == 2
    assert "has no pictures: there is nothing to review" in complaint(capsys)
    assert served == {}


def test_what_a_prompt_names_is_looked_for_by_the_model_that_was_chosen(model, tmp_path):
    arguments = ["review", str(tmp_path), "--model", model, "--nms-threshold", "off", "--device", "cpu"]
    options: argparse.Namespace = build_parser().parse_args(arguments)
    look = _looker(options)
    image = Image.linear_gradient("L").resize((160, 120)).convert("RGB")
    seen = look(image, "cat . dog")
    assert {one.name for one in seen} <= {"cat", "dog"}
    assert len(seen) == 5
    assert all(0 <= one.box[0] < one.box[2] <= 160 and 0 < one.score < 1 for one in seen)
    assert look(image, " . ") == []


def test_without_a_name_the_model_that_knows_such_pictures_looks(tmp_path, monkeypatch):
    asked: list[str] = []

    def load(_: Any, name: str, __: Any) -> Any:
        asked.append(name)
        raise ValueError("enough")

    monkeypatch.setattr("groundingdino.command_line.review.load_model", load)
    monkeypatch.setattr("groundingdino.detection.picture_kinds.suited", lambda *_: "embedded-photos")
    for chosen, expected in (([], "embedded-photos"), (["--model", "embedded"], "embedded")):
        look = _looker(build_parser().parse_args(["review", str(tmp_path), *chosen]))
        with pytest.raises(ValueError, match="enough"):
            look(Image.new("RGB", (40, 30)), "cat")
        assert asked.pop() == expected
