import json
import logging
import warnings
from pathlib import Path
from threading import Event, Thread

import pytest
import torch
from safetensors.torch import load_file

from groundingdino.editing import inpainter_models
from groundingdino.editing.available_models import INPAINTERS, has_inpainter
from groundingdino.editing.inpainter_models import load_inpainter
from groundingdino.runtime.quiet import quietly
from tests.tiny_pipelines import save_gligen, save_sd, save_sdxl


@pytest.fixture(scope="module")
def sd(tmp_path_factory) -> Path:
    return save_sd(tmp_path_factory.mktemp("pipelines") / "sd")


@pytest.mark.parametrize(
    ("save", "kind"),
    [
        (save_sd, "StableDiffusionInpaintPipeline"),
        (lambda folder: save_sd(folder, in_channels=4), "StableDiffusionInpaintPipeline"),
        (save_sdxl, "StableDiffusionXLInpaintPipeline"),
        (save_gligen, "MaskedGLIGENPipeline"),
    ],
    ids=["sd", "plain sd", "sdxl", "gligen"],
)
def test_a_folder_says_which_pipeline_it_is(tmp_path, save, kind):
    pipeline, card, device = load_inpainter(save(tmp_path / "mine"), "cpu")
    assert type(pipeline).__name__ == kind
    assert (card.name, card.description) == ("mine", "Your own weights.")
    assert card.size_bytes > 10_000
    assert device == torch.device("cpu")


def test_half_precision_is_read_and_cast_where_a_processor_needs_it(tmp_path, sd):
    folder = save_sd(tmp_path / "half", variant="fp16")
    for file in folder.glob("*/*.safetensors"):  # diffusers names the variant, but converts nothing itself
        assert ".fp16." in file.name
    pipeline = load_inpainter(folder, "cpu").pipeline
    assert {part.dtype for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder)} == {torch.float32}
    stored = load_file(sd / "unet" / "diffusion_pytorch_model.safetensors")
    torch.testing.assert_close(dict(pipeline.unet.state_dict()), stored)


def test_nothing_of_the_loading_is_told_to_users(sd, capfd, recwarn):
    load_inpainter(sd, "cpu")
    out, err = capfd.readouterr()
    assert out == err == ""
    assert not recwarn.list


def test_what_the_libraries_say_is_put_back_afterwards():
    logger = logging.getLogger("diffusers")
    before = logger.level
    with quietly:
        assert logger.level == logging.ERROR
    assert logger.level == before


def test_it_is_put_back_by_whoever_leaves_last(monkeypatch):
    """One model may be loaded while another paints."""
    from diffusers.utils import logging as diffusers_logging

    monkeypatch.setattr(diffusers_logging, "_tqdm_active", False)  # somebody wants no bars at all
    before, filters = logging.getLogger("diffusers").level, list(warnings.filters)
    first_is_in, second_is_in = Event(), Event()

    def first() -> None:
        with quietly:
            first_is_in.set()
            assert second_is_in.wait(10)

    thread = Thread(target=first)
    thread.start()
    assert first_is_in.wait(10)
    with quietly:
        second_is_in.set()
        thread.join()
        assert logging.getLogger("diffusers").level == logging.ERROR
    assert logging.getLogger("diffusers").level == before
    assert warnings.filters == filters
    assert not diffusers_logging.is_progress_bar_enabled()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "There is no inpainter 'nonsense': expected embedded, lama, sd15"),
        ("/no/where", "There is no inpainter '/no/where'"),
    ],
)
def test_an_unknown_name_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        load_inpainter(name, "cpu")


def test_a_model_that_is_not_here_is_refused_where_downloads_are_off(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert not has_inpainter("sd15")
    for name in ("sd15", "owner/name"):
        with pytest.raises(ValueError, match="downloads are switched off"):
            load_inpainter(name, "cpu", local_files_only=True)


def test_a_folder_that_lacks_something_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no model_index\.json: expected a pipeline in diffusers' layout"):
        load_inpainter(tmp_path, "cpu")


@pytest.mark.parametrize("damage", ["weights", "shape", "class"])
def test_a_damaged_pipeline_is_refused_in_one_sentence(tmp_path, damage):
    folder = save_sd(tmp_path / "sd")
    if damage == "weights":
        (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"not weights")
    elif damage == "shape":
        config = json.loads((folder / "unet" / "config.json").read_text())
        config["cross_attention_dim"] = 64
        (folder / "unet" / "config.json").write_text(json.dumps(config))
    else:
        index = json.loads((folder / "model_index.json").read_text())
        index["_class_name"] = "AudioLDMPipeline"
        (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="cannot be loaded as an inpainting pipeline: ") as refusal:
        load_inpainter(folder, "cpu")
    assert "\n" not in str(refusal.value)


def test_there_must_be_such_a_device(sd):
    with pytest.raises(ValueError, match="cannot be used here"):
        load_inpainter(sd, "cuda:99")


def test_a_transformers_folder_says_which_pipeline_it_is(transformers):
    kinds = {name: type(inpainter.pipeline).__name__ for name, inpainter in transformers.items()}
    assert kinds == {
        "flux-fill": "FluxFillPipeline",
        "qwen-image-edit": "SizedQwenImageEditInpaintPipeline",
        "z-image": "ZImageInpaintPipeline",
    }


def test_a_gpu_takes_half_precision_and_a_processor_whole(sd):
    assert inpainter_models._precision(sd, torch.device("cuda")) == torch.float16
    assert inpainter_models._precision(sd, torch.device("cpu")) == torch.float32


PARTS = 2 * 80  # bytes


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (100 << 30, ["to cuda:0"]),
        (PARTS, ["to cuda:0"]),
        (PARTS - 1, ["parts from cuda:0", "slicing", "tiling"]),
        (PARTS // 2 - 1, ["layers from cuda:0", "slicing", "tiling"]),
    ],
)
def test_a_small_gpu_gets_one_part_after_the_other_and_a_tiny_one_layers(monkeypatch, room, expected):
    class Vae(torch.nn.Linear):
        def enable_slicing(self):
            calls.append("slicing")

        def enable_tiling(self):
            calls.append("tiling")

    class Pipeline:
        vae = Vae(4, 4)
        components = {"vae": vae, "unet": torch.nn.Linear(4, 4), "tokenizer": object()}  # noqa: RUF012

        def to(self, device):
            calls.append(f"to {device}")

        def enable_model_cpu_offload(self, device):
            calls.append(f"parts from {device}")

        def enable_sequential_cpu_offload(self, device):
            calls.append(f"layers from {device}")

    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (room + inpainter_models._WORKING_BYTES, 200 << 30))
    inpainter_models._place(Pipeline(), torch.device("cuda:0"))
    assert calls == expected


def test_every_card_is_whole():
    for name, card in INPAINTERS.items():
        assert card.name == name
        assert card.title
        assert card.description.endswith(".")
        assert card.size_bytes > 1_000_000
        assert 1 <= card.steps <= 150
        assert (card.repository is None) == (name == "embedded")
        assert ("Licence: " in card.description) == (name != "embedded")
    assert "accept it on the hub and log in" in INPAINTERS["flux-fill"].description


def test_stickers_come_along_and_are_no_pipeline():
    assert has_inpainter("embedded")
    with pytest.raises(ValueError, match=r"no pipeline: load it with Inpainter.from_pretrained\('embedded'\)"):
        load_inpainter("embedded")
