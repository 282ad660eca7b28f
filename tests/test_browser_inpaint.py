"""The tab Inpaint in a real browser, see `test_browser`."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from groundingdino.editing.recipe import read_recipe
from tests.server import CAR, CAT, DOG, OTHER_CAT, SIZE, Server
from tests.visitor import Visitor

Visit = Callable[..., Visitor]  # its address and screen -> someone in front of a page
MIDDLE, BESIDE = (60, 70), (150, 200)  # of the first cat, and of nothing


def wait_until(visitor: Visitor, is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_true() and time.monotonic() < deadline:
        visitor.page.wait_for_timeout(50)
    assert is_true()


def select(visitor: Visitor, prompt: str = "cat", mode: str = "Replace") -> None:
    """Opens the tab, types what to look for, chooses a mode and waits for the mask."""
    visitor.open_tab("Inpaint")
    visitor.type(prompt)
    visitor.choose("mode", mode)
    expect(visitor.message).to_contain_text("will change")


def run(visitor: Visitor, text: str = "red", message: str = "Done") -> None:
    """Says what to put there, presses Control and Enter, and waits for a message."""
    visitor.find("#put textarea").fill(text)
    visitor.find("#put textarea").press("Control+Enter")
    expect(visitor.message).to_contain_text(message)


def download(visitor: Visitor, label: str) -> tuple[str, Path]:
    with visitor.page.expect_download() as started:
        visitor.find("#downloads").get_by_text(label, exact=True).filter(visible=True).click()
    return started.value.suggested_filename, Path(started.value.path())


def result(visitor: Visitor) -> Image.Image:
    return Image.open(download(visitor, "Result")[1])


def set_number(visitor: Visitor, label: str, value: float) -> None:
    field = visitor.page.get_by_label(f"number input for {label}")
    if not field.is_visible():
        visitor.find("#painting").get_by_text("Painting").click()
        expect(field).to_be_visible()
        visitor.page.wait_for_timeout(300)  # what has just been opened may still take its first value
    field.fill(str(value))
    field.press("Tab")
    expect(visitor.page.get_by_label(f"range slider for {label}")).to_have_value(str(value))


def test_the_mask_is_shown_before_anything_runs(visitor: Visitor, server: Server):
    asked = len(server.inpainter.painted)
    select(visitor)
    expect(visitor.message).to_have_text(re.compile(r"2 objects: \d+% of the picture will change\."))
    assert visitor.mask_at(*MIDDLE) == 1
    assert visitor.mask_at(*BESIDE) == 0
    visitor.rows.nth(0).locator("input[type=checkbox]").click()
    expect(visitor.message).to_contain_text("1 object:")
    assert visitor.mask_at(*MIDDLE) == 0
    visitor.rows.nth(1).locator("input[type=checkbox]").click()
    expect(visitor.message).to_contain_text("Nothing is selected")
    assert visitor.mask() == "none"
    assert len(server.inpainter.painted) == asked


def test_a_click_on_an_object_edits_it_or_leaves_it(visitor: Visitor):
    select(visitor)
    visitor.click(*MIDDLE)
    expect(visitor.message).to_contain_text("1 object:")
    expect(visitor.boxes).to_have_count(2)
    visitor.click(*MIDDLE)
    expect(visitor.message).to_contain_text("2 objects:")
    visitor.boxes.first.focus()
    visitor.page.keyboard.press("Enter")
    expect(visitor.message).to_contain_text("1 object:")


def test_each_control_of_the_mask_changes_it_at_once(visitor: Visitor):
    select(visitor)
    seen = {visitor.mask()}

    def expect_change() -> None:
        wait_until(visitor, lambda: visitor.mask() not in seen)
        seen.add(visitor.mask())

    set_number(visitor, "Grow", 20)
    expect_change()
    assert visitor.mask_at(120, 70) == 1
    set_number(visitor, "Grow", -10)
    expect_change()
    assert visitor.mask_at(14, 70) == 0
    set_number(visitor, "Feather", 6)
    expect_change()
    assert 0 < visitor.mask_at(14, 70) < 1
    visitor.choose("edit-shape", "Boxes")
    expect_change()
    visitor.choose("mode", "Background")
    expect_change()
    assert visitor.mask_at(*MIDDLE) == 0
    assert visitor.mask_at(*BESIDE) == 1
    visitor.choose("mode", "Regions")
    expect_change()


def test_a_control_that_moves_another_keeps_ticks_and_strokes(visitor: Visitor):
    select(visitor)
    visitor.brush("Brush").click()
    visitor.click(*BESIDE)
    wait_until(visitor, lambda: visitor.mask_at(*BESIDE) == 1)
    visitor.rows.nth(1).locator("input[type=checkbox]").click()
    expect(visitor.message).to_contain_text("1 object:")
    for mode in ("Background", "Remove", "Background", "Replace"):
        visitor.choose("mode", mode)  # and with it how far masks grow: two requests at once
    wait_until(visitor, lambda: visitor.mask_at(*MIDDLE) == 1)
    expect(visitor.message).to_contain_text("1 object:")
    assert visitor.mask_at(*BESIDE) == 1
    visitor.page.wait_for_timeout(1000)
    expect(visitor.brush("Undo")).to_be_enabled()


def test_the_brush_adds_and_erases_and_takes_back(visitor: Visitor):
    select(visitor)
    bare = visitor.mask()
    visitor.brush("Brush").click()
    visitor.drag((140, 200), BESIDE, (180, 200))
    wait_until(visitor, lambda: visitor.mask_at(*BESIDE) == 1)
    visitor.page.keyboard.press("e")
    expect(visitor.brush("Eraser")).to_have_attribute("aria-pressed", "true")
    visitor.click(*MIDDLE)
    wait_until(visitor, lambda: visitor.mask_at(*MIDDLE) == 0)
    expect(visitor.message).to_contain_text("2 objects:")  # painted over, not ticked off
    visitor.page.keyboard.press("Control+z")
    wait_until(visitor, lambda: visitor.mask_at(*MIDDLE) == 1)
    assert visitor.mask_at(*BESIDE) == 1
    visitor.brush("Clear").click()
    wait_until(visitor, lambda: visitor.mask() == bare)
    expect(visitor.brush("Undo")).to_be_disabled()


def test_the_size_of_the_brush_is_the_size_of_its_strokes(visitor: Visitor):
    select(visitor)
    visitor.brush("Brush").click()
    visitor.page.mouse.move(*visitor.place(*BESIDE))
    cursor = visitor.find("#result .brushwork circle").first
    small = float(cursor.get_attribute("r") or 0)
    for _ in range(10):
        visitor.page.keyboard.press("]")
    large = float(cursor.get_attribute("r") or 0)
    assert large > small + 10
    visitor.click(*BESIDE)
    wait_until(visitor, lambda: visitor.mask_at(*BESIDE) == 1)
    assert visitor.mask_at(BESIDE[0] + small + 8, BESIDE[1]) == 1
    visitor.page.keyboard.press("c")
    wait_until(visitor, lambda: visitor.mask_at(*BESIDE) == 0)
    visitor.find("#result .brush-size").fill("2")
    visitor.click(*BESIDE)
    wait_until(visitor, lambda: visitor.mask_at(*BESIDE) == 1)
    assert visitor.mask_at(BESIDE[0] + small + 8, BESIDE[1]) == 0


def test_a_number_that_is_being_retyped_breaks_nothing(visitor: Visitor):
    select(visitor)
    bare = visitor.mask()
    field = visitor.page.get_by_label("number input for Grow")
    field.fill("40")
    wait_until(visitor, lambda: visitor.mask() != bare)
    field.fill("")
    wait_until(visitor, lambda: visitor.mask() == bare)
    expect(visitor.message).to_contain_text("2 objects:")


def test_what_is_asked_after_an_edit_is_shown_instead_of_its_result(visitor: Visitor):
    select(visitor)
    run(visitor)
    canvas = visitor.find("#result .canvas")
    expect(canvas).to_have_attribute("data-edit", "result")
    set_number(visitor, "Grow", 30)
    expect(canvas).to_have_attribute("data-edit", "mask")
    expect(visitor.message).to_contain_text("will change")
    visitor.find('#result [data-outcome="result"]').click()
    expect(canvas).to_have_attribute("data-edit", "result")
    visitor.type(" . dog")
    expect(canvas).to_have_attribute("data-edit", "mask")


def test_what_is_drawn_suffices_without_a_prompt(visitor: Visitor):
    visitor.open_tab("Inpaint")
    expect(visitor.message).to_contain_text("or draw over it with the brush")  # nothing moves any more
    visitor.brush("Brush").click()
    visitor.drag((140, 200), BESIDE)
    expect(visitor.message).to_contain_text("What you drew:")
    run(visitor)
    assert result(visitor).getpixel(BESIDE)[0] == 255


def test_another_picture_forgets_strokes_and_another_prompt_keeps_them(visitor: Visitor):
    select(visitor)
    visitor.brush("Brush").click()
    visitor.click(*BESIDE)
    wait_until(visitor, lambda: visitor.mask_at(*BESIDE) == 1)
    visitor.type("dog")
    visitor.expect_table(DOG)
    assert visitor.mask_at(*BESIDE) == 1
    visitor.find("#gallery button").nth(1).click()
    visitor.expect_table(CAR)
    expect(visitor.brush("Undo")).to_be_disabled()
    assert visitor.mask_at(100, 250) == 0
    visitor.find("#gallery button").nth(0).click()
    visitor.expect_table(CAT, OTHER_CAT)
    expect(visitor.brush("Undo")).to_be_disabled()
    assert visitor.mask_at(*BESIDE) == 0


def test_an_edit_shows_its_progress_and_then_before_and_after(visitor: Visitor, server: Server):
    select(visitor)
    server.inpainter.seconds = 1  # a busy machine looks rarely
    run(visitor, "red", "Painting: step 2 of 5")
    expect(visitor.find("#result .progress:not(.following)")).to_be_visible()
    assert 0 < visitor.find("#result .progress:not(.following)").evaluate("bar => bar.value") < 1
    expect(visitor.find("#result .after img")).to_be_visible()
    expect(visitor.find("#run")).not_to_be_visible()
    expect(visitor.message).to_have_text("Done.")
    expect(visitor.find("#result .detail")).to_contain_text("Dauber")
    expect(visitor.find("#result .progress:not(.following)")).not_to_be_visible()
    assert server.inpainter.painted[-1][0] == "red"

    split, after = visitor.find("#result .split"), visitor.find("#result .after")
    clip = "after => getComputedStyle(after).clipPath"
    assert " 0%" in after.evaluate(clip)  # the whole result
    expect(visitor.find("#result .before-label")).not_to_be_visible()
    box = split.bounding_box()
    visitor.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    visitor.page.mouse.down()
    visitor.page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 60)
    visitor.page.mouse.up()
    assert 20 < float(re.findall(r"([\d.]+)%", after.evaluate(clip))[-1]) < 30
    expect(visitor.find("#result .before-label")).to_be_visible()
    split.press("End")
    assert "100%" in after.evaluate(clip)


def test_what_an_edit_lacked_is_told_until_it_is_given(visitor: Visitor):
    select(visitor)
    expected = visitor.message.inner_text()
    visitor.find("#run").click()
    expect(visitor.message).to_contain_text("There is no text")
    visitor.find("#put textarea").fill("red")
    expect(visitor.message).to_have_text(expected)


def test_holding_a_button_shows_the_original(visitor: Visitor):
    select(visitor)
    expect(visitor.outcome("hold")).to_be_disabled()
    run(visitor)
    after = visitor.find("#result .after")
    visitor.outcome("hold").hover()
    visitor.page.mouse.down()
    expect(after).not_to_be_visible()
    visitor.page.mouse.up()
    expect(after).to_be_visible()
    visitor.outcome("hold").focus()
    visitor.page.keyboard.down("Enter")
    expect(after).not_to_be_visible()
    visitor.page.keyboard.up("Enter")
    expect(after).to_be_visible()


def test_an_edit_is_cancelled_within_a_step_and_runs_again(visitor: Visitor, server: Server):
    select(visitor)
    server.inpainter.seconds = 20
    stopped = server.inpainter.stopped
    run(visitor, "red", "Painting: step 0 of 5")
    visitor.find("#cancel").click()
    expect(visitor.message).to_have_text("Cancelled.")
    assert server.inpainter.stopped == stopped + 1
    assert visitor.mask_at(*MIDDLE) == 1, "the mask is kept between tries"
    server.inpainter.seconds = 0
    visitor.find("#run").click()
    expect(visitor.message).to_have_text("Done.")


def test_run_is_heard_at_once_after_a_cancel_and_pressed_twice_makes_one_edit(visitor: Visitor, server: Server):
    select(visitor)
    server.inpainter.seconds = 20
    run(visitor, "red", "Painting: step 0 of 5")
    server.inpainter.seconds = 0
    painted = len(server.inpainter.painted)
    # As soon as the button is there, which is before Gradio knows that the cancelled edit is over.
    press = """() => new MutationObserver((_, observer) => {
        if (document.querySelector("#page").hasAttribute("data-working")) return;
        observer.disconnect();
        document.querySelector("#run").click();
    }).observe(document.querySelector("#page"), {attributes: true})"""
    visitor.page.evaluate(press)
    visitor.find("#cancel").click()
    expect(visitor.message).to_have_text("Done.")
    assert len(server.inpainter.painted) == painted + 1

    server.inpainter.seconds = 0.3
    visitor.find("#run").dblclick()
    expect(visitor.message).to_contain_text("Painting: step")
    visitor.find("#put textarea").press("Control+Enter")
    expect(visitor.message).to_have_text("Done.")
    visitor.page.wait_for_timeout(1500)
    assert len(server.inpainter.painted) == painted + 2
    visitor.find("#run").click()
    wait_until(visitor, lambda: len(server.inpainter.painted) == painted + 3)


def test_a_cancelled_try_leaves_the_result_before_it(visitor: Visitor, server: Server):
    select(visitor)
    run(visitor)
    server.inpainter.seconds = 20
    visitor.find("#put textarea").fill("blue")
    visitor.find("#run").click()
    expect(visitor.message).to_contain_text("Painting: step 0 of 5")
    expect(visitor.find("#cancel")).to_be_focused()
    visitor.page.keyboard.press("Escape")
    expect(visitor.message).to_have_text("Cancelled.")
    expect(visitor.find("#run")).to_be_focused()
    expect(visitor.outcome("result")).to_be_enabled()
    assert result(visitor).getpixel(MIDDLE)[0] == 255


def test_another_picture_cancels_what_runs_on_the_one_before(visitor: Visitor, server: Server):
    select(visitor)
    server.inpainter.seconds = 20
    stopped = server.inpainter.stopped
    run(visitor, "red", "Painting: step 0 of 5")
    visitor.find("#gallery button").nth(1).click()
    visitor.expect_table(CAR)
    wait_until(visitor, lambda: server.inpainter.stopped == stopped + 1)
    expect(visitor.message).to_contain_text("1 object:")
    expect(visitor.outcome("result")).to_be_disabled()
    expect(visitor.find("#run")).to_be_visible()


def test_nobody_waits_for_an_edit_of_somebody_else_or_of_somebody_who_left(
    visit: Visit, visitor: Visitor, server: Server
):
    other = visit(server.url)
    select(other)
    server.inpainter.seconds = 20
    stopped = server.inpainter.stopped
    run(other, "red", "Painting: step 0 of 5")
    visitor.type("dog")
    visitor.expect_table(DOG)
    other.page.close()
    wait_until(visitor, lambda: server.inpainter.stopped == stopped + 1)


def test_a_result_becomes_the_picture_and_goes_back_and_forth(visitor: Visitor):
    select(visitor, "cat")
    visitor.brush("Brush").click()
    visitor.click(*BESIDE)
    wait_until(visitor, lambda: visitor.mask_at(*BESIDE) == 1)
    run(visitor, "red")
    before = visitor.canvas()
    expect(visitor.outcome("back")).to_be_disabled()
    visitor.outcome("accept").click()
    wait_until(visitor, lambda: visitor.canvas() != before)
    expect(visitor.outcome("result")).to_be_disabled()
    wait_until(visitor, lambda: visitor.mask_at(*BESIDE) == 0)  # the strokes were the other picture's
    visitor.open_tab("Detect")
    visitor.expect_table(CAT, OTHER_CAT)
    visitor.open_tab("Inpaint")
    expect(visitor.message).to_contain_text("will change")
    first = visitor.canvas()

    run(visitor, "lime")
    visitor.outcome("accept").click()
    wait_until(visitor, lambda: visitor.canvas() != first)
    expect(visitor.outcome("forth")).to_be_disabled()
    visitor.outcome("back").click()
    wait_until(visitor, lambda: visitor.canvas() == first)
    visitor.outcome("back").click()
    wait_until(visitor, lambda: visitor.canvas() == before)
    expect(visitor.outcome("back")).to_be_disabled()
    wait_until(visitor, lambda: visitor.mask_at(*BESIDE) == 1)  # as it was when it was left
    visitor.outcome("forth").click()
    wait_until(visitor, lambda: visitor.canvas() == first)
    visitor.find("#gallery button").nth(1).click()
    visitor.expect_table(CAR)
    expect(visitor.outcome("back")).to_be_disabled()


def test_switching_tabs_keeps_everything(visitor: Visitor):
    select(visitor)
    visitor.brush("Brush").click()
    visitor.click(*BESIDE)
    wait_until(visitor, lambda: visitor.mask_at(*BESIDE) == 1)
    run(visitor, "red")
    mask = visitor.mask()
    for tab in ("Segment", "Detect"):
        visitor.open_tab(tab)
        visitor.expect_table(CAT, OTHER_CAT)
        expect(visitor.find("#result .after")).not_to_be_visible()
        expect(visitor.find("#edit-form")).not_to_be_visible()
    visitor.open_tab("Inpaint")
    wait_until(visitor, lambda: visitor.mask() == mask)
    expect(visitor.find("#put textarea")).to_have_value("red")
    expect(visitor.find("#result .after")).to_be_visible()
    visitor.outcome("mask").click()
    expect(visitor.find("#result .mask")).to_be_visible()
    expect(visitor.find("#result .after")).not_to_be_visible()


def test_downloads_hold_the_result_and_how_it_was_made(visitor: Visitor):
    select(visitor)
    set_number(visitor, "Steps", 3)
    run(visitor, "red")
    name, path = download(visitor, "Result")
    assert name == "first-edited.png"
    assert Image.open(path).size == SIZE
    recipe = read_recipe(path)
    name, path = download(visitor, "Recipe")
    assert name == "first-recipe.json"
    assert json.loads(path.read_text()) == recipe
    shown = ("mode", "text", "find", "found_by", "steps", "box_threshold")
    assert [recipe[key] for key in shown] == ["replace", "red", "cat", ["embedded", "embedded"], 3, 0.35]
    name, path = download(visitor, "Mask")
    assert name == "first-mask.png"
    assert Image.open(path).getpixel(MIDDLE) == 255


def test_candidates_are_chosen_from(visitor: Visitor, server: Server):
    select(visitor)
    set_number(visitor, "Candidates", 3)
    visitor.find("#seed input").fill("40")
    visitor.find("#seed input").press("Tab")
    run(visitor, "red", "Done: 3 to choose from.")
    assert [sampling.seed for _, sampling in server.inpainter.painted[-3:]] == [40, 41, 42]
    thumbnails = visitor.find("#result .thumbnails button")
    expect(thumbnails).to_have_count(3)
    thumbnails.nth(2).click()
    expect(thumbnails.nth(2)).to_have_attribute("aria-pressed", "true")
    assert result(visitor).getpixel(MIDDLE) == (255, 0, 42)
    visitor.find("#repeat-seed").click()
    expect(visitor.find("#seed input")).to_have_value("42")


def test_each_control_of_the_painting_reaches_the_model(visitor: Visitor, server: Server):
    select(visitor)
    for label, value in (("Steps", 4), ("Guidance", 6.5), ("Strength", 0.5)):
        set_number(visitor, label, value)
    visitor.find("#negative textarea").fill("blurry")
    visitor.find("#scheduler input").click()
    visitor.page.get_by_role("option").filter(has_text="Euler:").click()
    run(visitor, "red")
    text, sampling = server.inpainter.painted[-1]
    assert text == "red"
    assert (sampling.steps, sampling.guidance, sampling.strength) == (4, 6.5, 0.5)
    assert (sampling.negative_prompt, sampling.scheduler) == ("blurry", "euler")
    # What another inpainter ignores is not there, and comes back as it was.
    for model, ignored in (("Roller", ("strength", "negative", "scheduler")), ("Dauber", ())):
        visitor.find("#inpainter input").click()
        visitor.page.get_by_role("option").filter(has_text=model).click()
        for name in ("steps", "guidance", "strength", "negative", "scheduler"):
            expect(visitor.find(f"#{name}")).to_be_visible(visible=name not in ignored)
    expect(visitor.find("#negative textarea")).to_have_value("blurry")
    expect(visitor.find("#strength input[type=number]")).to_have_value("0.5")


def test_objects_are_painted_one_by_one_or_together(visitor: Visitor, server: Server):
    select(visitor)
    painted = len(server.inpainter.painted)
    run(visitor)
    assert len(server.inpainter.painted) == painted + 1
    visitor.find("#one-by-one input").check()
    run(visitor, "lime")
    wait_until(visitor, lambda: len(server.inpainter.painted) == painted + 3)


def test_quick_fill_needs_no_model(visitor: Visitor, server: Server):
    select(visitor, mode="Remove")
    expect(visitor.find("#put")).not_to_be_visible()
    expect(visitor.find("#inpainter")).to_be_visible()
    painted = len(server.inpainter.painted)
    visitor.choose("remover", "Fill")
    expect(visitor.find("#inpainter")).not_to_be_visible()
    visitor.find("#run").click()
    expect(visitor.find("#result .detail")).to_contain_text("no model")
    assert len(server.inpainter.painted) == painted
    visitor.choose("remover", "Inpainter")
    visitor.find("#run").click()
    expect(visitor.find("#result .detail")).to_contain_text("Dauber")
    assert server.inpainter.painted[-1][0] == ""


def test_backgrounds_are_transparent_coloured_pictures_or_painted(visitor: Visitor, tmp_path: Path):
    select(visitor, mode="Background")
    expect(visitor.find("#result th").first).to_have_text("Keep")
    visitor.choose("backdrop", "Transparent")
    expect(visitor.find("#put")).not_to_be_visible()
    visitor.find("#run").click()
    expect(visitor.find("#result .detail")).to_contain_text("no model")
    image = result(visitor)
    assert (image.getpixel(MIDDLE)[3], image.getpixel(BESIDE)[3]) == (255, 0)

    visitor.choose("backdrop", "Colour")
    expect(visitor.find("#backdrop-color")).to_be_visible()
    finish(visitor)
    assert result(visitor).getpixel(BESIDE) == (255, 255, 255)

    visitor.choose("backdrop", "Picture")
    visitor.find("#run").click()
    expect(visitor.message).to_have_text("Choose a picture for the background first.")
    Image.new("RGB", (40, 40), (200, 0, 0)).save(tmp_path / "red.png")
    visitor.find("#backdrop-picture input[type=file]").set_input_files(tmp_path / "red.png")
    expect(visitor.find("#backdrop-picture img")).to_be_visible()
    finish(visitor)
    assert result(visitor).getpixel(BESIDE) == (200, 0, 0)

    visitor.choose("backdrop", "Painted")
    run(visitor, "lime")
    expect(visitor.find("#result .detail")).to_contain_text("Dauber")
    assert result(visitor).getpixel(BESIDE)[:2] == (0, 255)


def finish(visitor: Visitor) -> None:
    """Presses Run and waits for a new result."""
    before = visitor.find("#result .after img").get_attribute("src")
    visitor.find("#run").click()
    wait_until(visitor, lambda: visitor.find("#result .after img").get_attribute("src") != before)
    expect(visitor.message).to_contain_text("Done")


def test_regions_become_what_each_is_told(visitor: Visitor, server: Server):
    select(visitor, mode="Regions")
    fields = visitor.find("#result td.text input")
    expect(fields).to_have_count(2)
    visitor.brush("Draw a box").click()
    visitor.drag((130, 150), (150, 180), (180, 220))
    expect(fields).to_have_count(3)
    wait_until(visitor, lambda: visitor.mask_at(*BESIDE) == 1)
    visitor.page.keyboard.press("p")
    fields.nth(0).fill("blue")
    visitor.click(250, 70)
    expect(visitor.message).to_contain_text("2 objects:")
    visitor.find("#put textarea").fill("")
    visitor.find("#run").click()
    expect(visitor.message).to_contain_text("Say in the table what 'object 1' becomes")
    fields.nth(2).press_sequentially("lime", delay=30)
    expect(fields.nth(2)).to_be_focused()
    fields.nth(2).press("Control+Enter")
    expect(visitor.message).to_have_text("Done.")
    assert [text for text, _ in server.inpainter.painted[-2:]] == ["blue", "lime"]
    image = result(visitor)
    assert [image.getpixel(place)[:2] for place in (MIDDLE, BESIDE)] == [(0, 0), (0, 255)]
    visitor.outcome("mask").click()
    visitor.brush("Undo").click()
    expect(fields).to_have_count(2)


def test_a_picture_grows_and_is_compared_in_its_new_frame(visitor: Visitor):
    def ratio() -> float:
        box = visitor.find("#result .sheet").bounding_box()
        return box["width"] / box["height"]

    visitor.open_tab("Inpaint")
    visitor.choose("mode", "Extend")
    expect(visitor.message).to_have_text("The picture grows to 480 x 360 pixels: press Run.")
    visitor.find("#margins :is(input, textarea)").fill("0, 0, 25%, 0")
    expect(visitor.message).to_have_text("The picture grows to 400 x 240 pixels: press Run.")
    run(visitor)
    image = result(visitor)
    assert (image.size, image.getpixel((390, 100))[:2]) == ((400, 240), (255, 0))
    assert ratio() == pytest.approx(400 / 240, rel=0.01)
    visitor.outcome("hold").hover()
    visitor.page.mouse.down()
    expect(visitor.find("#result .after")).not_to_be_visible()
    expect(visitor.find("#result .grown")).to_be_visible()
    visitor.page.mouse.up()
    visitor.outcome("mask").click()
    expect(visitor.find("#result .grown")).not_to_be_visible()
    assert ratio() == pytest.approx(320 / 240, rel=0.01)
    before = visitor.canvas()
    visitor.outcome("accept").click()
    expect(visitor.message).to_have_text("The picture grows to 500 x 240 pixels: press Run.")
    visitor.outcome("back").click()
    wait_until(visitor, lambda: visitor.canvas() == before)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "There is no text: say what to put in their place"), ("blurple", "'blurple' is no colour.")],
)
def test_what_cannot_be_done_is_told_in_a_sentence(visitor: Visitor, text: str, message: str):
    select(visitor)
    run(visitor, text, message)
    expect(visitor.find("#result .status")).to_have_attribute("data-tone", "error")
    expect(visitor.find("#run")).to_be_enabled()
    run(visitor, "red")


def test_without_objects_or_a_picture_there_is_nothing_to_run(visitor: Visitor):
    visitor.open_tab("Inpaint")
    visitor.type("zebra")
    expect(visitor.message).to_contain_text("Nothing found")
    run(visitor, "red", "Nothing is selected")
    visitor.page.get_by_label("Remove Image").first.click()
    expect(visitor.message).to_have_text("Choose a picture to start.")
    run(visitor, "red", "Choose a picture to start.")


def test_an_inpainter_is_downloaded_on_request_and_brings_what_suits_it(visit: Visit, untouched: Server):
    visitor = visit(untouched.url)
    select(visitor)
    mask = visitor.mask()
    visitor.find("#inpainter input").click()
    visitor.page.get_by_role("option", name="Photographs · Roller · ↓ 3 MB").click()
    wait_until(visitor, lambda: visitor.mask() != mask)  # it paints boxes best
    run(visitor, "red", "Roller is not on this machine yet.")
    visitor.page.get_by_role("button", name="Download 3 MB").click()
    expect(visitor.find("#about-inpainter")).to_contain_text("weights of Roller: 1 MB of 3 MB")
    untouched.arrives.set()
    expect(visitor.find("#fetch-inpainter")).not_to_be_visible()
    run(visitor, "lime", "Done")
    expect(visitor.find("#result .detail")).to_contain_text("Roller")
    recipe = read_recipe(download(visitor, "Result")[1])
    assert (recipe["inpainter"], recipe["steps"], recipe["guidance"]) == ("roller", 7, 4)


def test_few_steps_are_one_switch_that_is_downloaded_on_request(visit: Visit, untouched: Server):
    visitor = visit(untouched.url)
    select(visitor)
    visitor.find("#painting").get_by_text("Painting").click()
    steps = visitor.find("#steps input[type=number]")
    for choice, suited in (("LCM", "6"), ("Off", "5"), ("LCM", "6")):
        visitor.find("#few-steps input").click()
        visitor.page.get_by_role("option").filter(has_text=choice).click()
        expect(steps).to_have_value(suited)
    run(visitor, "red", "LCM for Stable Diffusion 1.5 is not on this machine yet.")
    untouched.arrives.set()
    visitor.page.get_by_role("button", name="Download · 135 MB").click()
    expect(visitor.find("#fetch-few-steps")).not_to_be_visible()
    run(visitor, "red", "Done")
    sampling = untouched.inpainter.painted[-1][1]
    assert (sampling.few_steps, sampling.steps, sampling.guidance) == ("lcm-sd15", 6, 1)
    visitor.find("#few-steps input").click()
    visitor.page.get_by_role("option").filter(has_text="Off").click()
    expect(steps).to_have_value("5")
    run(visitor, "lime")
    wait_until(visitor, lambda: result(visitor).getpixel(MIDDLE)[:2] == (0, 255))
    assert untouched.inpainter.painted[-1][1].few_steps is None


def test_letters_choose_tools_but_not_while_typing(visitor: Visitor):
    select(visitor, "bed . cat")
    expect(visitor.brush("Pick")).to_have_attribute("aria-pressed", "true")
    visitor.find("#result .objects").focus()
    visitor.page.keyboard.press("b")
    expect(visitor.brush("Brush")).to_have_attribute("aria-pressed", "true")
    visitor.find("#put textarea").press_sequentially("peace")
    expect(visitor.brush("Brush")).to_have_attribute("aria-pressed", "true")
    visitor.page.get_by_label("range slider for Grow").focus()  # as after it was moved
    visitor.page.keyboard.press("e")
    expect(visitor.brush("Eraser")).to_have_attribute("aria-pressed", "true")
    visitor.page.keyboard.press("b")
    visitor.open_tab("Segment")
    visitor.find("#result .objects").focus()
    visitor.page.keyboard.press("p")
    visitor.open_tab("Inpaint")
    expect(visitor.brush("Brush")).to_have_attribute("aria-pressed", "true")


def test_a_finger_draws_with_the_brush_and_scrolls_without(visit: Visit, server: Server):
    server.be_fast()
    someone = visit(server.url, 390, 844, has_touch=True, is_mobile=True)
    select(someone)
    action = "shapes => getComputedStyle(shapes).touchAction"
    assert someone.find(".shapes").evaluate(action) == "pan-x pan-y"
    someone.brush("Brush").tap()
    assert someone.find(".shapes").evaluate(action) == "none"
    someone.find(".canvas").scroll_into_view_if_needed()
    someone.page.touchscreen.tap(*someone.place(*BESIDE))
    wait_until(someone, lambda: someone.mask_at(*BESIDE) == 1)


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (820, 1180), (390, 844)])
def test_the_tab_fits_its_screen(visit: Visit, server: Server, width: int, height: int):
    server.be_fast()
    someone = visit(server.url, width, height)
    someone.type("cat")
    someone.expect_table(CAT, OTHER_CAT)
    before = someone.find(".canvas").bounding_box()
    select(someone)
    set_number(someone, "Candidates", 4)
    run(someone, "red")
    someone.page.evaluate("scrollTo(0, 0)")
    for _ in someone.themes():
        after = someone.find(".canvas").bounding_box()
        assert (after["width"], after["height"]) == (before["width"], before["height"])
        assert width <= 1000 or after == before, "the canvas never jumps"
        someone.expect_apart("#result .brushes", "#tabs [role=tab]")
        assert someone.page.evaluate("document.documentElement.scrollWidth") <= width
        if width > 1000:
            seen = [someone.find("#run").bounding_box(), someone.find("#download-result").bounding_box()]
            bottom = max(box["y"] + box["height"] for box in seen)
            assert bottom <= height, "what is done and what comes of it is in view"
