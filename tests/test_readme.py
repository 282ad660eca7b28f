"""What README and docs tell people to type runs, and has the right types.

Python blocks of a document run in their order, as one program, in a folder that has our `assets`. A block that begins
with "```python no_run" is only read by mypy: one that needs a download, a GPU or one's own data. Of command lines every
option and file must be there; those of `groundingdino` that need no download run as well.
"""

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from groundingdino.command_line.main import main
from groundingdino.command_line.options import build_parser
from tests.clips import write
from tests.conftest import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
PYTHON, SHELL = ("python", "py"), ("", "bash", "sh", "shell", "console")
SERVER = re.compile(r"http://(?:127\.0\.0\.1|localhost):7860")
OURS = (("groundingdino",), ("python", "-m", "groundingdino"))
EXAMPLE = ROOT / "assets" / "examples" / "picnic.webp"


class Block(NamedTuple):
    language: str
    runs: bool
    line: int  # of its text
    text: str


def blocks(text: str, languages: tuple[str, ...]) -> list[Block]:
    """What stands between fences of one of these languages."""
    found = []
    for match in re.finditer(r"^ *```([^\n`]*)\n(.*?)^ *```$", text, re.M | re.S):
        language, *marks = match[1].split() or [""]
        line = text.count("\n", 0, match.start(2)) + 1
        found.append(Block(language, "no_run" not in marks, line, match[2]))
    return [block for block in found if block.language in languages]


def commands(block: Block) -> list[list[str]]:
    """The words of each command of a block, without prompts and comments."""
    found = []
    for line in re.sub(r"\\\n", " ", block.text).splitlines():
        reader = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
        reader.whitespace_split = True
        with suppress(ValueError):  # a quote without its end: no command but a drawing
            for is_operator, words in groupby(reader, lambda word: bool(word) and set(word) <= set("&|;<>()")):
                if not is_operator:
                    found.append(list(words))
    return found


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with nothing but `assets`; no model is downloaded."""
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


@pytest.fixture
def address() -> Iterator[str]:
    """Of the page with the models that come along."""
    import app
    from groundingdino.page.studio import Studio

    demo = app.build(Studio.open("cpu", local_files_only=True))
    app.serve(demo, prevent_thread_lock=True, quiet=True)
    yield (demo.local_url or "").rstrip("/")
    demo.close()


def run_python(document: Path, text: str) -> None:
    """Runs a document's blocks one after the other; errors name the document and its line."""
    names: dict[str, object] = {"__name__": "document"}
    for block in blocks(text, PYTHON):
        if block.runs:
            exec(compile("\n" * (block.line - 1) + block.text, str(document), "exec"), names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
@pytest.mark.usefixtures("elsewhere")
def test_python_runs(document: Path, request: pytest.FixtureRequest):
    text = read(document)
    if any(SERVER.search(block.text) for block in blocks(text, PYTHON) if block.runs):
        text = SERVER.sub(request.getfixturevalue("address"), text)
    run_python(document, text)


def test_python_has_the_right_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from mypy import api

    monkeypatch.chdir(ROOT)  # where mypy finds the package
    for document in DOCUMENTS:
        script = tmp_path / f"{name_of(document).replace('/', '_').removesuffix('.md')}.py"
        script.write_text("\n".join(block.text for block in blocks(read(document), PYTHON)), encoding="utf-8")
    good = [
        "import groundingdino as gd",
        "detections = gd.Detector.from_pretrained()('picture.png', 'cat')",
        "gd.MaskPrompt([1, 2, 3, 4], [[5, 6, 1], (7, 8, 0)], [([(1, 2), [3, 4]], 1)])",
        "gd.MaskPrompt(detections.xyxy[0], picture_points := detections.xyxy[:, :3], [(picture_points, 1)])",
    ]
    (tmp_path / "good_and_bad.py").write_text("\n".join([*good, "gd.MaskPrompt(points=5)"]), encoding="utf-8")
    # With the settings of CI, which has filled the cache before the tests; without it this takes a minute.
    scripts = map(str, sorted(tmp_path.glob("*.py")))
    told, errors, _ = api.run(["--config-file", "pyproject.toml", "--no-error-summary", *scripts])
    assert errors == ""
    (complaint,) = told.splitlines()
    assert 'error: Argument "points" to "MaskPrompt" has incompatible type "int"' in complaint


def our_command(words: list[str]) -> list[str] | None:
    """What follows the name of the program, if it is ours."""
    return next((words[len(name) :] for name in OURS if tuple(words[: len(name)]) == name), None)


def check_command(words: list[str]) -> bool:
    """Runs a command of ours, or checks that the files and options of another are there; whether it is known."""
    if (arguments := our_command(words)) is not None:
        run_ours(arguments)
        return True
    if words[:2] == ["python", "-m"] and (module := words[2]).partition(".")[0] in (
        "groundingdino",
        "benchmarks",
        "tests",
    ):
        assert find_spec(module) is not None, f"there is no module {module}"
        sources = list((ROOT / module.split(".")[0]).rglob("*.py"))
    elif words[0] == "python" and len(words) > 1 and words[1].endswith(".py"):
        sources = [ROOT / words[1]]
    elif words[:2] == ["pip", "install"]:
        for option, file in pairwise(words):
            assert option != "-r" or (ROOT / file).is_file(), f"there is no {file}"
        return True
    else:
        return False
    text = "".join(map(read, sources))
    for option in (word.partition("=")[0] for word in words if word.startswith("--")):
        name = option.removeprefix("--no-").removeprefix("--")
        assert f'"--{name}"' in text or f'"{option}"' in text, f"{words[:3]} has no option {option}"
    return True


def run_ours(arguments: list[str]) -> None:
    """Runs a command with files in place of those that only the reader has; what needs a download is only parsed, and
    so is what serves a page until it is stopped."""
    if "--help" in arguments:
        return
    try:
        options = vars(build_parser().parse_args(arguments))
    except SystemExit:
        raise AssertionError(f"groundingdino {shlex.join(arguments)} is refused") from None
    models = {options.get(kind, "embedded") for kind in ("model", "segmenter", "inpainter")}
    if options.get("image") == "-" or models != {"embedded"} or options["command"] in ("models", "review"):
        return
    for kind in ("image", "mask", "picture"):
        path = options.get(kind)
        if path and not Path(path).exists():
            with Image.open(EXAMPLE) as picture:
                picture.convert("L" if kind == "mask" else "RGB").save(path, "PNG")
    if (video := options.get("video")) and not Path(video).exists():
        write(Path(video), frames=12, rate=4)
    assert main(arguments) == 0, f"groundingdino {shlex.join(arguments)} fails"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
@pytest.mark.usefixtures("elsewhere")
def test_command_lines_run(document: Path):
    for block in blocks(read(document), SHELL):
        for words in commands(block):
            check_command(words)


def anchors(path: Path) -> set[str]:
    """What links to headings end with, as GitHub makes it of them."""
    headings = re.findall(r"^#+ (.+)$", read(path), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=name_of)
def test_links_lead_somewhere(document: Path):
    targets = re.findall(r"\]\(([^)\s]+)\)", read(document))
    for file, _, anchor in (target.partition("#") for target in targets if not target.startswith("http")):
        path = document.parent / file if file else document
        assert path.exists(), f"{name_of(document)} links to {file}, which is not there"
        assert not anchor or anchor in anchors(path), f"{file or name_of(document)} has no heading for #{anchor}"


def test_the_readme_can_be_read_in_five_minutes():
    assert len(read(DOCUMENTS[0]).splitlines()) < 200


def test_the_readme_shows_both_ways_in():
    text = read(DOCUMENTS[0])
    assert len([block for block in blocks(text, PYTHON) if block.runs]) >= 3
    shown = [
        arguments for block in blocks(text, SHELL) for words in commands(block) if (arguments := our_command(words))
    ]
    assert {arguments[0] for arguments in shown} >= {"detect", "segment", "inpaint"}


SAMPLE = """
```python
count = 1
```
text
```python no_run
count = 1 / 0
```
```py
count += 1
assert count == 2
raise RuntimeError(count)
```
```bash
$ groundingdino detect photo.png "cat . dog" \\
    --output found.png  # a comment
cd "some; where" && pip install -r nowhere.txt | tee > log
```
"""


def test_blocks_run_as_one_program_and_an_error_names_its_line():
    with pytest.raises(RuntimeError, match="2") as caught:
        run_python(Path("sample.md"), SAMPLE)
    last = caught.traceback[-1]
    assert (str(last.path).endswith("sample.md"), last.lineno + 1) == (True, 12)


def test_commands_are_found_in_a_block():
    (block,) = blocks(SAMPLE, SHELL)
    first, *others = commands(block)
    assert first == ["groundingdino", "detect", "photo.png", "cat . dog", "--output", "found.png"]
    assert others == [["cd", "some; where"], ["pip", "install", "-r", "nowhere.txt"], ["tee"], ["log"]]


@pytest.mark.parametrize(
    "command",
    [
        "groundingdino detect photo.png cat --colour red",
        "python -m groundingdino detect photo.png ' . '",
        "pip install -r nowhere.txt",
        "python app.py --colour red",
        "python -m groundingdino.training.detector.learn",
        "python -m benchmarks.cpu --colour",
    ],
)
@pytest.mark.usefixtures("elsewhere")
def test_a_command_that_would_fail_is_noticed(command: str):
    with pytest.raises(AssertionError):
        check_command(shlex.split(command))


@pytest.mark.usefixtures("elsewhere")
def test_pictures_that_only_the_reader_has_are_put_there():
    assert check_command(shlex.split("groundingdino inpaint my.jpg '' --mask own.png --recolor red --output red.png"))
    assert Image.open("red.png").size == Image.open(EXAMPLE).size
    assert Image.open("own.png").mode == "L"
