"""A detector that knows the answers, so that the page can be tested without weights."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from groundingdino.detection.checkpoints import ModelCard
from groundingdino.detection.examples import LIKE, Examples
from groundingdino.detection.phrases import Grounding
from groundingdino.detection.query_masks import QueryMasks
from groundingdino.inputs.prompt import Prompt, Span, meaning, read_prompt
from groundingdino.model.config import EMBEDDED
from groundingdino.page.studio import DetectorLike
from groundingdino.runtime.interruption import StopCheck, Stopped, raise_if_stopped

CARD = ModelCard(
    name="embedded",
    title="Oracle",
    config=EMBEDDED,
    box_threshold=0.35,
    text_threshold=0.25,
    size_bytes=12_000_000,
    description="Knows the answers.",
)

Objects = Mapping[str, list[tuple[float, tuple[int, int, int, int]]]]  # phrase -> (score, box in pixels)


@dataclass(frozen=True)
class Known:
    """A picture that an `Oracle` has seen."""

    size: tuple[int, int]
    key: str
    cached: bool
    milliseconds: float
    share: float  # of each score that the oracle will know
    tiles: bool


@dataclass
class Oracle(DetectorLike):
    """Stands in for `Detector`: what is in a picture is looked up by the picture's size.

    A draft finds the same, but knows half of each score.
    """

    pictures: Mapping[tuple[int, int], Objects]
    card: ModelCard = CARD
    seconds: float = 0.0  # that an answer takes
    slow_side: int | None = None  # of the drafts that it offers
    small: Objects = field(default_factory=dict)  # what besides is found in tiles of any picture
    encoded: int = 0  # how often each part of the model ran
    grounded: int = 0
    look_seconds: float = 0.0  # that a look at a frame takes
    prepared: int = 0  # how many frames were looked at
    exemplified: int = 0  # how often examples were looked for
    each: int = 0  # how often a prompt's phrases were looked for one after the other

    def __post_init__(self) -> None:
        self._images: set[str] = set()
        self._groundings: set[tuple[str, Prompt, bool]] = set()

    def draft_side(self, image: Image.Image, prompt: str, each: bool = False, tiles: bool = False) -> int | None:
        known = (_key_of(image, None, tiles), Prompt.parse(prompt), each) in self._groundings
        return None if known else self.slow_side

    def encode_image(
        self,
        image: Image.Image,
        short_side: int | None = None,
        stop: StopCheck | None = None,
        tiles: bool = False,
    ) -> Known:
        if stop is not None and stop():
            raise Stopped
        key = _key_of(image, short_side, tiles)
        cached = key in self._images
        self._images.add(key)
        self.encoded += not cached
        return Known(image.size, key, cached, milliseconds=20.0, share=0.5 if short_side else 1.0, tiles=tiles)

    def prepare(self, image: Image.Image) -> Known:
        self.prepared += 1
        return Known(image.size, f"frame {self.prepared}", False, 20.0, share=1.0, tiles=False)

    def ground_batch(
        self, images: Sequence[Known], prompt: str, each: bool = False, tiles: bool = False
    ) -> list[Grounding]:
        for _ in range(10):  # layers
            raise_if_stopped()
            time.sleep(self.look_seconds / 10)
        prepared = [replace(image, tiles=tiles) for image in images]
        return [self._ground(image, read_prompt(prompt), each, None, kept=False) for image in prepared]

    def ground_each(self, encoded: Known, prompt: str, stop: StopCheck | None = None) -> Grounding:
        self.each += 1
        return self._ground(encoded, read_prompt(prompt), True, stop)

    def ground(
        self,
        encoded: Known,
        prompt: str | Iterable[str],
        spans: Sequence[Sequence[Span]] | None = None,
        stop: StopCheck | None = None,
    ) -> Grounding:
        return self._ground(encoded, read_prompt(prompt, spans), False, stop)

    def ground_like(
        self,
        encoded: Known,
        like: Iterable[Sequence[float]],
        unlike: Iterable[Sequence[float]] = (),
        of: Known | None = None,
        name: str = LIKE,
        stop: StopCheck | None = None,
    ) -> Grounding:
        """All that is called like what an example is around, but for what there are examples not to be found of."""
        assert of is None, "it looks for them where they are"
        examples, objects = Examples.of(like, unlike, encoded.size), self.pictures.get(encoded.size, {})
        self.exemplified += 1

        def is_one_of(box: tuple[int, ...], drawn: Sequence[Sequence[float]]) -> bool:
            return any(np.allclose(box, one, atol=2) for one in drawn)

        called = [name for name, found in objects.items() if any(is_one_of(box, examples.like) for _, box in found)]
        found = [one for phrase in called for one in objects[phrase] if not is_one_of(one[1], examples.unlike)]
        answers = {encoded.size: {name: found}}
        return Oracle(answers, self.card)._ground(encoded, Prompt((name,)), False, stop)

    def _ground(
        self, encoded: Known, parsed: Prompt, each: bool, stop: StopCheck | None, kept: bool = True
    ) -> Grounding:
        cached = not kept or (encoded.key, parsed, each) in self._groundings
        self.grounded += not cached
        for _ in range(0 if cached else 10):  # layers
            if stop is not None and stop():
                raise Stopped
            time.sleep(self.seconds / 10)
        if kept:
            self._groundings.add((encoded.key, parsed, each))
        known = [self.pictures.get(encoded.size, {}), *([self.small] if encoded.tiles else [])]
        rows = [
            (index, score, box)
            for index, name in enumerate(parsed.phrases)
            for objects in known
            for score, box in objects.get(meaning(name), ())
        ]
        scores = np.zeros((len(rows), len(parsed.phrases)), np.float32)
        for row, (index, score, _) in enumerate(rows):
            scores[row, index] = score * encoded.share
        boxes = np.array([box for *_, box in rows], np.float32).reshape(-1, 4)
        return Grounding(
            parsed,
            boxes=boxes,
            scores=scores,
            box_threshold=self.card.box_threshold,
            text_threshold=self.card.text_threshold,
            notes=(),
            text_milliseconds=0.0 if cached else 3.0,
            grounding_milliseconds=0.0 if cached else 40.0,
            text_cached=cached,
            cached=cached,
            passes=10 if encoded.tiles else 1,
            masks=_left_halves(boxes, encoded.size) if self.card.makes_masks and parsed.phrases else None,
        )


def _left_halves(boxes: np.ndarray, size: tuple[int, int]) -> QueryMasks:
    """What no `Scissors` would cut out."""
    masks = np.zeros((len(boxes), *size[::-1]), np.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
        mask[y0:y1, x0 : (x0 + x1) // 2] = 255
    return QueryMasks(np.arange(len(boxes)), masks, size)


def _key_of(image: Image.Image, short_side: int | None, tiles: bool) -> str:
    return f"{image.size} {short_side or ''} {'tiles' if tiles else ''}"
