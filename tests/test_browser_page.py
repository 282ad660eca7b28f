"""What a first visitor meets, and whoever comes back, in a real browser, see `test_browser`."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from groundingdino.files.assets import DRAWINGS
from tests.server import CAR, CAT, DOG, OTHER_CAT, OTHER_SIZE, PIZZA, Server
from tests.visitor import Visitor

Visit = Callable[..., Visitor]  # its address and screen -> someone in front of a page
SCREENS = [(1280, 800), (1366, 768)]


@pytest.fixture
def drawings(tmp_path: Path) -> Iterator[Server]:
    """The page with models that know drawings, and others for photographs that have to be downloaded."""
    running = Server.open(tmp_path, knows=(DRAWINGS,))
    yield running
    running.demo.close()


def upload(visitor: Visitor, folder: Path, size: tuple[int, int] = (300, 200)) -> None:
    path = folder / "photo.jpg"
    Image.new("RGB", size, "olive").save(path)
    visitor.find("#picture input[type=file]").set_input_files(path)


def downloaded(visitor: Visitor, label: str) -> Path:
    with visitor.page.expect_download() as download:
        visitor.find("#downloads").get_by_text(label, exact=True).filter(visible=True).click()
    return Path(download.value.path())


def test_the_page_opens_with_what_it_found_and_typing_replaces_it(visit: Visit, server: Server):
    server.be_fast()
    someone = visit(server.url, keeps_prompt=True)
    someone.expect_table(CAT, OTHER_CAT)
    expect(someone.prompt).to_have_value("cat . pizza")
    expect(someone.prompt).to_be_focused()
    someone.page.keyboard.type("dog")
    expect(someone.prompt).to_have_value("dog")
    someone.expect_table(DOG)


def test_a_click_into_an_examples_prompt_selects_it_and_one_into_what_was_typed_does_not(visit: Visit, server: Server):
    server.be_fast()
    someone = visit(server.url, keeps_prompt=True)
    selected = "({selectionStart, selectionEnd}) => selectionEnd - selectionStart"
    someone.find("#title").click()
    someone.prompt.click()
    assert someone.prompt.evaluate(selected) == len("cat . pizza")
    someone.page.keyboard.type("dog . cat")
    someone.find("#title").click()
    someone.prompt.click()
    assert someone.prompt.evaluate(selected) == 0


def test_undo_takes_back_a_suggestion_and_an_example(visitor: Visitor):
    visitor.page.keyboard.type("dog")
    visitor.find("#suggestions").get_by_text("pizza", exact=True).click()
    expect(visitor.prompt).to_have_value("dog . pizza")
    expect(visitor.chips).to_have_text(["dog1", "pizza0"])
    visitor.page.keyboard.press("Control+z")
    expect(visitor.prompt).to_have_value("dog")
    visitor.expect_table(DOG)
    visitor.find("#gallery button").nth(1).click()
    visitor.expect_table(CAR)
    visitor.prompt.press("Control+z")
    expect(visitor.prompt).to_have_value("dog")


def test_while_a_word_is_typed_nothing_was_found_yet(visitor: Visitor):
    visitor.page.keyboard.type("zeb", delay=40)
    expect(visitor.message).to_have_text("Nothing found yet")
    expect(visitor.find("#result .detail")).to_have_text("")
    expect(visitor.message).to_have_text("Nothing found. Try another word.")


def test_it_says_which_model_knows_photographs_and_the_button_takes_it(drawings: Server, visit: Visit, tmp_path: Path):
    someone = visit(drawings.url)
    someone.type("cat")
    someone.expect_table(CAT, OTHER_CAT)
    expect(someone.find(".advice")).not_to_be_visible()
    upload(someone, tmp_path, OTHER_SIZE)
    expect(someone.message).to_have_text("Nothing found.")
    expect(someone.find(".advice span")).to_have_text("This detector knows drawings. Is this a photograph?")
    someone.type("car . pizza")
    someone.set_threshold(0.9)
    button = someone.page.get_by_role("button", name="Get Large · 2 MB")
    button.click()
    expect(someone.message).to_have_text("Large is on its way …")
    drawings.arrives.set()
    someone.expect_table(CAR)  # at the other model's threshold
    expect(someone.find("#model input")).to_have_value("Photographs · Large · 2 MB")
    expect(someone.find(".advice")).not_to_be_visible()
    later = visit(drawings.url)  # whose list says that it is here
    later.find("#model input").click()
    expect(later.page.get_by_role("option", name="Photographs · Large · 2 MB")).to_be_visible()


def test_only_the_best_box_of_each_phrase(visitor: Visitor):
    visitor.type("cat")
    visitor.expect_table(CAT, OTHER_CAT)
    visitor.page.get_by_text("Thresholds").click()
    visitor.find("#best-only input").check()
    visitor.expect_table(CAT)
    visitor.find("#best-only input").uncheck()
    visitor.expect_table(CAT, OTHER_CAT)


def test_tiles_find_what_is_small(server: Server, visitor: Visitor, monkeypatch: pytest.MonkeyPatch):
    small = ("cat", 0.5, (150, 130, 160, 142))
    monkeypatch.setattr(server.detector, "small", {"cat": [small[1:]]})
    visitor.type("cat")
    visitor.expect_table(CAT, OTHER_CAT)
    visitor.page.get_by_text("Thresholds").click()
    visitor.find("#tiles input").check()
    visitor.expect_table(CAT, OTHER_CAT, small)
    expect(visitor.find("#result .detail")).to_contain_text("10 passes")
    visitor.set_threshold(0.55)
    visitor.expect_table(CAT, OTHER_CAT)
    expect(visitor.find("#result .detail")).to_contain_text("0 ms of model")
    visitor.find("#tiles input").uncheck()
    visitor.expect_table(CAT, OTHER_CAT)


def test_boxes_that_are_drawn_are_looked_for_in_the_place_of_words(untouched: Server, visit: Visit):
    untouched.downloaded.append("large")
    someone = visit(untouched.url)
    someone.type("pizza")
    someone.expect_table()
    tools = someone.find("#result .likeness")
    expect(tools).to_be_hidden()  # the detector that comes along takes none
    someone.find("#model input").click()
    someone.page.get_by_role("option", name=re.compile("Large")).click()
    someone.expect_table(PIZZA)
    tools.get_by_title("Like this", exact=False).first.click()
    someone.drag(CAT[2][:2], CAT[2][2:])
    someone.expect_table(("pizza", *CAT[1:]), ("pizza", *OTHER_CAT[1:]))
    expect(someone.message).to_contain_text("Looked for by the boxes that you drew")
    expect(someone.find(".exemplars .like .line")).to_be_visible()
    someone.page.keyboard.press("u")
    someone.click(250, 70)  # on a box that was found
    someone.expect_table(("pizza", *CAT[1:]))
    expect(someone.find(".exemplars .unlike")).to_have_count(1)
    someone.page.keyboard.press("z")
    someone.expect_table(("pizza", *CAT[1:]), ("pizza", *OTHER_CAT[1:]))
    someone.open_tab("Segment")
    expect(tools).to_be_hidden()
    someone.open_tab("Detect")
    someone.page.keyboard.press("c")
    someone.expect_table(PIZZA)
    expect(someone.find(".exemplars > *")).to_have_count(0)


def test_two_models_are_compared_while_typing(untouched: Server, visit: Visit):
    untouched.downloaded.append("large")
    someone = visit(untouched.url)
    choose_second(someone, "Large")
    someone.type("cat . pizza")
    someone.expect_table(CAT, OTHER_CAT)
    expect(someone.message).to_have_text("2 objects. Large has 3: 2 of 3 boxes agree (IoU ≥ 0.5).")
    panes = someone.find("#result .panes > figure")
    expect(panes.locator(".whose")).to_have_text(["Oracle", "Large"])
    expect(someone.chips).to_have_text(["cat2 | 2", "pizza0 | 1"])
    first, second = (pane.bounding_box() for pane in panes.all())
    assert first
    assert second
    assert (first["width"], first["height"]) == pytest.approx((second["width"], second["height"]), abs=1)
    assert first["x"] + first["width"] < second["x"]
    before = panes.locator("img[alt*='Large']").get_attribute("src")
    someone.chips.first.click()
    expect(panes.locator("img[alt*='Large']")).not_to_have_attribute("src", before or "")
    someone.chips.first.click()
    someone.open_tab("Inpaint")
    expect(someone.find(".beside")).to_be_hidden()
    someone.open_tab("Detect")
    expect(someone.find(".beside")).to_be_visible()
    choose_second(someone, "None")
    expect(someone.find(".beside")).to_be_hidden()
    expect(someone.message).to_have_text("2 objects")


def test_a_click_in_either_pane_marks_the_object_in_both_and_both_are_enlarged(untouched: Server, visit: Visit):
    untouched.downloaded.append("large")
    someone = visit(untouched.url)
    choose_second(someone, "Large")
    someone.type("cat . pizza")
    someone.expect_table(CAT, OTHER_CAT)
    others = someone.find(".others > *")
    expect(others).to_have_count(3)  # at its own threshold the second one finds a pizza, too
    cat = someone.find('.others [aria-label="cat 0.90"]')
    cat.click()
    expect(cat).to_have_attribute("aria-pressed", "true")
    expect(someone.rows.first).to_have_attribute("aria-selected", "true")
    someone.rows.nth(1).click()
    expect(someone.find('.others [aria-label="cat 0.60"]')).to_have_attribute("aria-pressed", "true")
    expect(cat).to_have_attribute("aria-pressed", "false")
    someone.find('.others [aria-label="pizza 0.28"]').press("Enter")
    expect(someone.find('.others [aria-pressed="true"]')).to_have_attribute("aria-label", "pizza 0.28")
    expect(someone.find('tbody [aria-selected="true"]')).to_have_count(0)
    someone.find(".beside").hover()
    someone.page.keyboard.down("Control")
    someone.page.mouse.wheel(0, -60)
    someone.page.keyboard.up("Control")
    expect(someone.find(".canvas")).to_have_attribute("data-zoomed", "")
    stages = [
        someone.find(pane).evaluate("one => one.style.transform") for pane in (".stage", ".others", ".beside img")
    ]
    assert "scale(" in stages[0]
    assert len({*stages}) == 1


def choose_second(someone: Visitor, title: str) -> None:
    """Chooses the model to compare with."""
    someone.find("#compare-with input").click()
    someone.page.get_by_role("option", name=re.compile(title)).click()


def test_an_edit_of_a_photograph_says_it_too(drawings: Server, visit: Visit, tmp_path: Path):
    someone = visit(drawings.url)
    upload(someone, tmp_path)
    someone.open_tab("Inpaint")
    expect(someone.message).to_contain_text("draw over it with the brush")
    someone.brush("Brush").click()
    someone.drag((100, 80), (140, 100), (160, 100))
    expect(someone.message).to_contain_text("will change")
    someone.find("#put textarea").fill("red")
    someone.find("#put textarea").press("Control+Enter")
    expect(someone.message).to_have_text("Done.")
    expect(someone.find(".advice span")).to_have_text("This inpainter knows drawings. Is this a photograph?")
    someone.page.get_by_role("button", name="Get Roller · 3 MB").click()
    drawings.arrives.set()
    expect(someone.find("#inpainter input")).to_have_value("Photographs · Roller · 3 MB")


def test_why_a_download_failed_is_said_until_it_does_not_hold_any_more(untouched: Server, visit: Visit):
    untouched.breaks = True
    untouched.arrives.set()
    someone = visit(untouched.url)
    someone.type("cat")
    someone.find("#model input").click()
    someone.page.get_by_role("option", name="Photographs · Large").click()
    expect(someone.message).to_have_text("Large is not on this machine yet.")
    expect(someone.find(".status")).to_have_attribute("data-tone", "hint")
    someone.find(".advice").get_by_role("button", name="Download · 2 MB").click()
    expect(someone.message).to_have_text("Large could not be downloaded: try again, or choose another model.")
    expect(someone.find("#result .detail")).to_have_text("The line is dead.")
    untouched.breaks = False
    someone.find(".advice").get_by_role("button", name="Try again · 2 MB").click()
    someone.expect_table(CAT, OTHER_CAT)
    expect(someone.find("#about-model")).to_have_text("Knows more.")


def test_a_reload_brings_back_what_was_there(visitor: Visitor, tmp_path: Path):
    upload(visitor, tmp_path, OTHER_SIZE)
    visitor.type("car")
    visitor.expect_table(CAR)
    visitor.set_threshold(0.4)
    visitor.open_tab("Segment")
    expect(visitor.find("#result .shapes path")).to_have_count(1)
    visitor.click(150, 250)
    expect(visitor.rows).to_have_count(2)
    visitor.page.wait_for_timeout(2_000)  # the page keeps what is shown once it rests
    visitor.page.reload()
    expect(visitor.message).to_have_text("2 objects")
    expect(visitor.prompt).to_have_value("car")
    expect(visitor.page.get_by_role("tab", name="Segment")).to_have_attribute("aria-selected", "true")
    expect(visitor.gestures).to_have_count(1)
    visitor.page.get_by_text("Thresholds").click()
    expect(visitor.page.get_by_label("number input for Box")).to_have_value("0.4")


def test_a_reload_brings_back_what_was_unticked(visitor: Visitor, tmp_path: Path):
    upload(visitor, tmp_path, OTHER_SIZE)
    visitor.type("car")
    visitor.expect_table(CAR)
    visitor.rows.nth(0).locator("input").click()
    expect(visitor.message).to_have_text("1 object, 1 hidden")
    visitor.page.wait_for_timeout(2_000)  # the page keeps what is shown once it rests
    visitor.page.reload()
    expect(visitor.message).to_have_text("1 object, 1 hidden", timeout=8_000)


def test_a_link_shows_somebody_else_the_picture_prompt_and_thresholds(visit: Visit, server: Server, tmp_path: Path):
    server.be_fast()
    one = visit(server.url)
    # The clipboard is the whole machine's: what is read back may be somebody else's, or nothing.
    one.page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    upload(one, tmp_path, OTHER_SIZE)
    one.type("car")
    one.set_threshold(0.8)
    one.expect_table()
    one.set_threshold(0.6)
    one.expect_table(CAR)  # the server knows the threshold
    one.page.get_by_role("button", name="Copy link").click()
    one.page.wait_for_function("window.copied?.includes('deep_link=')")
    link = one.page.evaluate("window.copied")
    other = visit(link, keeps_prompt=True)
    other.expect_table(CAR)
    expect(other.prompt).to_have_value("car")
    other.page.get_by_text("Thresholds").click()
    expect(other.page.get_by_label("number input for Box")).to_have_value("0.6")


def test_an_edit_that_was_not_downloaded_does_not_go_without_a_warning(visitor: Visitor):
    warnings: list[str] = []

    def hear(dialog: Any) -> None:
        warnings.append(dialog.type)
        dialog.dismiss() if len(warnings) == 1 else dialog.accept()

    visitor.page.on("dialog", hear)
    visitor.open_tab("Inpaint")
    visitor.type("cat")
    expect(visitor.message).to_contain_text("will change")
    visitor.find("#put textarea").fill("red")
    visitor.find("#put textarea").press("Control+Enter")
    expect(visitor.message).to_contain_text("Done")
    with visitor.page.expect_event("dialog"):
        visitor.page.evaluate("setTimeout(() => location.reload())")
    assert warnings == ["beforeunload"]
    expect(visitor.message).to_contain_text("Done")
    assert downloaded(visitor, "Result").stat().st_size > 100
    visitor.page.reload()
    visitor.expect_opened()
    assert warnings == ["beforeunload"], "nothing is lost any more"


@pytest.mark.parametrize(("width", "height"), SCREENS)
def test_downloads_are_in_view_whatever_is_said_above_them(visit: Visit, server: Server, width: int, height: int):
    server.be_fast()
    someone = visit(server.url, width, height)
    someone.type("cat . dog")
    someone.expect_table(CAT, DOG, OTHER_CAT)
    canvas = someone.find(".canvas").bounding_box()
    for tab in ("Detect", "Segment", "Inpaint"):
        someone.open_tab(tab)
        someone.page.wait_for_timeout(300)
        someone.find("#result .message").evaluate("message => message.append(' and a long sentence'.repeat(9))")
        for button in someone.find("#downloads button:visible").all():
            box = button.bounding_box()
            assert box["y"] + box["height"] <= height
            assert box["x"] + box["width"] <= width
        assert someone.find(".canvas").bounding_box() == canvas
        table = someone.find(".objects").bounding_box()
        assert table["height"] >= 60


def test_a_legend_of_many_phrases_leaves_the_table_and_the_downloads_in_view(visitor: Visitor):
    visitor.prompt.fill(" . ".join(["cat", *(f"thing {number}" for number in range(60))]))
    visitor.expect_table(CAT, OTHER_CAT)
    legend, table = visitor.find(".legend").bounding_box(), visitor.find(".objects").bounding_box()
    assert legend["height"] < 90
    assert visitor.find(".legend").evaluate("legend => legend.scrollHeight > legend.clientHeight")
    assert table["height"] >= 60
    assert table["y"] + table["height"] <= 800
    visitor.chips.last.scroll_into_view_if_needed()
    visitor.chips.last.click()
    expect(visitor.chips.last).to_have_attribute("aria-pressed", "false")


def test_words_are_suggested_for_an_own_picture_and_nothing_moves(visitor: Visitor, tmp_path: Path):
    before = visitor.find("#gallery").bounding_box()
    upload(visitor, tmp_path, OTHER_SIZE)  # in which the detector knows a car
    expect(visitor.find("#suggest")).to_be_visible()
    assert visitor.find("#gallery").bounding_box() == before
    visitor.find("#suggest").click()
    visitor.find("#suggestions").get_by_text("car", exact=True).click()
    expect(visitor.prompt).to_have_value("car")
    visitor.expect_table(CAR)
    assert visitor.find("#gallery").bounding_box() == before
    upload(visitor, tmp_path)
    expect(visitor.find("#suggest")).to_have_text("What is in it?")


def test_another_picture_may_come_before_the_server_has_heard_the_question(visitor: Visitor, tmp_path: Path):
    upload(visitor, tmp_path, OTHER_SIZE)
    expect(visitor.find("#suggest")).to_be_visible()
    visitor.find("#suggest").evaluate(
        """button => { const join = fetch; window.fetch = async (...sent) => {
            const answer = await join(...sent);
            if (String(sent[0].url ?? sent[0]).includes("queue/join")) await new Promise((go) => setTimeout(go, 1000));
            return answer;
        }; button.click(); }"""
    )
    upload(visitor, tmp_path)
    visitor.page.wait_for_timeout(2500)  # the answers to both are there
    expect(visitor.find("#suggest")).to_have_text("What is in it?")
    expect(visitor.find("#suggestions")).to_be_hidden()


def test_what_is_to_be_read_is_large_and_dark_enough(visitor: Visitor):
    visitor.type("cat . zebra")
    visitor.expect_table(CAT, OTHER_CAT)
    read = """selector => [...document.querySelectorAll(selector)].filter((it) => it.checkVisibility()).map((node) => {
        const style = getComputedStyle(node);
        const light = ([r, g, b]) => [r, g, b].map((value) => value / 255)
          .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
          .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
        return [parseFloat(style.fontSize), 1.05 / (light(style.color.match(/\\d+/g).map(Number)) + 0.05)];
    })"""
    selectors = (
        "#result .message, #result .detail, .about, #prompt [data-testid=block-info], #prompt span, .chip, th, td"
    )
    measured = visitor.page.evaluate(read, selectors)
    assert len(measured) > 12
    assert all(size >= 14 and contrast >= 4.5 for size, contrast in measured), measured


def test_example_buttons_have_names(visitor: Visitor):
    for name in ("Example first: cat, pizza", "Example second: car"):
        expect(visitor.page.get_by_role("button", name=name, exact=True)).to_be_visible()


def zoomed(visitor: Visitor) -> float:
    return visitor.find(".stage").evaluate("stage => new DOMMatrix(getComputedStyle(stage).transform).a")


def test_the_result_can_be_enlarged_and_moved(visitor: Visitor):
    visitor.type("cat")
    visitor.expect_table(CAT, OTHER_CAT)
    before = visitor.find(".stage > img:not(.tracked)").evaluate("image => image.naturalWidth")
    place = visitor.place(60, 70)
    visitor.page.mouse.move(*place)
    visitor.page.keyboard.down("Control")
    for _ in range(3):
        visitor.page.mouse.wheel(0, -60)
    visitor.page.keyboard.up("Control")
    visitor.page.wait_for_function("document.querySelector('.canvas').hasAttribute('data-zoomed')")
    scale = zoomed(visitor)
    assert 2 < scale < 10
    assert visitor.place(60, 70) == pytest.approx(place, abs=1.5), "what is under the pointer stays there"
    larger = f"document.querySelector('.stage > img:not(.tracked)').naturalWidth > {before}"
    visitor.page.wait_for_function(larger)
    visitor.drag((60, 70), (80, 90))
    x, y = visitor.place(60, 70)
    assert (x, y) != pytest.approx(place, abs=10), "it is moved by hand"
    expect(visitor.rows.nth(0)).to_have_attribute("aria-selected", "false")
    visitor.click(80, 90)
    expect(visitor.rows.nth(0)).to_have_attribute("aria-selected", "true")
    visitor.page.keyboard.press("0")
    assert zoomed(visitor) == 1
    visitor.page.get_by_role("button", name="Zoom in").click()
    assert zoomed(visitor) == pytest.approx(1.5)
    visitor.page.get_by_role("button", name="The whole picture").click()
    assert visitor.place(60, 70) == pytest.approx(place, abs=1)


def test_two_fingers_enlarge_the_result(visit: Visit, server: Server):
    server.be_fast()
    someone = visit(server.url, 390, 844, has_touch=True, is_mobile=True)
    someone.type("cat")
    someone.expect_table(CAT, OTHER_CAT)
    (x0, y0), (x1, y1) = someone.place(100, 100), someone.place(200, 100)
    touch = someone.page.context.new_cdp_session(someone.page)

    def fingers(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", (x0, y0), (x1, y1))
    for step in range(1, 6):
        fingers("touchMove", (x0 - 8 * step, y0), (x1 + 8 * step, y1))
    fingers("touchEnd")
    assert zoomed(someone) > 1.3


def corners(visitor: Visitor) -> list[list[int]]:
    return [[int(edge) for edge in row.locator("td").last.inner_text().split(", ")] for row in visitor.rows.all()]


def test_a_box_is_moved_and_resized_and_the_downloads_have_it(visitor: Visitor):
    visitor.type("cat")
    visitor.expect_table(CAT, OTHER_CAT)
    visitor.click(60, 70)
    expect(visitor.find(".handles .handle")).to_have_count(8)
    visitor.drag((60, 70), (70, 80), (80, 100))
    expect(visitor.rows.nth(0)).to_contain_text(re.compile(r"(29|30|31), (49|50|51), 1(29|30|31), 1(49|50|51)"))
    expect(visitor.rows.nth(0)).to_have_attribute("aria-selected", "true")
    (x0, y0, x1, y1), _ = corners(visitor)
    visitor.drag((x1, y1), (x1 + 5, y1), (x1 + 20, y1 + 10))
    resized = re.compile(rf"{x0}, {y0}, {x1 + 19}|{x1 + 20}|{x1 + 21}")
    expect(visitor.rows.nth(0)).to_contain_text(resized)
    visitor.page.keyboard.press("ArrowRight")
    expect(visitor.rows.nth(0)).to_contain_text(f"{x0 + 1}, {y0}, ")
    after, _ = corners(visitor)
    record = json.loads(downloaded(visitor, "JSON").read_text())
    assert record["objects"][0]["box"] == after
    for _ in range(3):
        visitor.page.keyboard.press("Control+z")
    visitor.expect_table(CAT, OTHER_CAT)


def test_a_found_object_is_renamed_and_named_again_as_it_was_found(visitor: Visitor):
    visitor.type("cat . dog")
    visitor.expect_table(CAT, DOG, OTHER_CAT)
    visitor.rows.nth(0).hover()
    visitor.page.get_by_role("button", name="Rename cat").first.click()
    visitor.page.keyboard.type("tom")
    visitor.page.keyboard.press("Enter")
    visitor.expect_table(("tom", *CAT[1:]), DOG, OTHER_CAT)
    expect(visitor.chips).to_have_text(["cat1", "dog1", "tom1"])
    visitor.open_tab("Segment")
    expect(visitor.rows.nth(0)).to_contain_text("tom")
    record = json.loads(downloaded(visitor, "JSON").read_text())
    assert sorted(found["phrase"] for found in record["objects"]) == ["cat", "dog", "tom"]
    visitor.rows.nth(0).hover()
    visitor.page.get_by_role("button", name="As it was found: cat").click()
    expect(visitor.chips).to_have_text(["cat2", "dog1"])


def test_escape_leaves_a_name_as_it_is(visitor: Visitor):
    visitor.type("cat")
    visitor.expect_table(CAT, OTHER_CAT)
    visitor.rows.nth(1).click()
    expect(visitor.rows.nth(1)).to_have_attribute("aria-selected", "true")
    visitor.page.keyboard.press("F2")
    expect(visitor.find("input.rename")).to_be_focused()
    visitor.page.keyboard.type("tom")
    visitor.page.keyboard.press("Escape")
    expect(visitor.find("input.rename")).to_have_count(0)
    visitor.expect_table(CAT, OTHER_CAT)


def test_the_next_mask_says_which_it_is_and_what_changed(visitor: Visitor):
    visitor.open_tab("Segment")
    visitor.type("cat")
    expect(visitor.find("#result .shapes path")).to_have_count(2)
    visitor.tool("Select").click()
    visitor.click(60, 70)
    expect(visitor.rows.nth(0)).to_have_attribute("aria-selected", "true")
    for said in (
        r"2 of 3 of cat: 5[01]% smaller than",
        r"3 of 3 of cat: 6[678]% smaller than",
        r"1 of 3 of cat: 5\d\d%",
    ):
        visitor.tool("Next mask").click()
        expect(visitor.message).to_have_text(re.compile(f"Mask {said}"))
    visitor.click(60, 70)
    expect(visitor.message).to_have_text("2 objects")


def test_a_prompt_that_never_ends_does_not_hold_up_the_next(
    untouched: Server, visit: Visit, monkeypatch: pytest.MonkeyPatch
):
    never = threading.Event()
    ground = untouched.detector.ground

    def hang(encoded: Any, prompt: str, **options: Any) -> Any:
        if "zebra" in prompt:
            never.wait(120)
        return ground(encoded, prompt, **options)

    monkeypatch.setattr(untouched.detector, "ground", hang)
    someone, other = visit(untouched.url), visit(untouched.url)
    someone.prompt.fill("zebra")
    expect(someone.message).to_have_text("Looking with Oracle …")
    other.prompt.fill("dog")
    other.expect_table(DOG)
    someone.prompt.fill("cat")
    someone.expect_table(CAT, OTHER_CAT)
    never.set()
