"""Encode a picture once, ground many prompts in it, re-threshold for nothing."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import supervision as sv
import torch
from PIL import Image
from torch import Tensor
from typing_extensions import Self

from groundingdino.detection.drafts import Work
from groundingdino.detection.examples import LIKE, Examples, Shown
from groundingdino.detection.families import Loaded, load_detector, passes_of
from groundingdino.detection.passes import Passes, milliseconds_since, tensor_bytes
from groundingdino.detection.phrases import MAX_DETECTIONS, NMS_THRESHOLD, Grounding, one_by_one
from groundingdino.detection.tiles import Tile, tiles_of, with_tiles
from groundingdino.files.hub import Progress
from groundingdino.inputs.coordinates import Size
from groundingdino.inputs.image import ImageSource, content_hash, load_image
from groundingdino.inputs.prompt import Prompt, Span, read_prompt
from groundingdino.runtime.cache import ByteCache
from groundingdino.runtime.devices import find_device
from groundingdino.runtime.interruption import StopCheck, unless_stopped


@dataclass(frozen=True)
class CacheBytes:
    """What a detector may keep, in bytes. One picture at 800 x 1333 takes about 45 MB with the published models, four
    times as much with a Swin-L of MM Grounding DINO.

    Small ones would fill as much with what nobody asks for any more: `most_images` are kept at most. Were they fewer
    than visitors who type at once, each key would push out the picture of the next.
    """

    images: int = 512 << 20
    texts: int = 64 << 20
    groundings: int = 64 << 20
    most_images: int = 64


DEFAULT_CACHE_BYTES = CacheBytes()


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """The part of a picture's work that does not depend on the prompt; valid as long as it is held."""

    features: Any = field(repr=False)
    size: tuple[int, int]  # (width, height) of the upright picture; boxes are in its pixels
    key: str  # hash of the picture's content, and the side of a draft
    cached: bool  # the model did not run for this call
    milliseconds: float
    owner: "Detector" = field(repr=False)  # another detector cannot read these features
    image: Image.Image = field(repr=False)
    tiles: tuple[Tile, ...] | None = None  # parts of it that are looked at, too; None: they are not asked for


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """A picture as a model takes it, for `Detector.ground_batch`; about 13 MB at 800 x 1333."""

    image: Image.Image = field(repr=False)  # upright RGB
    pixels: Tensor = field(repr=False)  # (3, H, W) float32, scaled and normalised


class Detector:
    """Finds phrases in pictures. Safe to share between threads: there is no current picture, only caches by content."""

    def __init__(
        self,
        loaded: Loaded,
        cache_bytes: CacheBytes = DEFAULT_CACHE_BYTES,
        dtype: torch.dtype | None = None,
        passes: Callable[[Loaded, int, torch.dtype | None], Passes] = passes_of,
    ):
        """A detector of a loaded model.

        On a CPU it is up to a tenth faster in a process that called `keep_freed_memory`, which a program decides.

        Args:
            dtype: to compute in, torch.float32 or torch.bfloat16; by default what is fastest here, see
                `precision.fastest_dtype`. For bfloat16 the detector has a copy of the model, see
                `precision.in_bfloat16`; the model that is given stays as it is. Models of other architectures compute
                in torch.float32.
            passes: makes what runs the model; by default that is done here.

        Raises:
            ValueError: another dtype.
        """
        self._passes = ours = passes(loaded, cache_bytes.texts, dtype)
        self.model, self.tokenizer, self.card = ours.model, ours.tokenizer, ours.card
        self.device, self.dtype = ours.device, ours.dtype
        self._images: ByteCache[Any] = ByteCache(cache_bytes.images, tensor_bytes, cache_bytes.most_images)
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
        """Load a model by name or path, see `families.load_detector`; by default on the GPU if there is one."""
        device = device or find_device()
        return cls(load_detector(name_or_path, device, local_files_only, progress), cache_bytes, dtype)

    def __call__(
        self,
        image: ImageSource,
        prompt: str | Iterable[str],
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        nms_threshold: float | None = NMS_THRESHOLD,
        max_detections: int = MAX_DETECTIONS,
        best_only: bool = False,
        each: bool = False,
        tiles: bool = False,
        masks: bool = False,
    ) -> sv.Detections:
        """Find the prompt's phrases in the picture: `encode_image`, `ground` and `Grounding.detections` in one.

        `each` is for `ground_each`, `tiles` for those of `encode_image`.
        """
        encoded = self.encode_image(image, tiles=tiles)
        grounding = self.ground_each(encoded, prompt) if each else self.ground(encoded, prompt)
        return grounding.detections(box_threshold, text_threshold, nms_threshold, max_detections, best_only, masks)

    def encode_image(
        self,
        image: ImageSource,
        short_side: int | None = None,
        stop: StopCheck | None = None,
        tiles: bool = False,
    ) -> EncodedImage:
        """Compute, or find, what the model knows of a picture before any prompt.

        Args:
            short_side: pixels that the picture's short side is scaled to, fewer for a draft; by default the model's.
            stop: called between layers; once it returns True, `Stopped` is raised.
            tiles: a large picture is to be looked at in up to 3 x 3 overlapping tiles, too, for small things in it; a
                prompt takes a pass for each. They are encoded when a prompt first needs them, and kept like pictures.

        Raises:
            ValueError: There are no tiles of a draft.
            ValueError: It is no picture, or too large, or too narrow: see `image.load_image` and `image.preprocess`.
        """
        start = time.perf_counter()
        image = load_image(image)
        side = self._passes.sides.short_side if short_side is None else short_side
        key = content_hash(image) if side == self._passes.sides.short_side else f"{content_hash(image)} {side}"
        if tiles and side != self._passes.sides.short_side:
            raise ValueError(f"A draft of {side} pixels has no tiles: leave out short_side, or tiles.")
        features, cached = unless_stopped(
            lambda: self._images.get_or_compute(key, lambda: self._passes.encode_image(image, side)), stop
        )
        parts = tiles_of(image.size, self._passes.sides) if tiles else None
        return EncodedImage(features, image.size, key, cached, milliseconds_since(start), self, image, parts)

    def draft_side(
        self, image: Image.Image, prompt: str | Iterable[str], each: bool = False, tiles: bool = False
    ) -> int | None:
        """The short side at which a draft should be shown first; None where the full pass is fast, or done already.

        Args:
            each: it is to be grounded by `ground_each`.
            tiles: in tiles, too. The model's own short side then means the whole picture without them.
        """
        key, parsed = content_hash(image), self._read(prompt)
        prompts = [*parsed.one_by_one().values()] if each else [parsed]

        def left(keys: Iterable[str]) -> Work:
            new = {key: sum(self._groundings.get((key, one)) is None for one in prompts) for key in keys}
            unread = sum(count > 0 and self._images.get(key) is None for key, count in new.items())
            return Work(unread, sum(new.values()))

        parts = tiles_of(image.size, self._passes.sides) if tiles else ()
        work, whole = left([key, *(_key_of(key, tile) for tile in parts)]), left([key])
        if not work.groundings:
            return None
        return self._passes.draft_side(image.size, work, whole if parts else None)

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
        return _in_all(self._ground(encoded, self._read(prompt, spans), stop), start)

    def ground_each(
        self, encoded: EncodedImage, prompt: str | Iterable[str], stop: StopCheck | None = None
    ) -> Grounding:
        """`ground` with a pass of its own for each phrase, so that none competes with another.

        On prompts that describe things this finds more (arXiv 2401.02361 measured 22.3 AP for 17.2 on D3); it costs a
        pass for each phrase that is new. Of a sentence the things that it names are looked for, each by itself.

        Args and errors are those of `ground`.
        """
        start = time.perf_counter()
        grounding, *_ = one_by_one(self._read(prompt), lambda phrase: [self._ground(encoded, phrase, stop)])
        return _in_all(grounding, start)

    def ground_like(
        self,
        encoded: EncodedImage,
        like: Iterable[Sequence[float]],
        unlike: Iterable[Sequence[float]] = (),
        of: EncodedImage | None = None,
        name: str = LIKE,
        stop: StopCheck | None = None,
    ) -> Grounding:
        """Find what looks like examples: with OWLv2, SAM 3 and the embedded detectors.

        Args:
            encoded: A picture that this detector encoded; tiles of it are not looked at.
            like: Boxes around what is to be found, xyxy in pixels.
            unlike: Boxes around what is not.
            of: The picture that the boxes are in, if it is another one; SAM 3 takes none.
            name: What is found is called so.
            stop: called between layers; once it returns True, `Stopped` is raised.

        Raises:
            ValueError: A box is none, or lies outside the picture; a picture is another detector's; the model takes no
                examples.
        """
        start = time.perf_counter()
        source = encoded if of is None else of
        if not encoded.owner is self is source.owner:
            raise ValueError("The picture was encoded by another detector: encode it with the one that grounds it.")
        examples, elsewhere = Examples.of(like, unlike, source.size), source.key != encoded.key
        shown = Shown(examples, source.features, source.size, elsewhere)
        grounding, cached = unless_stopped(
            lambda: self._groundings.get_or_compute(
                (encoded.key, source.key, examples, name),
                lambda: self._passes.ground_like(encoded.features, encoded.size, shown, name),
            ),
            stop,
        )
        return _in_all(replace(grounding, cached=cached), start)

    def prepare(self, image: ImageSource) -> PreparedImage:
        """Read and scale a picture for `ground_batch`, which threads can do ahead while the model computes.

        Raises:
            ValueError: as `encode_image`.
        """
        image = load_image(image)
        return PreparedImage(image, self._passes.preprocess(image, self._passes.sides.short_side))

    def ground_batch(
        self,
        images: Sequence[PreparedImage],
        prompt: str | Iterable[str] | Prompt,
        each: bool = False,
        tiles: bool = False,
    ) -> list[Grounding]:
        """Ground one prompt in several pictures at once, for many pictures that are looked at once.

        The result is that of `ground`, or with `each` of `ground_each`, but for the last digits: pictures of the same
        scaled size share a pass, others have their own, since what pads a picture changes what is found in it. Nothing
        of a picture is cached. With `tiles` those that `encode_image` tells of are looked at, too, the first of each
        picture in one pass, then the second.

        Raises:
            ValueError: as `ground` for the prompt.
        """
        parsed = self._read(prompt)
        groundings = self._ground_batch(images, parsed, each)
        return self._add_tiles(images, groundings, parsed, each) if tiles else groundings

    def _ground_batch(self, images: Sequence[PreparedImage], prompt: Prompt, each: bool) -> list[Grounding]:
        sizes: dict[torch.Size, list[int]] = {}
        for index, image in enumerate(images):
            sizes.setdefault(image.pixels.shape, []).append(index)
        found: dict[int, Grounding] = {}
        for alike in sizes.values():
            features = self._passes.encode([images[index].pixels for index in alike])
            ground = partial(self._passes.ground, features, [images[index].image.size for index in alike])
            groundings = one_by_one(prompt, ground) if each else ground(prompt)
            found.update(zip(alike, groundings, strict=True))
        return [found[index] for index in range(len(images))]

    def _add_tiles(
        self, images: Sequence[PreparedImage], whole: Sequence[Grounding], prompt: Prompt, each: bool
    ) -> list[Grounding]:
        """Groundings of pictures with those of their tiles."""
        tiles = [tiles_of(image.image.size, self._passes.sides) for image in images]
        found: list[list[tuple[Tile, Grounding]]] = [[] for _ in images]
        for number in range(max(map(len, tiles), default=0)):
            having = [index for index, parts in enumerate(tiles) if number < len(parts)]
            parts = [self.prepare(images[index].image.crop(tiles[index][number])) for index in having]
            for index, grounding in zip(having, self._ground_batch(parts, prompt, each), strict=True):
                found[index].append((tiles[index][number], grounding))
        sizes = [image.image.size for image in images]
        return [with_tiles(*one) for one in zip(whole, found, sizes, strict=True)]

    def _read(self, prompt: str | Iterable[str] | Prompt, spans: Sequence[Sequence[Span]] | None = None) -> Prompt:
        read = read_prompt(prompt, spans)
        return read if self.card.reads_sentences else read.without_context()

    def _ground(self, encoded: EncodedImage, prompt: Prompt, stop: StopCheck | None) -> Grounding:
        """In the picture, and in its tiles where they are asked for; each computed, or found."""
        if encoded.owner is not self:
            raise ValueError("The picture was encoded by another detector: encode it with the one that grounds it.")
        whole = self._find(encoded.key, lambda: encoded.features, encoded.size, prompt, stop)
        if encoded.tiles is None or not prompt.phrases:
            return whole
        found = [
            (tile, self._find(_key_of(encoded.key, tile), partial(self._tile, encoded, tile), tile.size, prompt, stop))
            for tile in encoded.tiles
        ]
        return with_tiles(whole, found, encoded.size)

    def _find(
        self, key: str, features: Callable[[], Any], size: Size, prompt: Prompt, stop: StopCheck | None
    ) -> Grounding:
        grounding, cached = unless_stopped(
            lambda: self._groundings.get_or_compute(
                (key, prompt), lambda: self._passes.ground(features(), [size], prompt)[0]
            ),
            stop,
        )
        return replace(grounding, text_milliseconds=0.0, text_cached=True, cached=True) if cached else grounding

    def _tile(self, encoded: EncodedImage, tile: Tile) -> Any:
        side = self._passes.sides.short_side
        return self._images.get_or_compute(
            _key_of(encoded.key, tile), lambda: self._passes.encode_image(encoded.image.crop(tile), side)
        )[0]


def _key_of(picture: str, tile: Tile) -> str:
    return f"{picture} {','.join(map(str, tile))}"


def _in_all(grounding: Grounding, start: float) -> Grounding:
    """With the time since `start` as that of the call."""
    text = grounding.text_milliseconds
    return grounding.timed(text, milliseconds_since(start) - text, grounding.text_cached)
