"""Blend what was painted over a picture: pixels outside the mask stay as they are."""

import numpy as np


def blend(below: np.ndarray, above: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """`above` over `below`, both (H, W, C) uint8, by alpha (H, W) uint8; where that is 0 `below` is kept to the bit."""
    weight = alpha[..., None].astype(np.uint32)
    return ((below * (255 - weight) + above * weight + 127) // 255).astype(np.uint8)
