"""Which files a name, a path or a repository stands for; what can be said of it before PyTorch is imported."""

import json
import os
import re
from pathlib import Path
from typing import Any

from groundingdino import downloads, hub
from groundingdino.downloads import Progress
from groundingdino.editing.inpainter_files import fetch_pipeline, lacking, whole_progress
from groundingdino.image_files import named
from groundingdino.model_cards import (
    EMBEDDED_DRAWINGS,
    EMBEDDED_FILE,
    EMBEDDED_SEGMENTER,
    INPAINTERS,
    MODELS,
    SEGMENTERS,
    InpainterCard,
    ModelCard,
    SegmenterCard,
)

_REPOSITORY = r"[\w.-]+/[\w.-]+"
_WEIGHT_FILES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")


def find_detector(
    name_or_path: str | Path, local_files_only: bool = False, progress: Progress | None = None
) -> tuple[Path, ModelCard | None]:
    """The weight file or folder of a detector, fetched where it is not there, and its card if it has a name.

    Args and errors are those of `checkpoints.load_pretrained`, without what is in the files.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if card := MODELS.get(name):
        return (EMBEDDED_FILE if card.source is None else hub.fetch(card.source, local_files_only, progress)), card
    if os.path.exists(path):  # where `Path.exists` raises, as for a name that is too long, this says no
        return path, None
    if re.fullmatch(_REPOSITORY, name) and path.suffix not in _WEIGHT_FILES:
        return hub.fetch_model_folder(name, local_files_only, progress), None
    raise ValueError(
        f"There is no model {named(name)}: expected {', '.join(MODELS)}, the path of a weight file or folder, or a "
        "Hugging Face repository as owner/name."
    )


def find_segmenter(
    name_or_path: str | Path, local_files_only: bool = False, progress: Progress | None = None
) -> tuple[Path, SegmenterCard | None]:
    """The weight file of a segmenter, as `find_detector`."""
    name, path = str(name_or_path), Path(name_or_path)
    if card := SEGMENTERS.get(name):
        source = card.source
        return (EMBEDDED_SEGMENTER if source is None else downloads.fetch(source, local_files_only, progress)), card
    if os.path.isfile(path):
        return path, None
    raise ValueError(
        f"There is no segmenter {named(name)}: expected {', '.join(SEGMENTERS)} or the path of a weight file."
    )


def find_inpainter(
    name_or_path: str | Path, local_files_only: bool = False, progress: Progress | None = None
) -> tuple[Path, InpainterCard]:
    """The folder of an inpainter in diffusers' layout, as `find_detector`; of "embedded", that of its drawings."""
    name, card = str(name_or_path), find_inpainter_card(name_or_path)
    if card is not None and card.repository is not None:
        whole = whole_progress(progress, card.size_bytes) if progress else None
        return fetch_pipeline(card.repository, local_files_only, whole), card
    if card is not None and name in INPAINTERS:
        return EMBEDDED_DRAWINGS, card
    if card is not None:
        path = Path(name_or_path)
        if problem := lacking(path):
            raise ValueError(f"'{path}' {problem}: expected a pipeline in diffusers' layout.")
        return path, card
    if re.fullmatch(_REPOSITORY, name) and not os.path.exists(name):
        folder = fetch_pipeline(name, local_files_only, progress)
        return folder, InpainterCard(name, name, 0, "From the hub.", repository=name)
    raise ValueError(
        f"There is no inpainter {named(name)}: expected {', '.join(INPAINTERS)}, a folder in diffusers' layout or a "
        "repository 'owner/name'."
    )


def find_inpainter_card(name_or_path: str | Path) -> InpainterCard | None:
    """What is known of a model of `INPAINTERS`, or of one in a folder, before it is loaded; None of any other."""
    name, path = str(name_or_path), Path(name_or_path)
    if name in INPAINTERS:
        return INPAINTERS[name]
    if not os.path.isdir(name):
        return None
    size = sum(file.stat().st_size for file in path.glob("*/*.safetensors"))
    return InpainterCard(path.name, path.name, size, "Your own weights.")


def unet_config(folder: Path) -> dict[str, Any]:
    """The settings of a pipeline's UNet, if there are any that can be read."""
    try:
        config = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
