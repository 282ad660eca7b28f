import json
import re

import pytest
import torch

from groundingdino.detection.key_names import (
    AUTHORS,
    MMDETECTION,
    OURS,
    TRANSFORMERS,
    find_layout,
    fit_heads,
    strip_prefix,
    to_our_names,
)
from groundingdino.model import GroundingDINO
from groundingdino.model.config import SWIN_B, SWIN_T


def shapes(state) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def our_shapes(config) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return shapes(GroundingDINO(config).state_dict())


def blank(shape) -> torch.Tensor:
    """A tensor of any shape that takes four bytes."""
    return torch.zeros(()).expand(shape)


@pytest.fixture(scope="module")
def transformers_model():
    """transformers' own Swin-T model, without values."""
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    with torch.device("meta"):
        return GroundingDinoForObjectDetection(GroundingDinoConfig())


@pytest.mark.parametrize(
    ("manifest", "config"), [("swint_ogc", SWIN_T), ("swinb_cogcoor", SWIN_B)], ids=["swin-t", "swin-b"]
)
def test_the_authors_names_become_ours(manifest, config, reference):
    names = json.loads(reference(f"{manifest}_keys.json").read_text())
    state = {name: blank(shape) for name, shape in names.items()}
    state |= {"label_enc.weight": blank((2001, 256)), "bert.embeddings.position_ids": blank((1, 512))}
    published = {f"module.{name}": tensor for name, tensor in state.items()}
    assert shapes(to_our_names(published)) == our_shapes(config)


def test_the_names_of_a_live_transformers_model_become_ours(transformers_model):
    state = {name: blank(tensor.shape) for name, tensor in transformers_model.state_dict().items()}
    assert shapes(to_our_names(state)) == our_shapes(SWIN_T)


def test_query_key_and_value_are_stacked_in_this_order(transformers_model):
    state = {name: blank(tensor.shape) for name, tensor in transformers_model.state_dict().items()}
    names = {
        "model.decoder.layers.0.self_attn.{}.bias": "decoder.layers.0.self_attn.in_proj_bias",
        "model.decoder.layers.0.encoder_attn_text.{}.bias": "decoder.layers.0.text_attn.in_proj_bias",
        "model.encoder.layers.0.text_enhancer_layer.self_attn.{}.bias": "enhancer.layers.0.text.self_attn.in_proj_bias",
    }
    for theirs in names:
        for value, part in enumerate(("query", "key", "value")):
            state[theirs.format(part)] = torch.full((256,), float(value))
    swin = "model.backbone.conv_encoder.model.swin.encoder.layers.0.blocks.1.attention.{}_proj.bias"
    for value, part in enumerate("qkv"):
        state[swin.format(part)] = torch.full((96,), float(value))
    ours = to_our_names(state)
    for name in names.values():
        assert ours[name].view(3, 256)[:, 0].tolist() == [0, 1, 2]
    assert ours["backbone.stages.0.1.attn.qkv.bias"].view(3, 96)[:, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("marks", "layout"),
    [
        (["transformer.tgt_embed.weight"], AUTHORS),
        (["model.query_position_embeddings.weight"], TRANSFORMERS),
        (["query_selection.content.weight"], OURS),
        (["text_feat_map.weight"], MMDETECTION),
    ],
)
def test_layouts_are_told_apart(marks, layout):
    assert find_layout(marks) is layout


def test_other_weights_are_refused_with_some_of_their_names():
    with pytest.raises(ValueError, match=r"no Grounding DINO weights .* the names are conv1\.weight, fc\.bias\."):
        to_our_names({"conv1.weight": torch.zeros(1), "fc.bias": torch.zeros(1)})
    with pytest.raises(ValueError, match="none at all"):
        to_our_names({})


def test_our_own_names_stay():
    state = {"query_selection.content.weight": torch.zeros(2, 3), "decoder.norm.bias": torch.ones(3)}
    assert to_our_names(state) == state


CONTENT = {"transformer.tgt_embed.weight": torch.zeros(1)}


def test_heads_of_the_layers_that_are_the_same_are_one():
    state = CONTENT | {f"bbox_embed.{layer}.layers.0.bias": torch.zeros(2) for layer in range(3)}
    assert set(to_our_names(state)) == {"query_selection.content.weight", "decoder.box_head.layers.0.bias"}


def test_heads_of_the_layers_that_differ_are_each_layers_own():
    state = CONTENT | {f"bbox_embed.{layer}.layers.0.bias": torch.full((2,), float(layer > 0)) for layer in range(3)}
    state["transformer.decoder.bbox_embed.0.layers.0.bias"] = torch.zeros(2)
    ours = to_our_names(state)
    del ours["query_selection.content.weight"]
    assert {name: tensor.tolist() for name, tensor in ours.items()} == {
        "decoder.earlier_box_heads.0.layers.0.bias": [0, 0],
        "decoder.earlier_box_heads.1.layers.0.bias": [1, 1],
        "decoder.box_head.layers.0.bias": [1, 1],
    }
    state["transformer.decoder.bbox_embed.0.layers.0.bias"] = torch.tensor([0.0, 1e-6])
    with pytest.raises(
        ValueError, match=r"two different values for 'decoder\.box_heads\.0\.layers\.0\.bias', the second"
    ):
        to_our_names(state)


def test_one_head_is_copied_where_each_layer_has_its_own():
    state = {"decoder.box_head.layers.0.bias": torch.ones(2), "decoder.norm.bias": torch.ones(3)}
    assert set(fit_heads(state, layers=3, own_heads=False)) == set(state)
    assert set(fit_heads(state, layers=3, own_heads=True)) == {
        *state,
        "decoder.earlier_box_heads.0.layers.0.bias",
        "decoder.earlier_box_heads.1.layers.0.bias",
    }
    with pytest.raises(ValueError, match="a class head for each decoder layer, and they differ, but the model has one"):
        fit_heads({"decoder.earlier_class_heads.0.bias": torch.ones(())}, layers=2, own_heads=False)


@pytest.mark.parametrize("layout", [AUTHORS, TRANSFORMERS], ids=lambda layout: layout.name)
def test_every_rule_is_used(layout, reference, transformers_model):
    """A rule that no published name needs would be a guess."""
    if layout is AUTHORS:
        names = list(json.loads(reference("swint_ogc_keys.json").read_text()))
    else:
        old_names = [  # files keep these names of transformers before version 5
            f"model.backbone.conv_encoder.model.encoder.layers.0.blocks.0.{name}.weight"
            for name in ("intermediate.dense", "output.dense")
        ]
        of_mm = ["model.encoder_output_class_embed.bias", "class_embed.0.bias"]
        names = [*transformers_model.state_dict(), *old_names, *of_mm]
    for pattern, replacement in layout.renamed:
        changed = [re.sub(pattern, replacement, name) for name in names]
        assert changed != names, pattern
        names = changed


def test_only_the_leading_prefix_is_stripped():
    assert list(strip_prefix({"module.a": torch.zeros(1), "b.module.c": torch.zeros(1)})) == ["a", "b.module.c"]


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "module.module.", "detector.net."])
@pytest.mark.parametrize("mark", ["transformer.tgt_embed.weight", "model.query_position_embeddings.weight"])
def test_whatever_stands_before_a_known_name_is_a_prefix(prefix, mark):
    state = {f"{prefix}a.b": torch.zeros(1), f"{prefix}{mark}": torch.zeros(1), "c._orig_mod.d": torch.zeros(1)}
    assert list(strip_prefix(state)) == ["a.b", mark, "c.d"]


def test_a_caller_may_know_a_model_by_other_names():
    state = {"net.image_encoder.pos_embed": torch.zeros(1), "net.mask_decoder.x": torch.zeros(1)}
    assert list(strip_prefix(state, [r"image_encoder\.pos_embed"])) == ["image_encoder.pos_embed", "mask_decoder.x"]
