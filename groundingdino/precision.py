"""In which precision a model runs fastest on the machine at hand, boxes staying within 2e-2 of the picture."""

import torch

from groundingdino.config import GroundingDINOConfig

# Processors that multiply bfloat16 natively, twice as fast as float32 or more; elsewhere it is emulated, and slower.
NATIVE_ON_CPU = ("avx512_bf16", "amx_bf16")

# Below this width products are too small to gain what converting their inputs costs.
LEAST_WIDTH_ON_CPU = 256


def fastest_dtype(device: torch.device, config: GroundingDINOConfig) -> torch.dtype:
    """torch.bfloat16 where the hardware has it and the model gains by it, otherwise torch.float32."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        native = any(capabilities.get(name) for name in NATIVE_ON_CPU) and config.hidden_dim >= LEAST_WIDTH_ON_CPU
    else:
        native = False
    return torch.bfloat16 if native else torch.float32
