"""Weight files as tensors and metadata: `.safetensors`, and PyTorch's `.pth` without running what is in it."""

import errno
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

# How many names an error about a checkpoint lists of each kind.
NAMES_LISTED = 10
# Where training code keeps the state dict in what it saves. The first that is there counts: where a model and its
# average are, the model, which the authors' own code loads.
_WRAPPERS = (
    "model",
    "state_dict",
    "model_state_dict",
    "model_state",
    "net",
    "ema",
    "model_ema",
    "ema_model",
    "state_dict_ema",
    "ema_state_dict",
    "module",
)
_DEEPEST = 4  # wrappers around each other; a file may hold a dictionary that holds itself


class _Unread:
    """Stands for an object beside the weights, such as the options of a training; nothing of its class runs."""

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, _: Any) -> None:
        pass


class _UnreadLog(_Unread):
    """Stands for mmengine's record of a training, which holds methods of its own class."""


def _attribute(owner: Any, name: str) -> type[_Unread]:
    """Stands for `getattr`, which pickles ask for to get a method."""
    if owner is not _UnreadLog:
        raise pickle.UnpicklingError(f"GLOBAL getattr of '{name}' is not allowed")
    return _Unread


def _dictionary(*_: Any) -> dict[Any, Any]:
    return {}


# What training code saves beside the weights: options, numpy's numbers, paths. By the names that pickles have for it.
_BESIDE: dict[str, Any] = dict.fromkeys(
    (
        "argparse.Namespace",
        "types.SimpleNamespace",
        *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
        "numpy.dtype",
        "numpy.ndarray",
        *(
            f"{module}.{pure}{system}Path"
            for module in ("pathlib", "pathlib._local")
            for pure in ("", "Pure")
            for system in ("", "Posix", "Windows")
        ),
        *(f"datetime.{name}" for name in ("date", "datetime", "timedelta")),
        "torch.torch_version.TorchVersion",
        "omegaconf.dictconfig.DictConfig",
        "omegaconf.listconfig.ListConfig",
        "omegaconf.base.ContainerMetadata",
        "omegaconf.base.Metadata",
        "omegaconf.nodes.AnyNode",
        "typing.Any",
        *(f"builtins.{name}" for name in ("dict", "float", "int", "list", "str", "tuple")),
    ),
    _Unread,
) | dict.fromkeys(
    (
        "lightning_fabric.utilities.data.AttributeDict",
        "lightning.fabric.utilities.data.AttributeDict",
        "pytorch_lightning.utilities.parsing.AttributeDict",
        "addict.addict.Dict",
        "easydict.EasyDict",
        "mmengine.config.config.ConfigDict",
        "yacs.config.CfgNode",
    ),
    OrderedDict,
)
_BESIDE |= {
    "collections.defaultdict": _dictionary,
    "mmengine.logging.history_buffer.HistoryBuffer": _UnreadLog,
    "builtins.getattr": _attribute,
}

_reading = Lock()  # PyTorch keeps what may be read for the whole process

# What stands at the start of files that people take for weights.
_LOOKALIKES = {
    b"version https://git-lfs": "is a Git LFS pointer, not the weights themselves: fetch them with `git lfs pull`",
    b"<": "is a web page, perhaps an error message saved in place of the download: download it again",
}


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, memory-mapped where the format allows it, and the file's metadata (none in a `.pth`).

    Raises:
        ValueError: the file is missing, may not be read, is empty, truncated or no weight file, or asks for code to be
            run.
    """
    if not os.path.isfile(path):  # where `Path.is_file` raises, as for a name that is too long, this says no
        raise ValueError(f"There is no weight file at '{path}'.")
    try:
        with path.open("rb") as file:
            start = file.read(64)
        if not start:
            raise ValueError(f"'{path}' is empty: download it again.")
        return _read_safetensors(path) if path.suffix == ".safetensors" else (_read_pth(path), {})
    except OSError as error:
        raise ValueError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    except _Unreadable as error:
        # Checked only now: weights may begin with any byte, as a .safetensors file does with a length.
        for lookalike, sentence in _LOOKALIKES.items():
            if start.lstrip().startswith(lookalike):
                raise ValueError(f"'{path}' {sentence}.") from error
        raise


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


def check_finite(state: Mapping[str, Tensor], what: str) -> None:
    """Check that there is no NaN and no infinity among weights.

    Raises:
        ValueError: the names of those that have one, listed; `what` is the subject of the sentence.
    """
    if problem := _list_names("with such numbers", [name for name, tensor in state.items() if not _is_finite(tensor)]):
        raise ValueError(f"{what} holds NaN or infinity, as a training leaves that broke down: {problem}.")


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
    check_fit(expected.keys() - state.keys(), state.keys() - expected.keys(), other_shape, what)
    model.load_state_dict(state)


def check_fit(missing: Iterable[str], left_over: Iterable[str], other_shape: Iterable[str], what: str) -> None:
    """Check that there is no name of a tensor that does not fit a model.

    Raises:
        ValueError: they are listed; `what` is the subject of the sentence.
    """
    problems = [
        _list_names("missing", missing),
        _list_names("left over", left_over),
        _list_names("of another shape", other_shape),
    ]
    if any(problems):
        raise ValueError(f"{what} does not fit the model: {'; '.join(filter(None, problems))}.")


def _list_names(problem: str, names: Iterable[str]) -> str:
    listed = sorted(names)
    if not listed:
        return ""
    more = f", and {len(listed) - NAMES_LISTED} more" if len(listed) > NAMES_LISTED else ""
    return f"{len(listed)} {problem} ({', '.join(listed[:NAMES_LISTED])}{more})"


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.is_meta:
        return True
    wide = tensor if tensor.itemsize > 1 else tensor.float()
    # A sum needs no memory; it may be infinite where no number is.
    return bool(wide.sum(dtype=torch.float32).isfinite()) or bool(wide.isfinite().all())


class _Unreadable(ValueError):
    """A file that is no weight file, or a damaged one."""


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise _Unreadable(f"'{path}' is truncated or no .safetensors file ({error}): download it again.") from error


def _read_pth(path: Path) -> dict[str, Tensor]:
    try:
        try:
            content = _unpickle(path)
        except pickle.UnpicklingError:
            with _reading, torch.serialization.safe_globals([(stands, name) for name, stands in _BESIDE.items()]):
                content = _unpickle(path)
    except pickle.UnpicklingError as error:
        needed = re.search(r"GLOBAL (\S+)", str(error))
        named = f" (it asks for '{needed[1]}')" if needed else ""
        raise _Unreadable(
            f"'{path}' is no PyTorch weight file, or holds Python objects whose reading could run code, and was not "
            f"opened{named}: use the published file, or save the state dict alone."
        ) from error
    # Bytes that are no pickle are read as one until they fail, somewhere.
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        # The disk fails, not the bytes; those of a file that ends too early lead to a place before its start.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise _Unreadable(f"'{path}' is truncated or no PyTorch weight file: download it again.") from error
    return _state_dict(content, path)


def _unpickle(path: Path) -> Any:
    # Files of PyTorch before 1.6 are no zip archives and cannot be mapped.
    return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict itself, out of the dictionaries that training code saves it in."""
    for _ in range(_DEEPEST):
        if _is_state_dict(content) or not isinstance(content, Mapping):
            break
        content = next((content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping)), None)
    if not _is_state_dict(content):
        raise ValueError(
            f"'{path}' holds no state dict: expected parameter names with tensors, alone or under 'model'."
        )
    return dict(content)


def _is_state_dict(content: Any) -> bool:
    return isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )
