"""What pip is told of the package: what it needs, with which extras, where data lie; and what goes without extras."""

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder
from huggingface_hub import SpaceHardware
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from groundingdino.detection.available_models import MODELS
from groundingdino.runtime.extras import LIBRARIES
from groundingdino.segmentation.available_models import SEGMENTERS
from tests.conftest import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PINS = ("requirements.txt", "tests/requirements.txt", "groundingdino/training/requirements.txt")
# Rooms that may import what an extra brings.
EXTRA_OF = {
    "page": "demo",
    "editing": "inpaint",
    "kernels": "cpu",
    "evaluation": "evaluate",
    "training": "train",
    "command_line": "ray",
}
# Brought by what else is there: triton by torch where there is one, llvmlite by numba, what makes a server by gradio.
# `spaces` is brought by the platform that it is for.
BROUGHT = {
    "triton": "torch",
    "llvmlite": "numba",
    **dict.fromkeys(("gradio_client", "httpx", "mcp", "starlette", "spaces"), "gradio"),
}


def requirements(lines: list[str]) -> dict[str, Requirement]:
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(one.name): one for one in found}


CORE = requirements(PROJECT["project"]["dependencies"])
EXTRAS = {extra: requirements(lines) for extra, lines in PROJECT["project"]["optional-dependencies"].items()}
RANGES = {**CORE, **{name: one for extra in EXTRAS.values() for name, one in extra.items()}}


def pins(file: str, python: str) -> dict[str, Version]:
    """What a file of requirements installs with a version of Python."""
    found: dict[str, Version] = {}
    for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
        text = line.partition(" #")[0]
        one = Requirement(text) if text and text[0].isalnum() else None
        if one and (one.marker is None or one.marker.evaluate({"python_version": python})):
            ((operator, version),) = [(each.operator, each.version) for each in one.specifier]
            assert operator == "==", f"{line} of {file} is no pin"
            assert canonicalize_name(one.name) not in found, f"{one.name} has two pins with Python {python}"
            found[canonicalize_name(one.name)] = Version(version)
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_every_pin_lies_in_its_range(python):
    pinned = {name: version for file in PINS for name, version in pins(file, python).items()}
    # No file of requirements installs Ray, which few want and which is large.
    assert {name for name in RANGES if name not in pinned} == {"groundingdino", "pre-commit", *EXTRAS["ray"]}
    outside = [f"{name} {version}" for name, version in pinned.items() if version not in RANGES[name].specifier]
    assert outside == []
    assert {*CORE, *EXTRAS["demo"], *EXTRAS["inpaint"], *EXTRAS["cpu"]} == set(pins("requirements.txt", python))


def test_all_of_it_is_in_the_language_of_the_oldest_python():
    """What the oldest library lacks, mypy tells, which reads it as that version: its `python_version` in pyproject."""
    oldest = tuple(map(int, PYTHONS[0].split(".")))
    assert PROJECT["tool"]["mypy"]["python_version"] == PYTHONS[0]
    assert PROJECT["project"]["requires-python"] == f">={PYTHONS[0]}"
    with pytest.raises(SyntaxError):
        ast.parse("try: pass\nexcept* ValueError: pass", feature_version=oldest)
    for file in [*(ROOT / "groundingdino").rglob("*.py"), ROOT / "app.py"]:
        ast.parse(file.read_text(encoding="utf-8"), file.name, feature_version=oldest)


def test_a_space_differs_by_what_its_platform_brings_alone():
    """ZeroGPU lists PyTorch up to 2.11 and two versions of Python; gradio comes with the Space."""
    ours, theirs = pins("requirements.txt", "3.12"), pins("groundingdino/page/requirements-spaces.txt", "3.12")
    differing = {name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)}
    assert differing == {"torch", "torchvision", "gradio"}
    assert "gradio" not in theirs
    assert Version("2.8") <= theirs["torch"] < Version("2.12")
    minor = theirs["torch"].minor
    assert theirs["torchvision"].release[:2] == (0, minor + 15)  # that was made for it
    assert all(version in RANGES[name].specifier for name, version in theirs.items())


def test_the_front_matter_makes_a_space():
    space = yaml.safe_load((ROOT / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert (space["sdk"], Version(space["sdk_version"])) == ("gradio", pins("requirements.txt", "3.12")["gradio"])
    assert space["python_version"] in ("3.10.13", "3.12.12")  # of ZeroGPU
    assert (ROOT / space["app_file"]).is_file()
    assert len(space["short_description"]) <= 60
    assert space["suggested_hardware"] in [hardware.value for hardware in SpaceHardware]
    assert space["tags"]
    assert re.fullmatch(r"\d+[hm]", space["startup_duration_timeout"])
    sources = [card.source for card in MODELS.values() if card.source]
    files = {(one.repository, getattr(one, "filename", None), one.revision) for one in sources}
    folders = {card.repository for card in SEGMENTERS.values()} | {name for name, file, _ in files if file is None}
    named = [entry.split() for entry in space["preload_from_hub"]]
    assert [entry[0] for entry in named] == space["models"]
    for name, *rest in named:
        assert (name, *rest) in files if rest else name in folders


def test_every_import_is_declared():
    distributions = packages_distributions()
    undeclared = set()
    for file in [*(ROOT / "groundingdino").rglob("*.py"), ROOT / "app.py"]:
        room = file.relative_to(ROOT).parts[1] if file.name != "app.py" else "page"
        allowed = {*CORE, *EXTRAS.get(EXTRA_OF.get(room, ""), {})}
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            for top in {name.partition(".")[0] for name in names} - {"groundingdino"} - sys.stdlib_module_names:
                brought = distributions.get(BROUGHT.get(top, top), [top])
                if not {canonicalize_name(name) for name in brought} & allowed:
                    undeclared.add(f"{file.relative_to(ROOT)} imports {top}")
    assert undeclared == set()


def test_what_is_looked_for_is_what_an_extra_brings():
    for extra, libraries in LIBRARIES.items():
        assert {canonicalize_name(name) for name in libraries} <= set(EXTRAS[extra])


def test_the_wheel_has_the_data_that_the_program_reads():
    files = {Path(file.distribution_path).as_posix() for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    data = {path.relative_to(ROOT).as_posix() for path in (ROOT / "assets").glob("*/**/*") if path.is_file()}
    assert len(data) > 30
    assert {f"groundingdino/{name}" for name in data} <= files
    assert {"groundingdino/py.typed", "groundingdino/__init__.pyi", "groundingdino/artwork/names.tsv"} <= files
    assert {name.partition("/")[0] for name in files} == {"groundingdino"}


WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
import importlib.util
look = importlib.util.find_spec
def find_spec(name, package=None):
    return None if name.partition(".")[0] in {absent} else look(name, package)
importlib.util.find_spec = find_spec
{code}
"""
ABSENT = {"gradio", "diffusers", "accelerate", "numba", "llvmlite", "pycocotools"}


def run_without(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Code in a process that has none of the extras, outside the repository."""
    program = WITHOUT.format(absent=ABSENT, code=f"sys.path.insert(0, {str(ROOT)!r})\n{code}")
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder)


WITHOUT_EXTRAS = """
import groundingdino as gd

for name in gd.__all__:
    getattr(gd, name)
cats = gd.Detector.from_pretrained(device="cpu")(picture, "cat")
edited = gd.edit_picture(gd.load_editable(picture), cats, gd.Edit(gd.Remove("fill"), gd.MaskSettings(boxes=True)))
print(len(cats), len(edited.images))
try:
    gd.Inpainter.from_pretrained("sd15", device="cpu")
except ValueError as error:
    print(error)
try:
    import groundingdino.training
except ModuleNotFoundError as error:
    print(error)
import app
"""


def test_without_extras_everything_but_their_tasks_works(tmp_path):
    picture = ROOT / "assets" / "examples" / "picnic.webp"
    ended = run_without(f"picture = {str(picture)!r}\n{WITHOUT_EXTRAS}", tmp_path)
    assert ended.stdout.splitlines() == [
        "1 1",
        "Painting by a diffusion model needs diffusers and accelerate, which are not installed: "
        "pip install diffusers accelerate.",
        "Training needs pycocotools, which is not installed: pip install pycocotools.",
    ]
    assert ended.stderr == "app.py: The page needs gradio, which is not installed: pip install gradio.\n"
