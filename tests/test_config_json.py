import json

import pytest

from groundingdino.config import EMBEDDED, SWIN_B, SWIN_T, SwinConfig
from groundingdino.config_json import from_json, from_transformers, to_json


@pytest.mark.parametrize("config", [EMBEDDED, SWIN_T, SWIN_B], ids=["embedded", "swin-t", "swin-b"])
def test_round_trip_through_text(config):
    assert from_json(json.loads(json.dumps(to_json(config)))) == config


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"colour": "red"}, "unknown fields: colour"),
        ({"backbone": {"type": "vit"}}, "backbone 'vit': expected one of swin, resnet"),
        ({"backbone": {"type": "swin", "stem_width": 3}}, "unknown fields: stem_width"),
    ],
)
def test_unknown_parts_are_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        from_json(to_json(SWIN_T) | change)


def test_what_transformers_leaves_out_is_swin_t():
    config = from_transformers({"model_type": "grounding-dino"})
    assert config.logit_eps == 1e-5
    assert (config.backbone, config.text, config.num_queries) == (SWIN_T.backbone, SWIN_T.text, 900)


def test_values_of_transformers_are_taken_over():
    config = from_transformers(
        {
            "model_type": "grounding-dino",
            "backbone_config": {
                "model_type": "swin",
                "embed_dim": 24,
                "depths": [1, 1, 2, 1],
                "num_heads": [1, 2, 4, 8],
            },
            "text_config": {"hidden_size": 64, "vocab_size": 99},
            "d_model": 128,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "encoder_layers": 2,
            "decoder_layers": 3,
            "num_queries": 10,
            "num_feature_levels": 5,
            "encoder_n_points": 2,
            "decoder_n_points": 2,
            "max_text_len": 64,
        }
    )
    assert config.backbone == SwinConfig(embed_dim=24, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8))
    assert (config.text.hidden_size, config.text.vocab_size, config.text.num_hidden_layers) == (64, 99, 12)
    assert (config.hidden_dim, config.num_heads, config.ffn_dim) == (128, 4, 64)
    assert (config.enhancer_layers, config.decoder_layers, config.num_queries) == (2, 3, 10)
    assert (config.num_levels, config.num_points, config.max_tokens) == (5, 2, 64)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model_type": "mm-grounding-dino"}, "MM Grounding DINO and LLMDet are not supported"),
        ({"model_type": "detr"}, "type 'detr': expected 'grounding-dino'"),
        ({"model_type": None}, "type 'None'"),
        ({"backbone_config": {"model_type": "resnet"}}, "backbone 'resnet'"),
        ({"text_config": {"model_type": "roberta"}}, "text encoder 'roberta'"),
        ({"decoder_bbox_embed_share": False}, "decoder_bbox_embed_share to False: only True"),
        ({"two_stage": False}, "two_stage to False"),
        ({"activation_function": "gelu"}, "activation_function to 'gelu': only 'relu'"),
        ({"encoder_ffn_dim": 64}, "encoder_ffn_dim to 64 and decoder_ffn_dim to 2048"),
    ],
)
def test_what_our_model_is_not_is_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        from_transformers({"model_type": "grounding-dino"} | change)
