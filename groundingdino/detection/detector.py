"""Encode a picture once, ground many prompts in it, re-threshold for nothing."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import supervision as sv
import torch
from PIL import Image
from torch import Tensor, nn
from typing_extensions import Self

from groundingdino.detection.boxes import to_pixels
from groundingdino.detection.checkpoints import LoadedModel, load_pretrained
from groundingdino.detection.drafts import Pace, long_side_for
from groundingdino.detection.phrases import (
    MAX_DETECTIONS,
    NMS_THRESHOLD,
    Grounding,
    noun_scores,
    phrase_scores,
    span_scores,
)
from groundingdino.detection.precision import fastest_dtype, in_bfloat16
from groundingdino.detection.text_tokens import tokenize
from groundingdino.files.hub import Progress
from groundingdino.inputs.image import ImageSource, content_hash, load_image
from groundingdino.inputs.prompt import Prompt, Span, read_prompt
from groundingdino.model import GroundingDINO, ImageFeatures, TextFeatures
from groundingdino.model.preprocessing import collate, preprocess
from groundingdino.model.text_tokens import TextTokens
from groundingdino.runtime.cache import ByteCache
from groundingdino.runtime.devices import find_device
from groundingdino.runtime.interruption import StopCheck, interrupt_before, unless_stopped

T = TypeVar("T")


@dataclass(frozen=True)
class CacheBytes:
    """What a detector may keep, in bytes. One picture at 800 x 1333 takes about 45 MB with the published models, four
    times as much with a Swin-L of MM Grounding DINO.

    Small ones would fill as much with what nobody asks for any more: `most_images` are kept at most.
    """

    images: int = 512 << 20
    texts: int = 64 << 20
    groundings: int = 64 << 20
    most_images: int = 16


DEFAULT_CACHE_BYTES = CacheBytes()


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """The part of a picture's work that does not depend on the prompt; valid as long as it is held."""

    features: ImageFeatures = field(repr=False)
    size: tuple[int, int]  # (width, height) of the upright picture; boxes are in its pixels
    key: str  # hash of the picture's content, and the side of a draft
    cached: bool  # the model did not run for this call
    milliseconds: float
    owner: "Detector" = field(repr=False)  # another detector cannot read these features


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """A picture as a model takes it, for `Detector.ground_batch`; about 13 MB at 800 x 1333."""

    image: Image.Image = field(repr=False)  # upright RGB
    pixels: Tensor = field(repr=False)  # (3, H, W) float32, scaled and normalised


class Detector:
    """Finds phrases in pictures. Safe to share between threads: there is no current picture, only caches by content."""

    def __init__(
        self, loaded: LoadedModel, cache_bytes: CacheBytes = DEFAULT_CACHE_BYTES, dtype: torch.dtype | None = None
    ):
        """A detector of a loaded model.

        On a CPU it is up to a tenth faster in a process that called `keep_freed_memory`, which a program decides.

        Args:
            dtype: to compute in, torch.float32 or torch.bfloat16; by default what is fastest here, see
                `precision.fastest_dtype`. For bfloat16 the detector has a copy of the model, see
                `precision.in_bfloat16`; the model that is given stays as it is.

        Raises:
            ValueError: another dtype.
        """
        model, self.tokenizer, self.card = loaded
        self.device = next(model.parameters()).device
        if dtype not in (None, torch.float32, torch.bfloat16):
            raise ValueError(f"A detector computes in torch.float32 or torch.bfloat16, but got {dtype}.")
        self.dtype = dtype or fastest_dtype(self.device, model.config)
        self.model = in_bfloat16(model) if self.dtype == torch.bfloat16 else model
        self._tokenizer_lock = Lock()  # a fast tokenizer switches its own settings during a call
        self._images: ByteCache[ImageFeatures] = ByteCache(cache_bytes.images, _tensor_bytes, cache_bytes.most_images)
        self._texts: ByteCache[TextFeatures] = ByteCache(cache_bytes.texts, _tensor_bytes)
        interrupt_before(_stoppable(self.model))
        self._pace = Pace()
        self._groundings: ByteCache[Grounding] = ByteCache(cache_bytes.groundings, lambda grounding: grounding.nbytes)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "embedded",
        device: str | torch.device | None = None,
        local_files_only: bool = False,
        progress: Progress | None = None,
        cache_bytes: CacheBytes = DEFAULT_CACHE_BYTES,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """Load a model by name or path, see `checkpoints.load_pretrained`; by default on the GPU if there is one."""
        device = device or find_device()
        return cls(load_pretrained(name_or_path, device, local_files_only, progress), cache_bytes, dtype)

    def __call__(
        self,
        image: ImageSource,
        prompt: str | Iterable[str],
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        nms_threshold: float | None = NMS_THRESHOLD,
        max_detections: int = MAX_DETECTIONS,
        best_only: bool = False,
    ) -> sv.Detections:
        """Find the prompt's phrases in the picture: `encode_image`, `ground` and `Grounding.detections` in one."""
        grounding = self.ground(self.encode_image(image), prompt)
        return grounding.detections(box_threshold, text_threshold, nms_threshold, max_detections, best_only)

    def encode_image(
        self,
        image: ImageSource,
        short_side: int | None = None,
        stop: StopCheck | None = None,
    ) -> EncodedImage:
        """Compute, or find, what the model knows of a picture before any prompt.

        Args:
            short_side: pixels that the picture's short side is scaled to, fewer for a draft; by default the model's.
            stop: called between layers; once it returns True, `Stopped` is raised.

        Raises:
            ValueError: It is no picture, or too large, or too narrow: see `image.load_image` and `image.preprocess`.
        """
        start = time.perf_counter()
        image = load_image(image)
        side = self.model.config.short_side if short_side is None else short_side
        key = content_hash(image) if side == self.model.config.short_side else f"{content_hash(image)} {side}"
        features, cached = unless_stopped(
            lambda: self._images.get_or_compute(key, lambda: self._encode_image(image, side)), stop
        )
        return EncodedImage(features, image.size, key, cached, _milliseconds_since(start), owner=self)

    def draft_side(self, image: Image.Image, prompt: str | Iterable[str]) -> int | None:
        """The short side at which a draft should be shown first; None where the full pass is fast, or done already."""
        key = content_hash(image)
        if self._groundings.get((key, self._read(prompt))) is not None:
            return None
        return self._pace.draft_side(self.model.config, image.size, self._images.get(key) is not None)

    def ground(
        self,
        encoded: EncodedImage,
        prompt: str | Iterable[str] | Prompt,
        spans: Sequence[Sequence[Span]] | None = None,
        stop: StopCheck | None = None,
    ) -> Grounding:
        """Score every query's box against every phrase of the prompt.

        Args:
            encoded: A picture that this detector encoded.
            prompt: What a user typed, read by `Prompt.parse`; or a list of phrases, each looked for as a whole, of
                which class ids are the indices; or a `Prompt` that was read before. An empty prompt finds nothing,
                and the model does not run.
            spans: Makes the prompt a caption to ground parts of: for each phrase its character spans [start, end).
            stop: called between layers; once it returns True, `Stopped` is raised.

        Raises:
            ValueError: The picture is another detector's; the prompt is neither text nor a list of it, or it or a
                phrase is longer than is read; a span is outside the caption.
        """
        start = time.perf_counter()
        if encoded.owner is not self:
            raise ValueError("The picture was encoded by another detector: encode it with the one that grounds it.")
        parsed = self._read(prompt, spans)
        key = (encoded.key, parsed)
        grounding, cached = unless_stopped(
            lambda: self._groundings.get_or_compute(
                key, lambda: self._ground(encoded.features, [encoded.size], parsed)[0]
            ),
            stop,
        )
        if not cached:
            return grounding
        took = _milliseconds_since(start)
        return replace(grounding, text_milliseconds=0.0, grounding_milliseconds=took, text_cached=True, cached=True)

    def ground_each(
        self, encoded: EncodedImage, prompt: str | Iterable[str], stop: StopCheck | None = None
    ) -> Grounding:
        """`ground` with a pass of its own for each phrase, so that none competes with another.

        On prompts that describe things this finds more (arXiv 2401.02361 measured 22.3 AP for 17.2 on D3); it costs a
        pass for each phrase that is new. Of a sentence the things that it names are looked for, each by itself.

        Args and errors are those of `ground`.
        """
        start = time.perf_counter()
        whole = self._read(prompt).without_context()
        each = [(part.phrases[0], self.ground(encoded, [part.text], stop=stop)) for part in whole.parts]
        if not each:
            return self.ground(encoded, whole.phrases, stop=stop)
        joined = _join(whole, each)
        return replace(joined, grounding_milliseconds=_milliseconds_since(start) - joined.text_milliseconds)

    def prepare(self, image: ImageSource) -> PreparedImage:
        """Read and scale a picture for `ground_batch`, which threads can do ahead while the model computes.

        Raises:
            ValueError: as `encode_image`.
        """
        image = load_image(image)
        return PreparedImage(image, self._preprocess(image, self.model.config.short_side))

    def ground_batch(
        self, images: Sequence[PreparedImage], prompt: str | Iterable[str] | Prompt, each: bool = False
    ) -> list[Grounding]:
        """Ground one prompt in several pictures at once, for many pictures that are looked at once.

        The result is that of `ground`, or with `each` of `ground_each`, but for the last digits: pictures of the same
        scaled size share a pass, others have their own, since what pads a picture changes what is found in it. Nothing
        of a picture is cached.

        Raises:
            ValueError: as `ground` for the prompt.
        """
        parsed = self._read(prompt)
        if each:
            parsed = parsed.without_context()
        sizes: dict[torch.Size, list[int]] = {}
        for index, image in enumerate(images):
            sizes.setdefault(image.pixels.shape, []).append(index)
        found: dict[int, Grounding] = {}
        for alike in sizes.values():
            features = self._encode([images[index].pixels for index in alike])
            pictures = [images[index].image.size for index in alike]
            if each and parsed.parts:
                passes = [self._ground(features, pictures, Prompt.from_phrases([part.text])) for part in parsed.parts]
                ids = [part.phrases[0] for part in parsed.parts]
                groundings = [
                    _join(parsed, list(zip(ids, of_one, strict=True))) for of_one in zip(*passes, strict=True)
                ]
            else:
                groundings = self._ground(features, pictures, parsed)
            found.update(zip(alike, groundings, strict=True))
        return [found[index] for index in range(len(images))]

    def _preprocess(self, image: Image.Image, short_side: int) -> Tensor:
        config = self.model.config
        return preprocess(image, short_side, long_side_for(config, short_side), config.image_mean, config.image_std)

    def _encode(self, pictures: Sequence[Tensor]) -> ImageFeatures:
        pixels, padding_mask = collate(pictures)
        return self._infer(lambda: self.model.encode_image(pixels.to(self.device), padding_mask.to(self.device)))

    def _encode_image(self, image: Image.Image, short_side: int) -> ImageFeatures:
        start = time.perf_counter()
        features = self._encode([self._preprocess(image, short_side)])
        self._pace.encoding.append(_milliseconds_since(start) / features.tokens.shape[1])
        return features

    def _encode_text(self, tokens: TextTokens) -> tuple[TextFeatures, bool]:
        def compute() -> TextFeatures:
            return self._infer(lambda: self.model.encode_text(tokens.to(self.device)))

        return self._texts.get_or_compute(tuple(tokens.input_ids[0].tolist()), compute)

    def _ground(self, features: ImageFeatures, sizes: Sequence[tuple[int, int]], prompt: Prompt) -> list[Grounding]:
        """Of each picture of a batch, of those (width, height); times are of the batch."""
        start = time.perf_counter()
        with self._tokenizer_lock:
            passages, notes = tokenize(prompt, self.tokenizer, self.model.config.max_tokens)
        texts = [self._encode_text(passage.tokens) for passage in passages]
        text_milliseconds = _milliseconds_since(start)

        start = time.perf_counter()
        outputs = []
        for text, _ in texts:
            output = self._infer(partial(self.model.ground, features, _for_each(text, len(sizes))))
            outputs.append((output.logits.float().cpu(), output.boxes.float().cpu()))
        score = span_scores if prompt.kind == "spans" else phrase_scores
        found = []
        for index, size in enumerate(sizes):
            boxes, scores, nouns, ids = [np.empty((0, 4), np.float32)], [], [], []
            for passage, (logits, normalised) in zip(passages, outputs, strict=True):
                token_scores = logits[index].sigmoid()  # (Q, T)
                boxes.append(to_pixels(normalised[index], size).numpy())
                scores.append(score(token_scores, passage.positive_map).numpy())
                nouns.append(noun_scores(token_scores, passage.noun_map).numpy())
                ids.append(np.broadcast_to(np.array(passage.phrases, np.int32), scores[-1].shape))
            found.append((np.concatenate(boxes), *map(_below_each_other, (scores, ids, nouns))))
        milliseconds = _milliseconds_since(start)
        if passages and len(sizes) == 1:
            self._pace.grounding.append(milliseconds / features.tokens.shape[1])
        return [
            Grounding(
                prompt,
                boxes=_read_only(boxes),
                scores=_read_only(scores),
                box_threshold=self.card.box_threshold,
                text_threshold=self.card.text_threshold,
                notes=notes,
                text_milliseconds=text_milliseconds,
                grounding_milliseconds=milliseconds,
                text_cached=all(cached for _, cached in texts),
                cached=False,
                phrase_ids=_read_only(ids),
                noun_scores=_read_only(nouns) if prompt.kind == "sentence" else None,
            )
            for boxes, scores, ids, nouns in found
        ]

    def _read(self, prompt: str | Iterable[str] | Prompt, spans: Sequence[Sequence[Span]] | None = None) -> Prompt:
        read = read_prompt(prompt, spans)
        return read if self.card.reads_sentences else read.without_context()

    def _infer(self, function: Callable[[], T]) -> T:
        """What a part of the model computes."""
        with torch.inference_mode():
            result = function()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # so that the milliseconds are those of this step
        return result


def _join(prompt: Prompt, each: Sequence[tuple[int, Grounding]]) -> Grounding:
    """Groundings of single phrases of a prompt, by their index, in one picture as a grounding of all."""
    groundings = [grounding for _, grounding in each]
    ids = [np.full(grounding.scores.shape, phrase, np.int32) for phrase, grounding in each]
    return replace(
        groundings[0],
        prompt=prompt,
        boxes=_read_only(np.concatenate([grounding.boxes for grounding in groundings])),
        scores=_read_only(np.concatenate([grounding.scores for grounding in groundings])),
        notes=tuple(dict.fromkeys(note for grounding in groundings for note in grounding.notes)),
        text_milliseconds=sum(grounding.text_milliseconds for grounding in groundings),
        grounding_milliseconds=sum(grounding.grounding_milliseconds for grounding in groundings),
        text_cached=all(grounding.text_cached for grounding in groundings),
        cached=all(grounding.cached for grounding in groundings),
        phrase_ids=_read_only(np.concatenate(ids)),
        noun_scores=None,
    )


def _below_each_other(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays (Q, K) of passages in one; K is the largest, and what others lack of it is 0."""
    rows, columns = sum(map(len, parts)), max((part.shape[1] for part in parts), default=0)
    array = np.zeros((rows, columns), parts[0].dtype if parts else np.float32)
    start = 0
    for part in parts:
        array[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return array


def _for_each(value: Any, pictures: int) -> Any:
    """All tensors (1, ...) in (nested) named tuples as (B, ...) views, one row for each picture of a batch."""
    if isinstance(value, Tensor):
        return value.expand(pictures, *value.shape[1:])
    return type(value)(*(_for_each(part, pictures) for part in value)) if isinstance(value, tuple) else value


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _tensor_bytes(value: object) -> int:
    """Bytes of all tensors in (nested) tuples."""
    if isinstance(value, Tensor):
        return value.nbytes
    return sum(map(_tensor_bytes, value)) if isinstance(value, tuple) else 0


def _milliseconds_since(start: float) -> float:
    return 1000 * (time.perf_counter() - start)


def _stoppable(model: GroundingDINO) -> list[nn.Module]:
    """What a forward pass may be given up before; asking costs nothing worth measuring."""
    blocks = [block for stage in model.backbone.stages for block in stage.children()]
    return [*blocks, *model.enhancer.layers, *model.decoder.layers]
