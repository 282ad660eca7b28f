import pickle
import re
from argparse import Namespace

import pytest
import torch
from segment_anything import build_sam_vit_b, build_sam_vit_h, build_sam_vit_l

from groundingdino.files import downloads
from groundingdino.segmentation import segmenter_models
from groundingdino.segmentation.available_models import COME_ALONG, SEGMENTERS
from groundingdino.segmentation.embedded_sam import (
    DRAWING_BACKBONE,
    PHOTOGRAPHIC_BACKBONE,
    build_embedded_sam,
    save_embedded_sam,
)
from groundingdino.segmentation.segmenter_models import load_segmenter


@pytest.fixture(params=[DRAWING_BACKBONE, PHOTOGRAPHIC_BACKBONE], ids=["drawings", "photos"])
def trained(request, tmp_path):
    """A file of an embedded architecture, as training saves it."""
    torch.manual_seed(0)
    model = build_embedded_sam(backbone=request.param)
    path = tmp_path / "mine.safetensors"
    save_embedded_sam(model, path)
    return model, path


def test_our_own_file_is_loaded_whole(trained):
    model, path = trained
    loaded = load_segmenter(path)
    assert (loaded.card.name, loaded.card.size_bytes) == ("mine", path.stat().st_size)
    assert not loaded.model.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], value, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", COME_ALONG)
def test_a_name_is_the_file_that_comes_along(name, trained, monkeypatch):
    monkeypatch.setitem(COME_ALONG, name, trained[1])
    assert load_segmenter(name).card is SEGMENTERS[name]


@pytest.mark.parametrize("name", COME_ALONG)
def test_the_shipped_file_fits(name):
    loaded = load_segmenter(name)
    assert loaded.card is SEGMENTERS[name]
    assert loaded.card.size_bytes == COME_ALONG[name].stat().st_size


@pytest.mark.parametrize("build", [build_sam_vit_b, build_sam_vit_l, build_sam_vit_h])
def test_metas_sizes_are_told_by_their_width(build, tmp_path):
    with torch.device("meta"):
        position = build().state_dict()["image_encoder.pos_embed"]
    assert segmenter_models._recognise({"image_encoder.pos_embed": position}, tmp_path) is build


def test_a_named_model_is_fetched_once_asked_for(trained, monkeypatch):
    asked = []

    def fetch(*arguments):
        asked.append(arguments)
        return trained[1]

    monkeypatch.setattr(downloads, "fetch", fetch)
    assert load_segmenter("vit_h", local_files_only=True, progress=print).card.name == "vit_h"
    assert asked == [(SEGMENTERS["vit_h"].source, True, print)]


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "module.module."])
@pytest.mark.parametrize("wrapper", [None, "model", "ema", "model_ema", "net", "model_state_dict"])
def test_a_file_of_training_code_is_read(prefix, wrapper, trained, tmp_path):
    state = {f"{prefix}{name}": tensor for name, tensor in trained[0].state_dict().items()}
    saved = {wrapper: state, "args": Namespace(lr=1e-4)} if wrapper else state
    torch.save(saved, tmp_path / "last.pth")
    loaded = load_segmenter(tmp_path / "last.pth").model.state_dict()
    for name, value in trained[0].state_dict().items():
        torch.testing.assert_close(loaded[name], value, rtol=0, atol=0)


def test_weights_of_a_training_that_broke_down_are_refused(trained, tmp_path):
    state = dict(trained[0].state_dict()) | {"prompt_encoder.no_mask_embed.weight": torch.full((1, 96), torch.nan)}
    torch.save(state, tmp_path / "last.pth")
    with pytest.raises(
        ValueError, match=r"last.pth' holds NaN or infinity, .* \(prompt_encoder.no_mask_embed.weight\)"
    ):
        load_segmenter(tmp_path / "last.pth")


def test_what_does_not_fit_is_listed(trained, tmp_path):
    state = trained[0].state_dict()
    state["extra.weight"] = state.pop("prompt_encoder.no_mask_embed.weight")
    state["image_encoder.neck.0.bias"] = torch.zeros(3)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="does not fit the model") as refusal:
        load_segmenter(tmp_path / "other.pth")
    for problem in (
        "1 missing (prompt_encoder.no_mask_embed",
        "1 left over (extra",
        "neck.0.bias (3,) instead of (96,)",
    ):
        assert problem in str(refusal.value)


class Danger:
    """Would run code when read."""

    def __reduce__(self):
        return (print, ("read",))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            {"image_encoder.pos_embed": torch.zeros(1, 64, 64, 192)},
            "width 768 .ViT-B., 1024 .ViT-L. or 1280 .ViT-H., found 192",
        ),
        ({"weight": torch.zeros(3)}, "is no segmenter of a published size: .* found None"),
        ({"weight": Danger()}, "could run code"),
    ],
)
def test_other_files_are_refused(content, sentence, tmp_path):
    path = tmp_path / "other.pth"
    torch.save(content, path, pickle_module=pickle)
    with pytest.raises(ValueError, match=sentence):
        load_segmenter(path)


@pytest.mark.parametrize(
    ("name", "device", "sentence"),
    [
        ("vit_x", "cpu", "There is no segmenter 'vit_x': expected embedded, embedded-photos, sam2.1-tiny, "),
        ("vit_x", "cpu", "vit_h, sam3-tracker, the path of a weight file or folder, or a Hugging Face repository"),
        ("missing.pth", "cpu", "There is no segmenter 'missing.pth'"),
        ("embedded", "toaster", "The device 'toaster' cannot be used"),
    ],
)
def test_what_is_not_there_is_refused(name, device, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        load_segmenter(name, device)
