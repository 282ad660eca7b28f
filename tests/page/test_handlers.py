"""What the page answers to the requests that its script sends."""

import json
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr
import pytest
from gradio.processing_utils import save_bytes_to_cache
from PIL import Image

from groundingdino.detection.available_models import MODELS
from groundingdino.files.assets import ASSETS, DRAWINGS, PHOTOGRAPHS
from groundingdino.page import handlers
from groundingdino.page.edit_form import MASKS, NO_REGION, REGIONS, REPLACE, WHOLE_BOXES
from groundingdino.page.handlers import PATIENCE, Page
from groundingdino.page.jobs import WORKERS
from groundingdino.page.model_cache import ModelCache
from groundingdino.page.query import BOXES, DETECT, FILL, INPAINT, LABELS, OUTLINE, SEGMENT, Query
from groundingdino.page.session import Session
from groundingdino.page.studio import Studio
from groundingdino.results import export
from groundingdino.segmentation.available_models import SEGMENTERS
from tests.oracle import CARD, Oracle
from tests.scissors import SEGMENTER, Scissors

SIZE = (320, 240)
CAT, OTHER_CAT, PIZZA = (10, 20, 110, 120), (200, 20, 300, 120), (100, 150, 180, 230)
ANSWERS = {SIZE: {"cat": [(0.9, CAT), (0.6, OTHER_CAT)], "pizza": [(0.28, PIZZA)]}}
CARDS = {"embedded": CARD, "large": replace(CARD, name="large", title="Large", box_threshold=0.2, size_bytes=2_000_000)}
EXAMPLES = ASSETS / "examples"
CANVAS = [320, 240, 1]


@pytest.fixture
def detector() -> Oracle:
    return Oracle(ANSWERS)


@pytest.fixture
def scissors() -> Scissors:
    return Scissors({SIZE: [(200, 150, 260, 210)]})


@pytest.fixture
def page(detector: Oracle, scissors: Scissors) -> Page:
    def is_here(name: str) -> bool:
        return name == "embedded"

    segmenters = {"embedded": SEGMENTER, "large": replace(SEGMENTER, name="large", title="Shears")}
    return Page(
        Studio(
            ModelCache(CARDS, lambda *_, **__: detector, is_here),
            ModelCache(segmenters, lambda *_, **__: scissors, is_here),
        )
    )


CONTROLS: dict[str, Any] = {
    "model": "embedded",
    "box": 0.35,
    "text": 0.25,
    "nms": 0.7,
    "tab": DETECT,
    "segmenter": "embedded",
    "shapes": [FILL],
    "opacity": 0.5,
    "specks": 0.0,
    "mode": REPLACE,
    "shape": MASKS,
    **{
        name: Query._field_defaults[name]
        for name in ("grow", "feather", "own", "margins", "best_only", "each", "tiles", "compare")
    },
}


def query_of(path: str | None, prompt: str, **changed: Any) -> tuple[list[Any], dict[str, Any]]:
    """The values of the page's controls, and of what was changed that which is the selection's."""
    values = [changed.pop(name, value) for name, value in CONTROLS.items()]
    return [path, prompt, *values], changed


class Browser:
    """Sends requests as the page's script does, and keeps what the server made of the last one."""

    def __init__(self, page: Page):
        self.page = page
        self.session = Session()
        self.clock = 0.0
        self.view: dict[str, Any] = {}
        self.status: dict[str, str] = {}

    def ask(self, path: str | None, prompt: str, **changed: Any) -> None:
        for update in self.request(path, prompt, **changed):
            self.view = update.get("view", self.view)
            self.status = update["status"]

    def request(self, path: str | None, prompt: str, **changed: Any) -> Iterator[Any]:
        self.clock += 1
        query, selection = query_of(path, prompt, **changed)
        sent = {"picture": self.view.get("picture"), "query": self.view.get("query"), "canvas": CANVAS, **selection}
        return self.page.render(self.session, {**sent, "stamp": self.clock}, *query)

    def export(self, kind: str, sent: dict[str, Any], *values: Any) -> Path:
        path = self.page.export(kind, sent, *values)
        assert path is not None
        return Path(path)

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


def test_a_new_picture_is_asked_of_the_model_that_knows_such_pictures():
    cards = {name: MODELS[name] for name in ("embedded", "embedded-photos", "swin-t")}
    known: ModelCache[Any, Any] = ModelCache(cards, lambda *_, **__: Oracle({}), lambda _: True)
    cutters = {name: SEGMENTERS[name] for name in ("embedded", "embedded-photos", "vit_b")}
    page = Page(Studio(known, ModelCache(cutters, lambda *_, **__: Scissors({}), lambda _: True)))
    photograph, drawing = (str(EXAMPLES / f"{name}.webp") for name in ("cat", "picnic"))

    def suited(session: Session, path: str, model: str, segmenter: str) -> list[Any]:
        query, sent = query_of(path, "cat", model=model, segmenter=segmenter)
        updates = page.render(session, {**sent, "canvas": CANVAS, "stamp": 1.0}, *query)
        chosen = [update["suited"] for update in updates if "suited" in update]
        assert all(one.pop("path") == path for one in chosen)
        return chosen

    session, photos = Session(), "embedded-photos"
    assert suited(session, photograph, "embedded", "embedded") == [{"detector": photos, "segmenter": photos}]
    assert suited(session, photograph, "embedded", "embedded") == [], "who chose the other one has it"
    assert suited(session, drawing, photos, "vit_b") == [{"detector": "embedded"}]
    assert suited(Session(), drawing, "swin-t", photos) == [{"segmenter": "embedded"}]
    for path, model, segmenter in (
        (photograph, photos, photos),
        (drawing, "embedded", "embedded"),
        (photograph, "swin-t", "vit_b"),
    ):
        assert suited(Session(), path, model, segmenter) == []


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


def test_where_many_look_a_place_in_the_queue_is_told(browser: Browser, page: Page, picture: str):
    let_go = Event()
    others = [page.jobs.start(lambda: let_go.wait(60)) for _ in range(WORKERS + 2)]
    answers = browser.request(picture, "cat")
    assert next(answers)["status"]["message"] == "Many are looking: 2 requests are before yours …"
    others[-1].given_up = True  # whoever leaves lets others move up
    assert next(answers)["status"]["message"] == "Many are looking: 1 request is before yours …"
    let_go.set()
    assert [answer["status"]["message"] for answer in answers] == ["2 objects"]


def test_slow_work_is_announced_and_the_old_picture_does_not_wait_for_it(
    browser: Browser, detector: Oracle, picture: str, tmp_path: Path
):
    browser.ask(picture, "cat")
    detector.seconds = PATIENCE + 0.3
    working, done = list(browser.request(picture, "pizza"))
    assert working["status"] == {"message": "Looking with Oracle …", "tone": "working", "detail": ""}
    assert "view" not in working, "the boxes of the text before stay for the moment"
    assert done["status"]["tone"] == "nothing"

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


@pytest.mark.parametrize(
    ("prompt", "message"),
    [("cat . " * 1000, "longer than the 4,000 char"), ("x" * 20_000, "longer than"), ("x" * 600, "600")],
)
def test_a_prompt_that_is_too_long_is_refused_in_a_sentence(browser: Browser, picture: str, prompt: str, message: str):
    browser.ask(picture, prompt)
    assert message in browser.status["message"]
    assert browser.status["tone"] == "error"
    assert browser.boxes == []
    browser.ask(picture, "cat")
    assert len(browser.boxes) == 2, "what is asked next is answered"


def test_the_legend_shows_what_was_read_of_a_sentence(browser: Browser, picture: str):
    browser.ask(picture, "there is a cat and a red dog on the grass")
    legend = [(phrase["name"], phrase["count"]) for phrase in browser.view["phrases"]]
    assert legend == [("cat", 2), ("red dog", 0), ("grass", 0)]


def test_a_model_that_is_not_there_leaves_the_picture_without_boxes(browser: Browser, picture: str):
    browser.ask(picture, "cat")
    browser.ask(picture, "cat", model="large")
    assert browser.status["message"] == "Large is not on this machine yet."
    assert browser.status["advice"] == {"text": "", "label": "Download · 2 MB", "kind": "detector", "model": "large"}
    assert browser.view["image"]
    assert browser.boxes == []


def test_a_fault_of_ours_is_logged_and_told_without_details(
    browser: Browser, detector: Oracle, picture: str, caplog, monkeypatch
):
    monkeypatch.setattr(detector, "ground", lambda *_, **__: 1 / 0)
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
    path = browser.export(kind, sent, *query_of(picture, "cat . pizza")[0])
    assert path.name.startswith("two cats")
    if kind == "picture":
        assert Image.open(path).size == SIZE
    elif kind == "json":
        assert [found["box"] for found in json.loads(path.read_text())["objects"]] == [list(map(float, OTHER_CAT))]
    else:
        with zipfile.ZipFile(path) as archive:
            names = {"coco": "annotations/instances_default.json", "yolo": "labels/two cats.txt"}
            assert {"images/two cats.png", names[kind]} <= set(archive.namelist())


@pytest.mark.parametrize(
    ("path", "changed", "sent"),
    [
        (None, {}, {}),
        ("picture", {"model": "large"}, {}),
        ("picture", {"tab": SEGMENT, "segmenter": "large"}, {}),
        ("picture", {}, {"gestures": "?"}),
    ],
)
def test_there_is_nothing_to_download_without_a_result(
    page: Page, picture: str, path: str | None, changed: dict[str, Any], sent: dict[str, Any], monkeypatch
):
    notices: list[str] = []
    monkeypatch.setattr(gr, "Warning", notices.append)
    values, _ = query_of(path and picture, "cat", **changed)
    assert page.export("json", {"picture": values[0], **sent}, *values) is None
    assert len(notices) == 1


@pytest.fixture
def notices(monkeypatch) -> list[str]:
    """What the page tells beside the result."""
    heard: list[str] = []
    monkeypatch.setattr(gr, "Warning", heard.append)
    return heard


@pytest.mark.parametrize(
    ("kind", "is_written"), [("cut-out", False), ("masks", False), ("picture", True), ("json", True), ("coco", True)]
)
def test_of_no_object_there_is_nothing_to_cut_out(
    page: Page, picture: str, notices: list[str], kind: str, is_written: bool
):
    values, _ = query_of(picture, "zebra", tab=SEGMENT)
    assert (page.export(kind, {}, *values) is not None) == is_written
    assert notices == ([] if is_written else ["There is nothing to cut out: no object is shown."])


def test_what_cannot_be_written_is_told(page: Page, picture: str, notices: list[str], monkeypatch):
    def refuse(*_: Any) -> bytes:
        raise ValueError("It is too large.")

    monkeypatch.setattr(export, "json_file", refuse)
    assert page.export("json", {}, *query_of(picture, "cat")[0]) is None
    assert notices == ["It is too large."]


def test_choosing_a_model_sets_its_thresholds_and_offers_the_download(page: Page):
    box, text, description, button = page.choose_detector("large")
    assert (box, text, description) == (0.2, CARD.text_threshold, CARD.description)
    assert button["visible"]


def test_the_tab_segment_shows_masks_and_only_it_encodes_for_them(browser: Browser, scissors: Scissors, picture: str):
    browser.ask(picture, "cat")
    assert scissors.encoded == 0
    assert not browser.view["masks"]
    browser.ask(picture, "cat", tab=SEGMENT)
    assert browser.view["masks"]
    assert browser.boxes == [CAT, OTHER_CAT]
    assert all(row["path"] for row in browser.view["objects"])
    assert scissors.encoded == 1
    browser.ask(picture, "cat . pizza", tab=SEGMENT, box=0.2)
    assert browser.boxes == [CAT, OTHER_CAT, PIZZA]
    assert scissors.encoded == 1


def test_no_box_is_an_empty_result(browser: Browser, picture: str):
    browser.ask(picture, "zebra", tab=SEGMENT)
    assert browser.view["objects"] == []
    assert browser.status["message"] == "Nothing found. Try another word."
    assert browser.status["tone"] == "nothing"


def test_clicks_make_and_change_objects_and_another_picture_forgets_them(
    browser: Browser, picture: str, tmp_path: Path
):
    browser.ask(picture, "cat", tab=SEGMENT)
    before = [row["path"] for row in browser.view["objects"]]
    gestures = [
        {"target": "pointed 1", "point": [150, 200, 1]},
        {"target": browser.view["objects"][0]["id"], "point": [60, 70, 0]},
    ]
    browser.ask(picture, "cat", tab=SEGMENT, gestures=gestures, marked="pointed 1")
    assert [row["phrase"] for row in browser.view["objects"]] == ["cat", "cat", "object 1"]
    after = [row["path"] for row in browser.view["objects"]]
    assert after[0] != before[0]
    assert after[1] == before[1]
    assert [row["marked"] for row in browser.view["objects"]] == [False, False, True]
    other = str(tmp_path / "other.png")
    Image.new("RGB", SIZE, "navy").save(other)
    browser.ask(other, "cat", tab=SEGMENT, gestures=gestures)
    assert [row["path"] for row in browser.view["objects"]] == before


def test_everything_can_be_switched_on(browser: Browser, picture: str):
    browser.ask(picture, "", tab=SEGMENT)
    assert browser.view["objects"] == []
    browser.ask(picture, "", tab=SEGMENT, everything=True)
    assert [row["phrase"] for row in browser.view["objects"]] == ["object 1"]


def test_the_controls_of_masks_change_the_picture(browser: Browser, picture: str):
    browser.ask(picture, "cat", tab=SEGMENT)
    pictures = [browser.view["image"]]
    changes: list[dict[str, Any]] = [
        {"opacity": 0.9},
        {"shapes": []},
        {"shapes": [OUTLINE]},
        {"shapes": [BOXES]},
        {"shapes": [LABELS]},
        {"unticked": [browser.view["objects"][0]["id"]]},
        {"candidates": {browser.view["objects"][0]["id"]: 1}},
    ]
    for changed in changes:
        browser.ask(picture, "cat", tab=SEGMENT, **changed)
        pictures.append(browser.view["image"])
    assert len(set(pictures)) == len(pictures)


def test_specks_are_removed_up_to_a_share_of_their_object(browser: Browser, picture: str):
    browser.ask(picture, "cat", tab=SEGMENT)
    gestures = [{"target": browser.view["objects"][0]["id"], "point": [250, 200, 1]}]
    browser.ask(picture, "cat", tab=SEGMENT, gestures=gestures)
    assert browser.view["objects"][0]["path"].count("M") == 2, "the ellipse, and a disc away from it"
    browser.ask(picture, "cat", tab=SEGMENT, gestures=gestures, specks=20.0)
    assert browser.view["objects"][0]["path"].count("M") == 1


def test_slow_masks_are_announced_and_a_new_picture_shows_boxes_meanwhile(
    browser: Browser, scissors: Scissors, picture: str
):
    scissors.seconds = PATIENCE + 0.3
    *_, working, done = browser.request(picture, "cat", tab=SEGMENT)
    assert working["status"]["message"] == "Cutting out with Scissors …"
    assert len(working["view"]["objects"]) == 2
    assert not working["view"]["masks"]
    assert done["view"]["masks"]


def test_a_segmenter_that_is_not_there_is_told_in_a_sentence(browser: Browser, picture: str):
    browser.ask(picture, "cat", tab=SEGMENT, segmenter="large")
    assert browser.status["message"] == "Shears is not on this machine yet."
    assert browser.status["advice"]["kind"] == "segmenter"
    assert browser.view["image"]


def test_what_no_page_sends_is_told_in_a_sentence(browser: Browser, picture: str):
    browser.ask(picture, "cat")
    browser.ask(picture, "cat", tab=SEGMENT, gestures=[{"point": 1}])
    assert browser.status["message"] == "What was pointed at could not be read: load the page again."


@pytest.mark.parametrize(
    ("kind", "name"),
    [("picture", "two cats-overlay.png"), ("cut-out", "two cats-cut-out.png"), ("json", "two cats.json")],
)
def test_downloads_of_masks(browser: Browser, picture: str, kind: str, name: str):
    values, _ = query_of(picture, "cat", tab=SEGMENT)
    path = browser.export(kind, {}, *values)
    assert path.name == name
    if kind == "json":
        record = json.loads(path.read_text())
        assert record["model"] == "embedded + embedded"
        assert [found["mask"]["size"] for found in record["objects"]] == [[240, 320]] * 2
    else:
        image = Image.open(path)
        assert image.size == SIZE
        if kind == "cut-out":
            assert image.getpixel((60, 70)) == (0, 128, 128, 255)
            assert image.getpixel((5, 5)) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("tab", "prompt", "model"),
    [(DETECT, "cat", "embedded"), (SEGMENT, "cat", "embedded + scissors"), (SEGMENT, "", "scissors")],
)
def test_the_record_names_the_models_that_found_something(
    detector: Oracle, picture: str, tab: str, prompt: str, model: str
):
    studio = Studio(
        ModelCache(CARDS, lambda *_, **__: detector, lambda _: True),
        ModelCache({"scissors": SEGMENTER}, lambda *_, **__: Scissors(), lambda _: True),
    )
    sent = {"picture": picture, "gestures": [{"target": "pointed 1", "point": [150, 200, 1]}]}
    values, _ = query_of(picture, prompt, tab=tab, segmenter="scissors")
    path = Browser(Page(studio)).export("json", sent, *values)
    assert json.loads(path.read_text())["model"] == model


def test_a_marked_object_is_cut_out_alone(browser: Browser, picture: str):
    browser.ask(picture, "cat", tab=SEGMENT)
    sent = {"picture": picture, "query": browser.view["query"], "marked": browser.view["objects"][1]["id"]}
    image = Image.open(browser.export("cut-out", sent, *query_of(picture, "cat", tab=SEGMENT)[0]))
    assert image.getpixel((60, 70))[3] == 0
    assert image.getpixel((250, 70))[3] == 255


@pytest.mark.parametrize("tab", [DETECT, SEGMENT])
def test_what_is_marked_has_no_halo_in_the_file(browser: Browser, picture: str, tab: str):
    browser.ask(picture, "cat", tab=tab)
    sent = {"picture": picture, "query": browser.view["query"]}
    plain, marked = (
        browser.export("picture", given, *query_of(picture, "cat", tab=tab)[0]).read_bytes()
        for given in (sent, {**sent, "marked": browser.view["objects"][1]["id"]})
    )
    assert marked == plain


def test_each_mask_is_a_file_with_a_name_for_scripts(browser: Browser, picture: str):
    path = browser.export("masks", {}, *query_of(picture, "cat", tab=SEGMENT)[0])
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["01_cat.png", "02_cat.png"]


@pytest.fixture
def slow(detector: Oracle, monkeypatch: pytest.MonkeyPatch) -> Oracle:
    """A detector that offers drafts; they know half of each score. Nothing is announced, however busy the machine."""
    monkeypatch.setattr(handlers, "PATIENCE", 60)
    detector.slow_side = 320
    return detector


def test_while_somebody_types_there_is_a_draft_and_then_the_whole(browser: Browser, slow: Oracle, picture: str):
    browser.ask(picture, "cat", typing=True)
    assert browser.view["draft"]
    assert browser.boxes == [CAT]
    assert browser.status["tone"] == "working"
    assert browser.status["message"] == "1 object in a draft of 320 pixels, the whole picture follows …"
    assert slow.grounded == 1
    browser.ask(picture, "cat", typing=False)  # typing has paused
    assert not browser.view["draft"]
    assert browser.boxes == [CAT, OTHER_CAT]
    assert browser.status["message"] == "2 objects"
    assert slow.grounded == 2  # the draft was kept


def test_a_model_that_borrows_a_gpu_is_asked_once_typing_rests(
    page: Page, browser: Browser, detector: Oracle, picture: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(page.studio, "borrows_gpu", lambda model: model == "embedded")
    monkeypatch.setattr(handlers, "PAUSE", 60)
    browser.ask(picture, "ca")  # who does not type does not wait
    assert detector.grounded == 1
    request = browser.request(picture, "cat", typing=True)
    page.interrupt(browser.session, {"stamp": browser.clock + 5000})
    assert list(request) == []
    assert detector.grounded == 1  # the next key came first

    monkeypatch.setattr(handlers, "PAUSE", 0.2)
    browser.clock += 9000
    browser.ask(picture, "cat", typing=True)
    assert browser.boxes == [CAT, OTHER_CAT]
    assert detector.grounded == 2


@pytest.mark.usefixtures("slow")
def test_who_does_not_type_gets_both_in_one_answer(browser: Browser, picture: str):
    updates = list(browser.request(picture, "cat"))
    assert [update["view"]["draft"] for update in updates] == [True, False]


def test_what_is_known_needs_no_draft(browser: Browser, slow: Oracle, picture: str):
    browser.ask(picture, "cat")
    browser.ask(picture, "cat", typing=True, box=0.7)
    assert not browser.view["draft"]
    assert browser.boxes == [CAT]
    assert slow.grounded == 2


def test_the_next_key_gives_up_a_pass_under_way_but_never_a_draft(
    page: Page, browser: Browser, slow: Oracle, picture: str
):
    browser.ask(picture, "ca", typing=True)
    slow.seconds = 2.0
    request = browser.request(picture, "cat", typing=True)
    page.interrupt(browser.session, {"stamp": browser.clock + 100})
    assert [update["view"]["draft"] for update in request] == [True]

    slow.seconds = 60.0
    started = time.monotonic()
    request = browser.request(picture, "cat")
    assert next(request)["view"]["draft"]
    page.interrupt(browser.session, {"stamp": browser.clock + 200})
    assert list(request) == []  # nothing more is shown
    assert time.monotonic() - started < 30

    slow.seconds = 0.0
    browser.clock += 300
    browser.ask(picture, "cat")
    assert browser.boxes == [CAT, OTHER_CAT]


def test_masks_that_take_long_are_given_up(page: Page, browser: Browser, scissors: Scissors, picture: str):
    browser.ask(picture, "cat", tab=SEGMENT)
    scissors.seconds = 60.0
    started = time.monotonic()
    request = browser.request(picture, "cat", tab=SEGMENT, everything=True)
    assert next(request)["status"]["message"].startswith("Cutting out")
    page.interrupt(browser.session, {"stamp": browser.clock + 100})
    assert list(request) == []
    assert time.monotonic() - started < 30

    scissors.seconds = 0.0
    browser.clock += 200
    browser.ask(picture, "cat", tab=SEGMENT, everything=True)
    assert len(browser.view["objects"]) == 3


@pytest.mark.usefixtures("slow")
def test_the_message_of_the_same_key_gives_up_nothing(page: Page, browser: Browser, picture: str):
    request = browser.request(picture, "cat")
    page.interrupt(browser.session, {"stamp": browser.clock + 1})
    assert [update["view"]["draft"] for update in request] == [True, False]


@pytest.mark.usefixtures("slow")
def test_masks_are_cut_of_drafts_too(browser: Browser, picture: str):
    updates = list(browser.request(picture, "cat", tab=SEGMENT))
    assert [(update["view"]["draft"], update["view"]["masks"]) for update in updates] == [(True, True), (False, True)]


def test_the_tab_inpaint_shows_the_mask_on_the_bare_picture(browser: Browser, picture: str):
    browser.ask(picture, "cat", tab=DETECT)
    drawn = browser.view["image"]
    browser.ask(picture, "cat", tab=INPAINT)
    assert browser.view["image"] != drawn
    assert browser.view["mask"]
    assert browser.boxes == [CAT, OTHER_CAT]
    assert browser.status["message"].startswith("2 objects: ")
    before = browser.view["mask"]
    strokes = [{"line": [[150, 200]], "width": 30, "adds": True}]
    browser.ask(picture, "cat", tab=INPAINT, strokes=strokes)
    assert browser.view["mask"] != before
    assert browser.view["strokes"] == 1
    browser.ask(picture, "cat", tab=DETECT)
    assert (browser.view["image"], browser.view["mask"]) == (drawn, "")


@pytest.mark.parametrize(
    ("prompt", "unticked", "message"),
    [
        ("zebra", [], "Nothing found. Try another word."),
        ("cat", [CAT, OTHER_CAT], "Nothing is selected: name what to edit, tick it, or draw over it with the brush."),
    ],
)
def test_without_anything_to_edit_there_is_no_mask(
    browser: Browser, picture: str, prompt: str, unticked: list[tuple[int, ...]], message: str
):
    browser.ask(picture, prompt, tab=INPAINT)
    browser.ask(picture, prompt, tab=INPAINT, unticked=[f"cat {list(box)}" for box in unticked])
    assert browser.status["message"] == message
    assert browser.status["tone"] == ("nothing" if prompt == "zebra" else "hint")
    assert (browser.view["mask"], browser.view["tick"]) == ("", "Edit")


@pytest.mark.parametrize(
    ("mode", "shape", "prompt", "unticked", "message"),
    [
        (REPLACE, MASKS, "", [], "Type what you are looking for, or draw over it with the brush."),
        (REPLACE, WHOLE_BOXES, "", [], "Type what you are looking for, or draw over it with the brush."),
        (REGIONS, MASKS, "", [], "Type what you are looking for, or draw a box."),
        (REGIONS, MASKS, "cat", [CAT, OTHER_CAT], NO_REGION),
    ],
)
def test_the_hint_names_the_tool_that_the_mode_has(
    browser: Browser, picture: str, mode: str, shape: str, prompt: str, unticked: list[Any], message: str
):
    browser.ask(picture, prompt, tab=INPAINT, mode=mode, shape=shape)
    boxes = [f"cat {list(box)}" for box in unticked]
    browser.ask(picture, prompt, tab=INPAINT, mode=mode, shape=shape, unticked=boxes)
    assert browser.status["message"] == message


def test_strokes_that_cannot_be_read_are_told(browser: Browser, picture: str):
    browser.ask(picture, "cat", tab=INPAINT)
    browser.ask(picture, "cat", tab=INPAINT, strokes=[{"line": [[1, 2]], "width": -1, "adds": True}])
    assert browser.status["tone"] == "error"


def test_only_files_that_were_uploaded_become_the_picture(page: Page, tmp_path: Path):
    uploaded = save_bytes_to_cache(b"...", "cat.png", gr.utils.get_upload_folder())
    event = gr.EventData(None, {"file": {"path": uploaded}})
    assert page.take_file(event) == uploaded
    secret = tmp_path / "secret.txt"
    secret.write_text("...")
    # With a "path" beside the file Gradio's own check does not look at the file.
    for data in ({"file": {"path": str(secret)}}, {"path": "", "file": {"path": str(secret)}}):
        with pytest.raises(gr.Error, match="not in the cache folder"):
            page.take_file(gr.EventData(None, data))


def test_a_changed_box_is_what_is_shown_cut_out_and_written(browser: Browser, page: Page, picture: str):
    browser.ask(picture, "cat")
    first = browser.view["objects"][0]["id"]
    changes = [{"id": first, "box": [20, 30, 60, 90]}, {"id": first, "name": "tom"}]
    browser.ask(picture, "cat", changes=changes)
    row = browser.view["objects"][0]
    assert (row["id"], row["phrase"], row["box"], row["changed"]) == (first, "tom", [20, 30, 60, 90], True)
    assert [phrase["name"] for phrase in browser.view["phrases"]] == ["cat", "tom"]
    browser.ask(picture, "cat . pizza", changes=changes, tab=SEGMENT)
    assert browser.view["objects"][0]["box"] == [20, 30, 60, 90]
    assert 1 < browser.view["objects"][0]["area"] < 41 * 61, "the ellipse in the box that was drawn"
    values, selection = query_of(picture, "cat", changes=changes)
    written = json.loads(Browser(page).export("json", {"picture": picture, **selection}, *values).read_text())
    assert written["objects"][0]["box"] == [20, 30, 60, 90]
    assert written["objects"][0]["phrase"] == "tom"


def test_each_phrase_has_a_pass_of_its_own_where_the_page_says_so(page: Page, detector: Oracle, picture: str):
    browser = Browser(page)
    browser.ask(picture, "cat . pizza")
    assert detector.each == 0
    browser.ask(picture, "cat . pizza", each=True)
    assert detector.each == 1


SMALL = (0.5, (150, 30, 158, 38))  # what tiles alone show


@pytest.mark.parametrize("tab", [DETECT, SEGMENT])
def test_tiles_find_what_is_small_and_say_what_they_cost(page: Page, detector: Oracle, picture: str, tab: str):
    detector.small = {"cat": [SMALL]}
    browser = Browser(page)
    browser.ask(picture, "cat", tab=tab)
    assert (len(browser.boxes), "passes" in browser.status["detail"]) == (2, False)
    browser.ask(picture, "cat", tab=tab, tiles=True)
    assert len(browser.boxes) == 3
    assert "10 passes" in browser.status["detail"]
    browser.ask(picture, "cat", tab=tab, tiles=True, box=0.55)
    assert (len(browser.boxes), detector.grounded) == (2, 2)


def test_while_somebody_types_tiles_wait(browser: Browser, slow: Oracle, picture: str):
    slow.small, slow.slow_side = {"cat": [SMALL]}, CARD.config.short_side
    whole, full = browser.request(picture, "cat", tiles=True, box=0.2)
    assert (len(whole["view"]["objects"]), len(full["view"]["objects"])) == (2, 3)
    assert whole["status"]["message"] == "2 objects in the whole picture, its tiles follow …"
    browser.ask(picture, "cat . dog", tiles=True, typing=True)
    assert browser.view["draft"]


@pytest.fixture
def large() -> Oracle:
    """The larger model: it has a threshold of 0.2, and sees one cat elsewhere."""
    seen = {SIZE: {"cat": [(0.9, CAT), (0.6, (150, 20, 200, 120))], "pizza": [(0.28, PIZZA)]}}
    return Oracle(seen, CARDS["large"])


@pytest.fixture
def both(detector: Oracle, large: Oracle) -> Browser:
    """In front of a page with two models."""
    return Browser(
        Page(
            Studio(
                ModelCache(CARDS, lambda name, **_: large if name == "large" else detector, lambda _: True),
                ModelCache({"embedded": SEGMENTER}, lambda *_, **__: Scissors(), lambda _: True),
            )
        )
    )


@pytest.mark.parametrize("tab", [DETECT, SEGMENT])
def test_two_models_are_seen_beside_each_other(both: Browser, picture: str, tab: str):
    both.ask(picture, "cat . pizza", tab=tab)
    alone = both.view
    assert alone["other"] is None
    both.ask(picture, "cat . pizza", tab=tab, compare="large")
    assert {**both.view, "other": None, "phrases": alone["phrases"]} == alone
    assert both.view["other"]["titles"] == ["Oracle", "Large"]
    assert both.view["other"]["image"] not in ("", both.view["image"])
    assert both.view["other"]["description"] == "The picture with 3 objects of Large"
    assert [(entry["key"], entry["count"]) for entry in both.view["phrases"]] == [("cat", "2 | 2"), ("pizza", "0 | 1")]
    assert both.status["message"] == "2 objects. Large has 3: 1 of 4 boxes agree (IoU ≥ 0.5)."
    both.ask(picture, "cat . pizza", tab=tab, compare="large", hidden=["cat"])
    assert both.view["other"]["description"] == "The picture with 1 object of Large"
    both.ask(picture, "cat . pizza", tab=tab, compare="large", box=0.7)  # who moves a threshold moves both
    assert both.status["message"] == "1 object. Large has 1: 1 of 1 box agrees (IoU ≥ 0.5)."
    both.ask(picture, "dog", tab=tab, compare="large")
    assert both.status["message"] == "Nothing found. Try another word. Large finds nothing, either."


@pytest.fixture
def cutter(scissors: Scissors, detector: Oracle, picture: str) -> Browser:
    """In front of a page with a detector that makes masks: the left half of each box."""
    detector.card = replace(CARD, makes_masks=True)
    segmenters = {"embedded": SEGMENTER, "large": replace(SEGMENTER, name="large", title="Shears")}
    someone = Browser(
        Page(
            Studio(
                ModelCache({"embedded": detector.card}, lambda *_, **__: detector, lambda _: True),
                ModelCache(segmenters, lambda *_, **__: scissors, lambda _: True),
            )
        )
    )
    someone.ask(picture, "cat")
    assert someone.view["masks"] is False, "boxes are what the tab Detect shows"
    return someone


def test_masks_that_a_detector_makes_are_shown_and_no_segmenter_is_asked(
    cutter: Browser, scissors: Scissors, picture: str
):
    cutter.ask(picture, "cat", tab=SEGMENT)
    assert [(row["area"], row["quality"]) for row in cutter.view["objects"]] == [(50 * 100, ""), (50 * 100, "")]
    assert "Scissors" not in cutter.status["detail"]
    assert (scissors.encoded, scissors.cut) == (0, 0)
    sent = {"picture": picture}
    record = json.loads(cutter.export("json", sent, *query_of(picture, "cat", tab=SEGMENT)[0]).read_text())
    assert record["model"] == "embedded"
    cutter.ask(picture, "dog", tab=SEGMENT)
    assert cutter.view["objects"] == []
    assert cutter.status["message"] == "Nothing found. Try another word."


def test_another_segmenter_clicks_and_boxes_that_were_moved_are_the_segmenters(cutter: Browser, picture: str):
    ellipse = pytest.approx(7854, rel=0.05)
    cutter.ask(picture, "cat", tab=SEGMENT, segmenter="large")
    assert [row["area"] for row in cutter.view["objects"]] == [ellipse, ellipse]
    assert "Shears" in cutter.status["detail"]
    cutter.ask(picture, "cat", tab=SEGMENT)
    first = cutter.view["objects"][0]["id"]
    cutter.ask(picture, "cat", tab=SEGMENT, gestures=[{"target": first, "point": [60, 70, 1]}])
    assert [row["area"] for row in cutter.view["objects"]] == [ellipse, 50 * 100], "the other one keeps its own"
    assert [row["quality"] for row in cutter.view["objects"]] == ["0.90", ""]
    cutter.ask(picture, "cat", tab=SEGMENT, changes=[{"id": first, "box": [10, 20, 110, 120]}])
    assert [row["area"] for row in cutter.view["objects"]] == [ellipse, ellipse]


def example(box: tuple[int, ...], like: bool = True) -> dict[str, Any]:
    return {"box": [*box], "like": like}


@pytest.fixture
def taker(scissors: Scissors, detector: Oracle, picture: str) -> Browser:
    """In front of a page with a detector that takes examples, and "large" that takes none."""
    detector.card = replace(CARD, takes_examples=True)
    cards = {"embedded": detector.card, "large": CARDS["large"]}
    oracles = {"embedded": detector, "large": Oracle(ANSWERS, CARDS["large"])}
    someone = Browser(
        Page(
            Studio(
                ModelCache(cards, lambda name, **_: oracles[name], lambda _: True),
                ModelCache({"embedded": SEGMENTER}, lambda *_, **__: scissors, lambda _: True),
            )
        )
    )
    someone.ask(picture, "")
    return someone


def test_examples_are_looked_for_in_the_place_of_words(taker: Browser, detector: Oracle, picture: str):
    told = "Looked for by the boxes that you drew, not by words."
    taker.ask(picture, "pizza . dog", examples=[example(CAT)])
    assert taker.boxes == [CAT, OTHER_CAT]
    assert taker.status["message"] == f"2 objects. {told}"
    assert [phrase["name"] for phrase in taker.view["phrases"]] == ["like the example"]
    taker.ask(picture, "pizza . dog", examples=[example(CAT), example(OTHER_CAT, like=False)])
    assert taker.boxes == [CAT]
    assert (detector.exemplified, detector.grounded) == (2, 1), "which was that of the empty prompt"
    taker.ask(picture, "kitten", examples=[example(PIZZA)], box=0.2)
    assert [row["phrase"] for row in taker.view["objects"]] == ["kitten"], "which is what it is called"
    taker.ask(picture, "cat", examples=[])
    assert taker.status["message"] == "2 objects"


def test_examples_need_no_words_and_those_of_what_not_to_find_are_not_enough(taker: Browser, picture: str):
    taker.ask(picture, "", examples=[example((150, 10, 190, 40))])
    told = "Looked for by the boxes that you drew, not by words."
    assert taker.status["message"] == f"Nothing found. Draw another example. {told}"
    taker.ask(picture, "cat", examples=[example(CAT, like=False)])
    assert taker.status["message"] == "2 objects. Draw a box around what is to be found, too."
    assert taker.boxes == [CAT, OTHER_CAT]


def test_a_model_that_takes_no_examples_says_so_and_looks_for_words(taker: Browser, picture: str):
    taker.ask(picture, "pizza", examples=[example(CAT)], model="large", box=0.2)
    assert taker.boxes == [PIZZA]
    assert taker.status["message"] == "1 object. Large takes no examples: it looks for words."
    taker.ask(picture, "pizza", examples=[example(CAT)], compare="large")
    assert taker.boxes == [CAT, OTHER_CAT]
    assert taker.status["message"].endswith("Large takes no examples: it looks for words.")
    assert taker.view["other"]["description"] == "The picture with 1 object of Large"


def test_examples_are_cut_out_and_written_down(taker: Browser, picture: str):
    taker.ask(picture, "", examples=[example(CAT)], tab=SEGMENT)
    assert [bool(row["path"]) for row in taker.view["objects"]] == [True, True]
    sent = {"picture": picture, "examples": [example(CAT)]}
    record = json.loads(taker.export("json", sent, *query_of(picture, "")[0]).read_text())
    assert (record["model"], len(record["objects"])) == ("embedded", 2)


@pytest.mark.parametrize(
    ("drawn", "sentence"),
    [
        ([{"box": [1, 2, 3]}], "What was drawn could not be read: load the page again."),
        ("x", "What was chosen could not be read: load the page again."),
        ([{"like": True}], "What was drawn could not be read: load the page again."),
        ([example((400, 20, 410, 30))], "The box of an example must cover a pixel of the picture of 320 x 240"),
        ([example(CAT)] * 51, "There are more than 50 examples"),
    ],
)
def test_what_is_no_example_is_refused_in_a_sentence(taker: Browser, picture: str, drawn: Any, sentence: str):
    taker.ask(picture, "cat", examples=drawn)
    assert taker.status["message"].startswith(sentence)
    assert taker.status["tone"] == "error"


@pytest.mark.parametrize(
    "options", [{"compare": "none"}, {"compare": "embedded"}, {"compare": "large", "tab": INPAINT}]
)
def test_there_is_nothing_to_compare_with_none_with_itself_and_in_an_edit(both: Browser, picture: str, options: Any):
    both.ask(picture, "cat", **options)
    assert both.view["other"] is None
    assert "agree" not in both.status["message"]


def test_what_is_marked_in_one_pane_is_marked_in_the_other(both: Browser, large: Oracle, picture: str):
    moved = (20, 30, 120, 130)  # IoU 0.68 with the cat
    large.pictures = {SIZE: {"cat": [(0.9, moved), (0.6, (150, 20, 200, 120))]}}

    def marks() -> tuple[list[Any], list[Any]]:
        ours, theirs = both.view["objects"], both.view["other"]["objects"]
        return [row["marked"] for row in ours], [row["marked"] for row in theirs]

    both.ask(picture, "cat", compare="large")
    assert marks() == ([False, False], [False, False])
    ours, theirs = both.view["objects"], both.view["other"]["objects"]
    assert [tuple(row["box"]) for row in theirs] == [moved, (150, 20, 200, 120)]
    bare = both.view["image"], both.view["other"]["image"]
    for marked, expected in (
        (ours[0]["id"], ([True, False], [True, False])),
        (theirs[0]["id"], ([True, False], [True, False])),
        (ours[1]["id"], ([False, True], [False, False])),
        (theirs[1]["id"], ([False, False], [False, True])),
    ):
        both.ask(picture, "cat", compare="large", marked=marked)
        assert marks() == expected
        changed = both.view["image"] != bare[0], both.view["other"]["image"] != bare[1]
        assert changed == tuple(map(any, expected)), "what is marked is drawn so"


def test_a_model_that_is_not_here_leaves_the_first_ones_result(browser: Browser, picture: str):
    browser.ask(picture, "cat", compare="large")
    assert browser.boxes == [CAT, OTHER_CAT]
    assert browser.view["other"] is None
    assert browser.status["message"] == ("2 objects. Large is not on this machine yet: download it where it is chosen.")


def test_a_draft_of_the_second_model_is_followed_by_the_whole(
    both: Browser, large: Oracle, picture: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(handlers, "PATIENCE", 60)
    large.slow_side = 320
    draft, whole = both.request(picture, "cat", compare="large", box=0.2)
    assert [one["view"]["draft"] for one in (draft, whole)] == [True, False]
    assert draft["view"]["other"]["image"] != whole["view"]["other"]["image"]


def drawn_only(knows: tuple[str, ...] = (DRAWINGS,)) -> Page:
    """The page with models that know drawings, beside larger ones for photographs that are not here."""
    detectors = {**CARDS, "embedded": replace(CARD, knows=knows)}
    segmenters = {"embedded": replace(SEGMENTER, knows=(DRAWINGS,)), "large": replace(SEGMENTER, title="Shears")}
    return Page(
        Studio(
            ModelCache(detectors, lambda *_, **__: Oracle(ANSWERS), lambda name: name == "embedded"),
            ModelCache(segmenters, lambda *_, **__: Scissors(), lambda name: name == "embedded"),
        )
    )


POINTED = [{"target": "pointed 1", "point": [30, 40, 1]}]


@pytest.mark.parametrize(
    ("prompt", "changed", "kind"),
    [
        ("cat", {}, None),  # found by a model that knows drawings: it is one
        ("cat", {"tab": SEGMENT}, None),
        ("zebra", {}, "detector"),
        ("zebra", {"tab": SEGMENT}, "detector"),
        ("zebra", {"tab": INPAINT}, "detector"),
        ("", {}, None),  # nothing was asked for
        ("", {"tab": SEGMENT}, None),
        ("", {"tab": SEGMENT, "gestures": POINTED}, "segmenter"),
    ],
)
def test_it_is_said_which_model_knows_photographs_where_the_picture_may_be_one(
    picture: str, prompt: str, changed: dict[str, Any], kind: str | None
):
    browser = Browser(drawn_only())
    browser.ask(picture, "")
    browser.ask(picture, prompt, **changed)
    advice = browser.status.get("advice")
    assert (advice and advice["kind"]) == kind


def test_masks_of_what_a_model_for_photographs_found_are_better_made_by_another(picture: str):
    browser = Browser(drawn_only(knows=(PHOTOGRAPHS,)))
    browser.ask(picture, "cat")
    assert "advice" not in browser.status
    browser.ask(picture, "cat", tab=SEGMENT)
    assert browser.status["advice"]["label"] == "Get Shears · 3 MB"


@pytest.mark.parametrize(
    ("prompt", "phrase", "expected"),
    [
        ("", "pizza", "pizza"),
        ("cat", "pizza", "cat . pizza"),
        ("cat, ", "pizza", "cat . pizza"),
        ("cat . Pizza", "pizza", "cat . Pizza"),
        (" . ", "pizza", "pizza"),
        ("cat and pizza", "pizza", "cat and pizza"),
        ("x" * 5000, "pizza", "x" * 5000),  # told as too long, and left as it is
    ],
)
def test_a_suggestion_is_added_once(page: Page, prompt: str, phrase: str, expected: str):
    assert page.add_phrase([phrase], prompt) == expected
