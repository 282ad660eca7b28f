"""The training loop: plans, resuming, the log."""

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from groundingdino.detection.available_models import MODELS
from groundingdino.detection.checkpoints import LoadedModel, load_pretrained
from groundingdino.model import GroundingDINO
from groundingdino.model.config import IMAGENET_MEAN, IMAGENET_STD, PHOTOGRAPHIC
from groundingdino.training.detector import train as training
from groundingdino.training.detector.train import (
    EMBEDDED_PLAN,
    Batches,
    Plan,
    Stage,
    rate_factor,
    save_trained,
    start_from,
    train,
)
from groundingdino.training.segmenter import train as train_segmenter
from tests.training.labelled import TINY, Picture, write_folder

PLAN = Plan(
    stages=(
        Stage(pictures=4, batch_size=2, short_sides=(64,), whole=False),
        Stage(pictures=6, batch_size=2, short_sides=(64, 96), whole=True),
    ),
    warm_up=2,
)


def blocks(index: int, size: tuple[int, int]) -> Picture:
    """A bright block on noise."""
    rng = np.random.default_rng(index)
    width, height = size
    image = rng.integers(0, 100, (height, width, 3), dtype=np.uint8)
    x, y = rng.integers(0, 32, 2)
    image[y : y + 24, x : x + 24] = 255
    return Picture(image, np.array([[x, y, x + 24, y + 24]], np.float32), ("block", "cat"), (0,))


@pytest.fixture
def model() -> GroundingDINO:
    torch.manual_seed(0)
    return GroundingDINO(TINY)


def test_a_plan_finds_its_stages():
    assert PLAN.steps == 5
    assert [PLAN.stages.index(PLAN.stage_at(step)) for step in range(5)] == [0, 0, 1, 1, 1]
    assert [PLAN.first_picture(step) for step in range(5)] == [0, 2, 4, 6, 8]
    with pytest.raises(IndexError):
        PLAN.stage_at(5)


def test_the_rate_warms_up_and_ends_low():
    assert rate_factor(0, PLAN) == pytest.approx(0.5)
    assert rate_factor(PLAN.steps, PLAN) == pytest.approx(0.01)


def test_the_rate_begins_anew_at_a_restart():
    plan = replace(PLAN, warm_up=1, restarts=(1,))
    assert [plan.first_step(stage) for stage in range(3)] == [0, 2, 5]
    factors = [rate_factor(step, plan) for step in range(6)]
    assert factors == pytest.approx([1, 0.505, 1, 0.7525, 0.2575, 0.01])


def test_a_resumed_run_sees_the_batches_it_would_have_seen(tokenizer):
    batches, others = (Batches((blocks, blocks), tokenizer, PLAN, 128, 256) for _ in range(2))
    assert len(batches) == 5
    assert torch.equal(batches[3].pixels, others[3].pixels)
    short_sides = {min(batches[step].pixels.shape[2:]) for step in range(5)}
    assert short_sides <= {64, 96}


def test_pictures_are_normalised_as_the_model_has_it(tokenizer):
    usual = Batches((blocks, blocks), tokenizer, PLAN, 128, 256)
    other = Batches((blocks, blocks), tokenizer, PLAN, 128, 256, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    mean, std = (torch.tensor(one)[:, None, None] for one in (IMAGENET_MEAN, IMAGENET_STD))
    torch.testing.assert_close(other[0].pixels, (usual[0].pixels * std + mean) * 2 - 1)


def test_a_stopped_run_goes_on_where_it_was(tokenizer, tmp_path, monkeypatch):
    plan = replace(PLAN, average=0.0)  # an average would hide what the last steps did
    step = training.training_step
    results = []
    for name, stops_at in (("straight", None), ("stopped", 4)):
        torch.manual_seed(0)
        model = GroundingDINO(TINY)
        numbers = iter([0, 1, 2, 3, 4] if stops_at is None else [0, 1, 2, 3, 4, 3, 4])
        taken = iter(range(100))

        def tied(*arguments, numbers=numbers, taken=taken, stops_at=stops_at, **options):
            torch.manual_seed(next(numbers))  # noisy queries draw from the global generator
            if next(taken) == stops_at:
                raise KeyboardInterrupt
            return step(*arguments, **options)

        monkeypatch.setattr(training, "training_step", tied)
        run = functools.partial(train, model, tokenizer, (blocks, blocks), plan, tmp_path / name, 0, checkpoint_every=3)
        if stops_at is not None:
            with pytest.raises(KeyboardInterrupt):
                run()
            assert torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["step"] == 3
        results.append(run().state_dict())
    for name, tensor in results[0].items():
        torch.testing.assert_close(results[1][name], tensor, msg=name)


def test_a_run_can_begin_with_a_later_stage(model, tokenizer, tmp_path, monkeypatch):
    stages, rates = [], []

    def step(*arguments):
        stages.append(arguments[-1])
        rates.append(arguments[2].param_groups[0]["lr"])
        return {}

    monkeypatch.setattr(training, "training_step", step)
    train(model, tokenizer, (blocks, blocks), PLAN, tmp_path, 0, first_stage=1)
    assert stages == [True] * 3  # those of the second stage, which trains the whole model
    assert np.divide(rates, rates[0]) == pytest.approx([1, 1.505, 0.515])  # the rate warms up anew


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage", "9999"], "--stage should be from 0 to"),
        (["--start", "nowhere"], "nowhere"),
    ],
)
@pytest.mark.parametrize("program", [training, train_segmenter])
def test_the_command_line_says_what_is_wrong(monkeypatch, capsys, program, arguments, message):
    monkeypatch.setattr("sys.argv", ["train", *arguments])
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(program, "keep_freed_memory", lambda: None)
    with pytest.raises(SystemExit):
        program.main()
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("program", [training, train_segmenter])
def test_a_run_that_goes_on_is_not_begun_elsewhere(monkeypatch, capsys, tmp_path, program):
    (tmp_path / "checkpoint.pt").touch()
    monkeypatch.setattr("sys.argv", ["train", "--stage", "1", "--output", str(tmp_path)])
    with pytest.raises(SystemExit):
        program.main()
    assert "holds a run" in capsys.readouterr().err


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_step_multiplies_in_bfloat16_where_the_hardware_does(model, tokenizer, monkeypatch, native, expected):
    monkeypatch.setattr(training, "multiplies_bfloat16", lambda _: native)
    seen = []
    layer = model.enhancer.layers[0].image.ffn.linear2
    layer.register_forward_hook(lambda *arguments: seen.append(arguments[2].dtype))
    batch = Batches((blocks, blocks), tokenizer, PLAN, 128, 256)[2]
    losses = training.training_step(model, batch, training.make_optimizer(model, PLAN), PLAN, whole=True)
    assert seen == [expected]
    assert all(np.isfinite(loss) for loss in losses.values())


def test_the_saved_model_loads(model, tokenizer, tmp_path):
    save_trained(LoadedModel(model, tokenizer, MODELS["embedded"]), tmp_path)
    loaded = load_pretrained(tmp_path / "model.safetensors")
    assert loaded.card.config == TINY
    assert loaded.card.title == MODELS["embedded"].title
    assert loaded.tokenizer.get_vocab() == tokenizer.get_vocab()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], tensor, rtol=1e-3, atol=1e-3)


def test_a_training_starts_from_imagenet_and_from_what_was_learned():
    fresh, embedded = start_from(None, None), load_pretrained("embedded")
    known = start_from("embedded", None)
    assert fresh.model.config == known.model.config == PHOTOGRAPHIC
    edges = "backbone.features.conv_stem.weight"
    assert torch.equal(fresh.model.state_dict()[edges], known.model.state_dict()[edges])
    heads = "decoder.box_head.layers.0.weight"
    assert torch.equal(known.model.state_dict()[heads], embedded.model.state_dict()[heads])
    assert not torch.equal(fresh.model.state_dict()[heads], embedded.model.state_dict()[heads])
    words = list(embedded.tokenizer.get_vocab().items())
    assert words == [(word, known.tokenizer.get_vocab()[word]) for word, _ in words]
    assert known.tokenizer.tokenize("bench") == ["bench"]


def test_what_is_frozen_stays_and_the_pyramid_learns_at_the_full_rate():
    model = GroundingDINO(PHOTOGRAPHIC)
    optimizer = training.make_optimizer(model, EMBEDDED_PLAN)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    rate = {name: rates.get(id(p)) for name, p in model.named_parameters()}
    assert rate["backbone.features.conv_stem.weight"] is None
    assert rate["backbone.features.blocks.6.0.conv_pw.weight"] == EMBEDDED_PLAN.learning_rate * 0.25
    assert rate["backbone.pyramid.layer_blocks.0.0.weight"] == EMBEDDED_PLAN.learning_rate
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen
    assert all(name.startswith("backbone.features.") for name in frozen)


def test_the_command_line_mixes_drawings_and_photographs(monkeypatch, tmp_path):
    write_folder(tmp_path / "data" / "pets", [{"category_id": 5, "bbox": [2, 1, 12, 8]}])
    settings = tmp_path / "settings.json"
    known = {"weight": 1, "absent_groups": [], "absent": ["oven"]}
    settings.write_text(json.dumps({"synonyms": {}, "words": [], "sets": {"pets": known}}))
    arguments = [
        "--photographs",
        str(tmp_path / "data"),
        "--settings",
        str(settings),
        "--output",
        str(tmp_path / "run"),
    ]
    monkeypatch.setattr("sys.argv", ["train", *arguments])
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(training, "start_from", lambda *_: load_pretrained("embedded"))
    monkeypatch.setattr(training, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(training.Artwork, "render", lambda _: None)
    (tmp_path / "run").mkdir()
    shown = []

    def look(model, _, sources, *__, **___):
        shown.extend(type(sources[1](index, (64, 64))).__name__ for index in range(1000, 1012))
        return model

    monkeypatch.setattr(training, "train", look)
    training.main()
    assert set(shown) == {"Scene", "PhotographExample"}
    assert (tmp_path / "run" / "model.safetensors").is_file()
