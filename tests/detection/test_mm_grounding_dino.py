"""MM Grounding DINO and LLMDet through our own model, from transformers' layout and mmdetection's."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import transformers
from packaging.version import Version
from PIL import Image
from torch import Tensor
from transformers import MMGroundingDinoForObjectDetection

from groundingdino.detection import checkpoints
from groundingdino.detection.available_models import MODELS
from groundingdino.detection.checkpoints import load_checkpoint, load_pretrained, save_checkpoint
from groundingdino.detection.config_json import from_transformers
from groundingdino.detection.detector import Detector
from groundingdino.detection.key_names import MMDETECTION, to_our_names
from groundingdino.detection.precision import in_bfloat16
from groundingdino.detection.text_tokens import tokenize_captions
from groundingdino.model import GroundingDINO
from groundingdino.model.config import (
    MM_SWIN_B,
    MM_SWIN_L,
    MM_SWIN_T,
    SWIN_T,
    GroundingDINOConfig,
)
from tests.mm_models import SMALL, SMALL_L, SMALL_T, as_mmdetection, of_llmdet, random_model, their_config

CAPTION = "a red cat . dog on the left . traffic light ."
OWN = {"decoder_bbox_embed_share": False, "decoder_cls_embed_share": False}  # as published

right_masks = pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.21"),
    reason="transformers 5.19 and 5.20 count positions of the text as whole numbers and mask phrases wrongly",
)


@pytest.fixture(scope="module")
def small_t() -> MMGroundingDinoForObjectDetection:
    return random_model(SMALL_T, **OWN)


@pytest.fixture(scope="module")
def small_l() -> MMGroundingDinoForObjectDetection:
    return random_model(SMALL_L, **OWN)


def compare(ours: GroundingDINO, theirs: MMGroundingDinoForObjectDetection, tokenizer) -> None:
    """Logits and boxes of two pictures, of which one is padded."""
    tokens = tokenize_captions([CAPTION, "person ."], tokenizer)
    pixels = torch.randn(2, 3, 150, 210, generator=torch.Generator().manual_seed(0))
    padding_mask = torch.zeros(2, 150, 210, dtype=torch.bool)
    padding_mask[1, 90:] = True
    pixels = pixels.masked_fill(padding_mask[:, None], 0)
    length = tokens.input_ids.shape[1]
    with torch.inference_mode():
        found = ours(pixels, padding_mask, tokens)
        expected = theirs(
            pixel_values=pixels,
            pixel_mask=(~padding_mask).long(),
            input_ids=tokens.input_ids,
            attention_mask=tokens.token_mask,
        )
    assert expected.pred_boxes[..., :2].std(1).min() > 0.1  # of different places
    torch.testing.assert_close(found.logits, expected.logits[..., :length], rtol=0, atol=1e-4)
    torch.testing.assert_close(found.boxes, expected.pred_boxes, rtol=0, atol=1e-4)


def same_weights(one: GroundingDINO, other: GroundingDINO) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


# ---- parity with transformers


@right_masks
@pytest.mark.parametrize("size", SMALL)
def test_scores_and_boxes_are_those_of_transformers(size, tokenizer):
    theirs = random_model(SMALL[size], **OWN)
    model = GroundingDINO(SMALL[size]).eval()
    load_checkpoint(model, theirs.state_dict())
    compare(model, theirs, tokenizer)


@right_masks
@pytest.mark.parametrize("switch", ["own_heads", "scaled_scores"])
def test_each_difference_shows(switch, small_t, tokenizer):
    """A test that passes without one of them would not see it."""
    state = to_our_names(small_t.state_dict())
    config = replace(SMALL_T, **{switch: False})
    model = GroundingDINO(config).eval()
    expected = model.state_dict().keys()
    model.load_state_dict({name: state[name] for name in expected})
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        compare(model, small_t, tokenizer)


@pytest.mark.parametrize(("config", "parameters"), [(MM_SWIN_T, 172.9), (MM_SWIN_B, 233.0), (MM_SWIN_L, 343.1)])
def test_the_published_sizes_have_the_shapes_of_transformers(config, parameters):
    with torch.device("meta"):
        theirs = MMGroundingDinoForObjectDetection(their_config(config, **OWN))
        ours = GroundingDINO(config)
    assert from_transformers(theirs.config.to_dict()) == config
    blank = torch.zeros(())
    for state in (theirs.state_dict(), as_mmdetection(theirs)):
        # Heads that differ, since those that are all the same become one.
        renamed = to_our_names(
            {name: (blank + float(re.findall(r"\d+|$", name)[0] or 0)).expand(x.shape) for name, x in state.items()}
        )
        assert {name: x.shape for name, x in renamed.items()} == {n: x.shape for n, x in ours.state_dict().items()}
    assert sum(x.numel() for x in ours.parameters()) / 1e6 == pytest.approx(parameters, abs=0.05)


# ---- folders in transformers' layout


@right_masks
@pytest.mark.parametrize("options", [OWN, {}], ids=["heads of each layer", "heads shared, stored once"])
def test_a_folder_gives_what_transformers_gives(options, tokenizer, tmp_path):
    theirs = random_model(SMALL_L, **options)
    theirs.save_pretrained(tmp_path)
    loaded = load_pretrained(tmp_path)
    assert loaded.model.config == SMALL_L
    compare(loaded.model, theirs, tokenizer)


@right_masks
def test_detections_are_those_of_transformers(small_t, tmp_path):
    """Through each one's own reading of picture and prompt, to boxes in pixels."""
    from transformers import BertTokenizerFast, GroundingDinoImageProcessor, GroundingDinoProcessor

    from tests.conftest import BERT_VOCABULARY

    images = GroundingDinoImageProcessor(size={"shortest_edge": 128, "longest_edge": 224})
    processor = GroundingDinoProcessor(images, BertTokenizerFast(vocab=str(BERT_VOCABULARY)))
    small_t.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    # Of exactly the size that it is scaled to: filters round differently.
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 200, 3), np.uint8))
    phrases = ["cat", "traffic light"]
    inputs = processor(images=picture, text=[phrases], return_tensors="pt")
    with torch.inference_mode():
        outputs = small_t(**inputs)
    # Below every score, as random weights score by chance: each box then has its best score.
    theirs = processor.post_process_grounded_object_detection(
        outputs, threshold=0.0, text_threshold=0.0, target_sizes=[(128, 200)]
    )[0]
    grounding = Detector(load_pretrained(tmp_path), dtype=torch.float32)(
        picture, phrases, box_threshold=0.0, text_threshold=0.0, nms_threshold=None
    )
    assert len(grounding) == len(theirs["boxes"]) == SMALL_T.num_queries
    nearest = torch.cdist(torch.from_numpy(grounding.xyxy), theirs["boxes"].clamp(min=0), p=torch.inf).amin(1)
    assert nearest.max() < 0.1  # pixels
    words = inputs["input_ids"][0].tolist().index(102)  # [SEP]: the tokens before it, without [CLS] and the dots
    scores = outputs.logits[0, :, 1:words].sigmoid()[:, [0, 2, 3]].amax(1)
    np.testing.assert_allclose(np.sort(grounding.confidence), np.sort(scores.numpy()), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("model_type", "mm-dino", "type 'mm-dino': expected 'grounding-dino' or 'mm-grounding-dino'"),
        ("two_stage", False, "two_stage to False: only True"),
        ("num_feature_levels", 4, "does not fit the model"),
        ("decoder_layers", 2, r"does not fit the model: .*left over \(decoder\.earlier_box_heads\.1\."),
    ],
)
def test_a_folder_that_says_otherwise_is_refused(name, value, sentence, small_l, tmp_path):
    small_l.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {name: value}))
    with pytest.raises(ValueError, match=sentence) as refusal:
        load_pretrained(tmp_path)
    assert "\n" not in str(refusal.value)


# ---- mmdetection's files


@pytest.mark.parametrize(
    "dress", [as_mmdetection, lambda model: of_llmdet(as_mmdetection(model))], ids=["MM", "LLMDet"]
)
def test_mmdetections_names_and_orders_become_ours(dress, small_l):
    ours, same = GroundingDINO(SMALL_L), GroundingDINO(SMALL_L)
    load_checkpoint(ours, small_l.state_dict())
    load_checkpoint(same, dress(small_l))
    assert same_weights(ours, same)


class HistoryBuffer:
    """Stands for mmengine's, which is not installed."""

    __module__ = "mmengine.logging.history_buffer"

    def __init__(self) -> None:
        self.values, self.methods = np.arange(3.0), {"mean": HistoryBuffer.mean}

    def mean(self) -> float:
        return float(self.values.mean())


def test_a_pth_with_the_log_of_its_training_is_read(small_t, monkeypatch, tmp_path):
    """As mmengine saves it: under `state_dict`, beside objects of classes that are not installed."""
    module = ModuleType(HistoryBuffer.__module__)
    module.HistoryBuffer = HistoryBuffer
    with monkeypatch.context() as patched:
        for name in ("mmengine", "mmengine.logging", "mmengine.logging.history_buffer"):
            patched.setitem(sys.modules, name, module)
        log = {"loss": HistoryBuffer()}
        torch.save({"state_dict": as_mmdetection(small_t), "message_hub": log}, tmp_path / "mm.pth")
    model, same = GroundingDINO(SMALL_T), GroundingDINO(SMALL_T)
    load_checkpoint(model, tmp_path / "mm.pth")
    load_checkpoint(same, small_t.state_dict())
    assert same_weights(model, same)


def spare(config: GroundingDINOConfig, path: Path) -> Path:
    """A full-size file of mmdetection's that takes a few kilobytes: of each tensor one number, seen often."""
    with torch.device("meta"):
        shapes = as_mmdetection(MMGroundingDinoForObjectDetection(their_config(config, **OWN)))
    if not config.scaled_scores:
        shapes = {name: tensor for name, tensor in shapes.items() if "cls_branches" not in name}
    state = {}
    for name, tensor in shapes.items():
        number = float(re.findall(r"\d+|$", name)[0] or 0) if config.own_heads else 0.0
        state[name] = torch.full((), number).expand(tensor.shape)
    torch.save({"state_dict": state}, path)
    return path


@pytest.mark.filterwarnings("ignore:for .*copying from a non-meta parameter")
@pytest.mark.parametrize(
    ("config", "name"),
    [(MM_SWIN_T, "mm-t"), (MM_SWIN_L, "mm-l"), (SWIN_T, "swin-t")],
    ids=["T", "L", "the authors', as mmdetection converted it"],
)
def test_a_published_size_is_recognised(config, name, monkeypatch, tmp_path):
    path = spare(config, tmp_path / "mine.pth")

    def build(config: GroundingDINOConfig) -> GroundingDINO:
        with torch.device("meta"):
            return GroundingDINO(config)

    monkeypatch.setattr(checkpoints, "GroundingDINO", build)
    monkeypatch.setattr(checkpoints, "check_device", lambda _: None)  # meta holds no numbers, but is always there
    monkeypatch.setattr(checkpoints, "check_finite", lambda *_: None)  # hundreds of millions of times the same number
    loaded = load_pretrained(path, device="meta")
    assert loaded.model.config == config
    assert loaded.card.box_threshold == MODELS[name].box_threshold


def without(pattern: str):
    return lambda state: {name: tensor for name, tensor in state.items() if not re.search(pattern, name)}


def with_one_more(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"bbox_head.cls_branches.0.log_scale": torch.zeros(1)}


def broken_down(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"bbox_head.reg_branches.0.4.bias": torch.full((4,), torch.nan)}


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (without(r"bbox_head\.reg_branches\.1\."), r"6 missing \(decoder\.earlier_box_heads\.1\."),
        (without(r"cls_branches\.1\.bias"), r"1 missing \(decoder\.earlier_class_heads\.1\.bias\)"),
        (without(r"backbone\.norm3\."), r"2 missing \(backbone\.norms\.3\.bias"),
        (without(r"neck\.extra_convs"), r"4 missing \(neck\.projections\.4\.0\.bias"),
        (without(r"^(?!query_embedding)"), "no Grounding DINO weights .* the names are query_embedding"),
        (with_one_more, r"1 left over \(decoder\.class_heads\.0\.log_scale\)|1 left over \(decoder\.earlier_class"),
        (broken_down, r"holds NaN or infinity.*bbox_head\.reg_branches\.0\.4\.bias"),
    ],
)
def test_a_damaged_file_of_mmdetections_is_refused(damage, sentence, small_l, tmp_path):
    torch.save({"state_dict": damage(as_mmdetection(small_l))}, tmp_path / "damaged.pth")
    with pytest.raises(ValueError, match=sentence) as refusal:
        load_checkpoint(GroundingDINO(SMALL_L), tmp_path / "damaged.pth")
    assert "\n" not in str(refusal.value)


def test_half_a_file_is_refused(small_t, tmp_path):
    torch.save({"state_dict": as_mmdetection(small_t)}, tmp_path / "half.pth")
    content = (tmp_path / "half.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"half\.pth' is truncated or no PyTorch weight file"):
        load_pretrained(tmp_path / "half.pth")


def test_heads_of_each_layer_do_not_fit_a_model_with_one(small_t):
    with pytest.raises(ValueError, match="a box head for each decoder layer, and they differ, but the model has one"):
        load_checkpoint(GroundingDINO(replace(SMALL_T, own_heads=False)), small_t.state_dict())


def test_every_rule_is_used(small_l):
    """A rule that no published name needs would be a guess."""
    names = list(MMDETECTION.prepared(as_mmdetection(small_l)))
    for pattern, replacement in MMDETECTION.renamed:
        changed = [re.sub(pattern, replacement, name) for name in names]
        assert changed != names, pattern
        names = changed


# ---- what else holds


def test_our_own_file_keeps_it(small_l, tmp_path):
    model = GroundingDINO(SMALL_L).eval()
    load_checkpoint(model, small_l.state_dict())
    save_checkpoint(model, tmp_path / "ours.safetensors", "Mini", "For tests.", 0.4, 0.25, half=False)
    loaded = load_pretrained(tmp_path / "ours.safetensors")
    assert loaded.model.config == SMALL_L
    assert same_weights(loaded.model, model)


def test_in_bfloat16_a_score_keeps_its_bias(small_t):
    model = GroundingDINO(SMALL_T).eval()
    load_checkpoint(model, small_t.state_dict())
    for bias in (model.decoder.class_head.bias, model.query_selection.class_head.bias):
        bias.data.fill_(-4.595)
    narrow = in_bfloat16(model)
    assert (
        narrow.decoder.class_head.bias.item() == narrow.query_selection.class_head.bias.item() == pytest.approx(-4.595)
    )
    assert narrow.decoder.box_head.layers[0].weight.dtype == torch.bfloat16


def test_a_fresh_model_finds_nothing(tokenizer):
    """Its biases say one percent; each layer's heads learn."""
    torch.manual_seed(0)
    model = GroundingDINO(SMALL_T)
    assert model.decoder.class_head.bias.sigmoid().item() == pytest.approx(0.01)
    image = model.encode_image(torch.randn(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.bool))
    text = model.encode_text(tokenize_captions(["cat ."], tokenizer))
    image, text = model.enhancer(image, text)
    states = model.decoder(model.query_selection(image, text), image, text)
    for state in states:
        output = model.decoder.predict(state, text)
        (output.boxes.sum() + output.logits[output.logits.isfinite()].sum()).backward(retain_graph=True)
    heads = [model.decoder.box_head, model.decoder.class_head]
    heads += [*model.decoder.earlier_box_heads, *model.decoder.earlier_class_heads]
    assert len(heads) == 6
    assert all(parameter.grad is not None and parameter.grad.any() for head in heads for parameter in head.parameters())
