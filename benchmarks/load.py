"""Many visitors at once, who type key by key: `python -m benchmarks.load`, or some sections: `... load typing`.

The page is started as a user does, with the embedded model. Each visitor has a picture and a session of their own, and
sends what the page's browser code sends: one request at a time for the last text, and a word that gives up the one
before. A key's time is from its press until an answer to its text, or to a later one, is there. Afterwards each answer
at rest is compared with what a detector of our own finds in that picture.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
from gradio_client import Client, handle_file
from gradio_client.utils import apply_diff

from benchmarks.browser import EXAMPLES, child_process, resident_mb
from benchmarks.table import machine, print_table
from groundingdino.detection.detector import Detector
from groundingdino.detection.objects import labels_of, scores_of
from groundingdino.inputs.image import load_image
from groundingdino.inputs.prompt import Prompt
from tests.visitor import running_page

KEY = (0.08, 0.35)  # seconds between two keys, from a fast typist to a slow one
REST = (2.0, 4.0)  # seconds that a visitor looks at a result
TYPING = 0.5  # seconds after a key in which the page calls itself typed into
CANVAS = [800, 600, 1, 1]  # CSS pixels, device pixels per CSS pixel, enlargement
RESULT, PICTURE, PROMPT = 1, 2, 3  # places of what a visitor changes among the inputs of the page's request
ENTRIES = json.loads((EXAMPLES / "examples.json").read_text())
WORDS = sorted({word for entry in ENTRIES for word in Prompt.parse(entry["prompt"]).phrases})
SETTLED = 0.2  # share of a run after which memory should not grow any more


@dataclass
class Outcome:
    """What all visitors saw."""

    milliseconds: list[float] = field(default_factory=list)  # of each key
    errors: list[str] = field(default_factory=list)
    rests: list[tuple[bytes, str, list[Any]]] = field(default_factory=list)  # a picture, the prompt, what was shown
    painted: list[float] = field(default_factory=list)  # seconds of each edit


class Visitor:
    """A page that was opened, without its browser."""

    def __init__(self, client: httpx.AsyncClient, config: dict[str, Any], outcome: Outcome):
        self.client, self.outcome = client, outcome
        self.session, self.opened = uuid4().hex, time.monotonic()
        events = {event["api_name"]: event for event in config["dependencies"]}
        self.asking, self.interrupting = events["render_1"], events["interrupt"]
        values = {part["id"]: part["props"].get("value") for part in config["components"]}
        self.values = [values[part] for part in self.asking["inputs"]]
        self.pressed: list[float] = []  # when each key was, to which there is no answer yet
        self.text, self.png = "", b""
        self.shown: dict[str, Any] = {}
        self.changed = asyncio.Event()

    async def choose(self, png: bytes) -> None:
        """Upload a picture."""
        files = {"files": ("picture.png", png, "image/png")}
        answer = await self.client.post("/gradio_api/upload", files=files)
        answer.raise_for_status()
        self.png, self.values[PICTURE] = png, {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}

    def press(self, text: str) -> None:
        """One more key, after which the field holds `text`."""
        self.text = text
        self.pressed.append(time.monotonic())
        self.changed.set()

    async def follow(self) -> None:
        """Ask for the last text whenever it has changed, and once more when typing pauses."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), 3600)
            self.changed.clear()
            typing = True
            while typing and not self.changed.is_set():
                begun, text = time.monotonic(), self.text
                typing = bool(self.pressed) and begun - self.pressed[-1] < TYPING
                await self._ask(text, begun, typing)
                if not self.shown.get("draft"):
                    break
                await asyncio.sleep(TYPING)

    async def interrupt(self) -> None:
        """Tell the server that an answer under way is not wanted any more."""
        body = {
            "data": [None, {"stamp": self._now()}],
            "fn_index": self.interrupting["id"],
            "session_hash": self.session,
        }
        (await self.client.post("/gradio_api/run/predict", json=body)).raise_for_status()

    async def _ask(self, text: str, begun: float, typing: bool) -> None:
        values = [*self.values]
        values[PROMPT], values[RESULT] = text, {"stamp": self._now(), "canvas": CANVAS, "typing": typing}
        body = {"data": values, "fn_index": self.asking["id"], "session_hash": self.session}
        (await self.client.post("/gradio_api/queue/join", json=body)).raise_for_status()
        where, result = {"session_hash": self.session}, None
        async with self.client.stream("GET", "/gradio_api/queue/data", params=where) as stream:
            async for line in stream.aiter_lines():
                message = json.loads(line.removeprefix("data:") or "{}")
                if message.get("msg") == "close_stream":
                    break
                if not message.get("success", True):
                    self.outcome.errors.append(str(message["output"]))
                elif message.get("msg") == "process_generating":  # the first whole, what follows by how it differs
                    (update,) = message["output"]["data"]
                    result = apply_diff(result, update) if result else update
                    self._take(result.get("props", {}), text)
        now = time.monotonic()
        while self.pressed and self.pressed[0] <= begun:
            self.outcome.milliseconds.append(1000 * (now - self.pressed.pop(0)))

    def _take(self, update: dict[str, Any], text: str) -> None:
        status = update.get("status", {})
        if status.get("tone") == "error":
            self.outcome.errors.append(status["message"])
        elif "view" in update and status.get("tone") != "working":
            self.shown = {**update["view"], "text": text}

    def _now(self) -> float:
        return 1000 * (time.monotonic() - self.opened)


def pictures(count: int) -> Iterator[bytes]:
    """Examples, each visitor's marked by a colour of its own."""
    examples = [load_image(path) for path in sorted(EXAMPLES.glob("*.webp"))]
    rng = np.random.default_rng(0)
    for index in range(count):
        image = examples[index % len(examples)].copy()
        image.paste(tuple(map(int, rng.integers(0, 256, 3))), (0, 0, 40 + index, 40))
        file = BytesIO()
        image.save(file, "PNG")
        yield file.getvalue()


async def type_prompts(visitor: Visitor, words: list[str], lot: random.Random, end: float) -> None:
    """Type prompts key by key, and look at each result, until time is over."""
    following = asyncio.create_task(visitor.follow())
    try:
        while time.monotonic() < end and not following.done():
            prompt = " . ".join(lot.sample(words, lot.choice([1, 2, 3])))
            for length in range(1, len(prompt) + 1):
                visitor.press(prompt[:length])
                await visitor.interrupt()
                await asyncio.sleep(lot.uniform(*KEY))
            await asyncio.sleep(lot.uniform(*REST))
            while visitor.pressed and not following.done():
                await asyncio.sleep(0.1)
            if visitor.shown.get("text") == prompt:
                visitor.outcome.rests.append((visitor.png, prompt, visitor.shown["objects"]))
            else:
                visitor.outcome.errors.append(f"'{prompt}' was not answered at rest")
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


def paint(url: str, png: Path, end: float, outcome: Outcome) -> None:
    """Take an object out of a picture again and again."""
    client = Client(url, verbose=False)
    while time.monotonic() < end:
        begun = time.monotonic()
        client.predict(handle_file(png), "cat . bread", "remove", api_name="/inpaint")
        outcome.painted.append(time.monotonic() - begun)


async def visit(url: str, count: int, minutes: float, painted: Path | None, watch: Callable[[], None]) -> Outcome:
    """`count` visitors type at the same time; another one paints if there is a picture for it."""
    outcome, end = Outcome(), time.monotonic() + 60 * minutes
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:
        config = (await client.get("/config")).json()
        visitors = [Visitor(client, config, outcome) for _ in range(count)]
        for visitor, png in zip(visitors, pictures(count), strict=True):
            await visitor.choose(png)
        typing = [
            asyncio.create_task(type_prompts(visitor, WORDS, random.Random(index), end))
            for index, visitor in enumerate(visitors)
        ]
        painting = asyncio.create_task(asyncio.to_thread(paint, url, painted, end, outcome)) if painted else None
        while not all(task.done() for task in typing):
            watch()
            await asyncio.sleep(1)
        for task in [*typing, *([painting] if painting else [])]:
            await task
    return outcome


def count_wrong(outcome: Outcome) -> int:
    """How many answers at rest are not what a detector finds that nobody else uses."""
    detector, wrong = Detector.from_pretrained("embedded", device="cpu"), 0
    for png, prompt, shown in outcome.rests:
        found = detector(load_image(png), prompt)
        rows = zip(labels_of(found), scores_of(found), found.xyxy.round().astype(int).tolist(), strict=True)
        wrong += [(label, f"{score:.2f}", box) for label, score, box in rows] != [
            (row["phrase"], row["score"], row["box"]) for row in shown
        ]
    return wrong


def _watch(page: int, memory: list[float]) -> None:
    memory.append(resident_mb(page))


def main() -> int:
    """Print the sections asked for."""
    parser = argparse.ArgumentParser(description="Let many visitors type into the page at once.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--visitors", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=5)
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}: expected {', '.join(SECTIONS)}")
    print(machine(), flush=True)
    rows, worst = [], 0
    for name in arguments.sections or SECTIONS:
        memory: list[float] = []
        with TemporaryDirectory() as folder, running_page(Path(folder) / "log") as url:
            painted = Path(folder) / "painted.png"
            painted.write_bytes(next(pictures(1)))
            watch = partial(_watch, child_process("app.py"), memory)
            outcome = asyncio.run(
                visit(url, arguments.visitors, arguments.minutes, painted if SECTIONS[name] else None, watch)
            )
        for error, count in Counter(outcome.errors).most_common(5):
            print(f"{count} x {error}", file=sys.stderr)
        wrong, times = count_wrong(outcome), outcome.milliseconds
        settled = memory[int(SETTLED * len(memory))]
        worst = max(worst, wrong + len(outcome.errors))
        rows.append(
            [
                name,
                str(len(times)),
                str(len(outcome.errors)),
                f"{wrong} of {len(outcome.rests)}",
                f"{statistics.median(times):.0f} ms",
                f"{statistics.quantiles(times, n=20)[-1]:.0f} ms",
                f"{settled:.0f} to {max(memory[int(SETTLED * len(memory)) :]):.0f} MB",
                f"{len(outcome.painted)}",
            ]
        )
    header = ["section", "keys", "errors", "wrong at rest", "p50", "p95", "resident, settled to largest", "edits"]
    print_table(f"{arguments.visitors} visitors for {arguments.minutes:g} minutes", header, rows)
    return 1 if worst else 0


SECTIONS = {"typing": False, "typing-while-one-paints": True}  # whether one paints

if __name__ == "__main__":
    sys.exit(main())
