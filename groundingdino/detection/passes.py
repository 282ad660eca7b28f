"""Passes of a model: pictures and prompts in, features and groundings out, and how long that took."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor, nn

from groundingdino.detection.available_models import ModelCard
from groundingdino.detection.boxes import to_pixels
from groundingdino.detection.checkpoints import LoadedModel
from groundingdino.detection.drafts import Pace, Work, long_side_for
from groundingdino.detection.examples import Shown
from groundingdino.detection.likeness import Described, likeness, words_of
from groundingdino.detection.phrases import Grounding, phrase_scores, read_only
from groundingdino.detection.precision import fastest_dtype, in_bfloat16
from groundingdino.detection.text_tokens import TokenizedPrompt, tokenize
from groundingdino.detection.tiles import PictureSides
from groundingdino.inputs.coordinates import Size
from groundingdino.inputs.prompt import Prompt
from groundingdino.model import GroundingDINO, ImageFeatures, TextFeatures
from groundingdino.model.preprocessing import collate, preprocess
from groundingdino.model.text_tokens import TextTokens
from groundingdino.runtime.cache import ByteCache
from groundingdino.runtime.interruption import interrupt_before

T = TypeVar("T")


class Passes(ABC):
    """What a `Detector` needs of a model, whatever its architecture: it runs it, and keeps texts alone.

    Features are (nested) tuples of tensors. A model stops between two layers once it is not wanted any more.
    """

    model: Any
    tokenizer: Any
    card: ModelCard
    device: torch.device
    dtype: torch.dtype  # that it computes in
    sides: PictureSides  # how large it sees pictures

    @abstractmethod
    def preprocess(self, image: Image.Image, short_side: int) -> Tensor:
        """(3, H, W) of a picture scaled to a short side in pixels."""

    @abstractmethod
    def encode(self, pictures: Sequence[Tensor]) -> Any:
        """What the model knows of pictures (3, H, W) without a prompt."""

    def encode_image(self, image: Image.Image, short_side: int) -> Any:
        """The same of one picture, as `preprocess` scales it."""
        return self.encode([self.preprocess(image, short_side)])

    @abstractmethod
    def ground(self, features: Any, sizes: Sequence[Size], prompt: Prompt) -> list[Grounding]:
        """Of each picture of a batch, of those (width, height); times are of the batch."""

    @abstractmethod
    def count(self, prompt: Prompt) -> int:
        """How many passes of the model a prompt takes."""

    def ground_like(self, *_: Any, **__: Any) -> Grounding:
        """What is like examples in one picture; it is called `name`.

        Args are features, the picture's (width, height), `examples.Shown` and a name, as `Detector.ground_like` has it.

        Raises:
            ValueError: The model takes no examples, or none from another picture.
        """
        self.card.require_examples()
        raise NotImplementedError

    def draft_side(self, *_: Any, **__: Any) -> int | None:
        """The short side in pixels at which a draft should come first, see `drafts.Pace`; None: there is none."""
        return None

    def _infer(self, function: Callable[[], T]) -> T:
        """What a part of the model computes."""
        with torch.inference_mode():
            result = function()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # so that the milliseconds are those of this step
        return result


class GroundingDINOPasses(Passes):
    """Runs our own model.

    Args:
        loaded: The model; for bfloat16 there is a copy of it.
        text_bytes: What may be kept of texts.
        dtype: None: what is fastest here.
    """

    model: GroundingDINO

    def __init__(self, loaded: LoadedModel, text_bytes: int, dtype: torch.dtype | None):
        model, self.tokenizer, self.card = loaded
        self.device = next(model.parameters()).device
        if dtype not in (None, torch.float32, torch.bfloat16):
            raise ValueError(f"A detector computes in torch.float32 or torch.bfloat16, but got {dtype}.")
        self.dtype = dtype or fastest_dtype(self.device, model.config)
        self.model = in_bfloat16(model) if self.dtype == torch.bfloat16 else model
        self.sides = model.config
        self.pace = Pace()
        self._tokenizer_lock = Lock()  # a fast tokenizer switches its own settings during a call
        self._texts: ByteCache[TextFeatures] = ByteCache(text_bytes, tensor_bytes)
        interrupt_before(_stoppable(self.model))

    def preprocess(self, image: Image.Image, short_side: int) -> Tensor:
        """As `Passes`."""
        config = self.model.config
        return preprocess(image, short_side, long_side_for(config, short_side), config.image_mean, config.image_std)

    def encode(self, pictures: Sequence[Tensor]) -> ImageFeatures:
        """As `Passes`; the smaller ones are padded."""
        pixels, padding_mask = collate(pictures)
        return self._infer(lambda: self.model.encode_image(pixels.to(self.device), padding_mask.to(self.device)))

    def encode_image(self, image: Image.Image, short_side: int) -> ImageFeatures:
        """As `Passes`."""
        start = time.perf_counter()
        features = self.encode([self.preprocess(image, short_side)])
        self.pace.encoding.append(milliseconds_since(start) / features.tokens.shape[1])
        return features

    def ground(self, features: ImageFeatures, sizes: Sequence[Size], prompt: Prompt) -> list[Grounding]:
        """As `Passes`."""
        start = time.perf_counter()
        passages, notes = self._tokenize(prompt)
        texts = [self._encode_text(passage.tokens) for passage in passages]
        text_milliseconds = milliseconds_since(start)

        start = time.perf_counter()
        outputs = []
        for text, _ in texts:
            output = self._infer(partial(self.model.ground, features, _for_each(text, len(sizes))))
            outputs.append((output.logits.float().cpu(), output.boxes.float().cpu()))
        scored = [
            Grounding.of_passages(
                prompt,
                passages,
                [(logits[index], boxes[index]) for logits, boxes in outputs],
                size,
                box_threshold=self.card.box_threshold,
                text_threshold=self.card.text_threshold,
                notes=notes,
            )
            for index, size in enumerate(sizes)
        ]
        milliseconds = milliseconds_since(start)
        if passages and len(sizes) == 1:
            self.pace.grounding.append(milliseconds / features.tokens.shape[1])
        text_cached = all(cached for _, cached in texts)
        return [one.timed(text_milliseconds, milliseconds, text_cached) for one in scored]

    def ground_like(self, features: ImageFeatures, size: Size, shown: Shown, name: str) -> Grounding:
        """As `Passes`, see `likeness`."""
        self.card.require_examples()
        start = time.perf_counter()
        searched = self._described(features, size)
        source = self._described(shown.features, shown.size) if shown.elsewhere else searched
        scores = likeness(searched, source, shown.examples) ** self.card.likeness_power
        return Grounding(
            Prompt((name,)),
            boxes=read_only(searched.boxes.numpy()),
            scores=read_only(scores[:, None].numpy()),
            box_threshold=self.card.box_threshold,
            text_threshold=self.card.text_threshold,
            notes=(),
            text_milliseconds=0.0,
            grounding_milliseconds=milliseconds_since(start),
            text_cached=True,
            cached=False,
        )

    def _described(self, features: ImageFeatures, size: Size) -> Described:
        passage = self._tokenize(Prompt.from_phrases(words_of(self.card))).passages[0]
        text, _ = self._encode_text(passage.tokens)
        hidden, output = self._infer(lambda: self.model.describe(features, text))
        (states,) = self._infer(lambda: self.model.decoder.norm(hidden))
        scores = phrase_scores(output.logits[0].float().cpu().sigmoid(), passage.positive_map)
        return Described(to_pixels(output.boxes[0].float().cpu(), size), scores, states.float().cpu())

    def count(self, prompt: Prompt) -> int:
        """As `Passes`."""
        return len(self._tokenize(prompt).passages)

    def draft_side(self, size: Size, work: Work, whole: Work | None = None) -> int | None:
        """As `Passes`, by how fast the last passes were."""
        return self.pace.draft_side(self.model.config, size, work, whole)

    def _tokenize(self, prompt: Prompt) -> TokenizedPrompt:
        with self._tokenizer_lock:
            return tokenize(prompt, self.tokenizer, self.model.config.max_tokens)

    def _encode_text(self, tokens: TextTokens) -> tuple[TextFeatures, bool]:
        def compute() -> TextFeatures:
            return self._infer(lambda: self.model.encode_text(tokens.to(self.device)))

        return self._texts.get_or_compute(tuple(tokens.input_ids[0].tolist()), compute)


def milliseconds_since(start: float) -> float:
    """Since a moment of `time.perf_counter`."""
    return 1000 * (time.perf_counter() - start)


def tensor_bytes(value: object) -> int:
    """Bytes of all tensors in (nested) tuples."""
    if isinstance(value, Tensor):
        return value.nbytes
    return sum(map(tensor_bytes, value)) if isinstance(value, tuple) else 0


def _for_each(value: Any, pictures: int) -> Any:
    """All tensors (1, ...) in (nested) named tuples as (B, ...) views, one row for each picture of a batch."""
    if isinstance(value, Tensor):
        return value.expand(pictures, *value.shape[1:])
    return type(value)(*(_for_each(part, pictures) for part in value)) if isinstance(value, tuple) else value


def _stoppable(model: GroundingDINO) -> list[nn.Module]:
    """What a forward pass may be given up before; asking costs nothing worth measuring."""
    blocks = [block for stage in model.backbone.stages for block in stage.children()]
    return [*blocks, *model.enhancer.layers, *model.decoder.layers]
