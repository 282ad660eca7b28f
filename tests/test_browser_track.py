"""The tab Track in a real browser, see `test_browser`."""

import base64
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from groundingdino.tracking.video import Video
from tests import clips
from tests.server import CAT, OTHER_CAT, SIZE, Server
from tests.visitor import FLAGS, Visitor, find_browser

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
    visitor.choose("track-view", "Video")
    expect(visitor.find("#track-video video")).to_be_visible()
    visitor.type("cat . dog")
    expect(visitor.find("#result .canvas")).to_be_visible()


def expect_tracks(visitor: Visitor, *rows: tuple[str, float, float]) -> None:
    """Waits until these are the tracks: name, and seconds of the first and the last frame each."""
    times = [f"{since:.1f} \N{EN DASH} {until:.1f} s" for _, since, until in rows]
    expect(visitor.find("#tracks .times")).to_have_text(times)
    expect(visitor.find("#tracks .name")).to_have_text([name for name, *_ in rows])


def test_what_is_ticked_on_a_paused_frame_starts_the_tracks_and_a_frame_is_corrected(
    visitor: Visitor, server: Server, clip: Path
):
    drop(visitor, clip)
    expect(visitor.find("#about-video")).to_contain_text("320 x 240 pixels")
    visitor.type("cat")
    visitor.expect_table(CAT, OTHER_CAT)
    thumbnails = visitor.find("#strip .strip button")
    expect(thumbnails).to_have_count(10)
    visitor.find("#result tbody input").first.click()
    expect(visitor.boxes).to_have_count(1)
    visitor.find("#track-run").click()
    expect(visitor.message).to_have_text("1 thing was followed.")
    expect_tracks(visitor, ("cat 2", 0.0, 2.9))
    expect(visitor.find("#tracks .corrected")).to_contain_text(["Corrected at 0.00 s"])

    thumbnails.nth(5).click()
    expect(visitor.find("#picture img")).to_have_attribute("src", re.compile(r"cats-1\.50s"))
    expect(visitor.find("#strip .now")).to_have_attribute("style", "left: 50%;")
    visitor.expect_table(CAT, OTHER_CAT)
    expect(visitor.find("#result .followed text")).to_have_text(["cat 2"])
    looks = server.detector.prepared
    visitor.tool("Draw a box").click()
    visitor.drag((120, 150), (180, 210))
    expect(visitor.rows).to_have_count(3)
    visitor.find('#result [title="Rename object 1"]').click()
    visitor.find("#result .rename").fill("ball")
    visitor.page.keyboard.press("Enter")
    expect(visitor.rows.nth(2)).to_contain_text("ball")
    visitor.find("#result tbody input").first.click()
    expect(visitor.boxes).to_have_count(2)
    visitor.find("#track-run").click()
    expect_tracks(visitor, ("cat 2", 0.0, 2.9), ("ball 3", 1.5, 2.9))
    assert server.detector.prepared == looks, "what the detector saw is known"
    visitor.choose("track-view", "Frame")
    thumbnails.nth(7).click()
    expect(visitor.find("#picture img")).to_have_attribute("src", re.compile(r"cats-2\.10s"))
    visitor.find("#tracks .gone").nth(1).click()
    expect_tracks(visitor, ("cat 2", 0.0, 2.9), ("ball 3", 1.5, 2.0))
    visitor.choose("track-view", "Frame")
    name, path = download(visitor, "mot")
    lines = [line.split(",") for line in path.read_text().splitlines()]
    assert name == "cats-mot.txt"
    assert {int(frame) for frame, id, *_ in lines if id == "3"} == set(range(16, 22))
    visitor.find('#tracks [title="Take the correction back"]').nth(1).click()
    expect_tracks(visitor, ("cat 2", 0.0, 2.9))


def test_a_recorded_clip_is_a_video(browser: Browser, server: Server):
    server.be_fast()
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    path = find_browser()
    chromium = browser.browser_type.launch(executable_path=path, args=[*FLAGS, *camera])
    visitor = Visitor(chromium, str(server.url))
    visitor.open_tab("Track")
    visitor.page.get_by_role("button", name="Record a clip").click()
    visitor.find('#track-record [title="grant webcam access"]').click()
    streams = "document.querySelector('#track-record [data-testid=webcam-video]')?.currentTime > 0.3"
    visitor.page.wait_for_function(streams)
    visitor.page.get_by_label("start recording").click()
    visitor.page.wait_for_timeout(1500)
    visitor.page.get_by_label("start recording").click()
    expect(visitor.find("#about-video")).to_contain_text("frames a second")
    expect(visitor.find("#strip .strip button").first).to_be_visible()
    assert visitor.complaints == []
    chromium.close()


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
    visitor.expect_apart("#tracks label", "#tracks .way")
    visitor.find("#strip").evaluate("strip => strip.scrollIntoView({block: 'end'})")
    visitor.find("#tracks .way").click()
    expect(visitor.find("#result .canvas")).to_be_in_viewport(ratio=0.95)
    visitor.find("#result tbody input").first.click()
    visitor.find("#track-run").click()
    expect(visitor.message).to_contain_text("Nothing was followed")
    expect(visitor.find("#tracks .corrected")).to_be_visible()  # to be taken back
    visitor.open_tab("Detect")
    expect(visitor.find("#track-form")).to_be_hidden()
    expect(visitor.find("#tracks")).to_be_hidden()
    expect(visitor.find("#result .canvas")).to_be_visible()
