"""In which precision a model runs fastest on the machine at hand, boxes staying within 2e-2 of the picture."""

import torch
from torch import nn

from groundingdino.config import GroundingDINOConfig

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


def store_bfloat16(model: nn.Module) -> None:
    """Keep what is multiplied in the precision that autocast multiplies it in; the products stay the same.

    In inference mode autocast keeps no converted weight: it would convert each at each use, which in `workers` is once
    for each piece of rows. Convolutions keep float32 on a CPU, see `model.layers.convolving`.
    """
    on_cpu = next(model.parameters()).device.type == "cpu"
    kinds = (nn.Linear, nn.MultiheadAttention) if on_cpu else (nn.Linear, nn.MultiheadAttention, nn.Conv2d)
    for layer in model.modules():
        if isinstance(layer, kinds):
            layer.to(torch.bfloat16)
