"""Models as folders: in transformers' layout where transformers has the architecture, else in our own."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor

from groundingdino.detection import config_json
from groundingdino.detection.checkpoints import LoadedModel, save_checkpoint
from groundingdino.detection.key_names import TRANSFORMERS, our_name_of
from groundingdino.model import GroundingDINO


def save_folder(loaded: LoadedModel, folder: Path) -> None:
    """Write a model so that `load_pretrained(folder)` restores it; files of it that are there are replaced, one by one.

    What transformers has, its `from_pretrained` reads: `config.json`, `model.safetensors`, tokenizer and image
    processor. It clamps boxes as `config_json.TRANSFORMERS_LOGIT_EPS` says. Other architectures, as the embedded
    detector's, become `model.safetensors` in our own layout and `vocab.txt`.

    Raises:
        OSError: a file cannot be written, as on a full disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".partial-") as temporary:
        partial = Path(temporary)
        save = _save_own if config_json.to_transformers(loaded.model.config) is None else _save_for_transformers
        try:
            save(loaded, partial)
        except SafetensorError as error:
            raise OSError(None, f"the disk may be full ({error})", str(folder)) from error
        for file in sorted(partial.iterdir()):
            os.replace(file, folder / file.name)


def to_transformers(model: GroundingDINO) -> Any:
    """transformers' model with the same weights; what it has beside them and does not use is 0."""
    from transformers import AutoConfig, AutoModelForZeroShotObjectDetection

    values = config_json.to_transformers(model.config)
    assert values is not None, "transformers has no such architecture"
    config = AutoConfig.for_model(**values)
    theirs = AutoModelForZeroShotObjectDetection.from_config(config).eval()
    ours = model.state_dict()
    state = theirs.state_dict()
    for name in state:
        if (place := our_name_of(name, TRANSFORMERS)) is not None:
            state[name] = _part(ours, *_in_model(place, model)).cpu()
        elif state[name].is_floating_point():
            state[name] = torch.zeros_like(state[name])
    theirs.load_state_dict(state)
    return theirs


def _in_model(place: tuple[str, int | None], model: GroundingDINO) -> tuple[str, int | None]:
    """Where our model keeps what others number: norms of the backbone's maps, heads of the decoder's layers."""
    name, part = place
    backbone, decoder = cast(Any, model.backbone), model.decoder
    if name.startswith("backbone.norms."):
        stage, rest = name.removeprefix("backbone.norms.").split(".", 1)
        return f"backbone.norms.{int(stage) - backbone.first_stage - 1}.{rest}", part
    for kind, earlier in (("box", decoder.earlier_box_heads), ("class", decoder.earlier_class_heads)):
        if name.startswith(f"decoder.{kind}_heads."):
            layer, rest = name.removeprefix(f"decoder.{kind}_heads.").split(".", 1)
            own = int(layer) < len(earlier)
            return f"decoder.earlier_{kind}_heads.{layer}.{rest}" if own else f"decoder.{kind}_head.{rest}", part
    return name, part


def _part(state: dict[str, Tensor], name: str, part: int | None) -> Tensor:
    tensor = state[name].float()
    return tensor if part is None else tensor.chunk(3)[part]


def _save_for_transformers(loaded: LoadedModel, folder: Path) -> None:
    from transformers import GroundingDinoImageProcessor, GroundingDinoProcessor

    config = loaded.model.config
    pictures = GroundingDinoImageProcessor(
        size={"shortest_edge": config.short_side, "longest_edge": config.long_side},
        image_mean=list(config.image_mean),
        image_std=list(config.image_std),
    )
    to_transformers(loaded.model).save_pretrained(folder, max_shard_size="100GB")
    GroundingDinoProcessor(pictures, loaded.tokenizer).save_pretrained(folder)


def _save_own(loaded: LoadedModel, folder: Path) -> None:
    card, words = loaded.card, loaded.tokenizer.get_vocab()
    save_checkpoint(
        loaded.model,
        folder / "model.safetensors",
        card.title,
        card.description,
        card.box_threshold,
        card.text_threshold,
        half=False,
    )
    text = "".join(f"{word}\n" for word in sorted(words, key=words.__getitem__))
    (folder / "vocab.txt").write_text(text, encoding="utf-8")
