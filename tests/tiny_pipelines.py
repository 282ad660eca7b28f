"""Pipelines of every class we paint with, of a few thousand random weights, saved in diffusers' layout."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionGLIGENPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLInpaintPipeline,
    UNet2DConditionModel,
)
from transformers import BertTokenizerFast, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.conftest import BERT_VOCABULARY

WORKING_SIZE = 128  # pixels
CELL = 4  # pixels of a side per latent pixel
WIDTH = 32
TOKENS = 24

NO_CHECKER = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def save_sd(folder: Path, in_channels: int = 9, variant: str | None = None, sample_size: int = 32) -> Path:
    """Stable Diffusion: with 9 input channels trained to inpaint, with 4 the plain one."""
    torch.manual_seed(0)
    kind = StableDiffusionInpaintPipeline if in_channels == 9 else StableDiffusionPipeline
    unet = UNet2DConditionModel(in_channels=in_channels, sample_size=sample_size, **_UNET)
    pipeline = kind(
        vae=autoencoder(),
        text_encoder=text_encoder(),
        tokenizer=word_tokenizer(),
        unet=unet,
        scheduler=_SCHEDULER,
        **NO_CHECKER,
    )
    pipeline.save_pretrained(folder, variant=variant)
    return folder


def save_sdxl(folder: Path) -> Path:
    """Stable Diffusion XL: two text encoders, and sizes as an input."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        in_channels=9,
        sample_size=32,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=WIDTH + 6 * 8,
        **{**_UNET, "cross_attention_dim": 2 * WIDTH},
    )
    StableDiffusionXLInpaintPipeline(
        vae=autoencoder(),
        text_encoder=text_encoder(),
        text_encoder_2=CLIPTextModelWithProjection(_TEXT),
        tokenizer=word_tokenizer(),
        tokenizer_2=word_tokenizer(),
        unet=unet,
        scheduler=_SCHEDULER,
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder


def save_gligen(folder: Path) -> Path:
    """GLIGEN as published for inpainting: gated attention; latents, kept latents and what is kept as inputs."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(in_channels=9, sample_size=32, attention_type="gated", **_UNET)
    for name, parameter in unet.named_parameters():
        if "alpha_" in name:  # the gates, which start closed
            torch.nn.init.constant_(parameter, 1.0)
    StableDiffusionGLIGENPipeline(
        vae=autoencoder(),
        text_encoder=text_encoder(),
        tokenizer=word_tokenizer(),
        unet=unet,
        scheduler=_SCHEDULER,
        **NO_CHECKER,
    ).save_pretrained(folder)
    return folder


_SCHEDULER = DDIMScheduler(
    beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
)
_UNET = {
    "out_channels": 4,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 8,
    "norm_num_groups": 8,
}
_TEXT = CLIPTextConfig(
    vocab_size=30_522,
    hidden_size=WIDTH,
    projection_dim=WIDTH,
    intermediate_size=WIDTH,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=TOKENS,
    eos_token_id=102,
    bos_token_id=101,
    pad_token_id=0,
)


def text_encoder() -> CLIPTextModel:
    encoder = CLIPTextModel(_TEXT)
    for name, parameter in encoder.named_parameters():
        if "final_layer_norm.weight" in name:
            torch.nn.init.constant_(parameter, 30.0)  # else random weights paint the same whatever they are told
    return encoder


def word_tokenizer() -> BertTokenizerFast:
    return BertTokenizerFast(vocab=str(BERT_VOCABULARY), model_max_length=TOKENS)


def autoencoder(**options: Any) -> AutoencoderKL:
    """Latents of 4 channels, a quarter of the picture's width and height."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=WORKING_SIZE,
        **options,
    )
