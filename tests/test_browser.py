"""The page in a real browser, driven by Playwright.

Without a browser the tests are skipped; in CI (environment variable `CI`) that is a failure.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

import app
from groundingdino.detection.available_models import EMBEDDED_FILE
from groundingdino.detection.detector import Detector
from groundingdino.detection.objects import labels_of
from groundingdino.inputs.image import load_image
from groundingdino.segmentation.available_models import EMBEDDED_SEGMENTER
from tests.conftest import skip_or_fail
from tests.server import CAR, CAT, DOG, OTHER_CAT, OTHER_SIZE, PIZZA, Server
from tests.visitor import Visitor, running_page

Visit = Callable[..., Visitor]  # its address and screen -> someone in front of a page


def test_the_prompt_is_focused_and_boxes_follow_the_typing(visitor: Visitor):
    expect(visitor.prompt).to_be_focused()
    visitor.page.keyboard.type("ca", delay=40)
    expect(visitor.message).to_contain_text("Nothing found")
    visitor.page.keyboard.type("t . dog", delay=40)
    visitor.expect_table(CAT, DOG, OTHER_CAT)
    expect(visitor.message).to_have_text("3 objects")
    expect(visitor.boxes).to_have_count(3)
    expect(visitor.chips).to_have_text(["cat2", "dog1"])


def test_what_is_shown_at_rest_belongs_to_the_last_text(visitor: Visitor, server: Server):
    server.detector.seconds = 0.5  # each answer takes as long as a dozen keys
    visitor.type("dog . c")
    visitor.prompt.fill("")
    visitor.prompt.press_sequentially("pizza . cat", delay=40)
    visitor.expect_table(CAT, OTHER_CAT)
    expect(visitor.chips).to_have_text(["pizza0", "cat2"])
    visitor.page.wait_for_timeout(1500)
    visitor.expect_table(CAT, OTHER_CAT)


def test_enter_changes_nothing_and_adds_no_line(visitor: Visitor):
    visitor.type("dog")
    visitor.expect_table(DOG)
    visitor.prompt.press("Enter")
    expect(visitor.prompt).to_have_value("dog")
    visitor.expect_table(DOG)


def test_a_moved_threshold_redraws_without_the_model(visitor: Visitor, server: Server):
    visitor.type("cat . pizza")
    expect(visitor.chips).to_have_text(["cat2", "pizza0"])
    runs, before = (server.detector.encoded, server.detector.grounded), visitor.canvas()
    visitor.set_threshold(0.2)
    visitor.expect_table(CAT, OTHER_CAT, PIZZA)
    expect(visitor.find("#result .detail")).to_contain_text("0 ms of model")
    assert visitor.canvas() != before
    visitor.set_threshold(0.95)
    expect(visitor.message).to_have_text(
        "Nothing scores more than your threshold of 0.95, but something 0.90: lower it."
    )
    assert (server.detector.encoded, server.detector.grounded) == runs


def test_a_tick_hides_an_object_from_picture_and_downloads(visitor: Visitor):
    visitor.type("cat")
    visitor.expect_table(CAT, OTHER_CAT)
    visitor.rows.nth(0).locator("input").click()
    expect(visitor.message).to_have_text("2 objects, 1 hidden")
    expect(visitor.boxes).to_have_count(1)
    visitor.expect_table(CAT, OTHER_CAT)
    with visitor.page.expect_download() as download:
        visitor.find("#downloads").get_by_text("JSON").filter(visible=True).click()
    assert download.value.suggested_filename == "first.json"
    record = json.loads(Path(download.value.path()).read_text())
    assert [found["box"] for found in record["objects"]] == [[200, 20, 300, 120]]
    visitor.rows.nth(0).locator("input").click()
    expect(visitor.message).to_have_text("2 objects")


def test_the_other_downloads_are_saved_at_once(visitor: Visitor):
    visitor.type("cat")
    visitor.expect_table(CAT, OTHER_CAT)
    for label, name in (("Picture", "-boxes.png"), ("COCO", "-coco.zip"), ("YOLO", "-yolo.zip")):
        with visitor.page.expect_download() as download:
            visitor.find("#downloads").get_by_text(label).filter(visible=True).click()
        assert download.value.suggested_filename == f"first{name}"
        assert Path(download.value.path()).stat().st_size > 300


def test_a_row_or_a_box_marks_an_object(visitor: Visitor):
    visitor.type("cat")
    visitor.expect_table(CAT, OTHER_CAT)
    before = visitor.canvas()
    visitor.rows.nth(1).click()
    expect(visitor.rows.nth(1)).to_have_attribute("aria-selected", "true")
    assert visitor.canvas() != before
    visitor.page.get_by_role("button", name="cat 0.90").first.click()
    expect(visitor.rows.nth(0)).to_have_attribute("aria-selected", "true")
    expect(visitor.rows.nth(1)).to_have_attribute("aria-selected", "false")
    visitor.rows.nth(0).click()
    expect(visitor.rows.nth(0)).to_have_attribute("aria-selected", "false")
    assert visitor.canvas() == before


def test_a_phrase_is_switched_off_and_on_in_the_legend(visitor: Visitor):
    visitor.type("cat . dog")
    visitor.expect_table(CAT, DOG, OTHER_CAT)
    cat = visitor.chips.nth(0)
    cat.click()
    visitor.expect_table(DOG)
    expect(cat).to_have_attribute("aria-pressed", "false")
    expect(cat).to_be_focused()
    visitor.page.keyboard.press("Enter")
    visitor.expect_table(CAT, DOG, OTHER_CAT)


def test_another_word_keeps_ticks_and_what_is_hidden_as_long_as_their_phrase_is_asked_for(visitor: Visitor):
    visitor.type("cat")
    visitor.expect_table(CAT, OTHER_CAT)
    visitor.rows.nth(0).locator("input").click()
    expect(visitor.message).to_have_text("2 objects, 1 hidden")
    visitor.prompt.press("End")
    visitor.prompt.press_sequentially(" . dog", delay=40)
    expect(visitor.message).to_have_text("3 objects, 1 hidden")
    expect(visitor.rows.nth(0).locator("input")).not_to_be_checked()
    visitor.chips.nth(1).click()
    visitor.expect_table(CAT, OTHER_CAT)
    visitor.type("pizza")
    expect(visitor.message).to_contain_text("Nothing found")
    visitor.type("cat . dog")
    expect(visitor.message).to_have_text("3 objects")


def test_a_long_phrase_leaves_the_table_in_its_place(visitor: Visitor):
    visitor.prompt.fill("cat . " + "x" * 300)
    visitor.expect_table(CAT, OTHER_CAT)
    for selector in ("#result .legend", "#result .objects"):
        assert visitor.find(selector).evaluate("part => part.scrollWidth <= part.clientWidth")


def test_there_is_a_way_back_from_the_camera(visitor: Visitor):
    visitor.find("#picture").get_by_label("Capture from camera").click()
    expect(visitor.find('#picture [title="grant webcam access"]')).to_be_visible()
    visitor.find("#picture").get_by_label("Upload file").click()
    expect(visitor.find('#picture [title="grant webcam access"]')).to_have_count(0)


def test_an_example_brings_its_prompt_and_forgets_the_old_result(visitor: Visitor):
    visitor.type("cat")
    visitor.expect_table(CAT, OTHER_CAT)
    visitor.find("#gallery button").nth(1).click()
    visitor.expect_table(CAR)
    expect(visitor.prompt).to_have_value("car")
    visitor.page.keyboard.type("cat")  # replaces the example's prompt
    expect(visitor.prompt).to_have_value("cat")
    expect(visitor.message).to_contain_text("Nothing found")


def test_suggested_phrases_are_added_to_the_prompt(visitor: Visitor):
    for phrase in ("cat", "pizza", "cat"):
        visitor.find("#suggestions").get_by_text(phrase, exact=True).click()
    expect(visitor.prompt).to_have_value("cat . pizza")
    visitor.expect_table(CAT, OTHER_CAT)


def test_an_upload_replaces_the_picture(visitor: Visitor, tmp_path: Path):
    visitor.type("car . cat")
    visitor.expect_table(CAT, OTHER_CAT)
    path = tmp_path / "street.jpg"
    Image.new("RGB", OTHER_SIZE, "olive").save(path)
    visitor.find("#picture input[type=file]").set_input_files(path)
    visitor.expect_table(CAR)
    visitor.prompt.fill("")
    expect(visitor.boxes).to_have_count(0)
    expect(visitor.message).to_have_text("Type what you are looking for.")
    assert visitor.canvas().startswith("data:image/jpeg"), "an empty prompt shows the picture"


def test_a_picture_can_be_pasted(visitor: Visitor):
    visitor.type("car")
    visitor.page.evaluate(
        """async ([width, height]) => {
            const canvas = Object.assign(document.createElement("canvas"), {width, height});
            canvas.getContext("2d").fillRect(0, 0, 9, 9);
            const blob = await new Promise((resolve) => canvas.toBlob(resolve));
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([blob], "pasted.png", {type: "image/png"}));
            document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true}));
        }""",
        OTHER_SIZE,
    )
    visitor.expect_table(CAR)


def test_without_a_picture_the_canvas_asks_for_one(visitor: Visitor):
    visitor.type("cat")
    visitor.expect_table(CAT, OTHER_CAT)
    visitor.page.get_by_label("Remove Image").click()
    expect(visitor.message).to_have_text("Choose a picture to start.")
    expect(visitor.find("figcaption")).to_be_visible()
    expect(visitor.rows).to_have_count(0)


def test_what_is_no_picture_is_refused_in_a_sentence(visitor: Visitor, tmp_path: Path):
    path = tmp_path / "notes.jpg"
    path.write_text("no picture")
    visitor.find("#picture input[type=file]").set_input_files(path)
    expect(visitor.message).to_contain_text("The picture is not an image")
    expect(visitor.boxes).to_have_count(0)


def test_a_model_is_downloaded_on_request(visit: Visit, untouched: Server):
    visitor = visit(untouched.url)
    visitor.type("pizza")
    expect(visitor.message).to_have_text("Nothing found. Try another word.")
    visitor.find("#model input").click()
    visitor.page.get_by_role("option", name="Photographs · Large · ↓ 2 MB").click()
    expect(visitor.message).to_have_text("Large is not on this machine yet.")
    assert untouched.downloaded == [], "nothing is fetched before it is asked for"
    visitor.page.get_by_role("button", name="Download 2 MB").click()
    expect(visitor.message).to_have_text("Large is on its way …")
    expect(visitor.find("#about-model")).to_contain_text("weights of Large: 1 MB of 2 MB")
    expect(visitor.find("#about-model progress")).to_be_visible()
    # Another model's row tells nothing of it.
    visitor.find("#model input").click()
    visitor.page.get_by_role("option", name="Oracle").click()
    expect(visitor.find("#about-model")).to_have_text("Knows the answers.")
    untouched.arrives.set()
    deadline = time.monotonic() + 30
    while not untouched.downloaded and time.monotonic() < deadline:
        visitor.page.wait_for_timeout(50)
    assert untouched.downloaded == ["large"], "the download goes on"
    visitor.page.wait_for_timeout(500)
    assert visitor.find("#about-model").inner_text() == "Knows the answers."
    visitor.find("#model input").click()
    visitor.page.get_by_role("option", name="Large").click()
    expect(visitor.find("#about-model")).to_have_text("Knows more.")
    visitor.expect_table(PIZZA)  # at the large model's own threshold
    expect(visitor.find("#fetch-model")).not_to_be_visible()


def segment(visitor: Visitor, prompt: str, count: int) -> None:
    """Types a prompt into the tab Segment and waits for that many masks."""
    visitor.open_tab("Segment")
    visitor.type(prompt)
    expect(visitor.find("#result .shapes path")).to_have_count(count)


def test_typing_gives_masks_and_the_tabs_share_picture_prompt_and_results(visitor: Visitor, server: Server):
    visitor.type("dog")
    visitor.expect_table(DOG)
    assert visitor.outlines() == []
    encoded = server.detector.encoded
    segment(visitor, "cat . dog", 3)
    visitor.expect_table(CAT, DOG, OTHER_CAT)
    expect(visitor.rows.nth(0).locator("td.quality")).to_have_text("0.90")
    expect(visitor.find("#result .detail")).to_contain_text("masks")
    visitor.rows.nth(1).locator("input").click()
    expect(visitor.boxes).to_have_count(2)
    visitor.open_tab("Detect")
    expect(visitor.find("#result .shapes rect")).to_have_count(2)
    visitor.expect_table(CAT, DOG, OTHER_CAT)
    expect(visitor.prompt).to_have_value("cat . dog")
    expect(visitor.message).to_have_text("3 objects, 1 hidden")
    expect(visitor.tool("Select")).not_to_be_visible()
    visitor.open_tab("Segment")
    expect(visitor.find("#result .shapes path")).to_have_count(2)
    assert server.detector.encoded == encoded


def test_a_click_on_a_mask_changes_it_and_marks_its_object(visitor: Visitor):
    segment(visitor, "cat", 2)
    before = visitor.outlines()
    visitor.tool("Exclude").click()
    visitor.click(60, 70)
    expect(visitor.gestures).to_have_count(1)
    expect(visitor.rows.nth(0)).to_have_attribute("aria-selected", "true")
    expect(visitor.rows).to_have_count(2)
    after = visitor.outlines()
    assert len(set(before) & set(after)) == 1, "one mask changed, the other did not"


def test_a_click_beside_makes_an_object_that_the_next_clicks_refine(visitor: Visitor):
    segment(visitor, "cat", 2)
    visitor.click(150, 180)
    expect(visitor.rows).to_have_count(3)
    expect(visitor.rows.nth(2)).to_contain_text("object 1")
    expect(visitor.rows.nth(2)).to_have_attribute("aria-selected", "true")
    visitor.click(190, 180)
    expect(visitor.gestures).to_have_count(2)
    expect(visitor.rows.nth(2)).to_contain_text(re.compile(r"1(29|30), 1(59|60), 21[01], 20[01]"))
    visitor.page.keyboard.press("Escape")
    expect(visitor.rows.nth(2)).to_have_attribute("aria-selected", "false")
    visitor.click(260, 180)
    expect(visitor.rows).to_have_count(4)
    expect(visitor.chips).to_have_text(["cat2", "by hand2"])


def test_undo_takes_back_the_last_gesture_wherever_it_went(visitor: Visitor):
    segment(visitor, "cat", 2)
    before = visitor.outlines()
    visitor.click(150, 200)
    expect(visitor.rows).to_have_count(3)
    visitor.page.keyboard.press("Escape")
    visitor.page.keyboard.press("e")
    visitor.click(60, 70)
    expect(visitor.rows.nth(0)).to_have_attribute("aria-selected", "true")
    visitor.page.keyboard.press("z")
    expect(visitor.gestures).to_have_count(1)
    expect(visitor.find("#result .shapes path[aria-pressed=true]")).to_have_count(1)
    visitor.tool("Undo").click()
    expect(visitor.rows).to_have_count(2)
    expect(visitor.gestures).to_have_count(0)
    assert visitor.outlines() == before
    expect(visitor.tool("Undo")).to_be_disabled()


def test_clear_takes_back_all_gestures(visitor: Visitor):
    segment(visitor, "cat", 2)
    for x in (20, 160, 190):
        visitor.click(x, 200)
    expect(visitor.gestures).to_have_count(3)
    visitor.page.keyboard.press("c")
    expect(visitor.rows).to_have_count(2)
    expect(visitor.gestures).to_have_count(0)


def test_boxes_and_lines_are_drawn_by_dragging(visitor: Visitor):
    segment(visitor, "pizza", 0)
    visitor.tool("Draw a box").click()
    visitor.drag((150, 40), (170, 80), (190, 100))
    expect(visitor.rows).to_have_count(1)
    expect(visitor.rows.nth(0)).to_contain_text(re.compile(r"1(49|50|51), (39|40|41), 1(89|90|91|92), (99|10[012])"))
    visitor.page.keyboard.press("Escape")
    visitor.page.keyboard.press("d")
    visitor.drag((220, 200), (240, 200), (280, 200))
    expect(visitor.rows).to_have_count(2)
    expect(visitor.gestures).to_have_count(2)
    assert visitor.canvas()


def test_an_exclude_click_on_nothing_says_what_it_needs(visitor: Visitor):
    segment(visitor, "cat", 2)
    visitor.tool("Exclude").click()
    visitor.click(150, 220)
    expect(visitor.message).to_have_text("An exclude point belongs to an object: click on one, or mark one first.")
    expect(visitor.gestures).to_have_count(0)


def test_selecting_marks_without_a_point_and_the_next_mask_is_one_click_away(visitor: Visitor):
    segment(visitor, "cat", 2)
    before = visitor.outlines()
    expect(visitor.tool("Next mask")).to_be_disabled()
    visitor.page.keyboard.press("Tab")  # away from the prompt
    visitor.tool("Select").click()
    visitor.click(60, 70)
    expect(visitor.rows.nth(0)).to_have_attribute("aria-selected", "true")
    expect(visitor.gestures).to_have_count(0)
    for quality in ("0.80", "0.70", "0.90"):
        visitor.page.keyboard.press("n")
        expect(visitor.rows.nth(0).locator("td.quality")).to_have_text(quality)
    assert visitor.outlines() == before
    visitor.click(150, 200)
    expect(visitor.rows.nth(0)).to_have_attribute("aria-selected", "false")


def test_everything_is_switched_on_and_off(visitor: Visitor):
    segment(visitor, "cat", 2)
    visitor.tool("All other").click()
    expect(visitor.rows).to_have_count(4)
    expect(visitor.chips).to_have_text(["cat2", "everything2"])
    visitor.chips.nth(1).click()
    expect(visitor.rows).to_have_count(2)
    visitor.chips.nth(1).click()
    expect(visitor.rows).to_have_count(4)
    visitor.tool("All other").click()
    expect(visitor.rows).to_have_count(2)


def test_letters_choose_tools_but_not_while_typing(visitor: Visitor):
    visitor.open_tab("Segment")
    visitor.type("bed")
    expect(visitor.tool("Include")).to_have_attribute("aria-pressed", "true")
    visitor.tool("Select").click()
    visitor.page.keyboard.press("b")
    expect(visitor.tool("Draw a box")).to_have_attribute("aria-pressed", "true")
    expect(visitor.prompt).to_have_value("bed")
    visitor.open_tab("Detect")
    visitor.page.keyboard.press("s")
    visitor.open_tab("Segment")
    expect(visitor.tool("Draw a box")).to_have_attribute("aria-pressed", "true")


def test_another_prompt_keeps_what_was_pointed_at_and_another_picture_forgets_it(visitor: Visitor):
    segment(visitor, "cat", 2)
    visitor.click(150, 200)
    expect(visitor.rows).to_have_count(3)
    segment(visitor, "dog", 2)
    expect(visitor.rows).to_have_text([re.compile("dog"), re.compile("object 1")])
    visitor.find("#gallery button").nth(1).click()
    visitor.expect_table(CAR)
    expect(visitor.gestures).to_have_count(0)
    expect(visitor.find("#result .shapes path")).to_have_count(1)
    visitor.find("#gallery button").nth(0).click()
    expect(visitor.rows).to_have_count(2)
    expect(visitor.gestures).to_have_count(0)


def test_the_controls_of_masks_change_the_canvas(visitor: Visitor):
    expect(visitor.find("#masks")).not_to_be_visible()
    segment(visitor, "cat", 2)
    seen = {visitor.canvas()}

    def expect_change() -> None:
        deadline = time.monotonic() + 30
        while visitor.canvas() in seen and time.monotonic() < deadline:
            visitor.page.wait_for_timeout(50)
        assert visitor.canvas() not in seen
        seen.add(visitor.canvas())

    visitor.page.get_by_label("number input for Opacity").fill("0.9")
    expect_change()
    for shape in ("Fill", "Labels", "Boxes", "Outline"):
        visitor.find("#shapes").get_by_text(shape).click()
        expect_change()


def test_small_specks_are_removed_on_request(visitor: Visitor):
    segment(visitor, "cat", 2)
    visitor.click(60, 70)
    visitor.click(250, 200)
    expect(visitor.gestures).to_have_count(2)
    marked = visitor.find("#result .shapes path[aria-pressed=true]")
    expect(marked).to_have_attribute("d", re.compile("M.*M"))
    visitor.page.get_by_label("number input for Holes").fill("20")
    expect(marked).to_have_attribute("d", re.compile("^M[^M]*$"))


def test_masks_are_downloaded(visitor: Visitor):
    segment(visitor, "cat", 2)

    def download(label: str, name: str) -> Path:
        with visitor.page.expect_download() as saved:
            visitor.find("#downloads").get_by_text(label).filter(visible=True).click()
        assert saved.value.suggested_filename == name
        return Path(saved.value.path())

    assert download("Picture", "first-overlay.png").stat().st_size > 300
    assert Image.open(download("Cut-out", "first-cut-out.png")).getchannel("A").getextrema() == (0, 255)
    assert download("Masks", "first-masks.zip").stat().st_size > 300
    objects = json.loads(download("JSON", "first.json").read_text())["objects"]
    assert all("counts" in found["mask"] for found in objects)


def test_slow_masks_are_announced_while_boxes_stay(visit: Visit, untouched: Server):
    visitor = visit(untouched.url)
    visitor.type("dog . pizza")
    visitor.set_threshold(0.2)
    visitor.expect_table(DOG, PIZZA)
    untouched.segmenter.seconds = 3  # a busy machine looks rarely
    visitor.open_tab("Segment")
    expect(visitor.message).to_have_text("Cutting out with Scissors …")
    expect(visitor.find("#result .shapes rect")).to_have_count(2)
    expect(visitor.find("#result .shapes path")).to_have_count(2)


def test_a_finger_points_draws_and_scrolls(visit: Visit, server: Server):
    server.be_fast()
    someone = visit(server.url, 390, 844, has_touch=True, is_mobile=True)
    segment(someone, "cat", 2)
    assert someone.page.evaluate("document.documentElement.scrollWidth") <= 390
    buttons = [button.bounding_box() for button in someone.find("#result .tools button").all()]
    assert all(box["width"] >= 28 and box["height"] >= 32 and box["x"] + box["width"] <= 390 for box in buttons)
    someone.page.touchscreen.tap(*someone.place(150, 200))
    expect(someone.rows).to_have_count(3)
    assert someone.find(".shapes").evaluate("shapes => getComputedStyle(shapes).touchAction") == "pan-x pan-y"
    someone.tool("Draw a box").tap()
    assert someone.find(".shapes").evaluate("shapes => getComputedStyle(shapes).touchAction") == "none"


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (820, 1180), (390, 844)])
def test_the_page_fits_its_screen(visit: Visit, server: Server, width: int, height: int):
    server.be_fast()
    someone = visit(server.url, width, height)
    someone.type("cat . dog")
    someone.expect_table(CAT, DOG, OTHER_CAT)
    before = someone.find(".canvas").bounding_box()
    for _ in someone.themes():
        assert someone.page.evaluate("document.documentElement.scrollWidth") <= width
        top, canvas = someone.prompt.bounding_box(), someone.find(".canvas").bounding_box()
        assert canvas == before
        assert canvas["width"] > (0.9 if width < 768 else 0.55) * width
        assert min(top["y"], canvas["y"]) >= 0
        bottom = max(top["y"] + top["height"], canvas["y"] + canvas["height"])
        assert bottom <= height, "what is typed and seen is in view"
    someone.type("b . c . d . e . f . g . h . j . k . l . m")
    expect(someone.chips).to_have_count(11)
    expect(someone.message).to_contain_text("Nothing found")
    for _ in someone.themes():
        assert someone.find(".canvas").bounding_box() == before, "the canvas never jumps"
    someone.open_tab("Segment")
    expect(someone.find("#result .detail")).to_contain_text("masks")
    for _ in someone.themes():
        after = someone.find(".canvas").bounding_box()
        assert (after["width"], after["height"]) == (before["width"], before["height"])
        assert width <= 1000 or after == before, "where there is room, the tools are beside the tabs"
        someone.expect_apart("#result .tools", "#tabs [role=tab]")
        assert someone.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture(scope="module")
def real_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The page as the README starts it: its address and its log."""
    if not EMBEDDED_FILE.is_file():
        skip_or_fail("the embedded model is not in assets/models/detector")
    log = tmp_path_factory.mktemp("page") / "log"
    with running_page(log) as url:
        yield url, log


def test_the_embedded_model_finds_what_is_typed_into_an_example(visit: Visit, real_page: tuple[str, Path]):
    url, log = real_page
    example = json.loads((app.EXAMPLES / "examples.json").read_text())[0]
    phrases = example["prompt"].split(" . ")[:2]
    someone = visit(url)
    someone.find("#gallery button").first.click()
    expect(someone.prompt).to_have_value(example["prompt"])
    expect(someone.message).to_contain_text("object")
    someone.type(" . ".join(phrases))
    expect(someone.chips).to_have_count(len(phrases))

    image = load_image(app.EXAMPLES / example["file"])
    expected = Detector.from_pretrained("embedded", device="cpu")(image, " . ".join(phrases))
    names = labels_of(expected)
    assert set(names) == set(phrases), "the example shows what its prompt says"
    assert expected.confidence is not None
    someone.expect_table(*zip(names, expected.confidence, expected.xyxy.tolist(), strict=True))
    expect(someone.boxes).to_have_count(len(expected))
    expect(someone.find("#result .detail")).to_contain_text("grounding")
    assert "Traceback" not in log.read_text()
    assert "ERROR" not in log.read_text()


def test_the_page_as_it_is_started_takes_an_uploaded_picture(visit: Visit, real_page: tuple[str, Path], tmp_path: Path):
    url, log = real_page
    example = json.loads((app.EXAMPLES / "examples.json").read_text())[1]
    image = load_image(app.EXAMPLES / example["file"])
    image.save(tmp_path / "mine.png")
    phrase = example["prompt"].split(" . ")[0]
    someone = visit(url)
    someone.find("#picture input[type=file]").set_input_files(tmp_path / "mine.png")
    someone.type(phrase)
    found = Detector.from_pretrained("embedded", device="cpu")(image, phrase)
    assert found.confidence is not None
    someone.expect_table(*zip(labels_of(found), found.confidence, found.xyxy.tolist(), strict=True))
    assert "Traceback" not in log.read_text()


def test_a_photograph_is_asked_of_the_model_that_knows_photographs(visit: Visit, real_page: tuple[str, Path]):
    url, log = real_page
    someone = visit(url)
    model = someone.find("#model input").first
    expect(model).to_have_value(re.compile("^Drawings"))
    someone.find("#picture input[type=file]").set_input_files(app.EXAMPLES / "cat.webp")
    expect(model).to_have_value(re.compile("^Photographs"))
    someone.type("cat")
    found = Detector.from_pretrained("embedded-photos", device="cpu")(app.EXAMPLES / "cat.webp", "cat")
    assert found.confidence is not None
    assert len(found)
    someone.expect_table(*zip(labels_of(found), found.confidence, found.xyxy.tolist(), strict=True))
    someone.find("#gallery button").first.click()
    expect(model).to_have_value(re.compile("^Drawings"))
    assert "Traceback" not in log.read_text()


def test_the_embedded_segmenter_cuts_out_what_is_typed_and_clicked(visit: Visit, real_page: tuple[str, Path]):
    if not EMBEDDED_SEGMENTER.is_file():
        skip_or_fail("the embedded segmenter is not in assets/models/segmenter")
    url, log = real_page
    example = json.loads((app.EXAMPLES / "examples.json").read_text())[0]
    phrase = example["prompt"].split(" . ")[0]
    someone = visit(url)
    someone.open_tab("Segment")
    someone.type(phrase)
    expect(someone.chips).to_have_text([re.compile(rf"{phrase}[1-9]")])
    expect(someone.find("#result .detail")).to_contain_text("masks")
    found = someone.rows.count()
    assert all(someone.outlines()), "no mask is empty"
    someone.click(*(side / 8 for side in load_image(app.EXAMPLES / example["file"]).size))
    expect(someone.rows).to_have_count(found + 1)
    assert "Traceback" not in log.read_text()
