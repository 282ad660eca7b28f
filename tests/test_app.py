"""The page's handlers, and its endpoints as a program calls them."""

import json
import socket
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from oracle import CARD, Oracle
from PIL import Image

import app
from groundingdino.studio import Studio

SIZE = (320, 240)
CAT, OTHER_CAT, PIZZA = (10, 20, 110, 120), (200, 20, 300, 120), (100, 150, 180, 230)
ANSWERS = {SIZE: {"cat": [(0.9, CAT), (0.6, OTHER_CAT)], "pizza": [(0.28, PIZZA)]}}
CARDS = {"embedded": CARD, "large": replace(CARD, name="large", title="Large", box_threshold=0.2, size_bytes=2_000_000)}
CANVAS = [320, 240, 1]


@pytest.fixture
def detector() -> Oracle:
    return Oracle(ANSWERS)


@pytest.fixture
def studio(detector: Oracle) -> Studio:
    def load(name: str, **options: Any) -> Any:
        return replace(detector, card=CARDS[name]) if options.get("progress") else detector

    return Studio(load=load, cards=CARDS, has_files=lambda name: name == "embedded")


@pytest.fixture
def page(studio: Studio) -> app.Page:
    return app.Page(studio)


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "two cats.png"
    Image.new("RGB", SIZE, "teal").save(path)
    return str(path)


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    folder = tmp_path / "examples"
    folder.mkdir()
    Image.new("RGB", SIZE, "teal").save(folder / "cats.png")
    (folder / "examples.json").write_text('[{"file": "cats.png", "prompt": "cat . pizza"}]')
    return folder


class Browser:
    """Sends requests as the page's script does, and keeps what the server made of the last one."""

    def __init__(self, page: app.Page):
        self.page = page
        self.visit = app.Visit()
        self.clock = 0.0
        self.view: dict[str, Any] = {}
        self.status: dict[str, str] = {}

    def ask(self, path: str | None, prompt: str, box: float = 0.35, model: str = "embedded", **selection: Any) -> None:
        for update in self.request(path, prompt, box, model, **selection):
            self.view = update.get("view", self.view)
            self.status = update["status"]

    def request(self, path: str | None, prompt: str, box: float = 0.35, model: str = "embedded", **selection: Any):
        self.clock += 1
        sent = {"picture": self.view.get("picture"), "query": self.view.get("query"), "canvas": CANVAS, **selection}
        return self.page.render(self.visit, {**sent, "stamp": self.clock}, path, prompt, model, box, 0.25, 0.7)

    @property
    def boxes(self) -> list[Any]:
        return [tuple(row["box"]) for row in self.view["objects"] if row["ticked"]]


@pytest.fixture
def browser(page: app.Page) -> Browser:
    return Browser(page)


def test_what_is_typed_is_found(browser: Browser, picture: str):
    browser.ask(picture, "cat . pizza")
    assert browser.boxes == [CAT, OTHER_CAT]
    assert browser.status["message"] == "2 objects"


def test_thresholds_do_not_run_the_model(browser: Browser, detector: Oracle, picture: str):
    browser.ask(picture, "cat . pizza")
    browser.ask(picture, "cat . pizza", box=0.2)
    assert browser.boxes == [CAT, OTHER_CAT, PIZZA]
    assert (detector.encoded, detector.grounded) == (1, 1)
    assert browser.status["detail"].startswith("0 ms of model")


def test_an_empty_prompt_shows_the_picture_and_reads_it_already(browser: Browser, detector: Oracle, picture: str):
    browser.ask(picture, " ")
    assert browser.view["image"]
    assert browser.boxes == []
    assert detector.encoded == 1


def test_without_a_picture_nothing_is_shown(browser: Browser):
    browser.ask(None, "cat")
    assert browser.view["image"] == ""
    assert browser.status["message"] == "Choose a picture to start."


def test_a_tick_hides_an_object(browser: Browser, picture: str):
    browser.ask(picture, "cat")
    browser.ask(picture, "cat", unticked=[browser.view["objects"][0]["id"]])
    assert browser.boxes == [OTHER_CAT]
    assert browser.status["message"] == "2 objects, 1 hidden"


def test_an_answer_that_was_overtaken_is_dropped(browser: Browser, picture: str):
    old = browser.request(picture, "pizza")
    browser.ask(picture, "cat")
    assert list(old) == []
    assert browser.boxes == [CAT, OTHER_CAT]


def test_an_error_that_was_overtaken_is_dropped(browser: Browser, picture: str, tmp_path: Path):
    old = browser.request(str(tmp_path / "gone.png"), "cat")
    browser.ask(picture, "cat")
    assert list(old) == []


def test_a_request_that_arrives_late_does_not_win(browser: Browser, picture: str):
    late = browser.request(picture, "pizza")  # not run yet
    browser.ask(picture, "cat")
    assert list(late) == []
    browser.ask(picture, "cat . pizza", box=0.2)
    assert len(browser.boxes) == 3


def test_the_same_request_again_is_not_answered_again(browser: Browser, picture: str):
    browser.ask(picture, "cat")
    assert list(browser.request(picture, "cat")) == []
    assert "grounding" in browser.status["detail"], "so the times of the first answer stay readable"


def test_slow_work_is_announced_and_the_old_picture_does_not_wait_for_it(
    browser: Browser, detector: Oracle, picture: str, tmp_path: Path
):
    browser.ask(picture, "cat")
    detector.seconds = app.PATIENCE + 0.3
    working, done = list(browser.request(picture, "pizza"))
    assert working == {"status": {"message": "Looking with Oracle …", "tone": "working", "detail": ""}, **UPDATE}
    assert done["status"]["tone"] == "hint"

    other = str(tmp_path / "other.png")
    Image.new("RGB", (200, 100), "navy").save(other)
    working, _ = list(browser.request(other, "pizza"))
    assert working["view"]["picture"] == other
    assert working["view"]["objects"] == []


UPDATE = {"__type__": "update"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.jpg", b"no picture", "The picture is not an image"),
        ("cut.png", None, "truncated or damaged"),
        ("gone.png", b"", "no longer on the server"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(
    browser: Browser, picture: str, tmp_path: Path, name: str, content: bytes | None, message: str
):
    browser.ask(picture, "cat")
    path = tmp_path / name
    if content is None:
        Image.effect_noise((300, 300), 50).save(path)
        path.write_bytes(path.read_bytes()[:5000])
    elif content:
        path.write_bytes(content)
    browser.ask(str(path), "cat")
    assert message in browser.status["message"]
    assert browser.status["tone"] == "error"
    assert browser.view["image"] == "", "the old picture and its boxes are gone"


def test_a_model_that_is_not_there_leaves_the_picture_without_boxes(browser: Browser, picture: str):
    browser.ask(picture, "cat")
    browser.ask(picture, "cat", model="large")
    assert browser.status["message"] == "Large is not on this machine yet: download it first."
    assert browser.view["image"]
    assert browser.boxes == []


def test_a_fault_of_ours_is_logged_and_told_without_details(browser: Browser, detector: Oracle, picture: str, caplog):
    detector.ground = lambda *_: 1 / 0
    browser.ask(picture, "cat")
    assert browser.status["message"] == "Something went wrong on the server; its log says what."
    assert "ZeroDivisionError" in caplog.text


def test_two_visitors_do_not_see_each_other(page: app.Page, picture: str):
    one, other = Browser(page), Browser(page)
    one.ask(picture, "cat")
    other.ask(picture, "pizza", box=0.2)
    one.ask(picture, "cat", unticked=[one.view["objects"][0]["id"]])
    assert one.boxes == [OTHER_CAT]
    assert other.boxes == [PIZZA]


@pytest.mark.parametrize("kind", ["picture", "json", "coco", "yolo"])
def test_downloads_hold_what_is_shown(browser: Browser, picture: str, kind: str):
    browser.ask(picture, "cat . pizza")
    unticked = [browser.view["objects"][0]["id"]]
    sent = {"picture": browser.view["picture"], "query": browser.view["query"], "unticked": unticked}
    path = Path(browser.page.export(kind, sent, picture, "cat . pizza", "embedded", 0.35, 0.25, 0.7))
    assert path.name.startswith("two cats")
    if kind == "picture":
        assert Image.open(path).size == SIZE
    elif kind == "json":
        assert [found["box"] for found in json.loads(path.read_text())["objects"]] == [list(map(float, OTHER_CAT))]
    else:
        with zipfile.ZipFile(path) as archive:
            names = {"coco": "annotations/instances_default.json", "yolo": "labels/two cats.txt"}
            assert {"images/two cats.png", names[kind]} <= set(archive.namelist())


@pytest.mark.parametrize(("path", "model"), [(None, "embedded"), ("picture", "large")])
def test_there_is_nothing_to_download_without_a_result(
    page: app.Page, picture: str, path: str | None, model: str, monkeypatch
):
    notices: list[str] = []
    monkeypatch.setattr(gr, "Warning", notices.append)
    assert page.export("json", {}, path and picture, "cat", model, 0.35, 0.25, 0.7) is None
    assert len(notices) == 1


def test_choosing_a_model_sets_its_thresholds_and_offers_the_download(page: app.Page):
    box, text, description, button = page.choose_model("large")
    assert (box, text, description) == (0.2, CARD.text_threshold, CARD.description)
    assert button["visible"]
    assert button["value"] == "Download 2 MB"
    assert not page.choose_model("embedded")[3]["visible"]


def test_a_download_ends_with_a_model_that_is_ready(page: app.Page, browser: Browser, picture: str):
    *_, (description, button, picker, ready) = page.download("large", 4)
    assert (description, ready) == (CARD.description, 5)
    assert not button["visible"]
    assert picker["choices"] == [("Oracle · 12 MB", "embedded"), ("Large · 2 MB", "large")]
    browser.ask(picture, "cat", model="large")
    assert browser.boxes == [CAT, OTHER_CAT]


def test_a_failed_download_says_why_and_leaves_the_button(page: app.Page):
    page.studio.local_files_only = True
    ((message, button, _, ready),) = page.download("large", 4)
    assert message == "Large is not on this machine, and downloads are switched off."
    assert button["interactive"]
    assert ready == 4


@pytest.fixture
def client(studio: Studio, examples: Path) -> Iterator[Client]:
    demo = app.build(studio, examples=examples)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    yield Client(url, verbose=False)
    demo.close()


def test_the_endpoints_are_detect_and_models(client: Client, picture: str, capfd):
    endpoints = client.view_api(return_format="dict", print_info=False)
    assert set(endpoints["named_endpoints"]) == {"/detect", "/models"}
    assert endpoints["unnamed_endpoints"] == {}

    models = client.predict(api_name="/models")
    assert [(model["name"], model["downloaded"]) for model in models] == [("embedded", True), ("large", False)]

    drawn, record = client.predict(image=handle_file(picture), prompt="cat . pizza", api_name="/detect")
    assert Image.open(drawn).size == SIZE
    assert record == {
        "width": 320,
        "height": 240,
        "model": "embedded",
        "objects": [
            {"phrase": "cat", "score": 0.9, "box": list(map(float, CAT))},
            {"phrase": "cat", "score": 0.6, "box": list(map(float, OTHER_CAT))},
        ],
    }
    options = {"box_threshold": 0.8, "text_threshold": 0.3, "nms_threshold": 1.0, "model": "embedded"}
    _, record = client.predict(image=handle_file(picture), prompt="cat", api_name="/detect", **options)
    assert len(record["objects"]) == 1

    wrong = Path(picture).with_name("notes.png")
    wrong.write_text("no picture")
    for options, message in (
        ({"image": handle_file(str(wrong))}, "The picture is not an image"),
        ({"model": "huge"}, "There is no model 'huge'"),
        ({"model": "large"}, "download it first"),
        ({"box_threshold": 3}, "must be between 0 and 1"),
    ):
        arguments = {"image": handle_file(picture), "prompt": "cat", **options}
        with pytest.raises(AppError, match=message):
            client.predict(api_name="/detect", **arguments)
    assert "Traceback" not in capfd.readouterr().err


def test_the_command_line_reaches_the_page(monkeypatch):
    launched: dict[str, Any] = {}
    monkeypatch.setattr(gr.Blocks, "launch", lambda self, **options: launched.update(options, title=self.title))
    made: list[Any] = []
    monkeypatch.setattr(app, "Studio", lambda *options: made.append(options) or Studio(has_files=lambda _: False))
    assert app.main(["--port", "8123", "--host", "0.0.0.0", "--device", "cpu", "--local-files-only"]) == 0
    assert made == [("cpu", True)]
    assert (launched["server_port"], launched["server_name"], launched["mcp_server"]) == (8123, "0.0.0.0", False)
    assert launched["title"] == "Grounding DINO"


def test_an_unknown_model_is_refused_in_one_line(capsys):
    assert app.main(["--model", "huge"]) == 2
    assert capsys.readouterr().err.startswith("app.py: There is no model 'huge'; choose one of embedded")


def test_a_port_that_is_taken_is_refused_in_one_line(capsys, monkeypatch):
    monkeypatch.setattr(app, "Studio", lambda *_: Studio(has_files=lambda _: False))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert app.main(["--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert str(port) in error
    assert "Traceback" not in error


def test_mcp_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr(app, "find_spec", lambda _: None)
    assert app.main(["--mcp"]) == 2
    assert capsys.readouterr().err == "app.py: --mcp needs one more package: pip install 'gradio[mcp]'.\n"
