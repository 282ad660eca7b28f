"""Weights that every machine makes alike, in the layout of the published checkpoints, for parity with the authors.

Expected outputs were computed with these values, so none of them may change. They are scaled so that activations stay
about 1 and every branch matters: gains of the fusion are 0.2 to 0.8 rather than the 1e-4 of a fresh model, box heads
and sampling offsets are not zero.
"""

import json
import math
import re
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def seeded_state_dict(manifest: Path, seed: int) -> dict[str, Tensor]:
    """Values, fp32, for all names and shapes of a manifest.

    As in the published files, the one box head that all decoder layers share stands under every name it has
    (`bbox_embed.0`, ..., `transformer.decoder.bbox_embed.0`, ...). Integer buffers are in no manifest: a loader
    computes them.
    """
    state = {}
    for name, shape in json.loads(manifest.read_text(encoding="utf-8")).items():
        shared = re.sub(r"^(transformer\.decoder\.)?bbox_embed\.\d+", "bbox_embed", name)
        rng = np.random.default_rng([seed, zlib.crc32(shared.encode())])
        state[name] = torch.from_numpy(_values(shared, tuple(shape), rng))
    return state


def _values(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    def uniform(low: float, high: float) -> np.ndarray:
        return rng.random(shape, dtype=np.float32) * (high - low) + low

    def normal(std: float) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(std)

    if "gamma_" in name:
        return uniform(0.2, 0.8)
    if name.endswith("sampling_offsets.bias"):
        return normal(1.5)
    if name.endswith("bias"):
        return normal(0.1)
    if len(shape) == 1:  # every other weight of one dimension is the scale of a normalisation
        return uniform(0.7, 1.3)
    if "sampling_offsets" in name or "attention_weights" in name:
        return normal(0.05)
    if "relative_position_bias_table" in name:
        return normal(0.5)
    if "embeddings.weight" in name or name.endswith(("tgt_embed.weight", "level_embed")):
        return normal(1.0)
    return normal(1.0 / math.sqrt(math.prod(shape[1:])))
