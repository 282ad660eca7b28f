"""Models that compute on a GPU which is borrowed for each call, in the place of those that have one.

Here they have what is known without computing: settings, tokenizer, what was computed before. Weights that only the GPU
needs are left out here. The embedded models are not among them: they are quick enough on the processor, at each key.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from groundingdino.detection.detector import DEFAULT_CACHE_BYTES, Detector
from groundingdino.detection.examples import Shown
from groundingdino.detection.families import Loaded, load_detector, passes_of
from groundingdino.detection.passes import Passes
from groundingdino.detection.phrases import Grounding
from groundingdino.editing.available_models import find_inpainter_card
from groundingdino.editing.edits import Sampling
from groundingdino.editing.few_steps import fetch_few_steps
from groundingdino.editing.inpainter import Inpainter, Report
from groundingdino.editing.inpainter_models import LoadedInpainter, load_inpainter
from groundingdino.editing.perform import BoxText, Painted
from groundingdino.files.downloads import Progress
from groundingdino.inputs.coordinates import Size
from groundingdino.inputs.prompt import Prompt
from groundingdino.page.borrowed_gpu import BorrowedGpu
from groundingdino.page.model_cache import ALWAYS_KEPT, ModelCache
from groundingdino.runtime import zero_gpu
from groundingdino.runtime.interruption import StopCheck
from groundingdino.segmentation.segmenter import Segmenter
from groundingdino.segmentation.segmenter_models import LoadedSegmenter, load_segmenter

# Seconds that are asked for, with room to spare: what is not used is not counted, and what is asked for is what a
# visitor must have left.
_TO_BEGIN = 5.0  # a process is forked, and models are brought to the GPU
_BYTES_A_SECOND = 400e6  # of a model that has to be loaded from its files
_PASS = 0.5  # of a picture, or of a prompt
_POINTS_A_SECOND = 100  # of everything
_STEP, _STEP_OF_A_GIGABYTE = 0.1, 0.05  # of denoising, with guidance

_KEPT_BYTES = 4e9  # of weights that every new process gets

logger = logging.getLogger(__name__)


class Loaders(NamedTuple):
    """What makes models by name: to compute in this process, or on the GPU that is borrowed."""

    detector: Callable[..., Any] = Detector.from_pretrained
    segmenter: Callable[..., Any] = Segmenter.from_pretrained
    inpainter: Callable[..., Any] = Inpainter.from_pretrained
    gpu: BorrowedGpu | None = None


def find_loaders(device: str | None = None) -> Loaders:
    """Those for where this runs; who asks for a device gets it."""
    if device is not None or not zero_gpu.is_here():
        return Loaders()
    import spaces

    return lent(BorrowedGpu(spaces.GPU))


def lent(gpu: BorrowedGpu) -> Loaders:
    """Loaders of models that borrow a GPU, but for those that come along and what runs on the processor anyhow."""
    return Loaders(partial(_detector, gpu), partial(_segmenter, gpu), partial(_inpainter, gpu), gpu)


def keep_ready(gpu: BorrowedGpu, detectors: ModelCache[Any, Any], segmenters: ModelCache[Any, Any]) -> None:
    """Has the detectors and segmenters whose files are here on the GPU whenever that is lent, up to a few gigabytes.

    All that is kept is brought there for each new process, so that inpainters, which are large, are loaded on demand.
    """
    room = _KEPT_BYTES
    for load, models in ((passes_there, detectors), (segmenter_there, segmenters)):
        for name, card in models.cards.items():
            if name in ALWAYS_KEPT or card.size_bytes > room or not models.is_ready(name):
                continue
            try:
                gpu.keep(load, name)
            except ValueError as error:  # who chooses it reads so, too
                logger.error("%s cannot be loaded: %s", name, error)
            else:
                room -= card.size_bytes


def passes_there(name: str, device: str) -> Passes:
    """A detector's passes as they run on the GPU."""
    return passes_of(load_detector(name, device, local_files_only=True), DEFAULT_CACHE_BYTES.texts, None)


def segmenter_there(name: str, device: str) -> Segmenter:
    """A segmenter as it runs on the GPU."""
    return Segmenter.from_pretrained(name, device, local_files_only=True)


def inpainter_there(name: str, device: str) -> Any:
    """An inpainter as it runs on the GPU."""
    return Inpainter.from_pretrained(name, device, local_files_only=True)


class LentPasses(Passes):
    """Passes of which only what comes before and after the model is done here.

    There are no drafts, whatever the pace: one would borrow the GPU twice.
    """

    def __init__(self, loaded: Loaded, text_bytes: int, _: torch.dtype | None = None, *, gpu: BorrowedGpu, name: str):
        self._here = here = passes_of(loaded, text_bytes, torch.float32)
        self.model, self.tokenizer, self.card, self.sides = here.model.to("meta"), here.tokenizer, here.card, here.sides
        self.device, self.dtype = here.device, here.dtype
        self._run = partial(gpu.run, passes_there, name)
        self._begin = _seconds_to_begin(loaded.card.size_bytes)

    def preprocess(self, image: Image.Image, short_side: int) -> Tensor:
        """As `Passes`."""
        return self._here.preprocess(image, short_side)

    def encode(self, pictures: Sequence[Tensor]) -> Any:
        """As `Passes`; features lie on the processor."""
        return self._run("encode", [*pictures], seconds=self._begin + _PASS * len(pictures))

    def ground(self, features: Any, sizes: Sequence[Size], prompt: Prompt) -> list[Grounding]:
        """As `Passes`."""
        seconds = self._begin + _PASS * self.count(prompt) * len(sizes)
        groundings: list[Grounding] = self._run("ground", features, [*sizes], prompt, seconds=seconds)
        return groundings

    def ground_like(self, features: Any, size: Size, shown: Shown, name: str) -> Grounding:
        """As `Passes`."""
        grounding: Grounding = self._run("ground_like", features, size, shown, name, seconds=self._begin + _PASS)
        return grounding

    def count(self, prompt: Prompt) -> int:
        """As `Passes`."""
        return self._here.count(prompt)


class LentSegmenter(Segmenter):
    """A segmenter whose encoder is elsewhere; masks of clicks and boxes, which take little, are made here."""

    def __init__(self, loaded: LoadedSegmenter, gpu: BorrowedGpu, name: str):
        super().__init__(loaded)  # weights stay: encoder and decoder of some share them
        self._run = partial(gpu.run, segmenter_there, name)
        self._begin = _seconds_to_begin(self.card.size_bytes)

    def compute_embedding(self, image: Image.Image) -> tuple[Tensor, tuple[int, int]]:
        """As `Segmenter`; features lie on the processor."""
        embedding: tuple[Tensor, tuple[int, int]] = self._run("compute_embedding", image, seconds=self._begin + _PASS)
        return embedding

    def compute_everything(self, features: Tensor, *settings: Any) -> list[Any]:
        """As `Segmenter`: a thousand prompts are too many for a processor."""
        points = settings[2] ** 2
        seconds = self._begin + points / _POINTS_A_SECOND
        found: list[Any] = self._run("compute_everything", features, *settings, seconds=seconds)
        return found


class LentInpainter(Inpainter):
    """An inpainter that paints elsewhere; what it cannot do is told here, before a GPU is borrowed."""

    def __init__(self, loaded: LoadedInpainter, local_files_only: bool, gpu: BorrowedGpu, name: str):
        super().__init__(loaded, local_files_only)
        for part in self.pipeline.components.values():
            if isinstance(part, nn.Module):
                part.to("meta")
        self._run_there = partial(gpu.run, inpainter_there, name)

    def paint(
        self,
        pixels: np.ndarray,
        mask: np.ndarray,
        alpha: np.ndarray,
        texts: tuple[BoxText, ...],
        sampling: Sampling,
        report: Report,
        stop: StopCheck | None = None,
    ) -> Painted:
        """As `Inpainter`; `stop` is asked at each step."""
        steps, size = self._check(sampling), self.card.size_bytes
        if sampling.few_steps:
            fetch_few_steps(sampling.few_steps, None, self._local_files_only)  # there nothing is fetched
        seconds = _seconds_to_begin(size) + steps * (_STEP + _STEP_OF_A_GIGABYTE * size / 1e9)
        arguments = pixels, mask, alpha, texts, sampling
        painted: Painted = self._run_there("paint", *arguments, seconds=seconds, report=report, stop=stop)
        return painted


def _seconds_to_begin(size: int) -> float:
    return _TO_BEGIN + size / _BYTES_A_SECOND


def _detector(
    gpu: BorrowedGpu,
    name: str,
    device: str | None = None,
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> Detector:
    if name in ALWAYS_KEPT:
        return Detector.from_pretrained(name, device, local_files_only, progress)
    loaded = load_detector(name, "cpu", local_files_only, progress)
    return Detector(loaded, passes=partial(LentPasses, gpu=gpu, name=name))


def _segmenter(
    gpu: BorrowedGpu,
    name: str,
    device: str | None = None,
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> Segmenter:
    if name in ALWAYS_KEPT:
        return Segmenter.from_pretrained(name, device, local_files_only, progress)
    return LentSegmenter(load_segmenter(name, "cpu", local_files_only, progress), gpu, name)


def _inpainter(
    gpu: BorrowedGpu,
    name: str,
    device: str | None = None,
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> Any:
    card = find_inpainter_card(name)
    if name in ALWAYS_KEPT or (card is not None and card.removes_only):
        return Inpainter.from_pretrained(name, device, local_files_only, progress)
    return LentInpainter(load_inpainter(name, "cpu", local_files_only, progress), local_files_only, gpu, name)
