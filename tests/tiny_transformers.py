"""Pipelines whose denoiser is a transformer, of a few thousand random weights, saved in diffusers' layout."""

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    FluxFillPipeline,
    FluxTransformer2DModel,
    QwenImageEditPipeline,
    QwenImageTransformer2DModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)

from tests.tiny_pipelines import CELL, TOKENS, WIDTH, autoencoder, text_encoder, word_tokenizer

CHANNELS = 4  # of latents, as `autoencoder` has them; the transformers see 2 x 2 of their pixels as one
CHAT = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
_VAE = {"scaling_factor": 0.4, "shift_factor": 0.1, "use_quant_conv": False, "use_post_quant_conv": False}


def save_flux_fill(folder: Path) -> Path:
    """FLUX.1 Fill: takes the picture without the hole and the hole as inputs, and the guidance as a number."""
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        in_channels=4 * (2 * CHANNELS + CELL**2),
        out_channels=4 * CHANNELS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    )
    t5 = T5Config(vocab_size=30_522, d_model=WIDTH, d_kv=8, d_ff=WIDTH, num_layers=1, num_heads=4)
    FluxFillPipeline(
        scheduler=_SCHEDULER,
        vae=autoencoder(**_VAE),
        text_encoder=text_encoder(),
        tokenizer=word_tokenizer(),
        text_encoder_2=_told(T5EncoderModel(t5), "final_layer_norm"),
        tokenizer_2=word_tokenizer(),
        transformer=_loud(transformer),
    ).save_pretrained(folder)
    return folder


def save_qwen_image_edit(folder: Path) -> Path:
    """Qwen-Image-Edit: follows an instruction about a picture that it sees whole."""
    torch.manual_seed(0)
    vae = AutoencoderKLQwenImage(
        base_dim=4,
        z_dim=CHANNELS,
        dim_mult=[1, 1, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.1] * CHANNELS,
        latents_std=[0.5] * CHANNELS,
    )
    transformer = QwenImageTransformer2DModel(
        in_channels=4 * CHANNELS,
        out_channels=CHANNELS,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
    )
    tokenizer = _byte_tokenizer()
    ids = {f"{kind}_token_id": tokenizer.convert_tokens_to_ids(f"<|{kind}_pad|>") for kind in ("image", "video")}
    ids["vision_start_token_id"] = tokenizer.convert_tokens_to_ids("<|vision_start|>")
    ids["vision_end_token_id"] = tokenizer.convert_tokens_to_ids("<|vision_end|>")
    vision = {"depth": 1, "hidden_size": WIDTH, "num_heads": 2, "intermediate_size": WIDTH, "out_hidden_size": WIDTH}
    text = {
        **_QWEN,
        "vocab_size": len(tokenizer),
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]},
    }
    encoder = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids))
    sizes = {"min_pixels": 28 * 28, "max_pixels": 56 * 56}
    QwenImageEditPipeline(
        scheduler=_SCHEDULER,
        vae=vae,
        text_encoder=_told(encoder, "language_model.norm"),
        tokenizer=tokenizer,
        processor=Qwen2VLProcessor(Qwen2VLImageProcessor(**sizes), tokenizer, Qwen2VLVideoProcessor(**sizes), CHAT),
        transformer=_loud(transformer),
    ).save_pretrained(folder)
    return folder


def save_z_image(folder: Path) -> Path:
    """Z-Image: text and picture go through one transformer as one sequence."""
    torch.manual_seed(0)
    transformer = ZImageTransformer2DModel(
        in_channels=CHANNELS,
        dim=2 * WIDTH,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=4,
        n_kv_heads=4,
        cap_feat_dim=WIDTH,
        axes_dims=[4, 6, 6],
        axes_lens=[1024, 64, 64],
    )
    tokenizer = _byte_tokenizer()
    ZImagePipeline(
        scheduler=_SCHEDULER,
        vae=autoencoder(**_VAE),
        text_encoder=Qwen3Model(Qwen3Config(vocab_size=len(tokenizer), head_dim=8, **_QWEN)),
        tokenizer=tokenizer,
        transformer=_loud(transformer),
    ).save_pretrained(folder)
    return folder


_SCHEDULER = FlowMatchEulerDiscreteScheduler(shift=3.0)
_QWEN = {
    "hidden_size": WIDTH,
    "intermediate_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def _byte_tokenizer() -> Qwen2Tokenizer:
    """Reads letter by letter."""
    vocabulary = {letter: index for index, letter in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[], model_max_length=TOKENS * 8, chat_template=CHAT)
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    return tokenizer


def _told(encoder: torch.nn.Module, name: str) -> torch.nn.Module:
    """Makes texts tell apart: else random weights paint nearly the same whatever they are told."""
    for parameter_name, parameter in encoder.named_parameters():
        if name in parameter_name:
            torch.nn.init.constant_(parameter, 10.0)
    return encoder


def _loud(transformer: torch.nn.Module) -> torch.nn.Module:
    """Gives what starts at zero weights, too."""
    for parameter in transformer.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return transformer
