"""What diffusers' pipelines differ in: how they are led by a text, how many steps they run, how their latents lie.

A UNet's noise is taken away by any of `schedulers.SCHEDULERS`; a transformer that was trained by flow matching has one
of its own. Its latents come packed: 2 x 2 of them are one token.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from groundingdino.editing.schedulers import matches_flows

# The instruction for models that need one where others get no text.
CONTINUE = "Remove what is in the middle, and continue what is around it."


def parameters(pipeline: Any) -> Mapping[str, inspect.Parameter]:
    """What a pipeline's call takes, by name."""
    return inspect.signature(type(pipeline).__call__).parameters


def denoiser(pipeline: Any) -> Any:
    """Its UNet or transformer."""
    return getattr(pipeline, "unet", None) or pipeline.transformer


def knows_guidance(pipeline: Any) -> bool:
    """Whether guidance is a number that the model takes as an input: it needs no second pass, and is never off."""
    return bool(getattr(denoiser(pipeline).config, "guidance_embeds", False))


def follows_instructions(pipeline: Any) -> bool:
    """Whether it sees all of the picture, and its text says what to do with it."""
    return "Edit" in type(pipeline).__name__


def heeds_negative_prompt(pipeline: Any) -> bool:
    """Whether it can be led away from a text."""
    return "negative_prompt" in parameters(pipeline) and not knows_guidance(pipeline)


def leading(pipeline: Any, guidance: float, negative_prompt: str) -> dict[str, Any]:
    """The arguments of a call that lead it.

    Args:
        pipeline: Of any kind.
        guidance: How closely the text is followed; 1 or less is not at all but where it `knows_guidance`.
        negative_prompt: What must not appear.
    """
    if knows_guidance(pipeline):
        return {"guidance_scale": guidance}
    if "true_cfg_scale" in parameters(pipeline):  # is off without a negative prompt
        return {"true_cfg_scale": guidance, "negative_prompt": (negative_prompt or " ") if guidance > 1 else None}
    if _is_z_image(pipeline):  # counts from 0: the text's lead is added to the whole
        guidance = max(0.0, guidance - 1)
    return {"guidance_scale": guidance, "negative_prompt": negative_prompt}


def steps_of(pipeline: Any, steps: int, strength: float) -> int:
    """How many of the steps are run: rounded down, by flow matching up."""
    return steps - int(steps - steps * strength) if matches_flows(pipeline) else int(steps * strength)


def most_tokens(pipeline: Any) -> int | None:
    """How many tokens of a text the model reads; None: all."""
    if follows_instructions(pipeline):
        return None
    limit = parameters(pipeline).get("max_sequence_length")
    most: int = _tokenizer(pipeline).model_max_length
    return most if limit is None else min(most, limit.default)


def is_read_to_its_end(pipeline: Any, text: str) -> bool:
    """Whether the model reads all of a text."""
    most, tokenizer = most_tokens(pipeline), _tokenizer(pipeline)
    if _is_z_image(pipeline):  # which reads a conversation
        messages = [{"role": "user", "content": text}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=True)
    return most is None or len(tokenizer(text).input_ids) <= most


def working_size(pipeline: Any) -> int:
    """Pixels of the side of the square that the model was trained on."""
    cell: int = pipeline.vae_scale_factor
    if size := getattr(denoiser(pipeline).config, "sample_size", None):
        return int(size if isinstance(size, int) else max(size)) * cell
    return getattr(pipeline.vae.config, "sample_size", None) or getattr(pipeline, "default_sample_size", 128) * cell


def encoded(pipeline: Any, picture: Image.Image, device: torch.device) -> Tensor:
    """Latents (1, C, h, w) of a picture, as large as the pipeline's own."""
    vae = pipeline.vae
    pixels = pipeline.image_processor.preprocess(picture).to(device, next(vae.parameters()).dtype)
    if hasattr(vae.config, "z_dim"):  # of films: a picture is one of a single frame
        latents = vae.encode(pixels[:, :, None]).latent_dist.mode()[:, :, 0]
        mean, spread = (
            torch.tensor(values).to(latents) for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        return (latents - mean[:, None, None]) / spread[:, None, None]
    latents = vae.encode(pixels).latent_dist.mode()
    return (latents - (getattr(vae.config, "shift_factor", None) or 0)) * vae.config.scaling_factor


def unpacked(pipeline: Any, latents: Tensor, canvas: np.ndarray) -> Tensor:
    """Latents (B, C, h, w) as they lie in a canvas (H, W, 3), of those (B, tokens, 4 C) that a transformer takes."""
    if latents.ndim != 3:
        return latents
    apart = pipeline._unpack_latents(latents, *canvas.shape[:2], pipeline.vae_scale_factor)
    return apart[:, :, 0] if apart.ndim == 5 else apart


def _tokenizer(pipeline: Any) -> Any:
    """The one of the text encoder that reads the most."""
    tokenizers = [getattr(pipeline, name, None) for name in ("tokenizer", "tokenizer_2")]
    return max(filter(None, tokenizers), key=lambda each: each.model_max_length)


def _is_z_image(pipeline: Any) -> bool:
    return type(pipeline).__name__.startswith("ZImage")
