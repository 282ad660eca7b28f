"""A review in a real browser, by keyboard and mouse, see `test_browser`."""

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect

from groundingdino.annotations.opening import open_annotations
from groundingdino.annotations.review import Review
from groundingdino.page.review_page import ReviewPage, Seen, build, serve
from tests.annotations.test_round_trips import SIZE, write
from tests.visitor import PATIENCE


def look(_: Image.Image, prompt: str) -> Sequence[Seen]:
    """One bird in every picture."""
    return [Seen("bird", (5, 5, 25, 25), 0.66)] if "bird" in prompt else []


class Slow(ReviewPage):
    """A page whose first answer comes late, and says what was there before."""

    pause = 0.0

    def open(self) -> dict[str, Any]:
        view = super().open()
        time.sleep(self.pause)
        return view


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write("coco", tmp_path)


@pytest.fixture
def address(path: Path) -> Iterator[str]:
    with Review(open_annotations(path)) as review:
        page = Slow(review, look)
        demo = build(page)
        page.pause = 1.5
        serve(demo, prevent_thread_lock=True, quiet=True)
        yield demo.local_url or ""
        demo.close()


def open_page(browser: Any, address: str, width: int = 1280, height: int = 800) -> Page:
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page.goto(address)
    expect(page.locator("#review .where")).to_have_text(re.compile("of 2"))
    return page


def place(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the picture is on the screen."""
    where = """([x, y]) => {
        const to = document.querySelector("#review .shapes").getScreenCTM();
        const place = new DOMPoint(x, y).matrixTransform(to);
        return [place.x, place.y];
    }"""
    x, y = page.evaluate(where, [x, y])
    return x, y


def expect_counts(page: Page, text: str) -> None:
    expect(page.locator("#review .counts")).to_have_text(text)


def marked(path: Path, index: int = 0) -> list[tuple[str, str, list[int]]]:
    return [(one.name, one.state, [round(edge) for edge in one.box]) for one in open_annotations(path).objects(index)]


def test_a_review_by_keyboard_and_mouse(browser: Any, address: str, path: Path):
    page = open_page(browser, address)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    keys, status = page.keyboard, page.locator("#review .status")
    expect(status).to_have_text("2 left to decide in this picture.")

    keys.press("a")
    expect_counts(page, "1 accepted · 0 corrected · 0 added · 0 rejected · 1 left")
    assert marked(path)[0][:2] == ("red apple", "accepted")
    keys.press("x")
    expect_counts(page, "1 accepted · 0 corrected · 0 added · 1 rejected · 0 left")
    expect(status).to_have_text("This picture is done.")
    keys.press("u")
    expect_counts(page, "1 accepted · 0 corrected · 0 added · 0 rejected · 1 left")
    page.locator("#review .list button").nth(1).click()

    for key in ("ArrowRight", "Control+ArrowDown", "Shift+ArrowRight"):
        keys.press(key)
    expect_counts(page, "1 accepted · 1 corrected · 0 added · 0 rejected · 0 left")
    assert marked(path)[1] == ("cat", "corrected", [1, 10, 42, 40])
    keys.press("r")
    keys.type("kitten")
    keys.press("Enter")
    expect(page.locator("#review .list button").nth(1)).to_contain_text("kitten")
    page.locator("#review .canvas").focus()
    keys.press("Tab")
    expect(page.locator("#review .list button").nth(0)).to_have_attribute("aria-pressed", "true")

    for step, corner in enumerate(((70, 2), (110, 18))):  # draws what is missing
        page.mouse.move(*place(page, *corner))
        if not step:
            page.mouse.down()
    page.mouse.up()
    expect(page.locator("#review .renaming")).to_be_visible()
    keys.type("sun")
    keys.press("Enter")
    expect_counts(page, "1 accepted · 1 corrected · 1 added · 0 rejected · 0 left")
    expect(page.locator("#review .list button").nth(2)).to_contain_text("sun")

    keys.press("/")
    keys.type("bird")
    expect(status).to_have_text("1 object found.")
    keys.press("Enter")
    expect_counts(page, "1 accepted · 1 corrected · 1 added · 0 rejected · 1 left")
    keys.press("Enter")  # accepts the rest, and goes on
    expect(page.locator("#review .where")).to_have_text("2 of 2")
    expect(page.locator("#review .prompt")).to_have_value("bird")  # it stays, and was asked for this one
    expect(page.locator("#review .object.found")).to_have_count(1)
    assert [one[:2] for one in marked(path)] == [
        ("red apple", "accepted"),
        ("kitten", "corrected"),
        ("sun", "added"),
        ("bird", "accepted"),
    ]
    assert marked(path)[2][2] == [70, 2, 110, 18]
    keys.press("p")
    expect(page.locator("#review .file")).to_have_text("more/a b.png")
    wrong = [
        (violation["id"], [node["target"] for node in violation["nodes"]][:5])
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    assert (errors, wrong) == ([], [])
    page.close()


def test_what_comes_late_takes_no_decision_back(browser: Any, address: str):
    page = open_page(browser, address)
    page.keyboard.press("a")
    expect_counts(page, "1 accepted · 0 corrected · 0 added · 0 rejected · 1 left")
    page.wait_for_timeout(3000)
    expect(page.locator("#review .list button").nth(0)).to_contain_text("accepted")
    expect(page.locator("#review .where")).to_have_text("1 of 2")
    page.close()


def test_on_a_phone_everything_is_there_and_a_second_page_is_told(browser: Any, address: str, path: Path):
    phone = open_page(browser, address, 390, 844)
    other = open_page(browser, address)
    phone.locator("#review [data-do=accept]").click()
    expect_counts(phone, "1 accepted · 0 corrected · 0 added · 0 rejected · 1 left")
    other.keyboard.press("x")
    expect(other.locator("#review .status")).to_have_text(re.compile("Another page changed this picture meanwhile"))
    expect_counts(other, "1 accepted · 0 corrected · 0 added · 0 rejected · 1 left")
    assert [one[1] for one in marked(path)] == ["accepted", ""]
    canvas, keys, rows = (phone.locator(f"#review {part}").bounding_box() for part in (".canvas", ".keys", ".list"))
    assert canvas["y"] + canvas["height"] <= rows["y"]
    assert rows["y"] + rows["height"] <= keys["y"]
    assert keys["y"] + keys["height"] <= 844
    x, y = place(phone, *SIZE)
    assert 0 < x <= 390
    assert 0 < y <= canvas["y"] + canvas["height"]
    for page in (phone, other):
        page.close()
