import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
import torch
from diffusers import EulerDiscreteScheduler
from PIL import Image
from safetensors.torch import save_file

from groundingdino.editing import inpainter as inpainter_module
from groundingdino.editing.available_models import INPAINTERS
from groundingdino.editing.edits import Edit, Sampling
from groundingdino.editing.few_steps import (
    FEW_STEPS,
    SD15,
    SDXL,
    family_of,
    fetch_few_steps,
    few_steps_for,
    has_few_steps,
)
from groundingdino.editing.inpainter import Inpainter
from groundingdino.editing.perform import Edited, edit_picture
from groundingdino.editing.schedulers import make_scheduler
from groundingdino.editing.tasks import Replace
from groundingdino.runtime.interruption import Stopped
from tests.fake_hub import NO_WEIGHTS, running_hub
from tests.tiny_pipelines import save_sd, save_sdxl

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8))
OBJECT = sv.Detections(np.array([[40, 30, 90, 70]], float))


def save_lora(unet: torch.nn.Module, path: Path, size: float = 1.0, kohya: bool = False) -> Path:
    """Differences to all queries of a UNet, of rank 2, in one of the two forms in which they are published."""
    lot, tensors = torch.Generator().manual_seed(0), dict[str, torch.Tensor]()
    for name, module in unet.named_modules():
        if name.endswith("to_q"):
            low = torch.randn(2, module.in_features, generator=lot)
            high = size * torch.randn(module.out_features, 2, generator=lot)
            if kohya:
                stem = f"lora_unet_{name.replace('.', '_')}"
                tensors |= {f"{stem}.lora_down.weight": low, f"{stem}.lora_up.weight": high}
                tensors[f"{stem}.alpha"] = torch.tensor(2.0)
            else:
                tensors |= {f"unet.{name}.lora_A.weight": low, f"unet.{name}.lora_B.weight": high}
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Inpainter:
    loaded = Inpainter.from_pretrained(save_sd(tmp_path_factory.mktemp("pipelines") / "sd"), "cpu")
    assert isinstance(loaded, Inpainter)
    return loaded


@pytest.fixture
def files(whole, tmp_path, monkeypatch) -> dict[str, Path]:
    """What is on the hub, by name: differences that change something, and one that changes nothing."""
    unet = whole.pipeline.unet
    files = {
        "lcm-sd15": save_lora(unet, tmp_path / "lcm.safetensors"),
        "hyper-sd15": save_lora(unet, tmp_path / "hyper.safetensors", kohya=True),
    }
    monkeypatch.setattr(inpainter_module, "fetch_few_steps", lambda name, *_: files[name])
    return files


@pytest.fixture
def inpainter(whole, monkeypatch) -> Iterator[Inpainter]:
    """Of the family of Stable Diffusion 1.5, with nothing switched on."""
    monkeypatch.setattr(whole, "card", replace(whole.card, family=SD15))
    yield whole
    whole._switch(None, None)


def paint(inpainter: Inpainter, few_steps: str | None = None, stop=None, **sampling) -> Edited:
    asked = Sampling(seed=5, few_steps=few_steps, **sampling)
    return edit_picture(PICTURE, OBJECT, Edit(Replace("dog"), sampling=asked), inpainter, stop=stop)


def pixels(edited: Edited) -> bytes:
    return edited.images[0].tobytes()


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("name", ["lcm-sd15", "hyper-sd15"])
def test_the_switch_changes_the_picture_repeats_it_and_is_undone_to_the_bit(inpainter, name):
    weights = {key: value.clone() for key, value in inpainter.pipeline.unet.state_dict().items()}
    before = pixels(paint(inpainter, steps=2))
    on = pixels(paint(inpainter, name))
    assert on != before
    assert pixels(paint(inpainter, name)) == on
    assert pixels(paint(inpainter, steps=2)) == before
    after = inpainter.pipeline.unet.state_dict()
    assert list(after) == list(weights)
    assert all(torch.equal(after[key], value) for key, value in weights.items())
    assert pixels(paint(inpainter, name)) == on


@pytest.mark.parametrize(("name", "kohya"), [("lcm-sd15", False), ("hyper-sd15", True)])
def test_it_is_the_weights_that_change_the_picture_not_the_scheduler_alone(inpainter, files, name, kohya):
    on = pixels(paint(inpainter, name))
    inpainter._switch(None, None)
    save_lora(inpainter.pipeline.unet, files[name], size=0, kohya=kohya)
    assert pixels(paint(inpainter, name)) != on


@pytest.mark.usefixtures("files")
def test_from_one_to_another_nothing_of_the_first_is_left(inpainter):
    first = pixels(paint(inpainter, "lcm-sd15"))
    second = pixels(paint(inpainter, "hyper-sd15"))
    assert pixels(paint(inpainter, "lcm-sd15")) == first != second


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("name", "sampling", "expected"),
    [
        ("lcm-sd15", {}, {"steps": 6, "guidance": 1.0, "scheduler": "LCMScheduler"}),
        ("lcm-sd15", {"steps": 4, "guidance": 1.5}, {"steps": 4, "guidance": 1.5, "scheduler": "LCMScheduler"}),
        ("hyper-sd15", {}, {"steps": 8, "guidance": 1.0, "scheduler": "DDIMScheduler"}),
    ],
)
def test_steps_guidance_and_scheduler_are_set_and_stand_in_the_recipe(inpainter, name, sampling, expected):
    recipe = paint(inpainter, name, **sampling).recipe
    assert {**expected, "few_steps": name}.items() <= recipe.items()
    off = paint(inpainter, steps=2).recipe
    assert "few_steps" not in off
    assert (off["guidance"], off["scheduler"]) == (inpainter.card.guidance, "DDIMScheduler")


@pytest.mark.usefixtures("files")
def test_what_is_of_no_use_beside_it_is_told(inpainter):
    assert any("was made for 8 steps" in note for note in paint(inpainter, "hyper-sd15", steps=3).notes)
    assert any("takes a guidance over 1" in note for note in paint(inpainter, "lcm-sd15", negative_prompt="cat").notes)
    assert paint(inpainter, "lcm-sd15", steps=4).notes == ()


@pytest.mark.usefixtures("files")
def test_a_run_that_is_stopped_leaves_a_switch_that_can_be_switched_off(inpainter):
    before = pixels(paint(inpainter, steps=2))
    asked = iter([False] * 12)
    with pytest.raises(Stopped):
        paint(inpainter, "lcm-sd15", stop=lambda: next(asked, True))
    assert pixels(paint(inpainter, steps=2)) == before


@pytest.mark.parametrize(
    ("family", "name", "message"),
    [
        (SD15, "lightning-sdxl", "'lightning-sdxl' does not fit sd: choose lcm-sd15 or hyper-sd15."),
        ("", "lcm-sd15", "'lcm-sd15' does not fit sd: there are none for it."),
    ],
)
def test_what_does_not_fit_a_model_is_refused(inpainter, monkeypatch, family, name, message):
    monkeypatch.setattr(inpainter, "card", replace(inpainter.card, family=family))
    with pytest.raises(ValueError, match=re.escape(message)):
        paint(inpainter, name)


@pytest.mark.parametrize("content", [b"no weights", None])
def test_a_file_that_cannot_be_loaded_is_told_and_leaves_the_model_as_it_was(inpainter, files, content):
    before = pixels(paint(inpainter, steps=2))
    if content is None:  # of another model
        wide = {"unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight": torch.ones(2, 999)}
        wide["unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora_B.weight"] = torch.ones(999, 2)
        save_file(wide, files["lcm-sd15"])
    else:
        files["lcm-sd15"].write_bytes(content)
    with pytest.raises(ValueError, match=r"LCM for Stable Diffusion 1.5 cannot be loaded into sd: .*\.$") as refusal:
        paint(inpainter, "lcm-sd15")
    assert "\n" not in str(refusal.value)
    assert pixels(paint(inpainter, steps=2)) == before


def test_sdxl_takes_its_own(tmp_path, monkeypatch):
    sdxl = Inpainter.from_pretrained(save_sdxl(tmp_path / "sdxl"), "cpu")
    sdxl.card = replace(sdxl.card, family=SDXL)
    file = save_lora(sdxl.pipeline.unet, tmp_path / "lightning.safetensors", kohya=True)
    monkeypatch.setattr(inpainter_module, "fetch_few_steps", lambda *_: file)
    assert sdxl.few_steps == ("lcm-sdxl", "lightning-sdxl", "hyper-sdxl")
    before = pixels(paint(sdxl, steps=2))
    edited = paint(sdxl, "lightning-sdxl")
    assert (edited.recipe["steps"], edited.recipe["scheduler"]) == (4, "EulerDiscreteScheduler")
    assert pixels(edited) != before
    assert pixels(paint(sdxl, steps=2)) == before


@pytest.mark.parametrize("name", FEW_STEPS)
def test_a_card_is_whole(name):
    card = FEW_STEPS[name]
    assert card.name == name == f"{name.partition('-')[0]}-{card.family}"
    assert card.source.filename.endswith(".safetensors")
    assert card.size_bytes > 100_000_000
    assert card.guidance == 1
    assert 1 <= card.steps <= 8
    assert "Licence: " in card.description
    published = EulerDiscreteScheduler(beta_schedule="scaled_linear")
    scheduler = make_scheduler(published, card.scheduler)
    assert scheduler.config.beta_schedule == "scaled_linear"
    assert name.startswith("lcm") or scheduler.config.timestep_spacing == "trailing"
    scheduler.set_timesteps(card.steps)
    assert scheduler.timesteps[0] == 999  # pure noise


def test_families_are_told_by_the_width_of_texts():
    assert family_of({"cross_attention_dim": 768}) == SD15
    assert family_of({"cross_attention_dim": 2048}) == SDXL
    for other in ({"cross_attention_dim": 1024}, {"cross_attention_dim": 768, "attention_type": "gated"}, {}):
        assert family_of(other) == ""
    assert few_steps_for("") == ()
    with_some = [name for name, card in INPAINTERS.items() if few_steps_for(card.family)]
    assert with_some == ["sd15", "sdxl"]


def test_a_file_is_fetched_on_request_alone(monkeypatch, tmp_path):
    with running_hub(monkeypatch, tmp_path) as hub:
        hub.files = {"latent-consistency/lcm-lora-sdv1-5/pytorch_lora_weights.safetensors": NO_WEIGHTS}
        assert not has_few_steps("lcm-sd15")
        with pytest.raises(ValueError, match="downloads are switched off"):
            fetch_few_steps("lcm-sd15", local_files_only=True)
        assert hub.requests == []
        reports = []
        path = fetch_few_steps("lcm-sd15", None, False, lambda *report: reports.append(report))
        assert path.read_bytes() == NO_WEIGHTS
        assert reports
        assert has_few_steps("lcm-sd15")
        assert not has_few_steps("lcm-sdxl")


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"few_steps": "turbo"}, "There are no few steps 'turbo': choose one of lcm-sd15, hyper-sd15"),
        ({"few_steps": 4}, "There are no few steps"),
        ({"few_steps": "lcm-sd15", "scheduler": "ddim"}, "brings its own scheduler"),
    ],
)
def test_what_cannot_be_asked_for_is_said(sampling, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**sampling)
