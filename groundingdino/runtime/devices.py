"""Which device computes."""

import torch

from groundingdino.runtime import zero_gpu


def find_device() -> torch.device:
    """A GPU if there is one, for longer than a function call."""
    return torch.device("cuda" if torch.cuda.is_available() and not zero_gpu.is_here() else "cpu")


def is_cpu(device: str | torch.device | None) -> bool:
    """Whether a device is the processor; None: the GPU if there is one."""
    return str(device or find_device()).startswith("cpu")


def check_device(device: str | torch.device) -> None:
    """Raise a ValueError with one sentence if there is no such device, or one that holds no numbers."""
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:  # an unknown name; a PyTorch without this device
        reason = str(error).splitlines()[0].split(". ")[0].rstrip(".")
        raise ValueError(f"The device '{device}' cannot be used here: {reason}.") from error
