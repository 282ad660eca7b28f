"""Fixtures that several test files share."""

import os

# Before anything loads PyTorch: two processes run the tests on what may be two cores, and a page beside them; threads
# that wait spinning would take the cores from each other, see `groundingdino.command_line.main.run`.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torch import Tensor

from groundingdino.model.config import GroundingDINOConfig, SwinConfig, TextConfig
from tests import seeded_weights

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "tests" / "data", ROOT.parent / "shared" / "reference"  # the second holds more
BERT_VOCABULARY = ROOT / "assets" / "models" / "bert-base-uncased" / "vocab.txt"


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Path]:
    """Name -> file or folder of what the authors' implementation computed; the test is skipped where it is not."""

    def find(name: str) -> Path:
        for folder in REFERENCE:
            if (folder / name).exists():
                return folder / name
        pytest.skip(f"{name} of the reference data is too large to come along, and not in ../shared/reference")

    return find


@pytest.fixture(scope="session")
def seeded_state_dict(reference: Callable[[str], Path]) -> Callable[[str, int], dict[str, Tensor]]:
    """(name of a manifest, seed) -> weights in the authors' layout, the same on every machine."""
    return lambda name, seed: seeded_weights.seeded_state_dict(reference(f"{name}_keys.json"), seed)


@pytest.fixture(scope="session")
def mini_config() -> GroundingDINOConfig:
    """The architecture of the reference folder's `mini`: everything there is, small."""
    return GroundingDINOConfig(
        backbone=SwinConfig(embed_dim=24, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), window_size=7),
        text=TextConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128),
        ffn_dim=256,
        enhancer_layers=2,
        decoder_layers=2,
        num_queries=60,
    )


@pytest.fixture(scope="session")
def tokenizer():
    """BERT's tokenizer from the vocabulary that ships with the package."""
    from transformers import BertTokenizerFast

    return BertTokenizerFast(vocab=str(BERT_VOCABULARY))


@pytest.fixture(scope="session")
def transformer_folders(tmp_path_factory) -> dict[str, Path]:
    """Pipelines of a few thousand random weights whose denoiser is a transformer."""
    from tests.tiny_transformers import save_flux_fill, save_qwen_image_edit, save_z_image

    root = tmp_path_factory.mktemp("transformers")
    saved = {"flux-fill": save_flux_fill, "qwen-image-edit": save_qwen_image_edit, "z-image": save_z_image}
    return {name: save(root / name) for name, save in saved.items()}


@pytest.fixture(scope="session")
def transformers(transformer_folders) -> dict[str, Any]:
    """The same as inpainters that work at a small size."""
    from groundingdino.editing.inpainter import Inpainter
    from tests.tiny_pipelines import CELL, WORKING_SIZE

    loaded = {name: Inpainter.from_pretrained(folder, "cpu") for name, folder in transformer_folders.items()}
    for inpainter in loaded.values():
        inpainter.pipeline.default_sample_size = WORKING_SIZE // CELL  # of which the autoencoder may say nothing
    return loaded


@pytest.fixture
def picture(tmp_path: Path) -> str:
    """Path of a picture of 320 x 240 pixels, all teal."""
    path = tmp_path / "two cats.png"
    Image.new("RGB", (320, 240), "teal").save(path)
    return str(path)


def skip_or_fail(reason: str) -> None:
    """Skips the test; in CI, where nothing may be missing, fails it."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    from tests.visitor import BROWSERS, FLAGS, find_browser

    path = find_browser()
    if path is None:
        skip_or_fail(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def home(browser: Any) -> Iterator[Any]:
    """A browser that has been at the page before: its scripts are there and compiled, as with whoever comes back."""
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture(scope="module")
def log() -> Iterator[io.StringIO]:
    """What the server writes to its log while the tests run."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logging.getLogger().addHandler(handler)
    with redirect_stderr(written):
        yield written
    logging.getLogger().removeHandler(handler)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page with models that know the answers."""
    from tests.server import Server

    running = Server.open(tmp_path_factory.mktemp("examples"))
    yield running
    running.demo.close()


@pytest.fixture
def untouched(tmp_path: Path) -> Iterator[Any]:
    """The same for one test alone: nothing has been looked at or downloaded yet."""
    from tests.server import Server

    running = Server.open(tmp_path)
    yield running
    running.demo.close()


@pytest.fixture
def visit(browser: Any, home: Any, log: io.StringIO) -> Iterator[Callable[..., Any]]:
    """Puts someone in front of a page: `Visitor`'s address and screen -> one who finds no error in the browser's
    console and leaves none in the log.

    What the page keeps in the browser is forgotten after the test, and others in the same test have browsers of their
    own.
    """
    from tests.visitor import Visitor

    before = log.tell()
    visitors: list[Visitor] = []

    def come(*arguments: Any, **options: Any) -> Visitor:
        is_ordinary = not visitors and options.keys() <= {"width", "height", "keeps_prompt"}
        visitors.append(Visitor(home if is_ordinary else browser, *arguments, **options))
        return visitors[-1]

    yield come
    for page in [page for context in browser.contexts for page in context.pages]:
        page.close()
    for origin in {someone.origin for someone in visitors}:
        blank = home.new_page()
        what = {"origin": origin, "storageTypes": "local_storage,cookies,indexeddb,cache_storage"}
        home.new_cdp_session(blank).send("Storage.clearDataForOrigin", what)
        blank.close()
    assert [someone.complaints for someone in visitors] == [[]] * len(visitors), "the browser's console stays clean"
    written = log.getvalue()[before:]
    assert "Traceback" not in written, written


@pytest.fixture
def visitor(visit: Callable[..., Any], server: Any) -> Any:
    """Someone in front of the page with models that know the answers."""
    server.be_fast()
    return visit(server.url)
