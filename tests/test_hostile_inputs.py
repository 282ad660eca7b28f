"""Whatever is sent to the API, the page and the command line gets a right answer or a sentence, as does what follows.

Each case follows from a seed; one that fails says what it was.
"""

import json
import math
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

import app
from groundingdino.command_line.main import main
from groundingdino.editing.inpainter import Inpainter
from groundingdino.page.edit_form import MASKS, REPLACE
from groundingdino.page.faults import FAULT
from groundingdino.page.handlers import Page
from groundingdino.page.model_cache import ModelCache
from groundingdino.page.query import BOXES, DETECT, FILL, INPAINT, SEGMENT
from groundingdino.page.session import Session
from groundingdino.page.studio import Studio
from groundingdino.segmentation.segmenter import Segmenter
from tests.dauber import INPAINTER, Dauber
from tests.hostile import MIXED, VALUES, Picture, encoded, is_long, is_too_much, photograph, pictures, prompts
from tests.oracle import CARD, Oracle
from tests.scissors import SEGMENTER, Scissors
from tests.tiny_models import save_detector, save_segmenter

SEED = 18
LIMIT = 20.0  # seconds for an answer
BATCH = 10  # hostile requests between two good ones
SIZE = (320, 240)
CAT = [80.0, 60.0, 320.0, 240.0]  # in a picture of that size
# What Python and the libraries say of their own accord.
FOREIGN = re.compile(
    r"Traceback|NoneType|tuple index|list index|values to unpack|object is not|unsupported operand|has no attribute"
    r"|not convert|invalid literal|\w+Error\b|<class|must be real|\[Errno|0x[0-9a-f]{6}|not supported between"
    r"|unhashable|NaN to integer|broadcast"
)


class Everywhere(dict[Any, Any]):
    """A cat in each picture, in all but its left and upper quarters."""

    def get(self, size: Any, _: Any = None) -> Any:
        width, height = size
        return {"cat": [(0.9, (width / 4, height / 4, width, height))]}


class Complaints(list[str]):
    """What went wrong, case by case: the first one does not hide the others."""

    def about(self, what: object, *wrong: str | None) -> None:
        self.extend(f"{str(what)[:120]}: {one}" for one in wrong if one)

    def check(self) -> None:
        assert not self, f"{len(self)} of them, such as\n" + "\n".join(self[:40])


def studio() -> Studio:
    return Studio(
        ModelCache({"embedded": CARD}, lambda *_, **__: Oracle(Everywhere()), lambda _: True),
        ModelCache({"embedded": SEGMENTER}, lambda *_, **__: Scissors(), lambda _: True),
        ModelCache({"embedded": INPAINTER}, lambda *_, **__: Dauber(), lambda _: True),
    )


@pytest.fixture(scope="module")
def good() -> Picture:
    return Picture("good", "good.png", encoded(Image.new("RGB", SIZE, "teal"), "PNG"), SIZE)


@pytest.fixture(scope="module")
def ordinary() -> Picture:
    """Small, as all of a hostile request but one thing is ordinary."""
    return Picture("ordinary", "ordinary.png", encoded(photograph(random.Random(SEED), size=(64, 48)), "PNG"), (64, 48))


def within_limit(work: Callable[[], Any]) -> Any:
    """What it returns or raises, in time."""
    done: list[Any] = []

    def run() -> None:
        try:
            done.append((work(), None))
        except BaseException as error:  # also `SystemExit`
            done.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LIMIT)
    if not done:
        raise TimeoutError(f"no answer within {LIMIT:.0f} seconds")
    ((result, error),) = done
    if error is not None:
        raise error
    return result


def no_sentence(text: Any) -> str | None:
    """What keeps a message from being one sentence of ours; None if it is one."""
    if not isinstance(text, str) or not text.strip():
        return f"no sentence, but {text!r}"
    if len(text.splitlines()) != 1 or len(text) > 600:
        return f"not one line that can be read: {text[:600]!r}"
    return f"a library's words: {text!r}" if FOREIGN.search(text) else None


def no_record(record: Any, size: tuple[int, int] | None, phrase: str | None = None) -> str | None:
    """What is wrong with a record of a picture of that size, if it is known, in which the phrase is found."""
    width, height = record["width"], record["height"]
    if size and (width, height) != size:
        return f"the picture has {size}, but its record {(width, height)}"
    for found in record["objects"]:
        x0, y0, x1, y1 = found["box"]
        if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height and 0 <= found["score"] <= 1):
            return f"an object outside the picture: {found}"
        if not found["phrase"].strip():
            return "a label without letters"
    if phrase and phrase not in [found["phrase"] for found in record["objects"]]:
        return f"no {phrase} among {record['objects']}"
    return None


def wrong_about(picture: Picture, record: Any, message: Any, phrase: str | None = None) -> str | None:
    """What is wrong with the answer about a picture: a record, or a message where there is none."""
    if record is None:
        # Whether noise leaves a picture is the decoder's to say, but what is whole has to be answered.
        return no_sentence(message) or (f"refused: {message}" if picture.size and not picture.is_damaged else None)
    if picture.size is None and not picture.is_damaged:
        return f"taken for a picture: {record}"
    return no_record(record, picture.size, phrase)


class Program:
    """Calls the endpoints over HTTP, without a library that would look at what it sends."""

    def __init__(self, url: str):
        self.http = httpx.Client(base_url=f"{url}gradio_api/", timeout=LIMIT)
        self.as_json = {"content-type": "application/json"}

    def upload(self, picture: Picture) -> dict[str, Any]:
        (path,) = self.http.post("upload", files={"files": (picture.name, picture.data)}).raise_for_status().json()
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    def call(self, endpoint: str, **values: Any) -> tuple[Any, Any]:
        """(the record, None), or (None, the message)."""
        answer = self.http.post(f"call/v2/{endpoint}", content=json.dumps(values), headers=self.as_json)
        if answer.is_error:
            return None, answer.json().get("detail", answer.text)
        text = self.http.get(f"call/{endpoint}/{answer.json()['event_id']}").text
        # Between them are heartbeats, if it takes long.
        (event, data) = re.findall(r"event: (complete|error)\ndata: (.*)\n", text)[-1]
        if event == "complete":
            return json.loads(data)[1], None
        said = json.loads(data)
        return None, said.get("error") if isinstance(said, dict) else said


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("examples")
    Image.new("RGB", SIZE, "teal").save(folder / "cats.png")
    (folder / "examples.json").write_text('[{"file": "cats.png", "prompt": "cat . pizza"}]')
    demo = app.build(studio(), examples=folder)
    app.serve(demo, prevent_thread_lock=True, quiet=True)
    yield Program(demo.local_url or "")
    demo.close()


@pytest.fixture
def complaints(log: Any) -> Iterator[Complaints]:
    """Told at the end, with what the server wrote to its log."""
    found = Complaints()
    before = log.tell()
    yield found
    written = log.getvalue()[before:]
    found.check()
    assert "Traceback" not in written, written[-3000:]


def call(program: Program, endpoint: str, **values: Any) -> tuple[Any, Any]:
    try:
        return program.call(endpoint, **values)
    except (httpx.HTTPError, ValueError, IndexError) as error:
        return None, f"{type(error).__name__}: {error}"


def good_answer(program: Program, good: Picture) -> str | None:
    """What is wrong with the answer to a good request."""
    record, message = call(program, "detect", image=program.upload(good), prompt="cat . pizza")
    found = [(one["phrase"], one["box"]) for one in record["objects"]] if record else message
    return None if found == [("cat", CAT)] else f"the next request is wrong: {found}"


def test_the_api_answers_any_picture(program: Program, good: Picture, complaints: Complaints):
    for number, picture in enumerate(islice(pictures(SEED), 80)):
        endpoint = ("detect", "detect", "segment", "inpaint")[number % 4]
        options = {"mode": "transparent"} if endpoint == "inpaint" else {}
        record, message = call(program, endpoint, image=program.upload(picture), prompt="cat . pizza", **options)
        complaints.about((endpoint, picture), wrong_about(picture, record, message, "cat"))
        if number % BATCH == 0:
            complaints.about((endpoint, picture), good_answer(program, good))


def test_the_api_answers_any_prompt(program: Program, good: Picture, ordinary: Picture, complaints: Complaints):
    image = program.upload(ordinary)
    for number, prompt in enumerate(islice(prompts(SEED), 60)):
        endpoint = ("detect", "segment", "inpaint")[number % 3]
        options = {"mode": "transparent"} if endpoint == "inpaint" else {}
        record, message = call(program, endpoint, image=image, prompt=prompt, **options)
        wrong = no_record(record, ordinary.size) if record else no_sentence(message)
        complaints.about((endpoint, repr(prompt)), wrong)
        if number % BATCH == 0:
            complaints.about((endpoint, repr(prompt)), good_answer(program, good))


NUMERIC = ("grow", "feather", "steps", "guidance", "strength", "seed")
PARAMETERS = {
    "detect": ("image", "model", "box_threshold", "text_threshold", "nms_threshold"),
    "segment": (*2 * ("points", "boxes", "strokes"), "everything", "segmenter", "fill"),
    "inpaint": (
        *("regions", "regions", "mode", "text", "background", "mask", "inpainter", "one_by_one", "boxes"),
        *(*NUMERIC, "negative_prompt", "scheduler", "margins"),
    ),
}


def test_the_api_answers_any_value(program: Program, good: Picture, ordinary: Picture, complaints: Complaints):
    lot, image = random.Random(SEED), program.upload(ordinary)
    for number in range(100):
        endpoint = lot.choice(["detect", "segment", "inpaint", "inpaint"])
        name = lot.choice(PARAMETERS[endpoint])
        is_shape = name in MIXED and not (endpoint == "inpaint" and name == "boxes") and lot.random() < 0.8
        value = MIXED[name](lot) if is_shape else lot.choice(VALUES)
        asked: dict[str, Any] = {"image": image, "prompt": "cat", name: value}
        if endpoint == "inpaint":
            asked = {"text": "red", **asked}
        if name == "regions":
            asked |= {"mode": "regions", "prompt": ""}
        if name == "margins":
            asked |= {"mode": "outpaint", "prompt": ""}
        record, message = call(program, endpoint, **asked)
        wrong = no_record(record, ordinary.size) if record and name != "margins" else no_sentence(message)
        if record and is_too_much(value):
            wrong = "so many were taken"
        complaints.about((endpoint, name, repr(value)), wrong)
        if number % BATCH == 0:
            complaints.about((endpoint, name, repr(value)), good_answer(program, good))


class Guest:
    """Asks the page's handlers as its script does."""

    def __init__(self) -> None:
        self.page, self.stamp = Page(studio()), 0.0

    def ask(self, path: str, prompt: Any = "cat . pizza", **changed: Any) -> tuple[Any, Any]:
        """The view and the status at rest, of a page that was just opened: it is not answered again what it shows."""
        self.stamp += 1
        controls = {
            "model": "embedded",
            "box": 0.35,
            "text": 0.25,
            "nms": 0.7,
            "tab": DETECT,
            "segmenter": "embedded",
            "shapes": [FILL, BOXES],
            "opacity": 0.5,
            "specks": 0.0,
            "mode": REPLACE,
            "shape": MASKS,
        }
        values = [changed.pop(name, value) for name, value in controls.items()]
        sent = {"picture": path, "canvas": [320, 240, 1], **changed, "stamp": self.stamp}
        updates = within_limit(lambda: list(self.page.render(Session(), sent, path, prompt, *values)))
        view = next((one["view"] for one in reversed(updates) if "view" in one), None)
        return view, updates[-1]["status"] if updates else None


@pytest.fixture
def guest() -> Guest:
    return Guest()


def write(picture: Picture, folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    path = folder / picture.name
    path.write_bytes(picture.data)
    return str(path)


def wrong_on_the_page(
    guest: Guest, picture: Picture, path: str, prompt: Any = "cat . pizza", **changed: Any
) -> str | None:
    """What is wrong with what the page shows then."""
    try:
        view, status = guest.ask(path, prompt, **changed)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if status is None:
        return "no answer"
    message = status["message"]
    if message == FAULT or no_sentence(message):
        return no_sentence(message) or FAULT
    if status["tone"] == "error":
        return wrong_about(picture, None, message) if prompt == "cat . pizza" else None
    width, height = view["width"], view["height"]
    if picture.size and (width, height) != picture.size:
        return f"the picture has {picture.size}, but its view {(width, height)}"
    for found in view["objects"]:
        x0, y0, x1, y1 = found["box"]
        if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height):
            return f"an object outside the picture: {found}"
    return None


def good_page(guest: Guest, path: str) -> str | None:
    view, status = guest.ask(path)
    found = [(one["phrase"], list(one["box"])) for one in view["objects"]]
    return None if found == [("cat", CAT)] else f"the next request is wrong: {found} {status}"


def test_the_page_answers_any_picture(guest: Guest, good: Picture, complaints: Complaints, tmp_path: Path):
    whole = write(good, tmp_path)
    for number, picture in enumerate(islice(pictures(SEED + 1), 60)):
        tab = (DETECT, SEGMENT, INPAINT)[number % 3]
        path = write(picture, tmp_path / str(number))
        complaints.about((tab, picture), wrong_on_the_page(guest, picture, path, tab=tab))
        if number % BATCH == 0:
            complaints.about((tab, picture), good_page(guest, whole))


def test_the_page_answers_any_prompt(
    guest: Guest, good: Picture, ordinary: Picture, complaints: Complaints, tmp_path: Path
):
    whole, path = write(good, tmp_path), write(ordinary, tmp_path)
    texts = (prompt for prompt in prompts(SEED + 1) if isinstance(prompt, str))
    for number, prompt in enumerate(islice(texts, 46)):
        tab = (DETECT, SEGMENT, INPAINT)[number % 3]
        complaints.about((tab, repr(prompt)), wrong_on_the_page(guest, ordinary, path, prompt, tab=tab))
        if number % BATCH == 0:
            complaints.about((tab, repr(prompt)), good_page(guest, whole))


def gestures(lot: random.Random) -> Any:
    """What was pointed at, as a program that is not the page's script may send it."""
    kind = lot.choice(["points", "boxes", "strokes"])
    shapes = MIXED[kind](lot)
    if not isinstance(shapes, list):
        return shapes
    name = {"points": "point", "boxes": "box", "strokes": "stroke"}[kind]
    return [{"target": lot.choice(["pointed 1", "cat [16, 12, 64, 48]", "x"]), name: shape} for shape in shapes]


def brush(lot: random.Random) -> Any:
    """The same of what was drawn."""
    return lot.choice(
        [
            [{"line": [[1, 1], [9, 9]], "width": width, "adds": True}]
            for width in (3, -1, 1e300, "3", None, math.nan, 10**9, True)
        ]
        + [[{"line": line, "width": 3, "adds": True}] for line in ([], [[1]], [["a", "b"]], "ab", [[1e300, 1]], None)]
        + [[{"line": [[1, 1], [9, 9]], "width": 3, "adds": False}] * 5000, "brush", [7], {"line": 1}]
    )


TEXTS = tuple(value for value in VALUES if isinstance(value, str))
FRACTIONS = (-1, 2, math.nan, math.inf, "0.5", None)
SENT = ("candidates", "changes", "texts", "canvas", "hidden", "unticked", "marked", "everything")
PAGE_PARTS: dict[str, Callable[[random.Random], Any]] = {"gestures": gestures, "strokes": brush}
PAGE_PARTS |= {name: lambda lot: lot.choice(VALUES) for name in SENT}
PAGE_PARTS |= {name: lambda lot: lot.choice(TEXTS) for name in ("model", "segmenter")}
PAGE_PARTS |= {name: lambda lot: lot.choice(FRACTIONS) for name in ("box", "text", "nms")}


def test_the_page_answers_any_value(
    guest: Guest, good: Picture, ordinary: Picture, complaints: Complaints, tmp_path: Path
):
    lot = random.Random(SEED + 2)
    whole, path = write(good, tmp_path), write(ordinary, tmp_path)
    for number in range(90):
        name = lot.choice(["gestures", "strokes", *PAGE_PARTS])
        tab = lot.choice([SEGMENT, INPAINT, DETECT])
        value = PAGE_PARTS[name](lot)
        wrong = wrong_on_the_page(guest, ordinary, path, "cat", tab=tab, **{name: value})
        complaints.about((tab, name, repr(value)), wrong)
        if number % BATCH == 0:
            complaints.about((tab, name, repr(value)), good_page(guest, whole))


class Terminal:
    """Runs commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], options: list[str]):
        self.capsys, self.options = capsys, options
        self.found: Any = None  # by the first good command

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        self.capsys.readouterr()
        try:
            status = within_limit(lambda: main([*arguments]))
        except SystemExit as end:  # of argparse
            status = end.code
        out, err = self.capsys.readouterr()
        return status, out, err

    def wrong(self, picture: Picture, *arguments: str) -> str | None:
        """What is wrong with the answer to a command that writes its record to standard output."""
        try:
            status, out, err = self.run(*arguments)
        except BaseException as error:
            return f"{type(error).__name__}: {error}"
        if status == 2:
            return no_sentence(err.removesuffix("\n")) or (f"output beside an error: {out}" if out else None)
        if status != 0:
            return f"exit {status}: {err}"
        wrong = next(filter(None, map(no_sentence, err.splitlines())), None)
        return wrong or no_record(json.loads(out), picture.size)


@pytest.fixture
def terminal(
    capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    """With a real detector, which finds five things in each picture; only what cuts out and paints is made up."""
    monkeypatch.setattr(Segmenter, "from_pretrained", lambda *_, **__: Scissors())
    monkeypatch.setattr(Inpainter, "from_pretrained", lambda *_, **__: Dauber())
    model = save_detector(tmp_path_factory.mktemp("model") / "tiny.safetensors")
    return Terminal(capsys, ["--model", model, "--json", "-", "--device", "cpu"])


def good_command(terminal: Terminal, path: str) -> str | None:
    """What is wrong with the answer to a good command: its objects are those of any other time."""
    status, out, err = terminal.run("detect", path, "cat . pizza", *terminal.options)
    found = json.loads(out)["objects"] if status == 0 else err
    terminal.found = terminal.found or found
    return None if status == 0 and found and found == terminal.found else f"the next command is wrong: {found}"


def test_the_command_line_answers_any_picture(
    terminal: Terminal, good: Picture, complaints: Complaints, tmp_path: Path
):
    whole = write(good, tmp_path)
    complaints.about("good", good_command(terminal, whole))
    for number, picture in enumerate(islice(pictures(SEED + 3), 50)):
        path = write(picture, tmp_path / str(number))
        command = ("detect", "detect", "segment")[number % 3]
        wrong = terminal.wrong(picture, command, path, "cat . pizza", *terminal.options)
        complaints.about((command, picture), wrong)
        if number % BATCH == 0:
            complaints.about((command, picture), good_command(terminal, whole))


def test_the_command_line_answers_any_path(terminal: Terminal, good: Picture, complaints: Complaints, tmp_path: Path):
    whole = write(good, tmp_path)
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    paths = ["", ".", str(tmp_path), "nope.png", "a" * 300 + ".png", "x/" * 3000, "\0.png", "a\nb.png", "/dev/null"]
    paths += [str(loop), "http://localhost/a.png", "data:image/png;base64,AAAA", "file:///etc/passwd", f"{whole}/", "~"]
    complaints.about("good", good_command(terminal, whole))
    for path in paths:
        status, out, err = terminal.run("detect", path, "cat", *terminal.options)
        wrong = None if (status, out) == (2, "") else f"exit {status}: {out}"
        complaints.about(repr(path), wrong, no_sentence(err.removesuffix("\n")))
    complaints.about("good", good_command(terminal, whole))


def test_the_command_line_answers_any_prompt(
    terminal: Terminal, good: Picture, ordinary: Picture, complaints: Complaints, tmp_path: Path
):
    whole, path = write(good, tmp_path), write(ordinary, tmp_path)
    texts = (prompt for prompt in prompts(SEED + 4) if isinstance(prompt, str) and not is_long(prompt))
    complaints.about("good", good_command(terminal, whole))
    for number, prompt in enumerate(islice(texts, 46)):
        command = ("detect", "segment")[number % 2]
        complaints.about((command, repr(prompt)), terminal.wrong(ordinary, command, path, prompt, *terminal.options))
        if number % BATCH == 0:
            complaints.about((command, repr(prompt)), good_command(terminal, whole))


NUMBERS = ("nan", "inf", "-inf", "-1", "0", "1", "2", "0.5", "1e308", "9" * 400, "", "abc", "0x10", "1_0", "²", "1,2,1")
COORDINATES = (
    *("1,2,1", "1,2,0", "1,2", "1,2,3,4", "nan,1,1", "1e999,2,1", ",,", "1,2,1,", "a,b,c", "-5,0,40,40", "9999,9999,1"),
    *("5,5,5,5", "0,0,9,9", "9,9,0,0", "0,0,inf,9", "0,0,9,9,red", "0,0,9,9," + 5000 * "x", "0,0,9,9,"),
)
OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "detect": {
        "--model": ("", "nope", ".", "/dev/null", "a" * 5000, "../embedded", "swin-x"),
        "--device": ("", "toaster", "cuda:99", "cpu:9", "meta", "\0"),
        "--output": ("", ".", "nope/out.png", "out.xyz", "a" * 300 + ".png", "/dev/full.png"),
    },
    "segment": {
        "--point": COORDINATES,
        "--box": COORDINATES,
        "--fill": NUMBERS,
        "--segmenter": ("", ".", "nope", "a" * 5000),
    },
    "inpaint": {
        "--point": COORDINATES,
        "--box": COORDINATES,
        "--region": COORDINATES,
        "--outpaint": (*COORDINATES, "5%", "0%", "101%", "5%,0,0,0", "%"),
        "--scheduler": ("", "nope", "ddim"),
        "--inpainter": ("", ".", "nope", "a" * 5000),
        "--color": ("", "nope", "#12", "#1234567", "red", "rgb(999,0,0)"),
        "--picture": ("", ".", "nope.png", "\0"),
        "--replace": ("", " ", "red", "x" * 20_000, "\0"),
        "--background": ("", "blue", "\n"),
        "--remove": ("by", ""),
    },
}
OPTIONS["detect"] |= {f"--{name}-threshold": NUMBERS for name in ("box", "text", "nms")}
OPTIONS["inpaint"] |= {f"--{name}": NUMBERS for name in (*NUMERIC, "candidates")}


def test_the_command_line_answers_any_option(
    terminal: Terminal, good: Picture, ordinary: Picture, complaints: Complaints, tmp_path: Path
):
    lot, tasks = random.Random(SEED + 5), ("--replace", "--remove", "--background", "--color", "--picture", "--region")
    whole, path = write(good, tmp_path), write(ordinary, tmp_path)
    complaints.about("good", good_command(terminal, whole))
    for number in range(110):
        command = lot.choice(["detect", "segment", "inpaint", "inpaint"])
        option = lot.choice([*OPTIONS[command]])
        given = [f"{option}={lot.choice(OPTIONS[command][option])}"]
        given *= 3000 if option in ("--point", "--box", "--region") and lot.random() < 0.1 else 1
        if command == "inpaint":
            given += ["--output", str(tmp_path / "out.png")] + ([] if option in tasks else ["--replace=red"])
        prompt = "" if option == "--region" else "cat"
        wrong = terminal.wrong(ordinary, command, path, prompt, *terminal.options, *given)
        complaints.about((command, given[0], len(given)), wrong)
        if number % BATCH == 0:
            complaints.about((command, given[0]), good_command(terminal, whole))


def test_a_real_process_ends_with_one_line_too(good: Picture, tmp_path: Path):
    """Of what once took a program along, or did not end."""
    bad = [one for one in islice(pictures(SEED), 60) if one.name in ("a.eps", "bomb.png")][:2]
    commands = [[write(one, tmp_path), "cat"] for one in bad] + [[write(good, tmp_path), 20_000 * "a"]]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "groundingdino", "detect", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    for process, command in zip(started, commands, strict=True):
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, no_sentence(err.removesuffix("\n"))) == (2, "", None), command[0]


@pytest.mark.parametrize("size", [(1, 2000), (2000, 1), (1, 1), (3, 50_000), (640, 480)])
def test_a_picture_of_any_shape_is_cut_out(size, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """By real models, as everything behind them is."""
    picture = Picture(f"{size}", "a.png", encoded(photograph(random.Random(SEED), size=size), "PNG"), size)
    model, segmenter = save_detector(tmp_path / "d.safetensors"), save_segmenter(tmp_path / "s.safetensors")
    terminal = Terminal(capsys, ["--model", model, "--segmenter", segmenter, "--json", "-", "--device", "cpu"])
    path = write(picture, tmp_path)
    status, out, err = terminal.run("segment", path, "cat", "--point", "0,0,1", *terminal.options)
    if size[0] * 1000 < size[1] or size[1] * 1000 < size[0]:
        assert (status, out, no_sentence(err.removesuffix("\n"))) == (2, "", None)
    else:
        assert status == 0, err
        assert no_record(json.loads(out), size) is None
