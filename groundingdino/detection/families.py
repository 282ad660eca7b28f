"""Which family of models a folder holds, and what runs it: our own architecture, or one that transformers computes."""

from pathlib import Path
from typing import TypeAlias

import torch

from groundingdino.detection.available_models import find_detector
from groundingdino.detection.checkpoints import LoadedModel, load_found
from groundingdino.detection.omdet_turbo import OMDET_TURBO
from groundingdino.detection.owlv2 import OWLV2
from groundingdino.detection.passes import GroundingDINOPasses, Passes
from groundingdino.detection.sam3 import SAM3
from groundingdino.detection.transformers_detectors import TransformersModel, load_folder
from groundingdino.files.downloads import Progress
from groundingdino.files.model_folders import read_json
from groundingdino.runtime.devices import check_device

Loaded: TypeAlias = LoadedModel | TransformersModel

# By the `model_type` of config.json; all others are ours, or refused.
ARCHITECTURES = {"owlv2": OWLV2, "omdet-turbo": OMDET_TURBO, "sam3": SAM3, "sam3_video": SAM3}


def load_detector(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> Loaded:
    """Load a detector of any family.

    Args and errors are those of `checkpoints.load_pretrained`, which loads our own architecture alone.
    """
    check_device(device)
    path, card = find_detector(name_or_path, local_files_only, progress)
    config = path / "config.json"
    kind = read_json(config, lambda values: values.get("model_type")) if config.is_file() else None
    loaded: Loaded
    if kind in ARCHITECTURES:
        loaded = load_folder(path, str(name_or_path), card, ARCHITECTURES[kind])
    else:
        loaded = load_found(path, str(name_or_path), card)
    loaded.model.to(device)
    return loaded


def passes_of(loaded: Loaded, text_bytes: int, dtype: torch.dtype | None) -> Passes:
    """What runs a model; see the constructors of its `Passes`."""
    if isinstance(loaded, LoadedModel):
        return GroundingDINOPasses(loaded, text_bytes, dtype)
    return loaded.architecture.passes(loaded, text_bytes, dtype)
