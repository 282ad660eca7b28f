"""Trained models by name, path or hub repository; weights are loaded strictly.

Three kinds of files are read: the authors' and mmdetection's (`.pth` or `.safetensors`, of a known size), folders in
transformers' layout, and our own `.safetensors` with the configuration in its metadata, which is how the embedded model
is stored and how training saves. A tokenizer never needs the network: BERT's vocabulary ships with the package.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import BertTokenizerFast

from groundingdino.detection import config_json
from groundingdino.detection.available_models import MODELS, ModelCard, check_is_ours, find_detector, is_cached
from groundingdino.detection.key_names import OURS, TRANSFORMERS, find_layout, fit_heads, strip_prefix, to_our_names
from groundingdino.detection.tokenizer_files import load_tokenizer
from groundingdino.files.hub import Progress
from groundingdino.files.model_folders import read_folder_weights, read_json
from groundingdino.files.weight_files import check_finite, half_state, load_strictly, read_weights, write_weights
from groundingdino.model import GroundingDINO
from groundingdino.model.config import (
    MM_SWIN_B,
    MM_SWIN_L,
    MM_SWIN_T,
    SWIN_B,
    SWIN_L,
    SWIN_T,
    GroundingDINOConfig,
)
from groundingdino.runtime.devices import check_device

__all__ = ["MODELS", "LoadedModel", "ModelCard", "is_cached", "load_checkpoint", "load_pretrained", "save_checkpoint"]

# The authors' files and mmdetection's do not store their configuration; it is recognised by the width of the backbone.
PUBLISHED = {96: SWIN_T, 128: SWIN_B, 192: SWIN_L}
PUBLISHED_BY_MM = {96: MM_SWIN_T, 128: MM_SWIN_B, 192: MM_SWIN_L}  # of MM Grounding DINO and LLMDet

# The entry of our own files' metadata.
METADATA_KEY = "groundingdino"


class LoadedModel(NamedTuple):
    """A model ready to detect."""

    model: GroundingDINO  # in eval mode
    tokenizer: BertTokenizerFast
    card: ModelCard


def load_pretrained(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> LoadedModel:
    """Load a trained model of our own architecture; for others see `families.load_detector`.

    Args:
        name_or_path: a name of `MODELS`; a weight file in the authors' layout, mmdetection's or our own; a folder in
            transformers' layout; or a hub repository "owner/name" in transformers' layout.
        local_files_only: never ask the network, as the environment variable `HF_HUB_OFFLINE` says too.
        progress: called during a download with the bytes done, the bytes in all (or None) and a few words.

    Raises:
        ValueError: one sentence: there is no such model, it is not on this machine and may not or cannot be downloaded,
            or its files are damaged, of another architecture or do not fit; or there is no such device.
    """
    check_device(device)
    check_is_ours(name_or_path)
    path, card = find_detector(name_or_path, local_files_only, progress)
    loaded = load_found(path, str(name_or_path), card)
    loaded.model.to(device)
    return loaded


def load_found(path: Path, name: str, card: ModelCard | None) -> LoadedModel:
    """What `find_detector` found, of our own architecture; errors are those of `load_pretrained`."""
    return _load_folder(path, name, card) if path.is_dir() else _load_file(path, card)


def load_checkpoint(model: GroundingDINO, path_or_state_dict: str | Path | Mapping[str, Tensor]) -> None:
    """Load weights in any layout into a model, strictly: every tensor must be there, fit and be used.

    Raises:
        ValueError: the file cannot be read, or the names and shapes that do not fit, listed.
    """
    if isinstance(path_or_state_dict, Mapping):
        state, what = path_or_state_dict, "The state dict"
    else:
        state, what = read_weights(Path(path_or_state_dict))[0], f"'{path_or_state_dict}'"
    _fill(model, _renamed(state, what), what)


def save_checkpoint(
    model: GroundingDINO,
    path: str | Path,
    title: str,
    description: str,
    box_threshold: float,
    text_threshold: float,
    half: bool = True,
) -> None:
    """Save a model so that `load_pretrained(path)` restores it; its `vocab.txt` belongs beside the file.

    Args:
        half: store parameters as float16, half the size; buffers (statistics of normalisation) keep their precision.

    Raises:
        ValueError: a parameter does not fit into float16.
    """
    state = half_state(model) if half else model.state_dict()
    card = {
        "config": config_json.to_json(model.config),
        "title": title,
        "description": description,
        "box_threshold": box_threshold,
        "text_threshold": text_threshold,
    }
    write_weights(state, {METADATA_KEY: json.dumps(card)}, Path(path))


def _load_file(path: Path, card: ModelCard | None) -> LoadedModel:
    """A single file: our own layout, or the authors' or mmdetection's in a known size."""
    state, metadata = read_weights(path)
    if METADATA_KEY in metadata:
        stored = _stored_card(metadata[METADATA_KEY], card.name if card else path.stem, path)
        if card:  # a file does not say what it is for
            told = {name: getattr(card, name) for name in ("knows", "names", "takes_examples", "likeness_power")}
            stored = replace(stored, **told)
        return _build(stored, _renamed(state, f"'{path}'"), path, path.parent)
    layout = find_layout(strip_prefix(state))
    if layout is TRANSFORMERS:
        raise ValueError(f"'{path}' is in transformers' layout: pass its folder, where config.json is.")
    if layout is OURS:
        raise ValueError(f"'{path}' does not say its configuration: save models with `save_checkpoint`.")
    state = _renamed(state, f"'{path}'")
    config = _recognise(state, path)
    card = card or _nameless_card(config, path.stem, path.stat().st_size)
    return _build(card, state, path, path.parent)


def _load_folder(folder: Path, name: str, card: ModelCard | None) -> LoadedModel:
    """A folder as transformers' `save_pretrained` writes it, or as `folders.save_folder` does of what it lacks."""
    config_file, whole = folder / "config.json", folder / "model.safetensors"
    if not config_file.is_file() and whole.is_file() and METADATA_KEY in read_weights(whole)[1]:
        return _rename_card(_load_file(whole, card), name)
    if not config_file.is_file():
        raise ValueError(f"'{folder}' is no model folder: expected config.json and model.safetensors in it.")
    config = read_json(config_file, config_json.from_transformers)
    # A processor is saved as one file or as one file of each part; transformers asks for the first first.
    processor, preprocessor = folder / "processor_config.json", folder / "preprocessor_config.json"
    pictures = read_json(processor, lambda values: values.get("image_processor")) if processor.is_file() else None
    if pictures is not None:
        config = read_json(processor, lambda _: config_json.with_preprocessor(config, pictures))
    elif preprocessor.is_file():
        config = read_json(preprocessor, lambda values: config_json.with_preprocessor(config, values))
    state, size = read_folder_weights(folder)
    card = replace(card, config=config) if card else _nameless_card(config, name, size)
    return _build(card, _renamed(state, f"'{folder}'"), folder, folder)


def _rename_card(loaded: LoadedModel, name: str) -> LoadedModel:
    return loaded._replace(card=replace(loaded.card, name=name))


def _build(card: ModelCard, state: Mapping[str, Tensor], path: Path, folder: Path) -> LoadedModel:
    assert isinstance(card.config, GroundingDINOConfig)
    tokenizer = load_tokenizer(folder, card.config.text.vocab_size)
    model = GroundingDINO(card.config).eval()
    _fill(model, state, f"'{path}'")
    return LoadedModel(model, tokenizer, card)


def _renamed(state: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """A file's tensors by our names, where all of their numbers are finite."""
    check_finite(state, what)  # before tensors are compared that must be equal: NaN equals nothing
    return to_our_names(state)


def _fill(model: GroundingDINO, state: Mapping[str, Tensor], what: str) -> None:
    config = model.config
    load_strictly(model, fit_heads(state, config.decoder_layers, config.own_heads), what)


def _recognise(state: Mapping[str, Tensor], path: Path) -> GroundingDINOConfig:
    """The configuration of weights that do not say it: the published one of their backbone's width, and their heads."""
    weight = state.get("backbone.patch_embed.weight")
    width = None if weight is None else weight.shape[0]
    if width not in PUBLISHED:
        raise ValueError(
            f"'{path}' has no backbone of a published size: expected a Swin of width 96 (T), 128 (B) or 192 (L), "
            f"found {width}."
        )
    own_heads = any(name.startswith("decoder.earlier_box_heads.") for name in state)
    if "query_selection.class_head.bias" not in state:
        return replace(PUBLISHED[width], own_heads=own_heads)
    return replace(PUBLISHED_BY_MM[width], own_heads=own_heads)


def _stored_card(metadata: str, name: str, path: Path) -> ModelCard:
    """The card that `save_checkpoint` wrote."""
    try:
        stored = json.loads(metadata)
        config = config_json.from_json(stored.pop("config"))
        return ModelCard(name=name, config=config, size_bytes=path.stat().st_size, **stored)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"The metadata of '{path}' cannot be read ({error}): save the model again with this version."
        ) from error


def _nameless_card(config: GroundingDINOConfig, name: str, size_bytes: int) -> ModelCard:
    """A card for weights that say nothing of themselves, with the thresholds of published ones like them."""
    is_tiny = config.backbone == SWIN_T.backbone
    published = MODELS["mm-t" if config.scaled_scores else "swin-t" if is_tiny else "swin-b"]
    return ModelCard(
        name=name,
        title=name,
        config=config,
        box_threshold=published.box_threshold,
        text_threshold=published.text_threshold,
        size_bytes=size_bytes,
        description="Your own weights.",
    )
