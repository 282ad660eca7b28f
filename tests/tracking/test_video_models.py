"""Models that follow by memory: which folders are read, that all of them is used, and how others are refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from groundingdino.files.weight_files import load_strictly
from groundingdino.segmentation import transformers_segmenters
from groundingdino.segmentation.available_models import SEGMENTERS
from groundingdino.segmentation.segmenter_models import load_segmenter
from groundingdino.tracking.available_trackers import EMBEDDED, TRACKERS, find_tracker, has_tracker
from groundingdino.tracking.video_models import load_video_model
from tests.fake_hub import running_hub
from tests.tiny_segmenters import VIDEO_KINDS, build_video, save_video


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[str, Path]:
    return {kind: save_video(kind, tmp_path_factory.mktemp(kind)) for kind in VIDEO_KINDS}


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy of SAM 2's to be damaged."""
    return Path(shutil.copytree(saved["sam2_video"], tmp_path / "mine"))


@pytest.mark.parametrize("kind", VIDEO_KINDS)
def test_a_saved_folder_is_loaded_whole_and_is_a_segmenter_too(kind, saved):
    loaded = load_video_model(saved[kind], "cpu")
    expected = build_video(kind)[0].state_dict()
    found = loaded.model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not loaded.model.training
    assert loaded.side == 128
    size = (saved[kind] / "model.safetensors").stat().st_size
    assert (loaded.card.name, loaded.card.size_bytes) == (str(saved[kind]), size)
    assert load_segmenter(saved[kind]).card.single_for_box


@pytest.mark.parametrize("kind", VIDEO_KINDS)
def test_of_the_published_size_every_weight_has_its_place(kind):
    name = {"sam2_video": "Sam2Video", "edgetam_video": "EdgeTamVideo", "sam3_tracker_video": "Sam3TrackerVideo"}[kind]
    with torch.device("meta"):
        model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**_parts(kind)))
    state = model.state_dict()
    whole = transformers_segmenters.ARCHITECTURES[kind]._replace(dropped=())
    short = {key.replace("backbone.timm_model.", "backbone."): value for key, value in state.items()}  # as published
    load_strictly(model, transformers_segmenters.named_weights(whole, short), "It")
    with pytest.raises(ValueError, match=r"1 left over \(memory_bank\.weight\)"):
        load_strictly(model, {**state, "memory_bank.weight": torch.zeros(1)}, "It")


def _parts(kind: str) -> dict:
    if kind != "edgetam_video":
        return {}
    vision = VIDEO_KINDS[kind][0]()["vision_config"]
    return {
        "vision_config": {
            "model_type": vision["model_type"],
            "backbone_config": vision["backbone_config"],
            "backbone_channel_list": [384, 192, 96, 48],
        }
    }


def _edit(folder: Path, **values) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def _lose(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    del state["memory_encoder.projection.weight"]
    save_file(state, folder / "model.safetensors")


def _no_number(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state["memory_encoder.projection.weight"][0] = torch.nan
    save_file(state, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_lose, r"memory_encoder\.projection\.weight"),
        (_no_number, "not a number|NaN|not finite"),
        (lambda folder: _edit(folder, model_type="sam2"), "describes a 'sam2': expected a tracker"),
        (lambda folder: _edit(folder, model_type=["sam2_video"]), "expected a tracker|does not describe"),
        (lambda folder: _edit(folder, num_maskmem="seven"), "does not describe a model"),
        (lambda folder: _edit(folder, image_size=256), "image_size 256 instead of 128"),
        (lambda folder: (folder / "config.json").unlink(), "no model folder"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no weights"), "model.safetensors"),
    ],
)
def test_a_damaged_or_foreign_folder_is_refused_by_a_sentence(damage, sentence, folder):
    damage(folder)
    with pytest.raises(ValueError, match=sentence) as caught:
        load_video_model(folder, "cpu")
    assert "\n" not in str(caught.value)


def test_a_configuration_fetches_no_code(folder):
    _edit(folder, attn_implementation="someone/kernels", auto_map={"AutoModel": "someone/code--model.Evil"})
    assert load_video_model(folder, "cpu").model.config._attn_implementation in ("sdpa", "eager")


def test_names_are_those_of_segmenters_with_their_sizes_and_licences():
    assert next(iter(TRACKERS)) == EMBEDDED
    assert has_tracker(EMBEDDED)
    for name, card in TRACKERS.items():
        if name != EMBEDDED:
            twin = SEGMENTERS[name]
            assert (card.repository, card.size_bytes) == (twin.repository, twin.size_bytes)
            assert f"Licence: {'SAM License, gated' if name == 'sam3-tracker' else 'Apache-2.0.'}" in card.description
    assert find_tracker(EMBEDDED) == (None, TRACKERS[EMBEDDED])


@pytest.mark.parametrize("wrong", ["vit_b", "nobody", "sam-hq-base", "a/b/c", "x" * 300])
def test_a_name_that_is_no_tracker_is_refused(wrong):
    with pytest.raises(ValueError, match="There is no tracker"):
        find_tracker(wrong)


def test_the_embedded_one_is_no_model():
    with pytest.raises(ValueError, match="follows by what the detector finds"):
        load_video_model(EMBEDDED, "cpu")


def test_the_tracker_of_sam3_is_found_beside_its_detector(saved, tmp_path):
    """The published repository holds both, which share a backbone; of the detector all else is left out."""
    model = build_video("sam3_tracker_video")[0]
    beside = {
        "vision_encoder.backbone.": "detector_model.vision_encoder.backbone.",
        "vision_encoder.neck.": "tracker_neck.",
    }
    state = {"detector_model.text_encoder.weight": torch.zeros(1)}
    for name, value in model.state_dict().items():
        part = next((part for part in beside if name.startswith(part)), "")
        state[f"{beside.get(part, 'tracker_model.')}{name.removeprefix(part)}"] = value.clone()
    save_file(state, tmp_path / "model.safetensors")
    config = json.loads((saved["sam3_tracker_video"] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam3_video", "tracker_config": config}))
    loaded = load_video_model(tmp_path, "cpu")
    assert all(torch.equal(model.state_dict()[name], value) for name, value in loaded.model.state_dict().items())
    assert (loaded.side, loaded.pixels) == (128, transformers_segmenters.CENTRED)
    save_file(
        {name: one for name, one in state.items() if "memory_encoder" not in name}, tmp_path / "model.safetensors"
    )
    with pytest.raises(ValueError, match="memory_encoder"):
        load_video_model(tmp_path, "cpu")


def test_a_gated_one_says_how_to_get_it(tmp_path, monkeypatch):
    with running_hub(monkeypatch, tmp_path) as server:
        server.files = {"facebook/sam3/config.json": b"{}"}
        server.busy = [(403, {"X-Error-Code": "GatedRepo"})]
        with pytest.raises(
            ValueError, match=r"accepted its licence: do so at https://huggingface.co/facebook/sam3, then"
        ):
            load_video_model("sam3-tracker")


def test_a_named_one_is_fetched_and_then_found_offline(saved, tmp_path, monkeypatch):
    repository = TRACKERS["edgetam"].repository
    with running_hub(monkeypatch, tmp_path) as server:
        server.files = {f"{repository}/{file.name}": file.read_bytes() for file in saved["edgetam_video"].iterdir()}
        assert not has_tracker("edgetam")
        with pytest.raises(ValueError, match=f"run `hf download {repository}` on a connected machine"):
            load_video_model("edgetam", "cpu", local_files_only=True)
        assert load_video_model("edgetam", "cpu").card == TRACKERS["edgetam"]
        assert has_tracker("edgetam")
        server.files = {}
        assert load_video_model("edgetam", "cpu", local_files_only=True).side == 128
