"""Configurations as JSON: ours, stored in a weight file's metadata, and transformers' `config.json`."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from groundingdino.model.config import GroundingDINOConfig, ResNetConfig, SwinConfig, TextConfig, TimmConfig

BACKBONES = {"swin": SwinConfig, "resnet": ResNetConfig, "timm": TimmConfig}

# transformers clamps probabilities here before taking logits; its models were written for that.
TRANSFORMERS_LOGIT_EPS = 1e-5

# The `model_type` of those that we implement; the second is LLMDet's, too.
MODEL_TYPES = ("grounding-dino", "mm-grounding-dino")

# Switches of transformers' configuration that our model does not have, at the only value that it implements: of the
# whole, of the backbone and of the text encoder. Others change training alone, or tensors, which are loaded strictly.
FIXED_IN_TRANSFORMERS: dict[str, Any] = {
    "activation_function": "relu",
    "backbone": None,
    "embedding_init_target": True,
    "layer_norm_eps": 1e-5,
    "position_embedding_type": "sine",
    "positional_embedding_temperature": 20,
    "query_dim": 4,
    "two_stage": True,
    "two_stage_bbox_embed_share": False,
    "use_timm_backbone": False,
}
FIXED_IN_SWIN: dict[str, Any] = {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "mlp_ratio": 4,
    "num_channels": 3,
    "patch_size": 4,
    "qkv_bias": True,
    "use_absolute_embeddings": False,
}
FIXED_IN_BERT: dict[str, Any] = {
    "add_cross_attention": False,
    "hidden_act": "gelu",
    "is_decoder": False,
    "layer_norm_eps": 1e-12,
    "position_embedding_type": "absolute",
    "type_vocab_size": 2,
}

# The same of what prepares pictures (`preprocessor_config.json`), and the classes that prepare them as ours are.
FIXED_IN_PREPROCESSOR: dict[str, Any] = {
    "do_center_crop": False,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "pad_size": None,
    "resample": 2,  # Pillow's number of its bilinear filter
}
PREPROCESSORS = ("GroundingDino", "DeformableDetr", "ConditionalDetr", "Detr")

NAMES_IN_TRANSFORMERS = {  # ours: transformers'
    "hidden_dim": "d_model",
    "num_heads": "encoder_attention_heads",
    "ffn_dim": "encoder_ffn_dim",
    "enhancer_layers": "encoder_layers",
    "decoder_layers": "decoder_layers",
    "num_queries": "num_queries",
    "num_levels": "num_feature_levels",
    "num_points": "encoder_n_points",
    "max_tokens": "max_text_len",
}

# Sizes that transformers keeps for encoder and decoder apart and we do not, with its defaults.
SHARED_IN_TRANSFORMERS = {"attention_heads": 8, "ffn_dim": 2048, "n_points": 4}


def to_json(config: GroundingDINOConfig) -> dict[str, Any]:
    """Plain dictionaries and lists; the backbone says which one it is under "type"."""
    kind = next(name for name, cls in BACKBONES.items() if isinstance(config.backbone, cls))
    values = asdict(config)
    return values | {"backbone": {"type": kind} | values["backbone"]}


def from_json(values: Mapping[str, Any]) -> GroundingDINOConfig:
    """The inverse of `to_json`.

    Raises:
        ValueError: a field is unknown or the backbone is.
    """
    backbone = dict(values["backbone"])
    kind = backbone.pop("type", None)
    if kind not in BACKBONES:
        raise ValueError(f"The configuration asks for the backbone '{kind}': expected one of {', '.join(BACKBONES)}.")
    parts = {"backbone": _build(BACKBONES[kind], backbone), "text": _build(TextConfig, values["text"])}
    return _build(GroundingDINOConfig, dict(values) | parts)


def from_transformers(values: Mapping[str, Any]) -> GroundingDINOConfig:
    """Our configuration for a `config.json` that transformers' `save_pretrained` wrote.

    Whatever the file leaves out has transformers' defaults, which are those of Swin-T and BERT base, as ours.

    Raises:
        ValueError: another architecture, or a switch set in a way that our model does not implement.
    """
    kind = values.get("model_type")
    if kind not in MODEL_TYPES:
        expected = " or ".join(f"'{name}'" for name in MODEL_TYPES)
        raise ValueError(f"config.json describes a model of type '{kind}': expected {expected}.")
    backbone, text = values.get("backbone_config") or {}, values.get("text_config") or {}
    if backbone.get("model_type", "swin") != "swin" or text.get("model_type", "bert") != "bert":
        raise ValueError(
            f"config.json asks for the backbone '{backbone.get('model_type')}' and the text encoder "
            f"'{text.get('model_type')}': expected 'swin' and 'bert'."
        )
    _check_fixed(values, FIXED_IN_TRANSFORMERS, "config.json sets ")
    _check_fixed(backbone, FIXED_IN_SWIN, "config.json sets the backbone's ")
    _check_fixed(text, FIXED_IN_BERT, "config.json sets the text encoder's ")
    for name, default in SHARED_IN_TRANSFORMERS.items():
        encoder, decoder = (values.get(f"{side}_{name}", default) for side in ("encoder", "decoder"))
        if encoder != decoder:
            raise ValueError(
                f"config.json sets encoder_{name} to {encoder} and decoder_{name} to {decoder}: they must be the same."
            )
    is_mm = kind == "mm-grounding-dino"
    return GroundingDINOConfig(
        backbone=_build(SwinConfig, _known(SwinConfig, backbone) | {"first_stage": _first_stage(backbone)}),
        text=_build(TextConfig, _known(TextConfig, text)),
        logit_eps=TRANSFORMERS_LOGIT_EPS,
        scaled_scores=is_mm,
        # Published files of MM Grounding DINO have a head for each layer; one that is shared is copied to each.
        own_heads=is_mm or values.get("decoder_bbox_embed_share") is False,
        **{ours: values[theirs] for ours, theirs in NAMES_IN_TRANSFORMERS.items() if values.get(theirs) is not None},
    )


def to_transformers(config: GroundingDINOConfig) -> dict[str, Any] | None:
    """The inverse of `from_transformers`, with the backbone's and the text encoder's as dictionaries in it.

    None where transformers has no such model: of another backbone than Swin.
    """
    backbone, text = config.backbone, config.text
    if not isinstance(backbone, SwinConfig):
        return None
    values: dict[str, Any] = {theirs: getattr(config, ours) for ours, theirs in NAMES_IN_TRANSFORMERS.items()}
    for name in SHARED_IN_TRANSFORMERS:
        values[f"decoder_{name}"] = values[f"encoder_{name}"]
    values["decoder_bbox_embed_share"] = not config.own_heads
    if config.scaled_scores:
        values["decoder_cls_embed_share"] = not config.own_heads
    values["model_type"] = MODEL_TYPES[config.scaled_scores]
    values["backbone_config"] = {
        "model_type": "swin",
        **{name: list(value) if isinstance(value, tuple) else value for name, value in asdict(backbone).items()},
        "out_indices": list(range(backbone.first_stage + 1, 5)),
    }
    del values["backbone_config"]["first_stage"]
    values["text_config"] = {"model_type": "bert", **asdict(text)}
    return values


def with_preprocessor(config: GroundingDINOConfig, values: Mapping[str, Any]) -> GroundingDINOConfig:
    """The configuration with a folder's sizes and normalisation of pictures, as transformers' image processor has them.

    What is left out has that one's defaults, which are the published ones.

    Raises:
        ValueError: pictures are prepared in a way that ours does not implement.
    """
    where = "The image processor sets "
    kind = str(values.get("image_processor_type") or values.get("feature_extractor_type") or PREPROCESSORS[0])
    if not re.fullmatch(rf"({'|'.join(PREPROCESSORS)})(ImageProcessor(Fast|Pil)?|FeatureExtractor)?", kind):
        raise ValueError(f"{where}image_processor_type to '{kind}': only GroundingDinoImageProcessor is supported.")
    _check_fixed(values, FIXED_IN_PREPROCESSOR, where)
    factor = values.get("rescale_factor", 1 / 255)
    if not math.isclose(factor, 1 / 255, rel_tol=1e-6):
        raise ValueError(f"{where}rescale_factor to {factor!r}: only 1/255 is supported.")
    size = values.get("size")
    if size is None or isinstance(size, int):  # of older versions, the short side
        size = {"shortest_edge": size or 800, "longest_edge": values.get("max_size") or 1333}
    sides: list[Any] = [size.get("shortest_edge"), size.get("longest_edge")]
    if size.keys() - {"shortest_edge", "longest_edge"} or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"{where}size to {size!r}: expected shortest_edge and longest_edge, in pixels.")
    mean, std = (
        tuple(values.get(name) or default)
        for name, default in (("image_mean", config.image_mean), ("image_std", config.image_std))
    )
    if (
        len(mean) != 3
        or len(std) != 3
        or not all(map(math.isfinite, mean))
        or not all(0 < one < math.inf for one in std)
    ):
        raise ValueError(
            f"{where}image_mean to {mean} and image_std to {std}: expected three numbers each, no std of 0."
        )
    return replace(config, short_side=sides[0], long_side=sides[1], image_mean=mean, image_std=std)


def _first_stage(backbone: Mapping[str, Any]) -> int:
    """The first stage of a Swin Transformer whose map is used, counted from 0: transformers lists them, from 1."""
    listed = [len(backbone.get(name) or ()) for name in ("out_indices", "out_features")]
    first = 0 if 4 in listed else 1
    stages = list(range(first + 1, 5))
    _check_fixed(
        backbone,
        {"out_indices": stages, "out_features": [f"stage{stage}" for stage in stages]},
        "config.json sets the backbone's ",
    )
    return first


def _check_fixed(values: Mapping[str, Any], fixed: Mapping[str, Any], where: str) -> None:
    for name, value in fixed.items():
        found = values.get(name)
        found = list(found) if isinstance(found, tuple) else found
        if found is not None and found != value:
            raise ValueError(f"{where}{name} to {found!r}: only {value!r} is supported.")


def _known(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: values[field.name] for field in fields(cls) if values.get(field.name) is not None}


def _build(cls: type, values: Mapping[str, Any]) -> Any:
    """The dataclass from JSON values; lists become tuples."""
    unknown = set(values) - {field.name for field in fields(cls)}
    if unknown:
        raise ValueError(f"The configuration has unknown fields: {', '.join(sorted(unknown))}.")
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
