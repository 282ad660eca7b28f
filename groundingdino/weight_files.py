"""Weight files as tensors and metadata: `.safetensors`, and PyTorch's `.pth` without running what is in it."""

import os
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

# How many names an error about a checkpoint lists of each kind.
NAMES_LISTED = 10
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
    if not os.path.isfile(path):  # where `Path.is_file` raises, as for a name that is too long, this says no
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


def half_state(model: nn.Module) -> dict[str, Tensor]:
    """A model's state with its parameters as float16; buffers (statistics of normalisation) keep their precision.

    Raises:
        ValueError: a parameter does not fit into float16.
    """
    state = model.state_dict()
    for name, parameter in model.named_parameters():
        if parameter.detach().abs().max() > torch.finfo(torch.float16).max:
            raise ValueError(f"'{name}' has values that float16 cannot hold: save with half=False.")
        state[name] = parameter.detach().half()
    return state


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load weights into a model: every tensor must be there, fit and be used.

    Raises:
        ValueError: the names and shapes that do not fit, listed; `what` is the subject of the sentence.
    """
    expected = model.state_dict()
    other_shape = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected.keys() & state.keys()
        if state[name].shape != expected[name].shape
    ]
    problems = [
        _list_names("missing", expected.keys() - state.keys()),
        _list_names("left over", state.keys() - expected.keys()),
        _list_names("of another shape", other_shape),
    ]
    if any(problems):
        raise ValueError(f"{what} does not fit the model: {'; '.join(filter(None, problems))}.")
    model.load_state_dict(state)


def find_device() -> torch.device:
    """A GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check_device(device: str | torch.device) -> None:
    """Raise a ValueError with one sentence if there is no such device, or one that holds no numbers."""
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:  # an unknown name; a PyTorch without this device
        reason = str(error).splitlines()[0].split(". ")[0].rstrip(".")
        raise ValueError(f"The device '{device}' cannot be used here: {reason}.") from error


def _list_names(problem: str, names: Iterable[str]) -> str:
    listed = sorted(names)
    if not listed:
        return ""
    more = f", and {len(listed) - NAMES_LISTED} more" if len(listed) > NAMES_LISTED else ""
    return f"{len(listed)} {problem} ({', '.join(listed[:NAMES_LISTED])}{more})"


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
    # Bytes that are no pickle are read as one until they fail, somewhere.
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
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
