"""Configurations as JSON: ours, stored in a weight file's metadata, and transformers' `config.json`."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from groundingdino.config import GroundingDINOConfig, ResNetConfig, SwinConfig, TextConfig

BACKBONES = {"swin": SwinConfig, "resnet": ResNetConfig}

# transformers clamps probabilities here before taking logits; its models were written for that.
TRANSFORMERS_LOGIT_EPS = 1e-5

# Switches of transformers' configuration that our model does not have, at the only value that it implements.
FIXED_IN_TRANSFORMERS = {
    "activation_function": "relu",
    "decoder_bbox_embed_share": True,
    "embedding_init_target": True,
    "layer_norm_eps": 1e-5,
    "position_embedding_type": "sine",
    "positional_embedding_temperature": 20,
    "query_dim": 4,
    "two_stage": True,
    "two_stage_bbox_embed_share": False,
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
    if kind == "mm-grounding-dino":
        raise ValueError(
            "MM Grounding DINO and LLMDet are not supported: their class scores and box heads differ. Expected a "
            "model of type 'grounding-dino', such as IDEA-Research/grounding-dino-tiny."
        )
    if kind != "grounding-dino":
        raise ValueError(f"config.json describes a model of type '{kind}': expected 'grounding-dino'.")
    backbone, text = values.get("backbone_config") or {}, values.get("text_config") or {}
    if backbone.get("model_type", "swin") != "swin" or text.get("model_type", "bert") != "bert":
        raise ValueError(
            f"config.json asks for the backbone '{backbone.get('model_type')}' and the text encoder "
            f"'{text.get('model_type')}': expected 'swin' and 'bert'."
        )
    for name, value in FIXED_IN_TRANSFORMERS.items():
        if values.get(name, value) != value:
            raise ValueError(f"config.json sets {name} to {values[name]!r}: only {value!r} is supported.")
    for name, default in SHARED_IN_TRANSFORMERS.items():
        encoder, decoder = (values.get(f"{side}_{name}", default) for side in ("encoder", "decoder"))
        if encoder != decoder:
            raise ValueError(
                f"config.json sets encoder_{name} to {encoder} and decoder_{name} to {decoder}: they must be the same."
            )
    names = {  # ours: transformers'
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
    return GroundingDINOConfig(
        backbone=_build(SwinConfig, _known(SwinConfig, backbone)),
        text=_build(TextConfig, _known(TextConfig, text)),
        logit_eps=TRANSFORMERS_LOGIT_EPS,
        **{ours: values[theirs] for ours, theirs in names.items() if values.get(theirs) is not None},
    )


def _known(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: values[field.name] for field in fields(cls) if values.get(field.name) is not None}


def _build(cls: type, values: Mapping[str, Any]) -> Any:
    """The dataclass from JSON values; lists become tuples."""
    unknown = set(values) - {field.name for field in fields(cls)}
    if unknown:
        raise ValueError(f"The configuration has unknown fields: {', '.join(sorted(unknown))}.")
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
