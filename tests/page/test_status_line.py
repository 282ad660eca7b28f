from dataclasses import replace

import pytest
from PIL import Image

from groundingdino.page.model_cache import ModelCache
from groundingdino.page.status_line import status
from groundingdino.page.studio import Findings, Studio, Thresholds
from groundingdino.segmentation.pointing import Gesture, Pointing
from tests.oracle import CARD, Oracle
from tests.scissors import SEGMENTER, Scissors

IMAGE = Image.new("RGB", (320, 240))
ANSWERS = {
    IMAGE.size: {
        "cat": [(0.9, (10, 20, 110, 120)), (0.6, (200, 20, 300, 120))],
        "pizza": [(0.28, (100, 150, 180, 230))],
    }
}


def studio() -> Studio:
    return Studio(
        ModelCache({"embedded": CARD}, lambda *_, **__: Oracle(ANSWERS), lambda _: True),
        ModelCache({"embedded": SEGMENTER}, lambda *_, **__: Scissors(), lambda _: True),
    )


def find(prompt: str = "cat . pizza", box_threshold: float = 0.2) -> Findings:
    return studio().find(IMAGE, prompt, "embedded", Thresholds(box_threshold))


@pytest.mark.parametrize(
    ("prompt", "box_threshold", "tone", "message"),
    [
        ("cat . pizza", 0.2, "done", "3 objects"),
        ("cat . pizza", 0.7, "done", "1 object"),
        ("", 0.2, "idle", "Type what you are looking for."),
        ("pizza", 0.35, "nothing", "Nothing found. Try another word."),  # below it are boxes of what is not there
        ("pizza", 0.6, "nothing", "Nothing found. Try another word."),
        ("zebra", 0.0, "nothing", "Nothing found. Try another word."),
        ("zebra", 0.35, "nothing", "Nothing found. Try another word."),
        ("there is a pizza on it", 0.35, "nothing", "Nothing found. Try another word."),
        ("cat", 0.95, "nothing", "Nothing scores more than your threshold of 0.95, but something 0.90: lower it."),
    ],
)
def test_the_status_says_what_happened(prompt: str, box_threshold: float, tone: str, message: str):
    findings = find(prompt, box_threshold)
    line = status(findings, len(findings.detections))
    assert line["tone"] == tone
    assert line["message"].startswith(message)


def test_the_status_counts_what_is_hidden():
    assert status(find(), 1)["message"] == "3 objects, 2 hidden"


def test_the_status_says_how_long_each_part_took():
    assert status(find(), 3)["detail"] == "text 3 ms · picture 20 ms · grounding 40 ms · Oracle"


def test_the_status_says_that_thresholds_do_not_run_the_model():
    shared = studio()
    shared.find(IMAGE, "cat", "embedded", Thresholds(box=0.5))
    again = shared.find(IMAGE, "cat", "embedded", Thresholds(box=0.7))
    assert status(again, 1)["detail"] == "0 ms of model, scores kept · Oracle"


def test_notes_follow_the_message():
    findings = replace(find(), notes=("The model reads English only.",))
    assert status(findings, 3)["message"] == "3 objects. The model reads English only."


def test_with_masks_it_says_of_each_part_whether_it_was_kept():
    shared = studio()
    findings = shared.find(IMAGE, "cat", "embedded", Thresholds())
    first = shared.cut_out(IMAGE, findings, "embedded", Pointing(), 0)
    first = replace(first, timing=first.timing._replace(masks=12.0))
    assert status(first, 2)["detail"] == "text 3 ms · picture 50 ms · grounding 40 ms · masks 12 ms · Oracle + Scissors"
    again = shared.cut_out(IMAGE, shared.find(IMAGE, "cat", "embedded", Thresholds()), "embedded", Pointing(), 0)
    assert status(again, 2)["detail"].startswith("text cached · picture cached · grounding cached · masks cached")


def test_with_masks_it_also_asks_for_clicks_and_counts_what_they_made():
    shared = studio()
    nothing = shared.find(IMAGE, "", "embedded", Thresholds())
    empty = shared.cut_out(IMAGE, nothing, "embedded", Pointing(), 0)
    assert status(empty, 0)["message"] == "Type what you are looking for, or click on it."
    assert status(empty, 0, "draw a box")["message"] == "Type what you are looking for, or draw a box."
    click = Pointing((Gesture("pointed 1", point=(30.0, 40.0, 1)),))
    assert status(shared.cut_out(IMAGE, nothing, "embedded", click, 0), 1)["message"] == "1 object"


@pytest.mark.parametrize(
    ("prompt", "message"), [("cat", "2 objects."), ("", "Type what you are looking for, or click")]
)
def test_it_says_when_everything_is_nothing_more(prompt: str, message: str):
    shared = studio()
    findings = shared.find(IMAGE, prompt, "embedded", Thresholds())
    line = status(shared.cut_out(IMAGE, findings, "embedded", Pointing(everything=True), 0), 2)["message"]
    assert line.startswith(message)
    assert line.endswith("There is nothing else that the segmenter is sure of.")
