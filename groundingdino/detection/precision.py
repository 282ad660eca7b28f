"""In which precision a model runs fastest on the machine at hand, boxes staying within 2e-2 of the picture."""

import copy

import torch
from torch import nn

from groundingdino.model import GroundingDINO
from groundingdino.model.config import GroundingDINOConfig
from groundingdino.model.query_selection import ClassHead

# Processors that multiply bfloat16 natively, twice as fast as float32 or more; elsewhere it is emulated, at a tenth.
NATIVE_ON_CPU = ("avx512_bf16", "amx_bf16")

# Below this width products are too small to gain what converting their inputs costs.
LEAST_WIDTH_ON_CPU = 256


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the hardware itself multiplies bfloat16."""
    if device.type == "cuda":
        # Of this GPU: `torch.cuda.is_bf16_supported` speaks of the current one. AMD's all multiply it.
        return bool(torch.version.hip) or torch.cuda.get_device_properties(device).major >= 8
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name) for name in NATIVE_ON_CPU)
    return False


def fastest_dtype(device: torch.device, config: GroundingDINOConfig) -> torch.dtype:
    """torch.bfloat16 where the hardware has it and the model gains by it, otherwise torch.float32."""
    wide_enough = device.type != "cpu" or config.hidden_dim >= LEAST_WIDTH_ON_CPU
    return torch.bfloat16 if wide_enough and multiplies_bfloat16(device) else torch.float32


def in_bfloat16(model: GroundingDINO) -> GroundingDINO:
    """A copy that keeps its weights in bfloat16 and computes in it; a model that does so already is returned as it is.

    The prompt's side is in it altogether. The image side multiplies in it, under autocast, and keeps its norms and sums
    in float32. Weights are narrowed once, here, since autocast would do it at each use.
    Convolutions keep float32 on a CPU, see `model.layers.convolving`; so do, everywhere, the biases of class heads: of
    -4.6 bfloat16 would change every score by a hundredth.
    """
    if model.dtype == torch.bfloat16:
        return model
    narrow = copy.deepcopy(model)
    for part in (narrow.text_encoder, narrow.enhancer, narrow.query_selection, narrow.decoder):
        part.to(torch.bfloat16)
    for head, wide in zip(narrow.modules(), model.modules(), strict=True):
        if isinstance(head, ClassHead):
            head.to(torch.float32).load_state_dict(wide.state_dict())
    kinds = nn.Linear if next(model.parameters()).device.type == "cpu" else (nn.Linear, nn.Conv2d)
    for layer in (*narrow.backbone.modules(), *narrow.neck.modules()):
        if isinstance(layer, kinds):
            layer.to(torch.bfloat16)
    return narrow
