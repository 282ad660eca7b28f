"""What a training picture must answer to, and batches of such pictures."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.ops import box_convert
from transformers import BertTokenizerFast

from groundingdino.detection.text_tokens import collate_phrases
from groundingdino.model.config import IMAGENET_MEAN, IMAGENET_STD
from groundingdino.model.preprocessing import collate, preprocess
from groundingdino.model.text_tokens import TextTokens


class Asked(Protocol):
    """A labelled picture and a prompt that asks for what it shows."""

    @property
    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""

    @property
    def boxes(self) -> np.ndarray:
        """(N, 4) float32, xyxy in pixels."""

    @property
    def prompt(self) -> Sequence[str]:
        """Phrases: names of what is in the picture and of what is not."""

    @property
    def positives(self) -> Sequence[int | None]:
        """For each box the index of the phrase that is true of it; None makes it no target."""


class Example(Asked, Protocol):
    """What the trainer needs to know of a labelled picture."""

    def may_be(self, box: int, other: "Example", phrase: int) -> bool:
        """Whether a phrase of another picture may be true of a box, as "puppy" is of a dog."""


T = TypeVar("T")
Source = Callable[[int, tuple[int, int]], Example]  # index and (width, height) -> a labelled picture, always the same


class Target(NamedTuple):
    """The boxes of one picture that its prompt names."""

    boxes: Tensor  # (N, 4) float32, cxcywh in [0, 1] of the picture
    tokens: Tensor  # (N, T) bool, True on the text tokens that are true of the box
    phrases: Tensor  # (N,) int64, the prompt's phrase that is true of the box
    others: list[frozenset[str]]  # N times the phrases of the batch that may be true of the box too


class Batch(NamedTuple):
    """Pictures, prompts and targets, ready for the model."""

    pixels: Tensor  # (B, 3, H, W)
    padding_mask: Tensor  # (B, H, W) bool, True on padding
    tokens: TextTokens
    targets: list[Target]
    prompts: list[tuple[str, ...]]  # the phrases of each picture
    phrase_tokens: list[Tensor]  # (P, T) bool of each picture, True on the word tokens of a phrase; on the CPU

    def to(self, device: torch.device) -> "Batch":
        """The same for a model on a device."""
        move = partial(Tensor.to, device=device, non_blocking=True)
        targets = [
            target._replace(boxes=move(target.boxes), tokens=move(target.tokens), phrases=move(target.phrases))
            for target in self.targets
        ]
        return self._replace(
            pixels=move(self.pixels),
            padding_mask=move(self.padding_mask),
            tokens=self.tokens.to(device),
            targets=targets,
        )


def make_batch(
    examples: Sequence[Example],
    tokenizer: BertTokenizerFast,
    short_side: int,
    long_side: int,
    max_tokens: int,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Batch:
    """Scale labelled pictures as for inference and collate them with their prompts."""
    pictures = [preprocess(Image.fromarray(example.image), short_side, long_side, mean, std) for example in examples]
    pixels, padding_mask = collate(pictures)
    tokens, positive_maps = collate_phrases([example.prompt for example in examples], tokenizer, max_tokens)
    targets = [
        make_target(example, positive, examples) for example, positive in zip(examples, positive_maps, strict=True)
    ]
    return Batch(pixels, padding_mask, tokens, targets, [tuple(example.prompt) for example in examples], positive_maps)


def make_target(example: Example, positive_map: Tensor, batch: Sequence[Example] = ()) -> Target:
    """A picture's target.

    Args:
        positive_map: (P, T) bool, the tokens of each of its phrases.
        batch: the pictures that it is shown with.
    """
    named = [index for index, phrase in enumerate(example.positives) if phrase is not None]
    height, width = example.image.shape[:2]
    boxes = torch.from_numpy(np.asarray(example.boxes, np.float32).reshape(-1, 4))[named]
    boxes = box_convert(boxes / torch.tensor([width, height, width, height]), "xyxy", "cxcywh")
    phrases = torch.tensor([phrase for phrase in example.positives if phrase is not None], dtype=torch.long)
    others = [
        frozenset(text for other in batch for i, text in enumerate(other.prompt) if example.may_be(box, other, i))
        for box in named
    ]
    return Target(boxes, positive_map[phrases], phrases, others)


def mix(
    sources: Sequence[tuple[float, Callable[[int, tuple[int, int]], T]]], seed: int = 0
) -> Callable[[int, tuple[int, int]], T]:
    """One source of several: each picture comes from one of them, drawn by weight.

    Args:
        sources: pairs of a weight and a source.
    """
    shares = np.array([weight for weight, _ in sources], float)
    shares /= shares.sum()

    def source(index: int, size: tuple[int, int]) -> T:
        choice = int(np.random.default_rng([seed, index, 1]).choice(len(shares), p=shares))
        return sources[choice][1](index, size)

    return source
