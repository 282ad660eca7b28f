"""What latents look like, without running a decoder: colours are an affine function of them, fitted to the picture.

A latent pixel of the usual autoencoders holds above all the mean colour of its cell. The picture around the mask, of
which pixels and latents are both known, says how, whatever the autoencoder.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

_RIDGE = 1e-3  # keeps a picture of one colour solvable


class LatentPreview:
    """Colours of latents.

    Args:
        latents: (1, C, h, w) of a picture.
        pixels: (H, W, 3) uint8, the same picture.
    """

    def __init__(self, latents: Tensor, pixels: np.ndarray):
        known = latents[0].detach().float().cpu()
        self._spread = float(known.std())
        colors = cv2.resize(pixels, (known.shape[2], known.shape[1]), interpolation=cv2.INTER_AREA)
        target = torch.from_numpy(colors).float().flatten(0, 1)  # (h * w, 3)
        inputs = self._inputs(known)
        square = inputs.T @ inputs + _RIDGE * len(inputs) * torch.eye(inputs.shape[1])
        self._colors = torch.linalg.solve(square, inputs.T @ target)  # (C + 1, 3)

    def show(self, latents: Tensor) -> np.ndarray:
        """(h, w, 3) uint8, one pixel for each latent pixel of the first of (B, C, h, w).

        Where noise still dominates, and with schedulers that add it to the picture instead of mixing the two, latents
        are larger than those of pictures and are scaled down.
        """
        now = latents[0].detach().float().cpu()
        now = now / max(1.0, float(now.std()) / max(self._spread, 1e-6))
        colors = (self._inputs(now) @ self._colors).view(*now.shape[1:], 3)
        return colors.nan_to_num(0).clamp(0, 255).round().byte().numpy()

    @staticmethod
    def _inputs(latents: Tensor) -> Tensor:
        flat = latents.flatten(1).T  # (h * w, C)
        return torch.cat([flat, torch.ones(len(flat), 1)], dim=1)
