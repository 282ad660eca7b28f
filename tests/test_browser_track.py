"""The tab Track in a real browser, see `test_browser`."""

import base64
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from groundingdino.tracking.video import Video
from tests import clips
from tests.server import CAT, OTHER_CAT, SIZE, Server
from tests.visitor import Visitor

Visit = Callable[..., Visitor]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Another one each time: what was followed in the same file before would be known."""
    pixels = clips.picture(3, SIZE)
    pixels[-64:, :64] = np.frombuffer(os.urandom(3), np.uint8)
    return clips.write(tmp_path / "cats.mp4", frames=[pixels] * 30)


def download(visitor: Visitor, kind: str) -> tuple[str, Path]:
    with visitor.page.expect_download() as started:
        visitor.find(f"#download-track-{kind}").click()
    return started.value.suggested_filename, Path(started.value.path())


def drop(visitor: Visitor, clip: Path) -> None:
    """Drops a video on the canvas."""
    let_go = """([letters, name]) => {
        const bytes = Uint8Array.from(atob(letters), (letter) => letter.charCodeAt(0));
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([bytes], name, {type: "video/mp4"}));
        document.querySelector("#result .canvas").dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true}));
    }"""
    visitor.page.evaluate(let_go, [base64.b64encode(clip.read_bytes()).decode(), clip.name])


def open_clip(visitor: Visitor, clip: Path) -> None:
    visitor.open_tab("Track")
    expect(visitor.find("#about-video")).to_contain_text("Up to 120 seconds")
    visitor.find("#track-file input[type=file]").set_input_files(clip)
    expect(visitor.find("#about-video")).to_contain_text("320 x 240 pixels, 10 frames a second, 3.0 seconds.")


def test_what_is_named_on_a_paused_frame_is_followed_cancelled_and_continued(
    visitor: Visitor, server: Server, clip: Path
):
    open_clip(visitor, clip)
    visitor.type("cat")
    visitor.expect_table(CAT, OTHER_CAT)
    visitor.page.get_by_label("range slider for Frame at second").press("ArrowRight")
    expect(visitor.find("#picture img")).to_have_attribute("src", re.compile(r"cats-0\.10s"))
    visitor.expect_table(CAT, OTHER_CAT)

    seconds = visitor.page.get_by_label("number input for Frame at second")
    for typed, shown in (("99", "cats-2.90s"), ("", "cats-0.00s")):
        seconds.fill(typed)
        expect(visitor.find("#picture img")).to_have_attribute("src", re.compile(re.escape(shown)))

    server.detector.look_seconds = 0.3
    visitor.find("#track-run").click()
    expect(visitor.message).to_contain_text("Following: ")
    expect(visitor.find("#result .tracked")).to_be_visible()
    expect(visitor.find("#track-cancel")).to_be_focused()
    visitor.page.keyboard.press("Escape")
    expect(visitor.message).to_contain_text("Track goes on from there")
    expect(visitor.find("#result .tracked")).to_be_hidden()
    looks = server.detector.prepared
    assert looks < 15

    server.detector.look_seconds = 0
    visitor.find("#track-run").click()
    expect(visitor.message).to_have_text("2 things were followed.")
    assert server.detector.prepared <= 16, "of thirty frames fifteen are looked at, one again after the cancel"
    expect(visitor.find("#track-video video")).to_be_visible()
    expect(visitor.find("#tracks .track")).to_have_count(2)
    expect(visitor.find("#result .canvas")).to_be_hidden()
    visitor.find("#tracks .track input").first.click()
    expect(visitor.message).to_have_text("2 things were followed.")
    name, path = download(visitor, "json")
    assert name == "cats-tracks.json"
    assert [track["id"] for track in json.loads(path.read_text())["tracks"]] == [2]
    name, path = download(visitor, "video")
    assert name == "cats-tracked.mp4"
    assert Video(path).info.size == SIZE
    visitor.find("#tracks .track .way").nth(1).click()
    expect(visitor.find("#result .canvas")).to_be_visible()
    visitor.choose("track-view", "Video")
    expect(visitor.find("#track-video video")).to_be_visible()
    visitor.choose("track-view", "Frame")
    visitor.expect_table(CAT, OTHER_CAT)


def test_a_bad_video_is_told_of_and_on_a_phone_everything_is_there(
    visit: Visit, server: Server, tmp_path: Path, clip: Path
):
    server.be_fast()
    visitor = visit(server.url, width=390, height=844)
    visitor.open_tab("Track")
    (tmp_path / "letter.mp4").write_text("Dear Sir or Madam")
    visitor.find("#track-file input[type=file]").set_input_files(tmp_path / "letter.mp4")
    expect(visitor.message).to_contain_text("'letter.mp4' cannot be read as a video")
    drop(visitor, clip)
    expect(visitor.find("#about-video")).to_contain_text("320 x 240 pixels")
    visitor.type("dog")
    visitor.find("#track-run").click()
    expect(visitor.message).to_have_text("1 thing was followed.")
    expect(visitor.find("#tracks .track")).to_have_count(1)
    wide = "() => document.documentElement.scrollWidth <= innerWidth"
    assert visitor.page.evaluate(wide), "nothing reaches beyond the screen"
    visitor.open_tab("Detect")
    expect(visitor.find("#track-form")).to_be_hidden()
    expect(visitor.find("#tracks")).to_be_hidden()
    expect(visitor.find("#result .canvas")).to_be_visible()
