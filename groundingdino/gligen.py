"""GLIGEN (arXiv 2301.07093) with our mask: diffusers' pipeline paints whole boxes, and of a square picture only."""

from typing import Any

import torch
from diffusers import StableDiffusionGLIGENPipeline
from PIL import Image
from torch import Tensor


class MaskedGLIGENPipeline(StableDiffusionGLIGENPipeline):
    """Paints where a mask says instead of in all of the boxes, at any size, and the same again from the same seed."""

    def paint(self, mask: Tensor, seed: int, **arguments: Any) -> Any:
        """As a call of diffusers' pipeline.

        Args:
            mask: (h, w) of the latents, 1 where it paints.
            seed: Also of the noise for which diffusers takes no generator.
            arguments: Of the call.
        """
        self._kept = 1 - mask.float()
        devices = [self._execution_device] if self._execution_device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            return self(**arguments)

    def draw_inpaint_mask_from_boxes(self, _boxes: Any, _size: Any) -> Tensor:
        """(h, w) of the latents, 1 in what stays."""
        return self._kept

    def target_size_center_crop(self, im: Image.Image, _new_hw: int) -> Image.Image:
        """The picture as it is: it has the size of the latents already."""
        return im
