"""Folders and repositories in transformers' layout: which are read, what is left out, how others are refused."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from groundingdino.command_line.main import main
from groundingdino.files.weight_files import load_strictly
from groundingdino.segmentation import transformers_segmenters
from groundingdino.segmentation.available_models import SEGMENTERS, has_segmenter
from groundingdino.segmentation.segmenter_models import load_segmenter
from tests.fake_hub import running_hub
from tests.tiny_segmenters import KINDS, SIDE, build, edgetam_parts

PLACES = transformers_segmenters.ARCHITECTURES["sam_hq"].same


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[str, Path]:
    """A folder of each architecture, as `save_pretrained` writes it."""
    folders = {}
    for kind in KINDS:
        model, processor = build(kind)
        folders[kind] = tmp_path_factory.mktemp(kind)
        model.save_pretrained(folders[kind])
        processor.save_pretrained(folders[kind])
    return folders


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy of SAM 2's to be damaged."""
    return Path(shutil.copytree(saved["sam2"], tmp_path / "mine"))


def change(file: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(file.read_text())
    edit(values)
    file.write_text(json.dumps(values))


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_segmenter(folder).model.image_encoder.model.state_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_folder_is_loaded_whole(kind, saved):
    loaded = load_segmenter(saved[kind])
    expected = build(kind)[0].state_dict()
    found = loaded.model.image_encoder.model.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)
    assert not loaded.model.training
    size = (saved[kind] / "model.safetensors").stat().st_size
    assert (loaded.card.name, loaded.card.size_bytes, loaded.card.repository) == (str(saved[kind]), size, None)
    assert loaded.card.single_for_box


def published(name: str, **parts: Any) -> Any:
    """A model of transformers in its published size, without memory for its weights."""
    with torch.device("meta"):
        return getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**parts))


def full_edgetam() -> dict[str, Any]:
    backbone = edgetam_parts()["vision_config"]["backbone_config"]
    return {"vision_config": {"backbone_config": backbone, "backbone_channel_list": [384, 192, 96, 48]}}


@pytest.mark.parametrize(
    ("kind", "video", "picture", "parts"),
    [
        ("sam2_video", "Sam2Video", "Sam2", {}),
        ("edgetam_video", "EdgeTamVideo", "EdgeTam", full_edgetam()),
        ("sam3_video", "Sam3Video", "Sam3Tracker", {}),
        ("sam_hq", "SamHQ", "SamHQ", {}),
    ],
)
def test_of_a_published_model_all_is_used_but_what_videos_need(kind, video, picture, parts):
    architecture = transformers_segmenters.ARCHITECTURES[kind]
    state, model = published(video, **parts).state_dict(), published(picture, **parts)
    ours = transformers_segmenters.named_weights(architecture, state)
    load_strictly(model, ours, "The published model")
    left_out = len(state) - len(ours)
    assert left_out == {"sam2_video": 160, "edgetam_video": 156, "sam3_video": 1112, "sam_hq": 0}[kind]
    # A part that nobody knows is not left out in silence.
    foreign = {**state, "memory_bank.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"1 left over \(memory_bank\.weight\)"):
        load_strictly(model, transformers_segmenters.named_weights(architecture, foreign), "It")


def test_the_layout_of_sam3_with_its_detector_is_read(saved, tmp_path):
    state = load_file(saved["sam3_tracker"] / "model.safetensors")
    short = {re.sub(r"^tracker_model\.(?=detector_model|tracker_neck)", "", name): one for name, one in state.items()}
    assert {name.split(".")[0] for name in short} == {"tracker_model", "tracker_neck", "detector_model"}
    short |= {
        f"{name}.weight": torch.zeros(1) for name in ("detector_model.text_encoder", "tracker_model.memory_encoder")
    }
    save_file(short, tmp_path / "model.safetensors")
    config = json.loads((saved["sam3_tracker"] / "config.json").read_text())
    tracker = {**config, "model_type": "sam3_tracker_video"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam3_video", "tracker_config": tracker}))
    expected = weights_of(saved["sam3_tracker"])
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(tmp_path).items())
    pixel_mean = load_segmenter(tmp_path).model.pixel_mean
    torch.testing.assert_close(pixel_mean.flatten(), torch.full((3,), 127.5)), "without a processor"


@pytest.mark.parametrize("name", PLACES)
def test_sam_hq_has_its_places_under_either_name(name, saved, tmp_path):
    state = load_file(saved["sam_hq"] / "model.safetensors")
    (places,) = (state.pop(one) for one in PLACES if one in state)
    save_file({**state, name: places}, tmp_path / "model.safetensors")
    shutil.copy(saved["sam_hq"] / "config.json", tmp_path)
    loaded = weights_of(tmp_path)
    assert all(torch.equal(loaded[one], places) for one in PLACES)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="2 missing"):
        load_segmenter(tmp_path)


def test_weights_in_several_files_are_read(saved, tmp_path):
    build("sam2")[0].save_pretrained(tmp_path, max_shard_size="200KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    expected = weights_of(saved["sam2"])
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(tmp_path).items())


def test_a_folder_says_how_pixels_are_normalised(folder):
    def set_mean(values: dict[str, Any]) -> None:
        values["image_processor"] |= {"image_mean": [0, 0.5, 1], "image_std": [1, 1, 0.5]}

    change(folder / "processor_config.json", set_mean)
    model = load_segmenter(folder).model
    assert model.pixel_mean.flatten().tolist() == [0, 127.5, 255]
    assert model.pixel_std.flatten().tolist() == [255, 255, 127.5]


def edit_config(**values: Any) -> Callable[[Path], object]:
    return lambda folder: change(folder / "config.json", lambda config: config.update(values))


def edit_part(part: str, **values: Any) -> Callable[[Path], object]:
    return lambda folder: change(folder / "config.json", lambda config: config[part].update(values))


def edit_processor(**values: Any) -> Callable[[Path], object]:
    return lambda folder: change(
        folder / "processor_config.json", lambda config: config["image_processor"].update(values)
    )


def edit_weights(edit: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        edit(state)
        save_file(state, folder / "model.safetensors")

    return write


def with_timm(**values: Any) -> Callable[[Path], object]:
    """EdgeTAM's configuration with another backbone of timm."""

    def write(folder: Path) -> None:
        parts = edgetam_parts()
        parts["vision_config"]["backbone_config"] |= values
        (folder / "config.json").write_text(json.dumps({"model_type": "edgetam", **parts}))

    return write


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "config.json").unlink(), "is no model folder: expected config.json and"),
        (lambda folder: (folder / "model.safetensors").unlink(), "is no model folder: .* and model.safetensors in it"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json' is not JSON"),
        (lambda folder: (folder / "config.json").write_text("[" * 100_000), "config.json' is not JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json' does not describe a model"),
        (lambda folder: (folder / "config.json").write_text("{}"), r"does not describe a model \('model_type'\)"),
        (
            edit_config(model_type="sam"),
            "config.json' describes a 'sam': expected a segmenter, sam2, sam2_video, edgetam",
        ),
        (edit_config(model_type=["sam2"]), "does not describe a model"),
        (edit_config(vision_config=7), "does not describe a model"),
        (edit_config(vision_config={"model_type": "nonsense"}), "does not describe a model"),
        (edit_part("mask_decoder_config", hidden_size="wide"), "does not describe a model"),
        (edit_part("mask_decoder_config", hidden_size=64), "mine' does not fit the model: .* of another shape"),
        (edit_part("prompt_encoder_config", image_size=256), "does not describe a model .*sizes"),
        (edit_part("prompt_encoder_config", patch_size=0), "does not describe a model"),
        (edit_part("vision_config", backbone_feature_sizes=[[8, 8]]), "does not describe a model .*sizes"),
        (with_timm(architecture="hf-hub:owner/name"), "no backbone of timm is 'hf-hub:owner/name'"),
        (with_timm(model_args={"checkpoint_path": "secret.pth"}), r"no backbone of timm is .* \['checkpoint_path'\]"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 99),
            "model.safetensors' is truncated or no",
        ),
        (edit_weights(lambda state: state.popitem()), "mine' does not fit the model: 1 missing"),
        (edit_weights(lambda state: state.update(more=torch.zeros(1))), r"1 left over \(more\)"),
        (
            edit_weights(lambda state: state["no_memory_embedding"].fill_(torch.nan)),
            r"holds NaN or infinity, .* \(no_memory_embedding\)",
        ),
        (edit_processor(size={"height": 99, "width": 99}), f"the model beside it sees {SIDE} pixels a side"),
        (edit_processor(do_normalize=False), "sets do_normalize to False: only True is supported"),
        (edit_processor(resample=0), "sets resample to 0: only 2 is supported"),
        (edit_processor(rescale_factor=1.0), "sets rescale_factor to 1.0"),
        (edit_processor(image_std=[1, 1, 0]), "expected three numbers each, no std of 0"),
        (edit_processor(image_mean="grey"), "processor_config.json'"),
    ],
)
def test_a_damaged_or_foreign_folder_is_refused_by_a_sentence(damage, sentence, folder):
    damage(folder)
    with pytest.raises(ValueError, match=sentence) as refusal:
        load_segmenter(folder)
    assert "\n" not in str(refusal.value)


def test_weights_that_could_run_code_are_not_opened(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"expected config\.json and model\.safetensors in it"):
        load_segmenter(folder)


def test_the_command_line_takes_a_folder(saved, tmp_path, capsys):
    picture = tmp_path / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    Image.fromarray(pixels).save(picture)
    pointed = ["--box", "10,20,60,50", "--point", "30,40,1"]
    main(["segment", str(picture), "", *pointed, "--segmenter", str(saved["sam2"]), "--device", "cpu", "--json", "-"])
    record = json.loads(capsys.readouterr().out)
    assert record["model"] == str(saved["sam2"])
    assert [sum(one["mask"]["size"]) for one in record["objects"]] == [160, 160]


def test_a_named_one_is_fetched_whole_and_then_found_offline(saved, tmp_path, monkeypatch):
    name, repository = "sam2.1-tiny", "facebook/sam2.1-hiera-tiny"
    with running_hub(monkeypatch, tmp_path) as server:
        server.files = {f"{repository}/{file.name}": file.read_bytes() for file in saved["sam2"].iterdir()}
        assert not has_segmenter(name)
        with pytest.raises(ValueError, match=f"run `hf download {repository}` on a connected machine"):
            load_segmenter(name, local_files_only=True)
        loaded = load_segmenter(name)
        assert {file.rsplit("/", 1)[1] for method, file, _ in server.requests if method == "GET"} == {
            "config.json",
            "model.safetensors",
            "processor_config.json",
        }
        assert has_segmenter(name)
        server.files = {}
        assert load_segmenter(name, local_files_only=True).card == loaded.card
        assert load_segmenter(repository, local_files_only=True).card.name == repository
    assert loaded.card.title == SEGMENTERS[name].title
    assert loaded.card.stable_single == (0.05, 0.98)


def test_a_gated_one_says_how_to_get_it(tmp_path, monkeypatch):
    assert "gated; ask for access at https://huggingface.co/facebook/sam3" in SEGMENTERS["sam3-tracker"].description
    with running_hub(monkeypatch, tmp_path) as server:
        server.files = {"facebook/sam3/config.json": b"{}"}
        server.busy = [(403, {"X-Error-Code": "GatedRepo"})]
        with pytest.raises(
            ValueError, match=r"accepted its licence: do so at https://huggingface.co/facebook/sam3, then"
        ):
            load_segmenter("sam3-tracker")
