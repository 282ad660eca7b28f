"""The page with models that know the answers, for the browser tests."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

import app
from groundingdino.editing.few_steps import FEW_STEPS
from groundingdino.files.assets import PHOTOGRAPHS
from groundingdino.page.model_cache import ModelCache
from groundingdino.page.studio import OFF, NoFewSteps, Studio
from tests.dauber import INPAINTER, Dauber
from tests.oracle import CARD, Oracle
from tests.scissors import SEGMENTER, Scissors

SIZE, OTHER_SIZE = (320, 240), (200, 300)
CAT, OTHER_CAT = ("cat", 0.9, (10, 20, 110, 120)), ("cat", 0.6, (200, 20, 300, 120))
PIZZA, DOG = ("pizza", 0.28, (100, 150, 180, 230)), ("dog", 0.8, (20, 130, 90, 230))
CAR = ("car", 0.7, (20, 30, 180, 150))
ANSWERS = {
    SIZE: {"cat": [CAT[1:], OTHER_CAT[1:]], "pizza": [PIZZA[1:]], "dog": [DOG[1:]]},
    OTHER_SIZE: {"car": [CAR[1:]]},
}
OTHERS = {SIZE: [(200, 150, 300, 220), (112, 22, 190, 100)]}  # besides, when everything is asked for
LARGE = replace(CARD, name="large", title="Large", box_threshold=0.2, size_bytes=2_000_000, description="Knows more.")
LARGE = replace(LARGE, takes_examples=True)
DEAF = ("strength", "negative_prompt", "scheduler")
ROLLER = replace(INPAINTER, name="roller", title="Roller", size_bytes=3_000_000, steps=7, guidance=4, boxes=True)
ROLLER = replace(ROLLER, ignores=DEAF)
FEW: dict[str, Any] = {OFF: NoFewSteps(), "lcm-sd15": FEW_STEPS["lcm-sd15"]}


class Server:
    """The page with a detector, a segmenter and inpainters that know the answers; a second one of two of them has to be
    downloaded first."""

    def __init__(self, examples: Path, knows: tuple[str, ...] = (PHOTOGRAPHS,)):
        self.detector, self.segmenter, self.inpainter = Oracle(ANSWERS), Scissors(OTHERS), Dauber()
        self.downloaded: list[str] = []
        self.arrives = threading.Event()  # downloads wait for it in the middle
        self.breaks = False  # downloads fail
        card, painter = replace(CARD, knows=knows), replace(INPAINTER, knows=knows)
        studio = Studio(
            ModelCache({"embedded": card, "large": LARGE}, self._detector, self._has_files),
            ModelCache({"embedded": SEGMENTER}, lambda *_, **__: self.segmenter, lambda _: True),
            ModelCache({"embedded": painter, "roller": ROLLER}, self._inpainter, self._has_files),
            ModelCache(FEW, self._few_steps, lambda name: name == OFF or name in self.downloaded),
        )
        self.demo = app.build(studio, examples=examples)
        app.serve(self.demo, prevent_thread_lock=True, quiet=True)
        self.url = self.demo.local_url

    @classmethod
    def open(cls, folder: Path, **options: Any) -> "Server":
        """With two examples, written to a folder."""
        Image.linear_gradient("L").resize(SIZE).convert("RGB").save(folder / "first.png")
        Image.radial_gradient("L").resize(OTHER_SIZE).convert("RGB").save(folder / "second.png")
        examples = [{"file": "first.png", "prompt": "cat . pizza"}, {"file": "second.png", "prompt": "car"}]
        (folder / "examples.json").write_text(json.dumps(examples))
        return cls(folder, **options)

    def be_fast(self) -> None:
        """Nothing takes time any more."""
        self.detector.seconds = self.segmenter.seconds = self.inpainter.seconds = 0

    def _has_files(self, name: str) -> bool:
        return name == "embedded" or name in self.downloaded

    def _detector(self, name: str, progress: Callable[..., None] | None = None, **_: Any) -> Any:
        self._fetch(name, progress, LARGE.size_bytes, "weights of Large")
        return self.detector if name == "embedded" else Oracle(ANSWERS, LARGE)

    def _inpainter(self, name: str, progress: Callable[..., None] | None = None, **_: Any) -> Any:
        self._fetch(name, progress, ROLLER.size_bytes, "weights of Roller")
        return self.inpainter if name == "embedded" else Dauber(ROLLER)

    def _few_steps(self, name: str, progress: Callable[..., None] | None = None, **_: Any) -> Path:
        self._fetch(name, progress, FEW[name].size_bytes, "weights of LCM")
        return Path()

    def _fetch(self, name: str, progress: Callable[..., None] | None, size: int, what: str) -> None:
        if progress:
            progress(1_000_000, size, what)
            assert self.arrives.wait(60)
            if self.breaks:
                raise ValueError("The line is dead.")
            self.downloaded.append(name)
