"""What prompts can mean, as the mask decoder answers them: on the whole picture, or on a close-up of it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from segment_anything.utils.amg import calculate_stability_score
from torch import Tensor

from groundingdino.runtime.cache import ByteCache
from groundingdino.segmentation.close_ups import Part, decode_part, encode_part, move, part_around
from groundingdino.segmentation.mask_prompts import MaskPrompt
from groundingdino.segmentation.masks import Size
from groundingdino.segmentation.segmenter_models import LoadedSegmenter
from groundingdino.segmentation.transformers_sam import transform_of

# Prompts that go through the mask decoder together: each holds several copies of the embedding, 4 MB of the published
# models.
PROMPTS_PER_PASS = 8
STABILITY_OFFSET = 1.0  # of logits, as published


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """What the model knows of a picture before any prompt; valid as long as it is held."""

    features: Tensor = field(repr=False)  # (1, C, h, w)
    size: tuple[int, int]  # (width, height) of the upright picture; prompts and masks are in its pixels
    input_size: tuple[int, int]  # (height, width) that it was scaled to for the model
    image: Image.Image = field(repr=False)  # the upright picture, of which parts are looked at once more
    key: str  # hash of the picture's content
    cached: bool  # the model did not run for this call
    milliseconds: float
    owner: object = field(repr=False)  # the segmenter that encoded it: another cannot read these features

    def whole(self, square: int) -> Part:
        """What a model sees that fits the picture into a square of so many pixels a side."""
        height, width = self.input_size
        return Part(0, 0, square * self.size[0] / width, square * self.size[1] / height, square, square)

    def in_picture(self, boxes: Tensor) -> np.ndarray:
        """Boxes (N, 4), xyxy in pixels of what the model sees, in pixels of the picture."""
        return boxes.cpu().numpy() * np.tile(np.divide(self.size, self.input_size[::-1]), 2)


class Candidates(NamedTuple):
    """What one prompt can mean, best first."""

    logits: Tensor  # (3, h, w) of the padded square that the model sees, or of a part of the picture
    quality: Tensor  # (3,) predicted IoU
    part: Part  # which of the two

    def box(self, size: Size) -> np.ndarray | None:
        """Around the best mask, (4,) xyxy in pixels of the picture; None if it is empty."""
        inside = (self.logits[0] > 0).cpu().numpy()
        if not inside.any():
            return None
        edges = []
        for axis in (0, 1):
            covered = np.flatnonzero(inside.any(axis))
            cell = (self.part[axis + 2] - self.part[axis]) / inside.shape[1 - axis]
            edges.append(self.part[axis] + cell * np.array([covered[0], covered[-1] + 1]))
        (x0, x1), (y0, y1) = edges
        return np.clip([x0, y0, x1, y1], 0, [*size, *size])

    def moved(self, part: Part) -> Tensor:
        """The best mask's logits, (1, h, w) of a part."""
        logits = self.logits[:1]
        return logits if self.part == part else move(logits[0], self.part, part)[None]

    def stability(self) -> float:
        """How little the best mask changes with its cut-off: an IoU in [0, 1], as segment-anything's generator has."""
        return float(calculate_stability_score(self.logits[:1], 0.0, STABILITY_OFFSET).nan_to_num())


class CandidateFinder:
    """Asks the mask decoder what prompts can mean, and keeps its answers. Safe to share between threads."""

    def __init__(self, loaded: LoadedSegmenter, part_bytes: int, candidate_bytes: int):
        self._model, self._card = loaded
        self._parts: ByteCache[Tensor] = ByteCache(part_bytes, lambda value: value.nbytes)
        self._found: ByteCache[Candidates] = ByteCache(
            candidate_bytes, lambda value: value.logits.nbytes + value.quality.nbytes
        )

    def find(self, encoded: ImageEmbedding, prompts: Sequence[MaskPrompt]) -> list[Candidates]:
        """What each prompt can mean; a correction starts from the best mask before it."""
        keys = [(encoded.key, replace(prompt, candidate=0)) for prompt in prompts]
        return self._found.get_or_compute_each(
            keys, lambda missing: self._compute(encoded, [prompt for _, prompt in missing])
        )

    def find_each(self, encoded: ImageEmbedding, prompts: Sequence[MaskPrompt]) -> Iterator[Candidates]:
        """As `find`, but few at once, so that what many prompts can mean need not fit in memory together."""
        for start in range(0, len(prompts), PROMPTS_PER_PASS):
            yield from self.find(encoded, prompts[start : start + PROMPTS_PER_PASS])

    def _compute(self, encoded: ImageEmbedding, prompts: Sequence[MaskPrompt]) -> list[Candidates]:
        corrected = {prompt: earlier for prompt in prompts if (earlier := prompt.before)}
        before = dict(zip(corrected, self.find(encoded, list(corrected.values())), strict=True))
        found: dict[MaskPrompt, Candidates] = {}
        # The decoder takes prompts together that have the same parts.
        groups: defaultdict[tuple[int, bool, bool], list[MaskPrompt]] = defaultdict(list)
        for prompt in prompts:
            if closer := self._look_closer(encoded, prompt, before.get(prompt)):
                found[prompt] = closer
                continue
            clicks, _ = prompt.clicks(encoded.size)
            groups[len(clicks), prompt.box is not None, prompt in before].append(prompt)
        for group in groups.values():
            previous = [before[prompt].moved(self._whole(encoded)) for prompt in group if prompt in before]
            for prompt, candidates in zip(group, self._decode(encoded, group, previous), strict=True):
                # Only now is it known of a click how large the object is.
                found[prompt] = self._look_closer(encoded, prompt, before.get(prompt), candidates) or candidates
        return [found[prompt] for prompt in prompts]

    def _look_closer(
        self,
        encoded: ImageEmbedding,
        prompt: MaskPrompt,
        corrected: Candidates | None,
        in_whole: Candidates | None = None,
    ) -> Candidates | None:
        """What a prompt can mean by a second look at its object; None where none is worth it.

        Args:
            corrected: the answer that the prompt corrects, if any.
            in_whole: the answer in the whole picture, if there is one already: the object is where this has it, else in
                the prompt's box, else where `corrected` has it.
        """
        if not self._card.close_ups:
            return None
        inside = prompt.box_in(encoded.size)
        answer = in_whole or (corrected if inside is None else None)
        about = answer.box(encoded.size) if answer else inside
        if about is None:
            return None
        clicks = prompt.clicks(encoded.size)
        low, high = (limit(np.array([about[:2], about[2:], *clicks[0]]), axis=0) for limit in (np.min, np.max))
        part = part_around((*low, *high), encoded.size, self._model.image_encoder.img_size)
        if part is None:
            return None
        features, _ = self._parts.get_or_compute(
            (encoded.key, part), lambda: encode_part(self._model, encoded.image, part)
        )
        previous = None if corrected is None else corrected.moved(part)[0]
        box = None if inside is None else inside.tolist()
        logits, quality = decode_part(self._model, features, part, box, clicks, previous)
        chosen = self._best_first(logits[None], quality[None], len(clicks[1]), box is not None)[0]
        return Candidates(logits[chosen], quality[chosen], part)

    def _whole(self, encoded: ImageEmbedding) -> Part:
        return encoded.whole(self._model.image_encoder.img_size)

    def _best_first(self, logits: Tensor, quality: Tensor, clicks: int, has_box: bool) -> Tensor:
        """Which of the decoder's masks (N, 4, h, w) to offer for prompts of so many parts each, (N, 3) indices."""
        is_ambiguous = clicks + has_box == 1 and not (has_box and self._card.single_for_box)
        of_several = torch.full((len(quality),), not is_ambiguous, device=quality.device)
        if self._card.stable_single is not None:
            offset, least = self._card.stable_single
            of_several &= calculate_stability_score(logits[:, 0], 0.0, offset).nan_to_num(1.0) >= least
        return best_first(quality, of_several)

    @torch.inference_mode()
    def _decode(
        self, encoded: ImageEmbedding, prompts: Sequence[MaskPrompt], previous: Sequence[Tensor]
    ) -> list[Candidates]:
        """Runs the mask decoder for prompts with the same parts, and the logits (1, h, w) that they correct, if any.

        `SamPredictor.predict_torch` would enlarge all candidates of all prompts at once.
        """
        transform = transform_of(self._model)
        clicks = [prompt.clicks(encoded.size) for prompt in prompts]
        boxes = [box for prompt in prompts if (box := prompt.box_in(encoded.size)) is not None]
        original_size = encoded.size[::-1]
        points = box_tensor = None
        if clicks_each := len(clicks[0][1]):
            coordinates = transform.apply_coords(np.stack([xy for xy, _ in clicks]), original_size)
            labels = np.stack([label for _, label in clicks])
            points = (self._tensor(coordinates, torch.float), self._tensor(labels, torch.int))
        if boxes:
            box_tensor = self._tensor(transform.apply_boxes(np.stack(boxes), original_size), torch.float)
        sparse, dense = self._model.prompt_encoder(
            points=points, boxes=box_tensor, masks=torch.stack(list(previous)) if previous else None
        )
        logits, quality = self._model.mask_decoder.predict_masks(
            image_embeddings=encoded.features,
            image_pe=self._model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
        )
        order = self._best_first(logits, quality, clicks_each, bool(boxes))
        whole = self._whole(encoded)
        return [
            Candidates(masks[chosen], scores[chosen], whole)
            for masks, scores, chosen in zip(logits, quality, order, strict=True)
        ]

    def _tensor(self, array: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(array, dtype=dtype, device=self._model.device)


def best_first(quality: Tensor, takes_single: Tensor) -> Tensor:
    """Which of the decoder's masks to offer for each prompt, (N, 3) indices.

    Mask 0 is trained for prompts of several parts, masks 1 to 3 for those that may mean a whole or its parts, such as
    one click (paper, section 3, "Resolving ambiguity"; `select_masks` of segment-anything's ONNX export). So mask 0
    comes first where it counts, and the others follow by predicted IoU.

    Args:
        quality: (N, 4) predicted IoU.
        takes_single: (N,) bool, where mask 0 counts.
    """
    others = 1 + quality[:, 1:].argsort(dim=1, descending=True, stable=True)
    single_first = torch.cat([torch.zeros_like(others[:, :1]), others[:, :-1]], dim=1)
    return torch.where(takes_single[:, None], single_first, others)
