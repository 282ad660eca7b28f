"""Detectors of other architectures with random weights, saved by transformers with the tokenizers they need."""

from pathlib import Path
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTokenizer,
    DetrImageProcessor,
    OmDetTurboConfig,
    OmDetTurboForObjectDetection,
    OmDetTurboProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    Sam3Config,
    Sam3ImageProcessor,
    Sam3Model,
    Sam3Processor,
    SwinConfig,
)

WIDTH = 32
SIDES = {"owlv2": 64, "omdet-turbo": 64, "sam3": 112}


def tokenizer() -> CLIPTokenizer:
    """Reads letter by letter, as CLIP's reads words that it does not know; its ends are its last two tokens."""
    letters = sorted(ByteLevel.alphabet())
    words = ["<unk>", *letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={word: index for index, word in enumerate(words)}, merges=[], unk_token="<unk>", pad_token="<unk>"
    )


def _text(tokens: int, width: int = WIDTH) -> dict[str, Any]:
    """A text encoder that reads that many tokens."""
    read = tokenizer()
    return {
        "vocab_size": len(read),
        "hidden_size": width,
        "intermediate_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": tokens,
        "projection_dim": WIDTH,
        "bos_token_id": read.bos_token_id,
        "eos_token_id": read.eos_token_id,
        "pad_token_id": read.pad_token_id,
    }


def owlv2() -> tuple[Any, Any]:
    """16 patches in a picture."""
    side = SIDES["owlv2"]
    vision = {
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": side,
        "patch_size": 16,
    }
    model = Owlv2ForObjectDetection(Owlv2Config(text_config=_text(16), vision_config=vision, projection_dim=WIDTH))
    return model, Owlv2Processor(Owlv2ImageProcessor(size={"height": side, "width": side}), tokenizer())


def omdet_turbo() -> tuple[Any, Any]:
    """9 queries, on the maps of a Swin Transformer."""
    side = SIDES["omdet-turbo"]
    backbone = SwinConfig(
        image_size=side,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 2],
        window_size=4,
        out_indices=[2, 3, 4],
    )
    wide = 2 * WIDTH  # transformers has a decoder of another width than texts in mind
    sizes = {"encoder_hidden_dim": WIDTH, "decoder_hidden_dim": WIDTH, "class_embed_dim": wide}
    config = OmDetTurboConfig(
        text_config=CLIPTextConfig(**_text(77, wide)),
        backbone_config=backbone,
        apply_layernorm_after_vision_backbone=False,
        image_size=side,
        text_projection_in_dim=wide,
        text_projection_out_dim=wide,
        task_encoder_hidden_dim=WIDTH,
        num_queries=9,
        vision_features_channels=[WIDTH] * 3,
        encoder_in_channels=[16, 32, 64],
        encoder_dim_feedforward=WIDTH,
        encoder_attention_heads=2,
        decoder_num_heads=2,
        decoder_num_layers=2,
        decoder_dim_feedforward=WIDTH,
        **sizes,
    )
    pictures = DetrImageProcessor(size={"height": side, "width": side}, do_pad=False)
    return OmDetTurboForObjectDetection(config), OmDetTurboProcessor(pictures, tokenizer())


def sam3() -> tuple[Any, Any]:
    """11 queries, and masks of 32 pixels a side."""
    side = SIDES["sam3"]
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": side,
        "patch_size": 14,
        "window_size": 4,
        "global_attn_indexes": [1],
        "pretrain_image_size": 56,
    }
    part = {"hidden_size": WIDTH, "num_attention_heads": 2, "intermediate_size": WIDTH, "num_layers": 1}
    config = Sam3Config(
        vision_config={
            "backbone_config": backbone,
            "fpn_hidden_size": WIDTH,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        },
        text_config=_text(32),
        geometry_encoder_config=part,
        detr_encoder_config=part,
        detr_decoder_config={**part, "num_queries": 11},
        mask_decoder_config={"hidden_size": WIDTH, "num_attention_heads": 2},
    )
    size = {"height": side, "width": side}
    return Sam3Model(config), Sam3Processor(Sam3ImageProcessor(size=size), tokenizer())


BUILD = {"owlv2": owlv2, "omdet-turbo": omdet_turbo, "sam3": sam3}


def build(kind: str) -> tuple[Any, Any]:
    """A model in eval mode and its processor; its boxes and scores differ between queries, pictures and phrases."""
    torch.manual_seed(0)
    model, processor = BUILD[kind]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=1.5 * parameter[0].numel() ** -0.5)
            elif not parameter.any():
                nn.init.normal_(parameter, std=0.1)
    return model.eval(), processor


def save(kind: str, folder: Path) -> Path:
    """The folder, with such a model in it."""
    model, processor = build(kind)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
