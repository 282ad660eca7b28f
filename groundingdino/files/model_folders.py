"""Folders in transformers' layout: JSON files that describe a model, and its weights in one file or several."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

from groundingdino.files import hub
from groundingdino.files.downloads import first_line
from groundingdino.files.weight_files import read_weights

T = TypeVar("T")


class FolderWeights(NamedTuple):
    """The weights of a folder."""

    state: dict[str, Tensor]  # memory-mapped
    size_bytes: int  # of the files


def read_json(file: Path, read: Callable[[Any], T]) -> T:
    """What a file says, as `read` understands its JSON.

    Raises:
        ValueError: one sentence: it cannot be read, is no JSON, or `read` looked for something that is not in it.
    """
    try:
        return read(json.loads(file.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"'{file}' is not JSON ({first_line(error)}): download it again.") from error
    except OSError as error:
        raise ValueError(f"'{file}' cannot be read: {error.strerror or error}.") from error
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"'{file}' does not describe a model ({first_line(error)}): download it again.") from error


def read_folder_weights(folder: Path) -> FolderWeights:
    """All tensors of `model.safetensors`, or of the files that its index lists; never pickles.

    Raises:
        ValueError: one sentence: there is no such file, or one is damaged.
    """
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if not whole.is_file() and not index.is_file():
        raise ValueError(f"'{folder}' is no model folder: expected config.json and model.safetensors in it.")
    files = [whole] if whole.is_file() else [folder / name for name in hub.shard_names(index)]
    state: dict[str, Tensor] = {}
    for file in files:
        state |= read_weights(file)[0]
    return FolderWeights(state, sum(file.stat().st_size for file in files))
