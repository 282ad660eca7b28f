"""A model as two graphs of ONNX, which run without PyTorch: of a picture, and of a prompt in it.

A picture is encoded once and grounded for many prompts, as `Detector` does. Deformable attention becomes ONNX's own
`GridSample`. Sizes of a picture are fixed, since window attention and query selection are laid out for them; smaller
pictures are padded. A prompt may have any number of tokens.
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from groundingdino.detection.checkpoints import LoadedModel
from groundingdino.detection.text_tokens import tokenize_captions
from groundingdino.inputs.coordinates import Size
from groundingdino.model import GroundingDINO, ImageFeatures
from groundingdino.model.text_tokens import TextTokens
from groundingdino.runtime.extras import missing
from groundingdino.runtime.quiet import quietly

PICTURE, PROMPT, ABOUT, WORDS = "picture.onnx", "prompt.onnx", "about.json", "vocab.txt"
OPSET = 20
SMALLEST, LARGEST = 64, 2048  # pixels of a side
# What the one graph hands on to the other: `ImageFeatures` but for `spatial_shapes`, which are fixed.
FEATURES = tuple(name for name in ImageFeatures._fields if name != "spatial_shapes")
PICTURE_INPUTS = ("pixels", "pixels_padding")  # `padding_mask` is one of the features
_EXAMPLE = "a cat on the left . remote control ."


class Picture(nn.Module):
    """The part that does not depend on the prompt."""

    def __init__(self, model: GroundingDINO):
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor, padding_mask: Tensor) -> tuple[Tensor, ...]:
        """As `GroundingDINO.encode_image`, for one picture."""
        features = self.model.encode_image(pixels, padding_mask)._asdict()
        return tuple(features[name] for name in FEATURES)


class Prompt(nn.Module):
    """The rest."""

    def __init__(self, model: GroundingDINO, spatial_shapes: tuple[tuple[int, int], ...]):
        super().__init__()
        self.model, self.spatial_shapes = model, spatial_shapes

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Features in the order of `FEATURES` and tokens in that of `TextTokens` to token scores and boxes."""
        named = dict(zip(FEATURES, inputs, strict=False))
        features = ImageFeatures(spatial_shapes=self.spatial_shapes, **named)
        text = self.model.encode_text(TextTokens(*inputs[len(FEATURES) :]))
        output = self.model.ground(features, text)
        return output.logits.sigmoid(), output.boxes


def export_onnx(loaded: LoadedModel, folder: Path, size: Size | None = None) -> list[Path]:
    """Write a model's graphs, `picture.onnx` and `prompt.onnx`, its vocabulary, and `about.json` for their use.

    Weights lie beside the graphs in files of their own.

    Args:
        loaded: on the CPU, in float32.
        folder: is made; files of such a model that are there are replaced, one by one.
        size: (width, height) in pixels of the pictures that it will take, by default the model's largest landscape.

    Returns:
        The files.

    Raises:
        ValueError: a library is not installed, or the size is none that the model can take.
        OSError: a file cannot be written.
    """
    if sentence := missing("Export to ONNX", "export"):
        raise ValueError(sentence)
    config = loaded.model.config
    width, height = size or (config.long_side, config.short_side)
    if not (min(width, height) >= SMALLEST and max(width, height) <= LARGEST):
        raise ValueError(
            f"A model is exported for pictures of {SMALLEST} to {LARGEST} pixels a side, not for {width} x {height}."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".partial-") as temporary:
        _write(loaded, Path(temporary), (width, height))
        files = [folder / file.name for file in sorted(Path(temporary).iterdir())]
        for file in files:
            os.replace(Path(temporary, file.name), file)
    return files


def _write(loaded: LoadedModel, folder: Path, size: Size) -> None:
    model, config = loaded.model, loaded.model.config
    width, height = size
    pixels, padding_mask = torch.zeros(1, 3, height, width), torch.zeros(1, height, width, dtype=torch.bool)
    padding_mask[:, -1:] = padding_mask[:, :, -1:] = True  # so that nothing is left out because nothing is padded
    tokens = tokenize_captions([_EXAMPLE], loaded.tokenizer)
    with torch.no_grad():  # what the model keeps of sizes it must know before, or it would keep what export traces with
        features = model.encode_image(pixels, padding_mask)
        model.ground(features, model.encode_text(tokens))
    picture, prompt = Picture(model).eval(), Prompt(model, features.spatial_shapes).eval()
    seen = tuple(getattr(features, name) for name in FEATURES)
    _export(picture, (pixels, padding_mask), PICTURE_INPUTS, FEATURES, {}, folder / PICTURE)
    length = torch.export.Dim("tokens", min=3, max=config.max_tokens)
    dynamic: dict[str, Any] = {name: {1: length} for name in TextTokens._fields}
    dynamic["attention_mask"] = {1: length, 2: length}
    names = (*FEATURES, *TextTokens._fields)
    _export(prompt, (*seen, *tokens), names, ("scores", "boxes"), dynamic, folder / PROMPT)
    about = {
        "title": loaded.card.title,
        "licence": loaded.card.licence,
        "width": width,
        "height": height,
        "short_side": config.short_side,
        "long_side": config.long_side,
        "image_mean": list(config.image_mean),
        "image_std": list(config.image_std),
        "max_tokens": config.max_tokens,
        "box_threshold": loaded.card.box_threshold,
        "text_threshold": loaded.card.text_threshold,
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    words = loaded.tokenizer.get_vocab()
    text = "".join(f"{word}\n" for word in sorted(words, key=words.__getitem__))
    (folder / WORDS).write_text(text, encoding="utf-8")


def _export(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    names: tuple[str, ...],
    outputs: tuple[str, ...],
    dynamic: dict[str, Any],
    file: Path,
) -> None:
    shapes = tuple(dynamic.get(name) for name in names)
    with torch.no_grad(), quietly, _errors_alone("onnxscript"):
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=outputs,
            dynamic_shapes=(shapes,) if isinstance(module, Prompt) else shapes,
            verbose=False,
        )
    assert program is not None  # it would be None of TorchScript
    program.save(file, external_data=True)


@contextmanager
def _errors_alone(library: str) -> Iterator[None]:
    """Without what a library tells of how it works."""
    logger = logging.getLogger(library)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
