"""Weight files as tensors and metadata: `.safetensors`, and PyTorch's `.pth` without running what is in it."""

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

# What stands at the start of files that people take for weights.
_LOOKALIKES = {
    b"version https://git-lfs": "is a Git LFS pointer, not the weights themselves: fetch them with `git lfs pull`",
    b"<": "is a web page, perhaps an error message saved in place of the download: download it again",
}


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, memory-mapped where the format allows it, and the file's metadata (none in a `.pth`).

    Raises:
        ValueError: the file is missing, empty, truncated, not a weight file, or holds anything but tensors.
    """
    if not path.is_file():
        raise ValueError(f"There is no weight file at '{path}'.")
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    if path.stat().st_size == 0:
        raise ValueError(f"'{path}' is empty: download it again.")
    for lookalike, sentence in _LOOKALIKES.items():
        if start.startswith(lookalike):
            raise ValueError(f"'{path}' {sentence}.")
    return _read_safetensors(path) if path.suffix == ".safetensors" else (_read_pth(path), {})


def write_weights(state: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path) -> None:
    """Write a `.safetensors` file; whoever reads `path` meanwhile sees the old file or the new one."""
    partial = path.with_name(f"{path.name}.partial")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, partial, metadata={"format": "pt", **metadata})
    os.replace(partial, path)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"'{path}' is truncated or no .safetensors file ({error}): download it again.") from error


def _read_pth(path: Path) -> dict[str, Tensor]:
    try:
        # Files of PyTorch before 1.6 are no zip archives and cannot be mapped.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"'{path}' is no PyTorch weight file, or holds Python objects whose reading could run code, and was not "
            "opened: use the published file, or save the state dict alone."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise ValueError(f"'{path}' is truncated or no PyTorch weight file: download it again.") from error
    return _state_dict(content, path)


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict itself, out of the dictionary that training code saves it in."""
    for wrapper in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(
            f"'{path}' holds no state dict: expected parameter names with tensors, alone or under 'model'."
        )
    return dict(content)
