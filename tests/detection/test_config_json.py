import json

import pytest

from groundingdino.detection.config_json import from_json, from_transformers, to_json, with_preprocessor
from groundingdino.model.config import (
    EMBEDDED,
    IMAGENET_MEAN,
    IMAGENET_STD,
    MM_SWIN_L,
    PHOTOGRAPHIC,
    SWIN_B,
    SWIN_T,
    SwinConfig,
)


@pytest.mark.parametrize(
    "config",
    [EMBEDDED, PHOTOGRAPHIC, SWIN_T, SWIN_B, MM_SWIN_L],
    ids=["embedded", "photographic", "swin-t", "swin-b", "mm-l"],
)
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
    ("values", "own_heads", "scaled_scores"),
    [
        ({"model_type": "grounding-dino"}, False, False),
        ({"model_type": "grounding-dino", "decoder_bbox_embed_share": False}, True, False),
        ({"model_type": "mm-grounding-dino"}, True, True),
        ({"model_type": "mm-grounding-dino", "decoder_bbox_embed_share": False}, True, True),
        ({"model_type": "mm-grounding-dino", "decoder_cls_embed_share": True}, True, True),
    ],
)
def test_heads_are_as_the_type_and_its_switches_say(values, own_heads, scaled_scores):
    config = from_transformers(values)
    assert (config.own_heads, config.scaled_scores) == (own_heads, scaled_scores)


@pytest.mark.parametrize(
    ("backbone", "first_stage"),
    [
        ({}, 1),
        ({"out_features": ["stage2", "stage3", "stage4"]}, 1),
        ({"out_features": ["stage1", "stage2", "stage3", "stage4"]}, 0),
        ({"out_indices": [1, 2, 3, 4]}, 0),
        ({"out_indices": (1, 2, 3, 4), "out_features": ["stage1", "stage2", "stage3", "stage4"]}, 0),
    ],
)
def test_the_stages_whose_maps_are_used(backbone, first_stage):
    config = from_transformers({"model_type": "grounding-dino", "backbone_config": backbone})
    assert config.backbone.first_stage == first_stage
    assert config.backbone.finest_stride == 4 * (first_stage + 1)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model_type": "detr"}, "type 'detr': expected 'grounding-dino' or 'mm-grounding-dino'"),
        ({"model_type": None}, "type 'None'"),
        ({"backbone_config": {"model_type": "resnet"}}, "backbone 'resnet'"),
        ({"text_config": {"model_type": "roberta"}}, "text encoder 'roberta'"),
        ({"two_stage": False}, "two_stage to False"),
        ({"activation_function": "gelu"}, "activation_function to 'gelu': only 'relu'"),
        ({"backbone": "resnet50", "use_timm_backbone": True}, "sets backbone to 'resnet50': only None"),
        ({"backbone_config": {"hidden_act": "relu"}}, "sets the backbone's hidden_act to 'relu': only 'gelu'"),
        ({"backbone_config": {"layer_norm_eps": 1e-6}}, "sets the backbone's layer_norm_eps to 1e-06"),
        ({"backbone_config": {"out_indices": (1, 2, 3)}}, "sets the backbone's out_indices to "),
        ({"backbone_config": {"out_indices": [0, 1, 2, 3]}}, r"out_indices to \[0, 1, 2, 3\]: only \[1, 2, 3, 4\]"),
        ({"backbone_config": {"out_features": ["stage1", "stage4"]}}, "sets the backbone's out_features to "),
        (
            {"backbone_config": {"out_features": ["stage1", "stage2", "stage3", "stage4"], "out_indices": [2, 3, 4]}},
            r"out_indices to \[2, 3, 4\]: only \[1, 2, 3, 4\]",
        ),
        ({"backbone_config": {"use_absolute_embeddings": True}}, "the backbone's use_absolute_embeddings to True"),
        ({"text_config": {"hidden_act": "relu"}}, "sets the text encoder's hidden_act to 'relu': only 'gelu'"),
        ({"text_config": {"is_decoder": True}}, "sets the text encoder's is_decoder to True: only False"),
        ({"text_config": {"layer_norm_eps": 1e-6}}, "sets the text encoder's layer_norm_eps to 1e-06"),
        ({"text_config": {"position_embedding_type": "relative_key"}}, "position_embedding_type to 'relative_key'"),
        ({"encoder_ffn_dim": 64}, "encoder_ffn_dim to 64 and decoder_ffn_dim to 2048"),
    ],
)
def test_what_our_model_is_not_is_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        from_transformers({"model_type": "grounding-dino"} | change)


@pytest.mark.parametrize(
    ("values", "sides", "mean", "std"),
    [
        ({}, (800, 1333), IMAGENET_MEAN, IMAGENET_STD),
        ({"size": {"shortest_edge": 480, "longest_edge": 640}}, (480, 640), IMAGENET_MEAN, IMAGENET_STD),
        ({"size": 600, "max_size": 900}, (600, 900), IMAGENET_MEAN, IMAGENET_STD),
        ({"size": 600}, (600, 1333), IMAGENET_MEAN, IMAGENET_STD),
        ({"image_mean": [0.5, 0.4, 0.3], "image_std": [1, 0.5, 0.25]}, (800, 1333), (0.5, 0.4, 0.3), (1, 0.5, 0.25)),
        ({"do_pad": False, "format": "coco_panoptic", "pad_size": None}, (800, 1333), IMAGENET_MEAN, IMAGENET_STD),
        ({"rescale_factor": 0.00392156862745098, "resample": 2}, (800, 1333), IMAGENET_MEAN, IMAGENET_STD),
        ({"image_processor_type": "GroundingDinoImageProcessorFast"}, (800, 1333), IMAGENET_MEAN, IMAGENET_STD),
        ({"feature_extractor_type": "DetrFeatureExtractor"}, (800, 1333), IMAGENET_MEAN, IMAGENET_STD),
    ],
)
def test_pictures_are_prepared_as_the_folder_says(values, sides, mean, std):
    config = with_preprocessor(SWIN_T, values)
    assert (config.short_side, config.long_side) == sides
    assert (config.image_mean, config.image_std) == (mean, std)
    assert from_json(json.loads(json.dumps(to_json(config)))) == config


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"size": {"height": 800, "width": 800}},
            r"sets size to \{'height': 800, .*: expected shortest_edge and longest",
        ),
        ({"size": {"shortest_edge": 800}}, "sets size to "),
        ({"size": {"shortest_edge": 800, "longest_edge": 0}}, "sets size to "),
        ({"do_resize": False}, "sets do_resize to False: only True is supported"),
        ({"do_rescale": False}, "sets do_rescale to False"),
        ({"do_normalize": False}, "sets do_normalize to False"),
        ({"do_center_crop": True}, "sets do_center_crop to True"),
        ({"rescale_factor": 1}, "sets rescale_factor to 1: only 1/255"),
        ({"resample": 3}, "sets resample to 3: only 2"),
        ({"pad_size": {"height": 1333, "width": 1333}}, "sets pad_size to "),
        ({"image_std": [0.2, 0.2, 0]}, "no std of 0"),
        ({"image_mean": [0.5]}, "expected three numbers each"),
        (
            {"image_processor_type": "CLIPImageProcessor"},
            "image_processor_type to 'CLIPImageProcessor': only Grounding",
        ),
    ],
)
def test_pictures_that_would_be_prepared_otherwise_are_refused(values, sentence):
    with pytest.raises(ValueError, match=f"^The image processor sets .*{sentence.removeprefix('sets ')}"):
        with_preprocessor(SWIN_T, values)
