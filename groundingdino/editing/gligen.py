"""GLIGEN (arXiv 2301.07093) with our mask: diffusers' pipeline paints whole boxes, and of a square picture only."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import StableDiffusionGLIGENPipeline
from PIL import Image
from torch import Tensor


class MaskedGLIGENPipeline(StableDiffusionGLIGENPipeline):
    """Paints where a mask says instead of in all of the boxes, at any size, and the same again from the same seed."""

    def paint(self, mask: Tensor, seed: int, phrases: Sequence[str], **arguments: Any) -> Any:
        """As a call of diffusers' pipeline.

        Args:
            mask: (h, w) of the latents, 1 where it paints.
            seed: Also of the noise for which diffusers takes no generator.
            phrases: What each box is to show; all of them together are the prompt.
            arguments: Of the call.
        """
        self._kept = 1 - mask.float()
        devices = [self._execution_device] if self._execution_device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            readable = [self._readable(phrase) for phrase in phrases]
            return self(prompt=", ".join(phrases), gligen_phrases=readable, **arguments)

    def draw_inpaint_mask_from_boxes(self, _boxes: Any, _size: Any) -> Tensor:
        """(h, w) of the latents, 1 in what stays."""
        return self._kept

    def target_size_center_crop(self, im: Image.Image, _new_hw: int) -> Image.Image:
        """The picture as it is: it has the size of the latents already."""
        return im

    def _readable(self, phrase: str) -> str:
        """As much of a phrase as the text encoder reads; diffusers cuts the prompt, but not the phrases."""
        ids = self.tokenizer(phrase, truncation=True, max_length=self.tokenizer.model_max_length).input_ids
        is_whole = len(self.tokenizer(phrase).input_ids) == len(ids)
        return phrase if is_whole else self.tokenizer.decode(ids, skip_special_tokens=True)
