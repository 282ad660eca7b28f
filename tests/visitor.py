"""The page as a user starts it, and a browser in front of it; for the browser tests and the README's picture."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Chromium's own sandbox needs rights that containers do not give; and tests make no calls home.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE = 60_000  # milliseconds; a busy machine is slow, a wrong page stays wrong
START = 300  # seconds that the page may take to start there


def find_browser() -> str | None:
    """Path of the first installed one of `BROWSERS`."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def running_page(log: Path) -> Iterator[str]:
    """Runs `python app.py` with the embedded model, its output in `log`; gives the address of the page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--port", str(port), "--device", "cpu", "--local-files-only"]
    environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        deadline = time.monotonic() + START
        while "Running on" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The page did not start: {log.read_text()}")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


class Visitor:
    """Someone in front of the page: uses its controls and reads what it shows."""

    def __init__(
        self,
        browser: Browser | BrowserContext,
        url: str,
        width: int = 1280,
        height: int = 800,
        keeps_prompt: bool = False,  # of the example with which the page opens
        **options: Any,
    ):
        self.origin = "/".join(url.split("/")[:3])
        if isinstance(browser, BrowserContext):
            self.page: Page = browser.new_page()
            self.page.set_viewport_size({"width": width, "height": height})
        else:
            self.page = browser.new_page(viewport={"width": width, "height": height}, **options)
        self.complaints: list[str] = []  # what the browser's console calls an error
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)
        self.page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        self.page.goto(url)
        self.expect_opened()
        if not keeps_prompt:
            self.prompt.fill("")
            expect(self.message).to_have_text("Type what you are looking for.")

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def find(self, selector: str) -> Locator:
        """Elements by CSS selector."""
        return self.page.locator(selector)

    def expect_opened(self) -> None:
        """Waits until a page that was just opened shows its first result."""
        expect(self.find("body")).to_have_attribute("data-opened", "")
        expect(self.message).not_to_have_text(re.compile("…$"))

    @property
    def message(self) -> Locator:
        """The status line."""
        return self.find("#result .message")

    @property
    def prompt(self) -> Locator:
        """The text field."""
        return self.find("#prompt textarea")

    @property
    def rows(self) -> Locator:
        """The table's rows, one for each object."""
        return self.find("#result tbody tr")

    @property
    def boxes(self) -> Locator:
        """What can be clicked on the picture, one for each object that is not hidden."""
        return self.find("#result .shapes > *")

    @property
    def chips(self) -> Locator:
        """The legend's buttons, one for each phrase."""
        return self.find("#result .chip")

    @property
    def gestures(self) -> Locator:
        """The clicks, boxes and lines that are drawn on the picture."""
        return self.find("#result .gestures > g")

    def themes(self) -> Iterator[str]:
        """Light, then dark: the page takes the colours of its visitor's machine without being opened again."""
        for theme, classes in (("light", re.compile(r"^(?!.*\bdark\b)")), ("dark", re.compile(r"\bdark\b"))):
            self.page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
            expect(self.find("body")).to_have_class(classes)
            yield theme

    def open_tab(self, name: str) -> None:
        """Switches to the tab Detect, Segment, Inpaint or Track."""
        self.page.get_by_role("tab", name=name).click()

    def tool(self, title: str) -> Locator:
        """A button of the tool bar by the beginning of its title."""
        return self.find(f'#result .tools button[title^="{title}"]')

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the picture is on the screen."""
        where = """([x, y]) => {
            const to = document.querySelector("#result .shapes").getScreenCTM();
            const place = new DOMPoint(x, y).matrixTransform(to);
            return [place.x, place.y];
        }"""
        x, y = self.page.evaluate(where, [x, y])
        return x, y

    def click(self, x: float, y: float) -> None:
        """Clicks on a pixel of the picture."""
        self.page.mouse.click(*self.place(x, y))

    def drag(self, *places: tuple[float, float]) -> None:
        """Draws on the picture, from pixel to pixel."""
        for index, (x, y) in enumerate(places):
            self.page.mouse.move(*self.place(x, y))
            if not index:
                self.page.mouse.down()
        self.page.mouse.up()

    def outlines(self) -> list[str]:
        """The outline of each mask that is shown, sorted."""
        paths = self.find("#result .shapes path")
        return sorted(path.get_attribute("d") or "" for path in paths.all())

    def brush(self, title: str) -> Locator:
        """A button of the tab Inpaint's tool bar by the beginning of its title."""
        return self.find(f'#result .brushes button[title^="{title}"]')

    def outcome(self, name: str) -> Locator:
        """A button below the canvas of the tab Inpaint: mask, result, hold, accept, back or forth."""
        return self.find(f'#result [data-outcome="{name}"]')

    def choose(self, control: str, value: str) -> None:
        """Presses one of a row of choices: of #mode, #backdrop, #remover or #edit-shape."""
        self.find(f"#{control} label").filter(has=self.page.get_by_text(value, exact=True)).click()

    def mask(self) -> str:
        """The mask on the canvas of the tab Inpaint, as CSS takes it; "none" if there is none."""
        return self.find("#result .sheet").evaluate("sheet => sheet.style.getPropertyValue('--mask')")

    def mask_at(self, x: float, y: float) -> float:
        """How much of a pixel of the picture the mask covers, 0 to 1."""
        read = """async ([x, y]) => {
            const sheet = document.querySelector("#result .sheet");
            const url = sheet.style.getPropertyValue("--mask");
            if (url === "none") return 0;
            const image = new Image();
            image.src = url.slice(4, -1).replaceAll('"', "");
            await image.decode();
            const {width, height} = document.querySelector("#result .shapes").viewBox.baseVal;
            const canvas = new OffscreenCanvas(image.width, image.height);
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const data = context.getImageData(x / width * image.width, y / height * image.height, 1, 1).data;
            return data[3] / 255;
        }"""
        return self.page.evaluate(read, [x, y])

    def expect_apart(self, selector: str, other: str) -> None:
        """No element of the one kind lies over one of the other, as they are now."""
        boxes, others = ([element.bounding_box() for element in self.find(kind).all()] for kind in (selector, other))
        assert boxes
        assert others
        for first in boxes:
            for second in others:
                beside = first["x"] >= second["x"] + second["width"] or second["x"] >= first["x"] + first["width"]
                below = first["y"] >= second["y"] + second["height"] or second["y"] >= first["y"] + first["height"]
                assert beside or below, f"{first} of {selector} lies over {second} of {other}"

    def canvas(self) -> str:
        """The picture on the canvas, as a data URL."""
        return self.find("#result .stage > img:not(.tracked)").get_attribute("src") or ""

    def type(self, text: str) -> None:
        """Types a prompt key by key in place of the old one."""
        self.prompt.select_text()
        self.prompt.press_sequentially(text, delay=40)

    def expect_table(self, *objects: tuple[str, float, Sequence[float]]) -> None:
        """Waits until the table has these objects: phrase, score and box each."""
        expect(self.rows).to_have_count(len(objects))
        for index, (phrase, score, box) in enumerate(objects):
            cells = ["", phrase, f"{score:.2f}", ", ".join(str(round(edge)) for edge in box)]
            expect(self.rows.nth(index).locator("td:not(.quality)")).to_have_text(cells)

    def set_threshold(self, value: float) -> None:
        """Sets the box threshold."""
        field = self.page.get_by_label("number input for Box")
        if not field.is_visible():
            self.page.get_by_text("Thresholds").click()
        field.fill(str(value))
