"""Models that borrow a GPU give what they give without, keep what was computed, and leave the embedded ones alone."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
import torch
from PIL import Image

from groundingdino.detection.available_models import MODELS
from groundingdino.detection.detector import Detector
from groundingdino.editing.edits import Edit, Sampling
from groundingdino.editing.inpainter import Inpainter
from groundingdino.editing.lama import LaMa
from groundingdino.editing.perform import EditProgress, edit_picture
from groundingdino.editing.stickers import Stickers
from groundingdino.editing.tasks import Replace
from groundingdino.page import lent_models
from groundingdino.page.borrowed_gpu import BorrowedGpu
from groundingdino.page.lent_models import LentInpainter, Loaders, find_loaders, keep_ready, lent
from groundingdino.page.model_cache import ModelCache
from groundingdino.runtime import devices, zero_gpu
from groundingdino.runtime.interruption import Stopped
from groundingdino.segmentation.available_models import SEGMENTERS
from groundingdino.segmentation.mask_prompts import MaskPrompt
from groundingdino.segmentation.segmenter import Segmenter
from tests.fake_spaces import Platform, error
from tests.tiny_detectors import save as save_other_detector
from tests.tiny_lama import save_lama
from tests.tiny_models import save_detector
from tests.tiny_pipelines import save_sd
from tests.tiny_segmenters import build

KEEP_ALL: dict[str, Any] = {"box_threshold": 0.0, "nms_threshold": None}


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
def loaders(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Loaders:
    monkeypatch.setattr(lent_models, "_TO_BEGIN", 300.0)  # the machine that runs the tests may be busy
    return lent(BorrowedGpu(platform.GPU, "cpu"))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """Tiny models by what they do."""
    root = tmp_path_factory.mktemp("models")
    model, processor = build("sam2")
    model.save_pretrained(root / "sam2")
    processor.save_pretrained(root / "sam2")
    return {
        "detector": save_detector(root / "tiny.safetensors"),
        "segmenter": str(root / "sam2"),
        "inpainter": str(save_sd(root / "sd")),
    }


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8))


def same(one: sv.Detections, other: sv.Detections) -> None:
    assert len(one) == len(other) > 0
    np.testing.assert_array_equal(one.xyxy, other.xyxy)
    np.testing.assert_array_equal(one.confidence, other.confidence)
    assert (one.mask is None) == (other.mask is None)
    if one.mask is not None:
        np.testing.assert_array_equal(np.asarray(one.mask), np.asarray(other.mask))


@pytest.fixture
def detector(loaders: Loaders, files: dict[str, str]) -> Detector:
    return loaders.detector(files["detector"], device="cpu", local_files_only=True)


@pytest.fixture
def segmenter(loaders: Loaders, files: dict[str, str]) -> Segmenter:
    return loaders.segmenter(files["segmenter"], device="cpu", local_files_only=True)


def test_a_detector_finds_the_same_and_encodes_a_picture_once(detector: Detector, files, picture, platform: Platform):
    here = Detector.from_pretrained(files["detector"], "cpu", dtype=torch.float32)
    for prompt in ("cat . dog", "sofa"):
        ours = detector.ground(encoded := detector.encode_image(picture), prompt).detections(**KEEP_ALL)
        same(ours, here(picture, prompt, **KEEP_ALL))
    assert encoded.cached
    assert {tensor.device.type for tensor in encoded.features if isinstance(tensor, torch.Tensor)} == {"cpu"}
    assert len(platform.seconds) == 3  # the picture, and two prompts
    assert detector.ground(encoded, "sofa").cached
    assert len(platform.seconds) == 3
    same(detector(picture, "cat . dog", **KEEP_ALL, each=True), here(picture, "cat . dog", **KEEP_ALL, each=True))


def test_a_detector_of_another_architecture_finds_the_same(loaders: Loaders, picture, platform: Platform, tmp_path):
    folder = str(save_other_detector("owlv2", tmp_path / "owlv2"))
    detector = loaders.detector(folder, device="cpu", local_files_only=True)
    here = Detector.from_pretrained(folder, "cpu")
    same(detector(picture, "cat . dog", **KEEP_ALL), here(picture, "cat . dog", **KEEP_ALL))
    assert {parameter.device.type for parameter in detector.model.parameters()} == {"meta"}
    assert len(platform.seconds) == 2


def test_a_detector_has_no_weights_here_and_shows_no_drafts(detector: Detector, picture):
    detector(picture, "cat")
    assert {parameter.device.type for parameter in detector.model.parameters()} == {"meta"}
    assert detector.draft_side(picture, "dog") is None


def test_a_prompt_of_several_passages_asks_for_more_seconds(detector: Detector, picture, platform: Platform):
    encoded = detector.encode_image(picture)
    detector.ground(encoded, "cat")
    detector.ground(encoded, [f"thing number {number}" for number in range(400)])
    assert platform.seconds[2] > platform.seconds[1]


def test_a_segmenter_cuts_out_the_same_and_masks_are_made_here(
    segmenter: Segmenter, files, picture, platform: Platform
):
    here = Segmenter.from_pretrained(files["segmenter"], "cpu")
    ours, theirs = segmenter.encode_image(picture), here.encode_image(picture)
    assert ours.features.device.type == "cpu"
    torch.testing.assert_close(ours.features, theirs.features, rtol=0, atol=0)
    for prompt in (MaskPrompt(points=((40, 30, 1),)), MaskPrompt(box=(10, 10, 60, 70))):
        same(segmenter.segment(ours, [prompt]), here.segment(theirs, [prompt]))
    assert segmenter.encode_image(picture).cached
    assert len(platform.seconds) == 1  # the picture alone
    everything: dict[str, Any] = {"points_per_side": 4, "min_quality": 0.0, "min_stability": 0.0}
    same(segmenter.everything(ours, **everything), here.everything(theirs, **everything))
    assert len(platform.seconds) == 2
    assert segmenter.everything(ours, **everything)
    assert len(platform.seconds) == 2  # kept


@pytest.fixture(scope="module")
def objects() -> sv.Detections:
    masks = np.zeros((1, 96, 128), bool)
    masks[0, 30:60, 40:90] = True
    return sv.Detections(np.array([[40, 30, 90, 60]], float), masks)


@pytest.fixture
def inpainter(loaders: Loaders, files: dict[str, str]) -> LentInpainter:
    return loaders.inpainter(files["inpainter"], device="cpu", local_files_only=True)


def edit(sampling: Sampling = Sampling(steps=3, seed=5)) -> Edit:  # noqa: B008  # frozen
    return Edit(Replace("a cat"), sampling=sampling)


def test_an_inpainter_paints_the_same_and_tells_its_steps(inpainter, files, picture, objects, platform: Platform):
    told: list[EditProgress] = []
    ours = edit_picture(picture, objects, edit(), inpainter, told.append)
    theirs = edit_picture(picture, objects, edit(), Inpainter.from_pretrained(files["inpainter"], "cpu"))
    np.testing.assert_array_equal(np.asarray(ours.images[0]), np.asarray(theirs.images[0]))
    assert ours.recipe == theirs.recipe
    assert [one.step for one in told] == [0, 1, 2, 3]
    assert told[-1].preview is not None
    assert len(platform.seconds) == 1


def test_cancelling_ends_painting_within_a_step(inpainter, picture, objects):
    told: list[EditProgress] = []
    with pytest.raises(Stopped):
        edit_picture(picture, objects, edit(Sampling(steps=150, seed=5)), inpainter, told.append, lambda: len(told) > 2)
    assert told[-1].step <= 3


def test_seconds_follow_the_steps_and_what_cannot_be_painted_borrows_nothing(
    inpainter, picture, objects, platform: Platform
):
    with pytest.raises(ValueError, match=r"of 0[.]1 leaves none of 3 steps"):
        edit_picture(picture, objects, edit(Sampling(steps=3, seed=5, strength=0.1)), inpainter)
    assert platform.seconds == []
    platform.refusal = error("ZeroGPU quota exceeded", "Try again in 1:00:00")
    for steps in (10, 100):
        with pytest.raises(ValueError, match="Your GPU time here is used up: try again in 1:00:00, or choose"):
            edit_picture(picture, objects, edit(Sampling(steps=steps, seed=5)), inpainter)
    assert platform.seconds[1] - platform.seconds[0] >= 9


def test_what_comes_along_and_what_runs_on_the_processor_borrow_nothing(
    loaders: Loaders, picture, objects, platform: Platform, tmp_path: Path
):
    detector = loaders.detector("embedded", device=None, local_files_only=True)
    assert detector.device.type == "cpu"
    detector(picture, "cat")
    segmenter = loaders.segmenter("embedded", device=None, local_files_only=True)
    segmenter.segment(segmenter.encode_image(picture), [MaskPrompt(box=(10, 10, 60, 70))])
    stickers = loaders.inpainter("embedded", device=None, local_files_only=True)
    assert isinstance(stickers, Stickers)
    edit_picture(picture, objects, Edit(Replace("cat"), sampling=Sampling(seed=1)), stickers)
    assert isinstance(loaders.inpainter(str(save_lama(tmp_path / "lama.onnx", (0, 0, 255)))), LaMa)
    assert platform.seconds == []


def cache(kind: Any, names: tuple[str, ...], ready: Callable[[str], bool]) -> ModelCache[Any, Any]:
    return ModelCache({name: kind[name] for name in names}, lambda *_, **__: None, ready)


def test_what_is_here_at_the_start_is_kept_on_the_gpu(monkeypatch, platform: Platform, caplog):
    loaded = []

    def load(name: str, device: str) -> str:
        if name == "mm-t":
            raise ValueError("It is damaged.")
        loaded.append((name, device))
        return name

    monkeypatch.setattr(lent_models, "passes_there", load)
    monkeypatch.setattr(lent_models, "segmenter_there", load)
    detectors = cache(MODELS, ("embedded", "swin-t", "swin-b", "mm-t"), lambda name: name != "swin-b")
    segmenters = cache(SEGMENTERS, ("embedded", "sam2.1-tiny", "vit_h"), lambda _: True)
    monkeypatch.setattr(lent_models, "_KEPT_BYTES", 2e9)  # the last one has no room
    keep_ready(BorrowedGpu(platform.GPU), detectors, segmenters)
    assert loaded == [("swin-t", "cuda"), ("sam2.1-tiny", "cuda")]
    assert "mm-t cannot be loaded: It is damaged." in caplog.text


@pytest.mark.parametrize(
    ("variable", "installed", "here"),
    [(None, True, False), ("true", True, True), ("1", True, True), ("true", False, False), ("false", True, False)],
)
def test_a_gpu_is_borrowed_where_the_platform_lends_one(monkeypatch, variable, installed, here, platform: Platform):
    monkeypatch.delenv(zero_gpu.SIGN, raising=False)
    if variable:
        monkeypatch.setenv(zero_gpu.SIGN, variable)
    monkeypatch.setattr(zero_gpu, "find_spec", lambda _: object() if installed else None)
    monkeypatch.setitem(sys.modules, "spaces", platform)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # as the platform feigns
    assert zero_gpu.is_here() == here
    assert (find_loaders().gpu is not None) == here
    assert devices.find_device().type == ("cpu" if here else "cuda")
    assert find_loaders("cpu") == Loaders()  # who asks for a device gets it
    if not here:
        assert find_loaders() == Loaders(Detector.from_pretrained, Segmenter.from_pretrained, Inpainter.from_pretrained)
