"""What a visitor waits for, in a real browser in front of the page: `python -m benchmarks.browser`, or some sections.

The page is started as a user does, with the embedded model, and used by Playwright (`pip install -r
tests/requirements.txt`). Times are the browser's own: from the event of a key press or a moved slider until the answer
to it is decoded and the next frame is due. A key press that leaves the list of phrases as it is does not count.
"""

import argparse
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from playwright.sync_api import expect, sync_playwright

from benchmarks.table import machine, print_table
from groundingdino.inputs.image import load_image
from groundingdino.inputs.prompt import Prompt
from tests.visitor import FLAGS, ROOT, Visitor, find_browser, running_page

EXAMPLES = ROOT / "assets" / "examples"
WAIT = 60  # seconds for one answer
FULL = 130  # pictures by which caches hardly grow: the detector for drawings keeps its 64, that for photographs has 32
THRESHOLDS = (0.9, 0.3)  # in turns: few boxes and many

# Resolves to milliseconds from the event on until `isThere()` holds and the picture is decoded and due on the screen.
MEASURE = """
([event, selector, names, before]) => new Promise((resolve) => {
  let start;
  const canvas = () => document.querySelector("#result .stage > img:not(.tracked)");
  const chips = () => [...document.querySelectorAll("#result .chip")].map((chip) => chip.childNodes[1].textContent);
  const isThere = () => (names ? chips().join("|") === names.join("|") : canvas().src !== before);
  const isAtRest = () => document.querySelector("#result .status").dataset.tone !== "working";
  const begin = () => { start = performance.now(); };
  document.querySelector(selector).addEventListener(event, begin, {capture: true, once: true});
  window.measured = new Promise((done) => {
    const look = async () => {
      if (start === undefined || !isThere() || !isAtRest()) return requestAnimationFrame(look);
      await canvas().decode();
      requestAnimationFrame(() => done(performance.now() - start));
    };
    requestAnimationFrame(look);
  });
  resolve();
})
"""
SLIDE = """
([selector, value]) => {
  const slider = document.querySelector(selector);
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(slider, value);
  slider.dispatchEvent(new Event("input", {bubbles: true}));
  slider.dispatchEvent(new Event("pointerup", {bubbles: true}));
}
"""


class Bench:
    """A visitor in front of the running page."""

    def __init__(self, visitor: Visitor, server: int, keys: int, pictures: int):
        self.visitor, self.server, self.keys, self.pictures = visitor, server, keys, pictures

    def expect_answer(self, event: str, selector: str, names: list[str] | None, act: Callable[[], None]) -> float:
        """Milliseconds from the event that `act` causes until the phrases' boxes, or another picture, are there."""
        self.visitor.page.evaluate(MEASURE, [event, selector, names, self.visitor.canvas()])
        act()
        return self.visitor.page.evaluate("window.measured")

    def print_times(self, title: str, milliseconds: list[float], cpu_before: float, asked: str) -> None:
        """Median and 95th percentile, and what each answer took of the server's processor time."""
        p95 = statistics.quantiles(milliseconds, n=20)[-1]
        cpu = 1000 * (cpu_seconds(self.server) - cpu_before) / len(milliseconds)
        times = [min(milliseconds), statistics.median(milliseconds), p95, cpu]
        header = ["times", "fastest", "p50", "p95", "server's CPU time, mean", "asked: p50 / p95"]
        print_table(title, header, [[str(len(milliseconds)), *(f"{value:.0f} ms" for value in times), asked]])

    def open_example(self) -> list[str]:
        """Chooses the first example; the phrases of its prompt."""
        prompt = json.loads((EXAMPLES / "examples.json").read_text())[0]["prompt"]
        self.visitor.find("#gallery button").first.click()
        expect(self.visitor.prompt).to_have_value(prompt)
        expect(self.visitor.message).to_contain_text("object")
        return prompt.split(" . ")


def typing(bench: Bench) -> None:
    """Key presses, one after the other, each when the answer to the last is there."""
    phrases = bench.open_example()
    letters, times = " . ".join(phrases * (1 + bench.keys // 4)), []
    names: list[str] = []
    bench.visitor.prompt.fill("")
    expect(bench.visitor.boxes).to_have_count(0)
    text, cpu = "", cpu_seconds(bench.server)
    for letter in letters:
        text += letter
        press = partial(bench.visitor.prompt.press, "Space" if letter == " " else letter)
        wanted = list(Prompt.parse(text).phrases)
        if wanted == names:
            press()
            continue
        times.append(bench.expect_answer("keydown", "#prompt textarea", names := wanted, press))
        if len(times) == bench.keys:
            break
    bench.print_times("Key press to boxes at rest, embedded model, picture known", times, cpu, "300 / 600 ms")


def slider(bench: Bench) -> None:
    """The box threshold, moved to and fro."""
    bench.open_example()
    if not bench.visitor.page.get_by_label("number input for Box").is_visible():
        bench.visitor.page.get_by_text("Thresholds").click()
    selector, times = 'input[aria-label="range slider for Box"]', []
    bench.visitor.find(selector).wait_for()
    bench.visitor.page.evaluate(SLIDE, [selector, THRESHOLDS[1]])
    time.sleep(1)
    cpu = cpu_seconds(bench.server)
    for index in range(bench.keys):
        move = partial(bench.visitor.page.evaluate, SLIDE, [selector, THRESHOLDS[index % 2]])
        times.append(bench.expect_answer("input", selector, None, move))
    bench.print_times("Threshold slider to redrawn picture", times, cpu, "150 ms")


def memory(bench: Bench) -> None:
    """Ever new pictures and prompts, as a visitor uploads and types them."""
    rng, seen = np.random.default_rng(0), []
    examples = [load_image(path) for path in sorted(EXAMPLES.glob("*.webp"))]
    with TemporaryDirectory() as folder:
        for index in range(bench.pictures):
            image = examples[index % len(examples)].copy()
            image.paste(tuple(map(int, rng.integers(0, 256, 3))), (0, 0, 40 + index, 40))
            path = Path(folder) / f"{index}.png"
            image.save(path)
            before = bench.visitor.canvas()
            bench.visitor.find("#picture input[type=file]").set_input_files(path)
            bench.visitor.page.wait_for_function(
                "(before) => document.querySelector('#result .stage > img:not(.tracked)').src !== before", arg=before
            )
            bench.visitor.prompt.fill(f"cat . thing {index}")
            expect(bench.visitor.chips.nth(1)).to_have_text(re.compile(rf"thing {index}\d"))
            seen.append(resident_mb(bench.server))
    full = min(FULL, len(seen))
    shown = [1, min(10, full), full, len(seen)]
    row = [*(f"{seen[number - 1]:.0f} MB" for number in shown), f"{max(seen[full - 1 :]) / seen[full - 1] - 1:+.1%}"]
    header = [*map(str, shown), f"largest after number {full} against it (at most +10%)"]
    print_table("Resident memory of the page over different pictures and prompts", header, [row])


def resident_mb(process: int) -> float:
    """Megabytes of a process that are in memory now."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_seconds(process: int) -> float:
    """Processor time that a process has taken, in steps of a clock tick."""
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def child_process(name: str) -> int:
    """The child of this process in whose command line `name` is."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return next(int(child) for child in children if name in Path(f"/proc/{child}/cmdline").read_text())


SECTIONS: dict[str, Callable[[Bench], None]] = {"typing": typing, "slider": slider, "memory": memory}


def main() -> int:
    """Print the sections asked for; 2 after one line on stderr if there is no browser."""
    parser = argparse.ArgumentParser(description="Measure the page in a browser.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--times", type=int, default=40, help="key presses and slider moves that are measured")
    parser.add_argument("--pictures", type=int, default=200, help="pictures and prompts whose memory is watched")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}: expected {', '.join(SECTIONS)}")
    path = find_browser()
    if path is None:
        print("benchmarks.browser: no browser is installed.", file=sys.stderr)
        return 2
    print(machine(), flush=True)
    with TemporaryDirectory() as folder, running_page(Path(folder) / "log") as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        visitor = Visitor(browser, url)
        visitor.page.set_default_timeout(1000 * WAIT)
        bench = Bench(visitor, child_process("app.py"), arguments.times, arguments.pictures)
        for name in arguments.sections or SECTIONS:
            SECTIONS[name](bench)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
