"""Detectors of other architectures, which transformers computes: loaded strictly, and run as a `Detector` needs it.

What their own structure lets one keep is kept: of a picture all that no prompt changes, and of each phrase its text.
A picture becomes a square of one size, so that there are no drafts of it.
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from groundingdino.detection.available_models import MODELS, ModelCard, OtherConfig
from groundingdino.detection.passes import Passes, milliseconds_since, tensor_bytes
from groundingdino.detection.phrases import Grounding, read_only
from groundingdino.detection.query_masks import QueryMasks
from groundingdino.detection.text_tokens import check_length, unread_notes
from groundingdino.files.downloads import first_line
from groundingdino.files.model_folders import read_folder_weights
from groundingdino.files.weight_files import check_finite, check_fit
from groundingdino.inputs.coordinates import Size
from groundingdino.inputs.prompt import Prompt
from groundingdino.model.preprocessing import check_shape, scaled_size
from groundingdino.runtime.cache import ByteCache
from groundingdino.runtime.interruption import interrupt_before
from groundingdino.runtime.quiet import quietly


@dataclass(frozen=True)
class Architecture:
    """How one architecture of transformers is loaded and run.

    Attributes:
        title: What it is called.
        model, processor: The names of its classes in transformers.
        alike: The named model whose thresholds suit others of it.
        side: Of a configuration, the pixels of the square that a picture becomes.
        passes: Runs it.
    """

    title: str
    model: str
    processor: str
    alike: str
    side: Callable[[Any], int]
    passes: "type[TransformersPasses]"


class TransformersModel(NamedTuple):
    """A model ready to detect."""

    model: Any  # transformers', in eval mode
    processor: Any  # of pictures and texts
    card: ModelCard
    architecture: Architecture


class Found(NamedTuple):
    """What one pass found in one picture."""

    boxes: Tensor  # (Q, 4) xyxy pixels of the picture
    scores: Tensor  # (Q, P) in [0, 1]
    phrases: tuple[int, ...]  # the prompt's phrases that the columns are of
    masks: QueryMasks | None = None  # of queries, where the model makes them


class Read(NamedTuple):
    """What a folder holds."""

    model: Any  # in eval mode
    processor: Any
    size_bytes: int  # of the weights


def read_folder(folder: Path, title: str, model: str, processor: str) -> Read:
    """A model as transformers' `save_pretrained` writes it; every tensor must be there, fit and be used.

    Args:
        title: What it is called.
        model, processor: The names of its classes in transformers.

    Raises:
        ValueError: one sentence: a file is damaged or missing, or does not fit.
    """
    import transformers

    weights = read_folder_weights(folder)
    check_finite(weights.state, f"'{folder}'")
    try:
        with quietly:
            model_class = getattr(transformers, model)
            config = model_class.config_class.from_pretrained(folder, local_files_only=True)
            _check_timm(getattr(config, "backbone_config", None))
            read, told = model_class.from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # they are told below, with the others
                output_loading_info=True,
                dtype=torch.float32,
            )
            prepares = getattr(transformers, processor).from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever damaged files provoke
        raise ValueError(
            f"'{folder}' does not hold a whole {title} ({type(error).__name__}: {first_line(error)}): "
            "download it again, with config.json, model.safetensors, and the files of its tokenizer and processor."
        ) from error
    misfits = (f"{name} {tuple(found)} instead of {tuple(own)}" for name, found, own in told["mismatched_keys"])
    check_fit(told["missing_keys"], told["unexpected_keys"], misfits, f"'{folder}'")
    return Read(read.eval(), prepares, weights.size_bytes)


def load_folder(folder: Path, name: str, card: ModelCard | None, architecture: Architecture) -> TransformersModel:
    """A detector as it is saved and published; errors are those of `read_folder`, or that its files do not agree."""
    model, processor, size_bytes = read_folder(folder, architecture.title, architecture.model, architecture.processor)
    side = architecture.side(model.config)
    _check_processor(processor, side, folder)
    _check_tokenizer(processor.tokenizer, model.config.text_config.vocab_size, folder)
    if card is None:
        alike = MODELS[architecture.alike]
        card = replace(
            alike, name=name, title=name, size_bytes=size_bytes, description="Your own weights.", source=None
        )
        card = replace(card, figures=None, licence="", gated=False)
    card = replace(card, config=OtherConfig(model.config.model_type, side))
    return TransformersModel(model, processor, card, architecture)


def _check_timm(backbone: Any) -> None:
    """That timm is asked for one of its own architectures, and for nothing from elsewhere."""
    if getattr(backbone, "model_type", None) != "timm_backbone":
        return
    import timm

    if not timm.is_model(backbone.backbone):
        raise ValueError(f"no backbone of timm is '{backbone.backbone}'")


def _check_processor(processor: Any, side: int, folder: Path) -> None:
    """That pictures are prepared in the one size that the model takes."""
    pictures = processor.image_processor
    size = {name: value for name, value in dict(pictures.size).items() if value is not None}
    if size != {"height": side, "width": side} or not (pictures.do_resize and pictures.do_normalize):
        raise ValueError(
            f"The image processor in '{folder}' makes pictures of {size} (do_resize {pictures.do_resize}, do_normalize "
            f"{pictures.do_normalize}), but the model beside it takes normalised squares of {side} pixels: take the "
            "processor that was saved with it."
        )


def _check_tokenizer(tokenizer: Any, most: int, folder: Path) -> None:
    """That there is one, which transformers does without, of words that the model knows."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise ValueError(f"'{folder}' has no tokenizer: put the tokenizer.json of the model beside its weights.")
    if len(tokenizer) > most:
        raise ValueError(
            f"The tokenizer in '{folder}' has {len(tokenizer)} tokens but the model only {most}: put the "
            "tokenizer.json of the model beside its weights."
        )


class TransformersPasses(Passes):
    """Runs a model of transformers; a subclass says what is kept of pictures and texts, and how both are put together.

    Args:
        loaded: The model.
        text_bytes: What may be kept of texts.
        dtype: None, or torch.float32, in which it computes.
    """

    most_tokens: ClassVar[int]  # of a text, with those around it

    def __init__(self, loaded: TransformersModel, text_bytes: int, dtype: torch.dtype | None):
        if dtype not in (None, torch.float32):
            raise ValueError(f"{loaded.architecture.title} computes in torch.float32 here, but got {dtype}.")
        self.model, self.processor, self.card, self.architecture = loaded
        self.tokenizer = self.processor.tokenizer
        self.device, self.dtype = next(self.model.parameters()).device, torch.float32
        assert isinstance(self.card.config, OtherConfig)
        self.sides = self.card.config
        self._tokenizer_lock = Lock()  # a fast tokenizer switches its own settings during a call
        self._texts: ByteCache[tuple[Tensor, ...]] = ByteCache(text_bytes, tensor_bytes)
        interrupt_before(self._layers())

    @abstractmethod
    def _layers(self) -> list[nn.Module]:
        """What a forward pass may be given up before."""

    @abstractmethod
    def _encode(self, pixels: Tensor) -> tuple[Any, ...]:
        """Features of pictures (B, 3, S, S), each tensor with B first."""

    @abstractmethod
    def _encode_texts(self, tokens: Any) -> list[tuple[Tensor, ...]]:
        """Of each text of a tokenized batch what the model needs of it, without a batch dimension."""

    @abstractmethod
    def _ground(self, features: Any, texts: Sequence[tuple[int, str]], sizes: Sequence[Size]) -> list[list[Found]]:
        """Of each picture what each pass found, for phrases by their index in the prompt; one pass or more."""

    def preprocess(self, image: Image.Image, short_side: int) -> Tensor:
        """As `Passes`, (3, S, S); a ValueError where another side is asked for."""
        side = self.sides.short_side
        if short_side != side:
            raise ValueError(
                f"{self.architecture.title} sees pictures at {side} pixels alone, not {short_side}: leave out the "
                "short side."
            )
        check_shape(image.size, scaled_size(*image.size, side, side), side)
        pixels: Tensor = self.processor.image_processor(images=image, return_tensors="pt")["pixel_values"][0]
        return pixels

    def encode(self, pictures: Sequence[Tensor]) -> Any:
        """As `Passes`."""
        pixels = torch.stack([*pictures]).to(self.device)
        return self._infer(lambda: self._encode(pixels))

    def ground(self, features: Any, sizes: Sequence[Size], prompt: Prompt) -> list[Grounding]:
        """As `Passes`.

        Raises:
            ValueError: Phrases are parts of a caption, or one is longer than the model reads.
        """
        texts = self._phrases(prompt)
        start = time.perf_counter()
        known = all(self._texts.get(text) is not None for text in self._needed(texts))
        self._embed(self._needed(texts))
        text_milliseconds = milliseconds_since(start)

        start = time.perf_counter()
        found = self._infer(lambda: self._ground(features, texts, sizes)) if texts else [[] for _ in sizes]
        groundings = [self._grounding(prompt, of_one) for of_one in found]
        milliseconds = milliseconds_since(start)
        return [one.timed(text_milliseconds, milliseconds, known) for one in groundings]

    def count(self, prompt: Prompt) -> int:
        """As `Passes`."""
        return int(bool(self._phrases(prompt)))

    def _needed(self, texts: Sequence[tuple[int, str]]) -> list[str]:
        """What has to be encoded of some phrases."""
        return [text for _, text in texts]

    def _phrases(self, prompt: Prompt) -> list[tuple[int, str]]:
        """What is looked for, by its index in the prompt."""
        parts = prompt.without_context().parts
        if any(part.spans != (((0, len(part.text)),),) for part in parts):
            raise ValueError(
                f"{self.architecture.title} looks for phrases by themselves, not for parts of a caption: give a list "
                "of phrases in place of spans."
            )
        with self._tokenizer_lock:
            lengths = [len(ids) for ids in self.tokenizer([part.text for part in parts]).input_ids] if parts else []
        for part, length in zip(parts, lengths, strict=True):
            check_length(part.text, length - 2, self.most_tokens - 2)
        return [(part.phrases[0], part.text) for part in parts]

    def _embed(self, texts: Sequence[str]) -> list[tuple[Tensor, ...]]:
        """What the model needs of each text, computed or found."""

        def compute(new: list[str]) -> list[tuple[Tensor, ...]]:
            with self._tokenizer_lock:
                tokens = self.tokenizer(
                    new, padding="max_length", truncation=True, max_length=self.most_tokens, return_tensors="pt"
                )
            return self._infer(lambda: self._encode_texts(tokens.to(self.device)))

        return self._texts.get_or_compute_each(texts, compute)

    def _called(self, name: str, find: Callable[[], Found]) -> Grounding:
        """What `find` gives of one picture, as what is called by a name."""
        start = time.perf_counter()
        found = self._infer(find)
        return self._grounding(Prompt((name,)), [found]).timed(0.0, milliseconds_since(start), text_cached=True)

    def _grounding(self, prompt: Prompt, found: Sequence[Found]) -> Grounding:
        """What was found in one picture, one pass below the other; nothing is timed."""
        boxes, scores, ids, masks = [np.empty((0, 4), np.float32)], [], [], []
        columns = max((len(one.phrases) for one in found), default=0)
        rows = 0
        for one in found:
            more = ((0, 0), (0, columns - len(one.phrases)))
            boxes.append(one.boxes.float().cpu().numpy())
            scores.append(np.pad(one.scores.float().cpu().numpy(), more))
            ids.append(np.broadcast_to(np.pad(np.array(one.phrases, np.int32), more[1]), scores[-1].shape))
            if one.masks is not None:
                masks.append(one.masks.moved(rows))
            rows += len(boxes[-1])
        empty = np.zeros((0, columns), np.float32)
        return Grounding(
            prompt,
            boxes=read_only(np.concatenate(boxes)),
            scores=read_only(np.concatenate([empty, *scores])),
            box_threshold=self.card.box_threshold,
            text_threshold=self.card.text_threshold,
            notes=unread_notes(prompt),
            text_milliseconds=0.0,
            grounding_milliseconds=0.0,
            text_cached=False,
            cached=False,
            phrase_ids=read_only(np.concatenate([empty.astype(np.int32), *ids])),
            passes=len(found),
            masks=QueryMasks.joined(masks),
        )
