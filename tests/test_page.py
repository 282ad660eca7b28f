"""What the page answers to the requests that its script sends."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from oracle import CARD, Oracle
from PIL import Image

from groundingdino.page import PATIENCE, Page, Visit
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
def page(studio: Studio) -> Page:
    return Page(studio)


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "two cats.png"
    Image.new("RGB", SIZE, "teal").save(path)
    return str(path)


class Browser:
    """Sends requests as the page's script does, and keeps what the server made of the last one."""

    def __init__(self, page: Page):
        self.page = page
        self.visit = Visit()
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
def browser(page: Page) -> Browser:
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
    detector.seconds = PATIENCE + 0.3
    working, done = list(browser.request(picture, "pizza"))
    assert working["status"] == {"message": "Looking with Oracle …", "tone": "working", "detail": ""}
    assert "view" not in working, "the boxes of the text before stay for the moment"
    assert done["status"]["tone"] == "hint"

    other = str(tmp_path / "other.png")
    Image.new("RGB", (200, 100), "navy").save(other)
    working, _ = list(browser.request(other, "pizza"))
    assert working["view"]["picture"] == other
    assert working["view"]["objects"] == []


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


def test_two_visitors_do_not_see_each_other(page: Page, picture: str):
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
    page: Page, picture: str, path: str | None, model: str, monkeypatch
):
    notices: list[str] = []
    monkeypatch.setattr(gr, "Warning", notices.append)
    assert page.export("json", {}, path and picture, "cat", model, 0.35, 0.25, 0.7) is None
    assert len(notices) == 1


def test_choosing_a_model_sets_its_thresholds_and_offers_the_download(page: Page):
    box, text, description, button = page.choose_model("large")
    assert (box, text, description) == (0.2, CARD.text_threshold, CARD.description)
    assert button["visible"]
    assert button["value"] == "Download 2 MB"
    assert not page.choose_model("embedded")[3]["visible"]


def test_a_download_ends_with_a_model_that_is_ready(page: Page, browser: Browser, picture: str):
    *_, (description, button, picker, ready) = page.download("large", 4)
    assert (description, ready) == (CARD.description, 5)
    assert not button["visible"]
    assert picker["choices"] == [("Oracle · 12 MB", "embedded"), ("Large · 2 MB", "large")]
    browser.ask(picture, "cat", model="large")
    assert browser.boxes == [CAT, OTHER_CAT]


def test_a_failed_download_says_why_and_leaves_the_button(page: Page):
    page.studio.local_files_only = True
    ((message, button, _, ready),) = page.download("large", 4)
    assert message == "Large is not on this machine, and downloads are switched off."
    assert button["interactive"]
    assert ready == 4
