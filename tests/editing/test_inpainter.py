import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import supervision as sv
import torch
from PIL import Image

from groundingdino.editing import inpainter_models
from groundingdino.editing.available_models import INPAINTERS
from groundingdino.editing.crops import Crop
from groundingdino.editing.edits import Edit, MaskSettings, Sampling
from groundingdino.editing.few_steps import few_steps_for
from groundingdino.editing.inpainter import Inpainter
from groundingdino.editing.inpainter_models import LoadedInpainter
from groundingdino.editing.perform import BoxText, EditProgress, HeldBack, edit_picture
from groundingdino.editing.pipeline_kinds import heeds_negative_prompt, parameters
from groundingdino.editing.tasks import Background, Region, Regions, Remove, Replace
from groundingdino.runtime.interruption import Stopped
from tests.tiny_pipelines import CELL, TOKENS, WORKING_SIZE, save_gligen, save_sd, save_sdxl

SAVED = {
    "sd": save_sd,
    "plain sd": lambda folder: save_sd(folder, in_channels=4),
    "sdxl": save_sdxl,
    "gligen": save_gligen,
}
KINDS = [*SAVED, "flux-fill", "qwen-image-edit", "z-image"]
SIZE = (300, 200)
MASK = MaskSettings(grow=2, feather=2)
FAST = Sampling(steps=2, seed=5)
CLOSE = Crop((0, 0, 128, 128), (128, 128), (128, 128)), WORKING_SIZE  # nothing is enlarged


def load(folder: Path) -> Inpainter:
    inpainter = Inpainter.from_pretrained(folder, "cpu")
    assert isinstance(inpainter, Inpainter)
    return inpainter


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pipelines")
    return {name: save(root / name) for name, save in SAVED.items()}


@pytest.fixture(scope="module")
def inpainters(folders, transformers) -> dict[str, Inpainter]:
    return {name: load(folder) for name, folder in folders.items()} | transformers


@pytest.fixture(scope="module", params=KINDS)
def inpainter(request, inpainters) -> Inpainter:
    return inpainters[request.param]


@pytest.fixture
def sd(inpainters) -> Inpainter:
    return inpainters["sd"]


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    return Image.fromarray(np.stack([x * 255 // SIZE[0], y * 255 // SIZE[1], (x + y) % 256], axis=-1).astype(np.uint8))


@pytest.fixture(scope="module")
def objects() -> sv.Detections:
    masks = np.zeros((2, SIZE[1], SIZE[0]), bool)
    masks[0, 40:90, 50:120] = masks[1, 120:150, 200:260] = True
    return sv.Detections(np.array([[50, 40, 120, 90], [200, 120, 260, 150]], float), masks)


def pixels_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


@pytest.mark.parametrize(
    "task",
    [
        Replace("a dog"),
        Remove(),
        Background("a beach"),
        Regions((Region((0, 0, 90, 60), "cat"), Region((150, 100, 400, 300), "pizza"))),
    ],
    ids=lambda task: task.mode,
)
def test_every_pipeline_makes_every_edit_and_keeps_the_rest_to_the_bit(inpainter, picture, objects, task):
    edited = edit_picture(picture, objects, Edit(task, MASK, (), FAST), inpainter)
    before, after = pixels_of(picture), pixels_of(edited.images[0])
    assert after.shape == before.shape
    np.testing.assert_array_equal(after[edited.mask == 0], before[edited.mask == 0])
    assert (after != before)[edited.mask == 255].mean() > 0.9
    assert edited.recipe["steps"] == 2
    assert edited.recipe["inpainter"] == inpainter.name


def test_a_seed_paints_the_same_picture_again_and_another_one_another(inpainter, picture, objects):
    def paint(seed: int) -> np.ndarray:
        torch.rand(seed)  # what else draws numbers makes no difference
        return pixels_of(
            edit_picture(picture, objects, Edit(Replace("dog"), MASK, (), Sampling(2, seed=seed)), inpainter).images[0]
        )

    first = paint(3)
    np.testing.assert_array_equal(paint(3), first)
    assert (paint(4) != first).any()


@pytest.mark.parametrize(
    "other",
    [
        Sampling(steps=3, seed=5),
        Sampling(steps=2, seed=5, guidance=1.0),
        Sampling(steps=2, seed=5, negative_prompt="cat"),
        Sampling(steps=2, seed=5, scheduler="euler-a"),
        Sampling(steps=2, seed=5, strength=0.5),
    ],
    ids=["steps", "guidance", "negative_prompt", "scheduler", "strength"],
)
def test_each_control_makes_a_difference_or_is_refused(inpainter, picture, objects, other):
    edits = [Edit(Replace("dog"), MASK, (), sampling) for sampling in (FAST, other)]
    refusal = None
    if other.scheduler and inpainter.name in ("flux-fill", "qwen-image-edit", "z-image"):
        refusal = f"'euler-a' does not suit {inpainter.name}: choose none, it has its own"
    if other.negative_prompt and inpainter.name == "flux-fill":
        refusal = "flux-fill cannot be led away from a text: leave the negative prompt empty"
    if refusal:
        with pytest.raises(ValueError, match=refusal):
            edit_picture(picture, objects, edits[1], inpainter)
        return
    one, two = (edit_picture(picture, objects, edit, inpainter) for edit in edits)
    if inpainter.paints_regions and other.strength < 1:  # GLIGEN has no strength, and says so
        assert any("the strength has no effect" in note for note in two.notes)
    else:
        assert (pixels_of(one.images[0]) != pixels_of(two.images[0])).any()


def test_texts_make_a_difference(inpainter, picture, objects):
    dog, cat = (
        edit_picture(picture, objects, Edit(Replace(text), MASK, (), FAST), inpainter) for text in ("dog", "cat")
    )
    assert (pixels_of(dog.images[0]) != pixels_of(cat.images[0])).any()


def test_each_step_is_reported_with_what_the_picture_looks_like(inpainter, picture, objects):
    reports: list[EditProgress] = []
    edit = Edit(Replace("dog"), MASK, (), Sampling(steps=3, seed=5))
    edit_picture(picture, objects, edit, inpainter, reports.append)
    assert [(report.step, report.steps) for report in reports] == [(step, 3) for step in range(4)]
    assert reports[0].preview is None
    previews = [report.preview for report in reports[1:]]
    assert all(preview.size == SIZE for preview in previews)
    assert len({preview.tobytes() for preview in previews}) == 3
    assert previews[0].getpixel((290, 10)) == picture.getpixel((290, 10))


def test_a_run_stops_within_a_step_and_the_next_one_is_as_ever(inpainter, picture, objects):
    edit = Edit(Replace("dog"), MASK, (), FAST)
    expected = edit_picture(picture, objects, edit, inpainter).images[0]
    asked = 0
    reports = []

    def stop() -> bool:
        """At the second layer of the third step."""
        nonlocal asked
        asked += len(reports) > 2
        return asked > 1

    with pytest.raises(Stopped):
        edit_picture(
            picture,
            objects,
            Edit(Replace("dog"), MASK, (), Sampling(steps=50, seed=5)),
            inpainter,
            reports.append,
            stop,
        )
    assert asked == 2
    assert len(reports) == 3
    np.testing.assert_array_equal(
        pixels_of(edit_picture(picture, objects, edit, inpainter).images[0]), pixels_of(expected)
    )


def test_those_who_wait_for_their_turn_may_go(sd, picture, objects):
    started, leave = threading.Event(), threading.Event()

    def report(_: EditProgress) -> None:
        started.set()
        leave.wait(10)

    def paint() -> None:
        edit_picture(picture, objects, Edit(Remove(), MASK, (), FAST), sd, report)

    first = threading.Thread(target=paint)
    first.start()
    assert started.wait(10)
    begin = time.monotonic()
    with pytest.raises(Stopped):
        edit_picture(picture, objects, Edit(Remove(), MASK, (), FAST), sd, stop=lambda: time.monotonic() > begin + 0.2)
    leave.set()
    first.join(10)
    assert not first.is_alive()


def test_gligen_paints_all_regions_in_one_pass_by_their_own_texts(inpainters, picture):
    gligen = inpainters["gligen"]
    regions = Regions((Region((10, 10, 100, 100), "cat"), Region((150, 50, 290, 190), "pizza")))
    nothing, reports = sv.Detections.empty(), []
    edited = edit_picture(picture, nothing, Edit(regions, MASK, (), FAST), gligen, reports.append)
    assert reports[-1].steps == 2
    other = Regions((regions.regions[0], Region((150, 50, 290, 190), "dog")))
    changed = edit_picture(picture, nothing, Edit(other, MASK, (), FAST), gligen)
    assert (pixels_of(changed.images[0]) != pixels_of(edited.images[0])).any()


def test_removing_is_not_guided_unless_away_from_something(sd, picture, objects):
    plain = edit_picture(picture, objects, Edit(Remove(), MASK, (), FAST), sd)
    away = edit_picture(picture, objects, Edit(Remove(), MASK, (), Sampling(2, seed=5, negative_prompt="cat")), sd)
    assert (plain.recipe["guidance"], away.recipe["guidance"]) == (1.0, sd.card.guidance)


class _Failing:
    """In place of a pipeline's call: fails as often as told, with that error."""

    def __init__(self, inpainter: Inpainter, error: Exception, times: int):
        self.call, self.error, self.left = inpainter._call, error, times
        self.sizes: list[int] = []

    def __call__(self, crop, canvas, *others):
        self.sizes.append(canvas.shape[0])
        if self.left:
            self.left -= 1
            raise self.error
        return self.call(crop, canvas, *others)


FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: not enough memory: you tried to allocate 9"),
    MemoryError(),
]


@pytest.fixture
def large(tmp_path) -> Inpainter:
    """Works at twice the smallest size."""
    return load(save_sd(tmp_path / "large", sample_size=64))


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_where_memory_runs_out_a_smaller_size_is_tried_and_told(large, picture, objects, monkeypatch, error):
    failing = _Failing(large, error, 1)
    monkeypatch.setattr(large, "_call", failing)
    edit = Edit(Replace("dog"), MASK, (), FAST)
    square = objects[np.array([0])]
    edited = edit_picture(picture, square, edit, large)
    assert failing.sizes[1] <= failing.sizes[0] / 1.9
    assert "Memory ran out, so it was painted at 128 instead of 256 pixels." in edited.notes


def test_where_no_size_is_small_enough_a_sentence_says_so_and_the_model_goes_on(large, picture, objects, monkeypatch):
    edit = Edit(Replace("dog"), MASK, (), FAST)
    with monkeypatch.context() as patch:
        patch.setattr(large, "_call", _Failing(large, FULL[0], 99))
        with pytest.raises(ValueError, match=r"not enough memory for large, even at a working size of 128 pixels.*\.$"):
            edit_picture(picture, objects, edit, large)
    assert edit_picture(picture, objects, edit, large).seeds == (5,)


def test_other_errors_are_not_taken_for_a_lack_of_memory(sd, picture, objects, monkeypatch):
    monkeypatch.setattr(sd, "_call", _Failing(sd, RuntimeError("shapes differ"), 1))
    with pytest.raises(RuntimeError, match="shapes differ"):
        edit_picture(picture, objects, Edit(Replace("dog"), MASK, (), FAST), sd)


@pytest.mark.parametrize(
    ("level", "flagged", "message"),
    [(0, [True], "safety checker of sd held the picture back"), (0, None, "came out black")],
)
def test_a_black_result_is_told_as_such(sd, picture, objects, monkeypatch, level, flagged, message):
    def call(_crop, canvas, *_):
        black = Image.fromarray(np.full_like(canvas, level))
        return SimpleNamespace(images=[black], nsfw_content_detected=flagged)

    monkeypatch.setattr(sd, "_call", call)
    with pytest.raises(HeldBack, match=message):
        edit_picture(picture, objects, Edit(Replace("dog"), MASK, (), FAST), sd)


def test_a_text_that_the_model_cannot_read_to_its_end_is_told(inpainter, picture, objects):
    reads = 8 * TOKENS if inpainter.name == "z-image" else TOKENS  # letter by letter
    edited = edit_picture(picture, objects, Edit(Replace("cat " * reads), MASK, (), FAST), inpainter)
    reads_all = inpainter.name == "qwen-image-edit"
    assert any(f"reads {reads} tokens" in note for note in edited.notes) != reads_all
    assert not any("tokens" in note for note in inpainter._notes(*CLOSE, (BoxText((0, 0, 1, 1), "cat"),), FAST))


@pytest.mark.parametrize("name", ["sd15", "sd2", "sdxl", "gligen", "flux-fill", "qwen-image-edit", "z-image"])
def test_cards_tell_what_pipelines_of_their_kind_ignore(inpainters, name):
    alike = inpainters["sd" if name in ("sd15", "sd2") else name]
    ignored = {
        "strength": alike.paints_regions or "strength" not in parameters(alike.pipeline),
        "negative_prompt": not heeds_negative_prompt(alike.pipeline),
        "scheduler": not alike.schedulers,
        "few_steps": not few_steps_for(INPAINTERS[name].family),
    }
    assert set(INPAINTERS[name].ignores) == {setting for setting, is_ignored in ignored.items() if is_ignored}


def test_a_negative_prompt_without_guidance_is_told_to_be_of_no_use(sd, picture, objects):
    sampling = Sampling(steps=2, seed=5, guidance=1, negative_prompt="cat")
    edited = edit_picture(picture, objects, Edit(Replace("dog"), MASK, (), sampling), sd)
    assert any("takes a guidance over 1" in note for note in edited.notes)


@pytest.mark.parametrize("name", ["flux-fill", "qwen-image-edit", "z-image"])
def test_transformers_paint_in_the_precision_that_a_gpu_takes(transformer_folders, picture, objects, name):
    folder = transformer_folders[name]
    assert inpainter_models._precision(folder, torch.device("cuda")) == torch.bfloat16
    pipeline = inpainter_models._read(folder, torch.bfloat16)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.default_sample_size = WORKING_SIZE // CELL
    inpainter = Inpainter(LoadedInpainter(pipeline, INPAINTERS[name], torch.device("cpu")))
    edited = edit_picture(picture, objects, Edit(Replace("dog"), MASK, (), FAST), inpainter)
    before, after = pixels_of(picture), pixels_of(edited.images[0])
    assert (after != before)[edited.mask == 255].mean() > 0.9
    np.testing.assert_array_equal(after[edited.mask == 0], before[edited.mask == 0])


def test_what_is_painted_small_and_enlarged_is_told(sd):
    picture = Image.new("RGB", (1000, 800), "teal")
    mask = np.zeros((1, 800, 1000), bool)
    mask[0, 100:700, 100:700] = True
    objects = sv.Detections(np.array([[100, 100, 700, 700]], float), mask)
    edited = edit_picture(picture, objects, Edit(Remove(), MASK, (), FAST), sd)
    told = f"painted at {sd.working_size} pixels and enlarged: for finer detail, edit a smaller part"
    assert any(told in note for note in edited.notes)


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        (Sampling(steps=2, scheduler="lcm"), "The scheduler 'lcm' does not suit sd: choose one of ddim"),
        (Sampling(steps=10, strength=0.05), "leaves none of 10 steps: expected at least 0.1"),
        (Sampling(steps=30, strength=0.03), "leaves none of 30 steps: expected at least 0.04"),
    ],
)
def test_what_a_model_cannot_do_is_said(sd, picture, objects, sampling, message):
    with pytest.raises(ValueError, match=message):
        edit_picture(picture, objects, Edit(Replace("dog"), MASK, (), sampling), sd)


def test_a_model_knows_its_size_and_schedulers(inpainter):
    assert inpainter.working_size == WORKING_SIZE
    has_its_own = inpainter.name in ("flux-fill", "qwen-image-edit", "z-image")
    assert ("ddim" in inpainter.schedulers) != has_its_own
    assert "lcm" not in inpainter.schedulers
    assert inpainter.name in KINDS
