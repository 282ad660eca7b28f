"""What the tab Inpaint answers to the requests that its script sends."""

import base64
import io
import json
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from groundingdino.editing.few_steps import FEW_STEPS
from groundingdino.editing.recipe import read_recipe
from groundingdino.page.edit_form import (
    BACKGROUND,
    BLUR,
    EXTEND,
    GROW,
    MASKS,
    MODEL,
    PAINTED,
    PICTURE,
    QUICK,
    REGIONS,
    REMOVE,
    REPLACE,
    TRANSPARENT,
    WHOLE_BOXES,
    Form,
)
from groundingdino.page.faults import FAULT
from groundingdino.page.handlers import Page
from groundingdino.page.inpaint_handlers import QUIET, WAITING, InpaintPage, WrittenFiles
from groundingdino.page.model_cache import ModelCache
from groundingdino.page.query import FILL, INPAINT, Query
from groundingdino.page.session import Session
from groundingdino.page.studio import OFF, NoFewSteps, Studio
from tests.dauber import INPAINTER, Dauber
from tests.oracle import CARD, Oracle
from tests.scissors import SEGMENTER, Scissors

SIZE = (320, 240)
CAT, OTHER_CAT = (10, 20, 110, 120), (200, 20, 300, 120)
MIDDLE, OTHER_MIDDLE, BESIDE = (60, 70), (250, 70), (150, 200)
FORM = Form("red", PAINTED, "#00ff00", None, MODEL, False, "embedded", 5, 2.5, 1, "7", "", 1, "", BLUR)
LARGE = replace(INPAINTER, name="large", title="Large", steps=40, guidance=8, one_by_one=True, boxes=True)


@pytest.fixture
def dauber() -> Dauber:
    return Dauber()


@pytest.fixture
def edits(dauber: Dauber) -> InpaintPage:
    oracle = Oracle({SIZE: {"cat": [(0.9, CAT), (0.6, OTHER_CAT)]}})
    return InpaintPage(
        Page(
            Studio(
                ModelCache({"embedded": CARD}, lambda *_, **__: oracle, lambda _: True),
                ModelCache({"embedded": SEGMENTER, "scissors": SEGMENTER}, lambda *_, **__: Scissors(), lambda _: True),
                ModelCache(
                    {"embedded": INPAINTER, "large": LARGE}, lambda *_, **__: dauber, lambda name: name == "embedded"
                ),
                ModelCache({OFF: NoFewSteps(), **FEW_STEPS}, lambda *_, **__: Path(), lambda name: name == OFF),
            )
        )
    )


class Browser:
    """Sends requests as the page's script does, and keeps what the server made of the last one."""

    def __init__(self, edits: InpaintPage, path: str | None):
        self.edits, self.path = edits, path
        self.session = Session()
        self.clock = 0.0
        self.edit: dict[str, Any] = {}

    def values(self, changed: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The values of the controls, and of what was changed that which is the selection's."""
        query = Query(self.path, "cat", "embedded", 0.35, 0.25, 0.7, INPAINT, "embedded", [FILL], 0.5, 0.0)
        query = query._replace(**{name: changed.pop(name) for name in Query._fields if name in changed})
        form = FORM._replace(model=changed.pop("inpainter", FORM.model))
        form = form._replace(**{name: changed.pop(name) for name in Form._fields if name in changed})
        selection = {"picture": query.keys[0], "query": query.keys[1], "canvas": [320, 240, 1], **changed}
        return [*query, *form], selection

    def request(self, **changed: Any) -> Generator[Any, None, None]:
        self.clock += 1
        values, selection = self.values(changed)
        return self.edits.run(self.session, {**selection, "stamp": self.clock}, *values)

    def run(self, **changed: Any) -> list[dict[str, Any]]:
        updates = [update["edit"] for update in self.request(**changed)]
        self.edit = updates[-1]
        return updates

    def cancel(self) -> None:
        self.clock += 1
        self.edits.cancel(self.session, {"stamp": self.clock})

    def result(self, sent: Any = "") -> Image.Image:
        return Image.open(self.export("result", sent) or "")

    def export(self, kind: str, sent: Any = "", path: str | None = None, **changed: Any) -> str | None:
        """Downloads what belongs to a picture, by default the one that is shown."""
        query = self.values({"path": path or self.path, **changed})[0][: len(Query._fields)]
        return self.edits.export(kind, self.session, sent, *query)

    @property
    def status(self) -> tuple[str, str]:
        return self.edit["status"]["message"], self.edit["status"]["tone"]


def wait_until_stopped(dauber: Dauber) -> None:
    deadline = time.monotonic() + 30
    while not dauber.stopped and time.monotonic() < deadline:
        time.sleep(0.05)
    assert dauber.stopped == 1


@pytest.fixture
def browser(edits: InpaintPage, picture: str) -> Browser:
    return Browser(edits, picture)


def test_an_edit_tells_how_far_it_is_and_ends_with_a_candidate(browser: Browser, dauber: Dauber, picture: str):
    dauber.seconds = 0.1  # so that each step is seen
    updates = browser.run()
    assert [update["working"] for update in updates] == [True] * (len(updates) - 1) + [False]
    messages = dict.fromkeys(update["status"]["message"] for update in updates)
    steps = [message for message in messages if message.startswith("Painting")]
    told = [f"Painting: step {step} of 5 …" for step in range(6)]
    assert steps == [message for message in told if message in steps], "some may be overtaken by the next"
    assert len(steps) > 2
    assert steps[-1] == told[-1]
    shares = [update["share"] for update in updates[:-1]]
    assert shares == sorted(shares)
    assert any(update["preview"].startswith("data:image/jpeg") for update in updates)
    assert browser.status == ("Done.", "done")
    assert [candidate["seed"] for candidate in browser.edit["candidates"]] == [7]
    image = browser.result()
    assert [image.getpixel(place) for place in (MIDDLE, OTHER_MIDDLE)] == [(255, 0, 7)] * 2
    outside = np.asarray(image)[np.asarray(Image.open(browser.export("mask", "", picture) or "")) == 0]
    assert (outside == (0, 128, 128)).all()


def test_ticks_and_strokes_say_what_is_edited(browser: Browser):
    strokes = [{"line": [BESIDE], "width": 20, "adds": True}, {"line": [MIDDLE], "width": 20, "adds": False}]
    browser.run(unticked=[f"cat {list(OTHER_CAT)}"], strokes=strokes)
    image = browser.result()
    teal = (0, 128, 128)
    assert [image.getpixel(place) == teal for place in (MIDDLE, OTHER_MIDDLE, BESIDE)] == [True, True, False]


@pytest.mark.parametrize(("shape", "changed"), [(MASKS, False), (WHOLE_BOXES, True)])
def test_masks_or_boxes_are_edited(browser: Browser, shape: str, changed: bool):
    browser.run(shape=shape, grow=0.0, feather=0.0)
    assert (browser.result().getpixel((14, 24)) == (255, 0, 7)) == changed  # a corner of the box


def test_without_a_model_nothing_is_painted(browser: Browser, dauber: Dauber):
    browser.run(mode=REMOVE, remover=QUICK)
    assert browser.edit["status"]["detail"].endswith("no model")
    assert browser.result().getpixel(MIDDLE) == (0, 128, 128)
    browser.run(mode=BACKGROUND, backdrop=TRANSPARENT)
    assert browser.result().mode == "RGBA"
    assert browser.edit["candidates"][0]["seed"] is None
    assert dauber.painted == []


def test_regions_need_no_masks(browser: Browser, dauber: Dauber, monkeypatch):
    monkeypatch.setattr(browser.edits.studio, "cut_out", lambda *_: pytest.fail("no mask is needed"))
    browser.run(mode=REGIONS, texts={f"cat {list(CAT)}": "blue"})
    assert [text for text, _ in dauber.painted] == ["blue", "red"]


def test_a_picture_grows_and_is_compared_in_its_new_frame(browser: Browser, edits: InpaintPage, picture: str):
    browser.run(mode=EXTEND, margins="0, 0, 25%, 10", text="red")
    edit = browser.edit
    assert edit["status"]["tone"] == "done"
    assert edit["ratio"] == 400 / 250
    outcome = browser.session.outcome
    with Image.open(outcome.results[0]) as image, Image.open(outcome.mask) as mask:
        assert image.size == mask.size == (400, 250)
        assert (image.getpixel((100, 100)), image.getpixel((390, 240))) == ((0, 128, 128), (255, 0, 7))
        assert read_recipe(outcome.results[0])["margins"] == [0, 0, "25%", 10]
    before = Image.open(io.BytesIO(base64.b64decode(edit["before"].partition(",")[2])))
    after = Image.open(io.BytesIO(base64.b64decode(edit["candidates"][0]["image"].partition(",")[2])))
    assert before.size == after.size
    assert before.width / before.height == pytest.approx(1.6, rel=0.01)
    assert "find" not in outcome.recipes[0]
    path, _ = edits.accept(browser.session, {"candidate": 0}, picture)
    assert edits.studio.image(path).size == (400, 250)


def test_an_edit_is_cancelled_and_the_next_one_runs(browser: Browser, dauber: Dauber):
    browser.run()
    dauber.seconds = 30
    updates = browser.request(text="blue")
    for update in updates:
        browser.edit = update["edit"]
        if "Painting" in browser.edit["status"]["message"]:
            browser.cancel()
    assert browser.status == ("Cancelled.", "hint")
    wait_until_stopped(dauber)
    assert not browser.edit["working"]
    assert browser.result().getpixel(MIDDLE) == (255, 0, 7), "the result before stays"
    assert browser.edit["candidates"]
    dauber.seconds = 0
    browser.run(text="lime")
    assert browser.result().getpixel(MIDDLE) == (0, 255, 7)


def test_an_edit_of_a_picture_that_was_left_is_given_up(browser: Browser, dauber: Dauber):
    browser.edits.leave(browser.session, "another.png")  # the picture before: the edit comes sooner than the next news
    dauber.seconds = 30
    for update in browser.request():
        browser.edit = update["edit"]
        if "Painting" in browser.edit["status"]["message"]:
            browser.edits.leave(browser.session, browser.path)  # which arrives now
            browser.edits.leave(browser.session, "another.png")
    assert browser.status == ("Cancelled.", "hint")
    wait_until_stopped(dauber)
    dauber.seconds = 0
    browser.run()
    assert browser.status == ("Done.", "done")


def test_who_leaves_stops_the_edit(browser: Browser, dauber: Dauber):
    dauber.seconds = 30
    updates = browser.request()
    for update in updates:
        if "Painting" in update["edit"]["status"]["message"]:
            break
    updates.close()
    wait_until_stopped(dauber)


def test_what_was_asked_twice_is_done_once(browser: Browser, dauber: Dauber):
    assert [*browser.request(twice=True)] == []
    assert dauber.painted == []
    assert browser.run(twice=False)[-1]["status"]["message"] == "Done."


def test_cancelling_does_not_wait_for_what_cannot_be_stopped(browser: Browser, monkeypatch):
    edit, over = browser.edits.studio.edit, Event()
    monkeypatch.setattr(browser.edits.studio, "edit", lambda *given: (over.wait(60), edit(*given))[1])
    for update in browser.request():
        browser.edit = update["edit"]
        if browser.edit["status"]["message"] == "Starting …":
            browser.cancel()
    assert browser.status == ("Cancelled.", "hint")
    assert not over.is_set()
    over.set()
    monkeypatch.setattr(browser.edits.studio, "edit", edit)
    browser.run()
    assert browser.status == ("Done.", "done")


def test_one_visitor_cancels_nobody_elses_edit(edits: InpaintPage, picture: str):
    one, other = Browser(edits, picture), Browser(edits, picture)
    one.cancel()
    other.run()
    assert other.status == ("Done.", "done")
    assert one.export("result") is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"text": ""}, "There is no text: say what to put in their place, such as 'a red apple'."),
        ({"prompt": "zebra"}, "Nothing is selected: name what to edit, tick it, or draw over it with the brush."),
        ({"text": "blurple"}, "'blurple' is no colour."),
        ({"inpainter": "large"}, "Large is not on this machine yet."),
        ({"strokes": [{"line": "?"}]}, "What was drawn could not be read: load the page again."),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(browser: Browser, changed: dict[str, Any], message: str):
    browser.run(**changed)
    assert browser.status == (message, "hint" if "inpainter" in changed else "error")
    assert not browser.edit["working"]


def test_a_new_background_is_one_of_the_studios_pictures(browser: Browser, edits: InpaintPage, tmp_path: Path):
    sand = tmp_path / "sand.png"
    Image.new("RGB", (4, 4), "khaki").save(sand)
    before = edits.studio.image(sand)
    browser.run(mode=BACKGROUND, backdrop=PICTURE, picture=str(sand))
    assert browser.result().getpixel(BESIDE) == (240, 230, 140)
    assert edits.studio.image(sand) is before, "decoded once"
    sand.write_text("no picture")
    browser.run(mode=BACKGROUND, backdrop=PICTURE, picture=str(sand))
    message, tone = browser.status
    assert (tone, str(tmp_path) in message) == ("error", False), "no folder of the server is named"


def test_without_a_picture_there_is_nothing_to_run(edits: InpaintPage):
    browser = Browser(edits, None)
    browser.run()
    assert browser.status == ("Choose a picture to start.", "hint")


def test_a_fault_of_ours_is_logged_and_told_without_details(browser: Browser, monkeypatch, caplog):
    monkeypatch.setattr(browser.edits.studio, "edit", lambda *_: 1 / 0)
    browser.run()
    assert browser.status == (FAULT, "error")
    assert "ZeroDivisionError" in caplog.text


def late(function: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    def call(*given: Any, **more: Any) -> Any:
        time.sleep(seconds)
        return function(*given, **more)

    return call


def test_long_silence_is_explained(browser: Browser, monkeypatch):
    edit = browser.edits.studio.edit
    monkeypatch.setattr(browser.edits.studio, "edit", late(edit, QUIET + 1))
    messages = [update["status"]["message"] for update in browser.run()]
    assert messages.count(WAITING) == 1
    assert browser.status == ("Done.", "done")


def test_work_that_takes_long_is_no_waiting(browser: Browser, dauber: Dauber, monkeypatch):
    find = browser.edits.studio.find
    monkeypatch.setattr(browser.edits.studio, "find", late(find, QUIET + 0.5))
    dauber.seconds = QUIET + 0.5
    messages = [update["status"]["message"] for update in browser.run(steps=1)]
    assert "Painting: step 0 of 1 …" in messages
    assert WAITING not in messages


def test_a_result_becomes_the_picture_and_goes_back_and_forth(browser: Browser, edits: InpaintPage, picture: str):
    browser.run(candidates=2)
    after, update = edits.accept(browser.session, {"candidate": 1}, picture)
    assert Image.open(after).getpixel(MIDDLE) == (255, 0, 8)
    assert update["history"] == {"picture": after, "undo": True, "redo": False}
    back, update = edits.step(browser.session, after, -1)
    assert back == picture
    assert update["history"] == {"picture": picture, "undo": False, "redo": True}
    assert len(update["edit"]["candidates"]) == 2, "what came of it is shown again"
    assert edits.step(browser.session, picture, 1)[0] == after
    assert edits.step(browser.session, "another", -1) == ("another", gr.skip())


def test_gradio_is_told_of_files_to_clear_away(browser: Browser, edits: InpaintPage, picture: str):
    browser.run(candidates=2)
    mask = browser.export("mask", "", picture)
    assert edits.files == {*browser.session.outcome.results, mask}
    assert all(Path(file).exists() for file in edits.files)


def test_files_may_be_written_while_gradio_goes_through_them():
    files = WrittenFiles({"a"})
    for file in files:
        files.add(f"{file}b")
    assert files == {"a", "ab"}


def test_names_of_files_do_not_grow(browser: Browser, edits: InpaintPage, picture: str):
    browser.run()
    browser.path, _ = edits.accept(browser.session, "", picture)
    browser.run()
    assert Path(browser.export("result", "", browser.path) or "").name == "two cats-edited.png"


def test_the_mask_that_is_downloaded_is_the_one_on_the_canvas(browser: Browser):
    before = Image.open(browser.export("mask") or "")
    assert before.getchannel(0).getextrema() == (0, 255)
    browser.run()
    mask = browser.export("mask") or ""
    assert mask == browser.session.outcome.mask
    np.testing.assert_array_equal(np.asarray(Image.open(mask)), np.asarray(before))
    grown = browser.export("mask", grow=20) or ""
    assert (np.asarray(Image.open(grown)) > 0).sum() > (np.asarray(before) > 0).sum()
    assert browser.export("mask", prompt="") is None, "nothing is selected"


def test_downloads_hold_the_recipe(browser: Browser, picture: str):
    browser.run(candidates=2)
    path = browser.export("recipe", {"candidate": 1}, picture)
    recipe = json.loads(Path(path or "").read_text())
    assert (recipe["find"], recipe["text"], recipe["seed"], recipe["box_threshold"]) == ("cat", "red", 8, 0.35)
    assert recipe == read_recipe(browser.export("result", {"candidate": 1}, picture) or "")


def test_there_is_nothing_to_download_or_go_on_with_before_an_edit(browser: Browser, edits: InpaintPage, monkeypatch):
    notices: list[str] = []
    monkeypatch.setattr(gr, "Warning", notices.append)
    assert browser.export("result", "", browser.path) is None
    assert edits.accept(browser.session, "", browser.path) == (browser.path, gr.skip())
    assert edits.repeat_seed(browser.session, "", browser.path) == gr.skip()
    browser.run()
    assert browser.export("mask", "", "another picture") is None
    assert edits.repeat_seed(browser.session, "", "another picture") == gr.skip()
    assert len(notices) == 5


@pytest.mark.parametrize(
    ("changed", "search"),
    [
        ({"prompt": "cat"}, {"find": "cat", "found_by": ["embedded", "scissors"], "box_threshold": 0.35}),
        ({"prompt": "cat", "shape": WHOLE_BOXES}, {"find": "cat", "found_by": ["embedded"], "box_threshold": 0.35}),
        ({"gestures": [{"target": "pointed 1", "point": [150, 200, 1]}]}, {"find": "", "found_by": ["scissors"]}),
        ({"strokes": [{"line": [BESIDE], "width": 20, "adds": True}]}, {}),
    ],
)
def test_the_recipe_names_what_had_a_part_in_finding(
    browser: Browser, picture: str, changed: dict[str, Any], search: dict[str, Any]
):
    browser.run(**{"prompt": "", "segmenter": "scissors", **changed})
    recipe = json.loads(Path(browser.export("recipe", "", picture) or "").read_text())
    names = ("find", "found_by", "box_threshold", "text_threshold", "nms_threshold")
    found = {name: recipe[name] for name in names if name in recipe}
    more = {"text_threshold": 0.25, "nms_threshold": 0.7} if "box_threshold" in search else {}
    assert found == search | more


def test_a_result_that_became_the_picture_is_still_there(browser: Browser, edits: InpaintPage, picture: str):
    browser.run(candidates=2)
    expected = browser.export("recipe", {"candidate": 1}, picture)
    after, _ = edits.accept(browser.session, {"candidate": 1}, picture)
    # Another picture begins with the first candidate.
    assert browser.export("result", {"candidate": 0}, after) == after
    recipe = browser.export("recipe", {"candidate": 0}, after)
    assert Path(recipe or "").read_text() == Path(expected or "").read_text()
    assert edits.repeat_seed(browser.session, {"candidate": 0}, after) == "8"
    assert edits.accept(browser.session, "", after) == (after, gr.skip()), "it is the picture already"


@pytest.mark.parametrize(
    ("sent", "seed"), [("", 7), ({"candidate": 1}, 8), ({"candidate": 9}, 7), ({"candidate": "1"}, 7)]
)
def test_the_seed_of_the_shown_candidate_is_kept(browser: Browser, edits: InpaintPage, sent: Any, seed: int):
    browser.run(candidates=2)
    assert edits.repeat_seed(browser.session, sent, browser.path) == str(seed)


def test_a_model_brings_what_suits_it(edits: InpaintPage):
    *suited, few, _, few_button, _, button = edits.choose_inpainter(Session(), "large", REPLACE)
    assert suited == [40, 8, True, WHOLE_BOXES]
    assert button["visible"]
    assert (few, few_button["visible"]) == (OFF, False)


def test_few_steps_bring_what_suits_them_and_off_what_suits_the_model(edits: InpaintPage):
    steps, guidance, about, button = edits.choose_few_steps("lightning-sdxl", "large")
    assert (steps, guidance, button["value"], button["visible"]) == (4, 1, "Download 394 MB", True)
    assert "Licence" in about
    assert edits.choose_few_steps(OFF, "large")[:2] == (40, 8)


def test_few_steps_are_fetched_on_request_alone(browser: Browser, dauber: Dauber, edits: InpaintPage, monkeypatch):
    browser.run(few_steps="lcm-sd15")
    assert browser.status == ("LCM for Stable Diffusion 1.5 is not on this machine yet.", "hint")
    assert browser.edit["status"]["advice"] == {
        "text": "",
        "label": "Download · 135 MB",
        "kind": "few steps",
        "model": "lcm-sd15",
    }
    assert dauber.painted == []
    monkeypatch.setattr(edits.studio.few_steps, "_has_files", lambda _: True)
    browser.run(few_steps="lcm-sd15")
    assert browser.status == ("Done.", "done")
    assert dauber.painted[-1][1].few_steps == "lcm-sd15"
    browser.run()
    assert dauber.painted[-1][1].few_steps is None


def test_what_the_inpainter_ignores_is_not_asked_of_it(browser: Browser, edits: InpaintPage, dauber: Dauber):
    """The page hides the controls; what they say stays for another inpainter."""
    settings = {"strength": 0.5, "negative_prompt": "dog", "scheduler": "ddim", "steps": 9}
    browser.run(**settings)
    assert dauber.painted[-1][1].strength == 0.5
    cards: Any = edits.studio.inpainters.cards
    cards["embedded"] = replace(INPAINTER, ignores=("strength", "negative_prompt", "scheduler"))
    browser.run(**settings)
    sampling = dauber.painted[-1][1]
    assert (sampling.strength, sampling.negative_prompt, sampling.scheduler) == (1, "", None)
    assert sampling.steps == 9
    assert edits.inpainters.about("large") == LARGE.description
    assert 'data-ignores="strength negative_prompt scheduler"' in edits.inpainters.about("embedded")


def test_a_mode_brings_what_suits_it_but_for_what_was_chosen_by_hand(edits: InpaintPage):
    session, default = Session(), GROW[REPLACE]
    assert edits.choose_mode(session, BACKGROUND, "large", WHOLE_BOXES, default) == (MASKS, GROW[BACKGROUND])
    assert edits.choose_mode(session, REPLACE, "large", MASKS, GROW[BACKGROUND]) == (WHOLE_BOXES, default)
    # Masks are chosen by hand, and not to grow.
    assert edits.choose_mode(session, REMOVE, "large", MASKS, 0) == (MASKS, 0)
    assert edits.choose_mode(session, REPLACE, "large", MASKS, 0) == (MASKS, 0)
    edits.choose_inpainter(session, "large", REPLACE)
    assert edits.choose_mode(session, REMOVE, "large", WHOLE_BOXES, 0) == (MASKS, 0)
