"""Models as folders: what transformers opens, and what only we do."""

from dataclasses import replace

import pytest
import torch
import transformers
from packaging.version import Version
from safetensors import SafetensorError
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from groundingdino.detection import checkpoints, config_json
from groundingdino.detection.available_models import MODELS
from groundingdino.detection.checkpoints import LoadedModel, load_pretrained
from groundingdino.detection.folders import save_folder
from groundingdino.detection.text_tokens import tokenize_captions
from groundingdino.model import GroundingDINO
from groundingdino.model.config import SWIN_T, GroundingDINOConfig
from tests.tiny_models import TINY


def build(config: GroundingDINOConfig) -> GroundingDINO:
    torch.manual_seed(0)
    model = GroundingDINO(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


@pytest.fixture(params=["published", "mm", "four maps"])
def swin(request, mini_config) -> GroundingDINO:
    config = replace(mini_config, short_side=64, long_side=96, logit_eps=config_json.TRANSFORMERS_LOGIT_EPS)
    if request.param != "published":
        config = replace(config, own_heads=True, scaled_scores=True)
    if request.param == "four maps":
        config = replace(config, backbone=replace(config.backbone, first_stage=0), num_levels=5)
    return build(config)


def test_transformers_opens_what_was_saved_and_computes_the_same(swin, tokenizer, tmp_path):
    save_folder(LoadedModel(swin, tokenizer, MODELS["swin-t"]), tmp_path / "model")
    assert not list((tmp_path / "model").glob(".*"))
    theirs, report = AutoModelForZeroShotObjectDetection.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    processor = AutoProcessor.from_pretrained(tmp_path / "model")
    assert dict(processor.image_processor.size) == {"shortest_edge": 64, "longest_edge": 96}
    assert processor.tokenizer.get_vocab() == tokenizer.get_vocab()
    tokens = tokenize_captions(["a red cat . traffic light ."], tokenizer)
    pixels, mask = torch.randn(1, 3, 64, 90), torch.zeros(1, 64, 90, dtype=torch.bool)
    if Version(transformers.__version__) < Version("5.21"):
        return  # which counts positions of the text wrongly
    with torch.inference_mode():
        ours = swin(pixels, mask, tokens)
        found = theirs.eval()(
            pixel_values=pixels, pixel_mask=(~mask).long(), input_ids=tokens.input_ids, attention_mask=tokens.token_mask
        )
    length = tokens.input_ids.shape[1]
    torch.testing.assert_close(ours.boxes, found.pred_boxes, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(ours.logits, found.logits[..., :length], rtol=1e-3, atol=2e-3)


def test_a_folder_is_the_model_again(swin, tokenizer, tmp_path):
    save_folder(LoadedModel(swin, tokenizer, MODELS["swin-t"]), tmp_path)
    loaded = load_pretrained(tmp_path)
    assert loaded.model.config == swin.config
    for name, tensor in swin.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], tensor, rtol=0, atol=0, msg=name)


def test_what_transformers_lacks_is_a_folder_of_ours(tokenizer, tmp_path):
    model = build(TINY)
    card = replace(MODELS["embedded"], title="Mine", box_threshold=0.42)
    save_folder(LoadedModel(model, tokenizer, card), tmp_path / "mine")
    assert {file.name for file in (tmp_path / "mine").iterdir()} == {"model.safetensors", "vocab.txt"}
    loaded = load_pretrained(tmp_path / "mine")
    assert (loaded.card.title, loaded.card.box_threshold) == ("Mine", 0.42)
    assert loaded.card.name == str(tmp_path / "mine")
    assert loaded.tokenizer.get_vocab() == tokenizer.get_vocab()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor), name


def test_configurations_go_to_transformers_and_back():
    assert config_json.to_transformers(TINY) is None
    for config in (SWIN_T, *checkpoints.PUBLISHED.values(), *checkpoints.PUBLISHED_BY_MM.values()):
        values = config_json.to_transformers(config)
        assert values is not None
        assert config_json.from_transformers(values) == replace(config, logit_eps=1e-5)


def test_a_full_disk_leaves_what_was_there(tokenizer, tmp_path, monkeypatch):
    loaded = LoadedModel(build(TINY), tokenizer, MODELS["embedded"])
    save_folder(loaded, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()

    def fail(*_, **__):
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("groundingdino.detection.folders.save_checkpoint", fail)
    with pytest.raises(OSError, match="the disk may be full"):
        save_folder(loaded, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert not list(tmp_path.glob(".*"))
