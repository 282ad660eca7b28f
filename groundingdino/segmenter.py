"""Encode a picture once, then cut out objects by boxes, points, strokes, or all there are (Segment Anything)."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import supervision as sv
import torch
from PIL import Image
from segment_anything import SamPredictor
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

from groundingdino.cache import ByteCache
from groundingdino.candidates import Candidates
from groundingdino.close_ups import Part, decode_part, encode_part, enlarge, move, part_around
from groundingdino.downloads import Progress
from groundingdino.everything import find_everything
from groundingdino.image import content_hash, load_image
from groundingdino.mask_prompts import MaskPrompt
from groundingdino.masks import boxes_of, compact, join, size_bytes, without_overlaps
from groundingdino.proposals import propose_boxes
from groundingdino.segmenter_models import LoadedSegmenter, load_segmenter
from groundingdino.weight_files import find_device

# Prompts that go through the mask decoder together: each holds several copies of the embedding, 4 MB of the published
# models.
PROMPTS_PER_PASS = 8
NMS_THRESHOLD = 0.7  # of `everything`, as published


@dataclass(frozen=True)
class SegmenterCacheBytes:
    """What a segmenter may keep, in bytes. A picture takes 4 MB with the published models, a mask some 10 kB."""

    images: int = 128 << 20
    parts: int = 64 << 20  # of pictures, looked at closer
    candidates: int = 64 << 20
    masks: int = 64 << 20


DEFAULT_CACHE_BYTES = SegmenterCacheBytes()


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
    owner: "Segmenter" = field(repr=False)  # another segmenter cannot read these features


class _Mask(NamedTuple):
    mask: sv.CompactMask  # (1, H, W)
    quality: float


class Segmenter:
    """Cuts objects out of pictures. Safe to share between threads: no current picture, only caches by content."""

    def __init__(self, loaded: LoadedSegmenter, cache_bytes: SegmenterCacheBytes = DEFAULT_CACHE_BYTES):
        self.model, self.card = loaded
        self.device: torch.device = self.model.device
        self._images: ByteCache[tuple[Tensor, tuple[int, int]]] = ByteCache(
            cache_bytes.images, lambda value: value[0].nbytes
        )
        self._parts: ByteCache[Tensor] = ByteCache(cache_bytes.parts, lambda value: value.nbytes)
        self._candidates: ByteCache[Candidates] = ByteCache(
            cache_bytes.candidates, lambda value: value.logits.nbytes + value.quality.nbytes
        )
        self._masks: ByteCache[tuple[_Mask, ...]] = ByteCache(
            cache_bytes.masks, lambda value: sum(size_bytes(one.mask) for one in value)
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "embedded",
        device: str | torch.device | None = None,
        local_files_only: bool = False,
        progress: Progress | None = None,
        cache_bytes: SegmenterCacheBytes = DEFAULT_CACHE_BYTES,
    ) -> Self:
        """Load a model by name or path, see `load_segmenter`; by default on the GPU if there is one."""
        device = device or find_device()
        return cls(load_segmenter(name_or_path, device, local_files_only, progress), cache_bytes)

    def encode_image(self, image: str | Path | bytes | Image.Image | np.ndarray) -> ImageEmbedding:
        """Compute, or find, what the model knows of a picture before any prompt.

        Raises:
            ValueError: It is no picture, or too large: see `image.load_image`.
        """
        start = time.perf_counter()
        picture = load_image(image)
        key = content_hash(picture)
        (features, input_size), cached = self._images.get_or_compute(key, lambda: self._encode_image(picture))
        took = 1000 * (time.perf_counter() - start)
        return ImageEmbedding(features, picture.size, input_size, picture, key, cached, took, owner=self)

    def segment(
        self,
        encoded: ImageEmbedding,
        prompts: Sequence[MaskPrompt],
        objects: sv.Detections | None = None,
    ) -> sv.Detections:
        """One object for each prompt; what was asked before does not run the model again.

        Args:
            encoded: A picture that this segmenter encoded.
            prompts: N of them; none gives an empty result.
            objects: N found objects that the prompts belong to: their boxes, phrases, scores and class ids stay.

        Returns:
            `mask` (N, H, W), a `CompactMask`; `data["mask_quality"]` (N,) float32, the IoU that the model expects;
            `data["class_name"]`, `confidence`, `class_id` and `xyxy` those of `objects`. Without `objects` they are
            "object 1", "object 2", ..., the mask quality, -1 and the box around the mask (all 0 if it is empty).

        Raises:
            ValueError: The picture is another segmenter's; a point or box is outside it; the counts differ.
        """
        self._check_owner(encoded)
        if objects is not None and len(objects) != len(prompts):
            raise ValueError(f"Expected one prompt for each object, got {len(prompts)} for {len(objects)} objects.")
        return _detections(self._find_masks(encoded, prompts), encoded.size, objects)

    def segment_boxes(self, encoded: ImageEmbedding, detections: sv.Detections) -> sv.Detections:
        """Masks for what a detector found: the same objects in the same order with `mask` and `mask_quality`.

        A box without area, or outside the picture, gets an empty mask of quality 0. Errors are those of `segment`.
        """
        x0, y0, x1, y1 = np.clip(detections.xyxy, 0, [*encoded.size, *encoded.size]).T
        index = np.flatnonzero((x1 > x0) & (y1 > y0))
        prompts = [MaskPrompt(box=tuple(detections.xyxy[row])) for row in index]
        self._check_owner(encoded)
        nothing = _Mask(compact(np.zeros(encoded.size[::-1], bool)), 0.0)
        masks = [nothing] * len(detections)
        for row, mask in zip(index, self._find_masks(encoded, prompts), strict=True):
            masks[row] = mask
        return _detections(masks, encoded.size, detections)

    def everything(
        self,
        encoded: ImageEmbedding,
        points_per_side: int | None = None,
        min_quality: float | None = None,
        min_stability: float | None = None,
        nms_threshold: float = NMS_THRESHOLD,
    ) -> sv.Detections:
        """All objects the model sees: the masks it is sure of, each object once, best first.

        A published model is asked for each point of a grid; the embedded one for the boxes that its embedding proposes
        at those points, see `proposals`.

        Args:
            encoded: A picture that this segmenter encoded.
            points_per_side: Points of the grid along each side; by default the model's own.
            min_quality: A mask is kept if its predicted IoU is greater, in [0, 1]; by default the model's own.
            min_stability: A mask is kept if it changes so little with its cut-off, an IoU in [0, 1]; by default the
                model's own.
            nms_threshold: Of two masks that overlap more the better one stays, in [0, 1]. Published models compare the
                IoU of their boxes, the embedded one how much of the smaller mask lies in the other.

        Returns:
            As `segment` without objects.

        Raises:
            ValueError: The picture is another segmenter's; a setting is out of its range.
        """
        self._check_owner(encoded)
        card = self.card
        settings = (
            card.points_per_side if points_per_side is None else points_per_side,
            card.min_quality if min_quality is None else min_quality,
            card.min_stability if min_stability is None else min_stability,
            nms_threshold,
        )
        if settings[0] < 1 or not all(0 <= value <= 1 for value in settings[1:]):
            raise ValueError(f"Expected 1 or more points and thresholds from 0 to 1, got {settings}.")
        masks, _ = self._masks.get_or_compute((encoded.key, settings), lambda: self._everything(encoded, *settings))
        return _detections(masks, encoded.size, None)

    def _encode_image(self, image: Image.Image) -> tuple[Tensor, tuple[int, int]]:
        predictor = SamPredictor(self.model)
        predictor.set_image(np.asarray(image))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # so that the milliseconds are those of this step
        return predictor.features, predictor.input_size

    def _find_masks(self, encoded: ImageEmbedding, prompts: Sequence[MaskPrompt]) -> list[_Mask]:
        found: dict[MaskPrompt, _Mask] = {}
        missing = []
        for prompt in dict.fromkeys(prompts):
            prompt.check_inside(encoded.size)
            if kept := self._masks.get((encoded.key, prompt)):
                (found[prompt],) = kept
            else:
                missing.append(prompt)
        for start in range(0, len(missing), PROMPTS_PER_PASS):
            chunk = missing[start : start + PROMPTS_PER_PASS]
            for prompt, candidates in zip(chunk, self._find_candidates(encoded, chunk), strict=True):
                found[prompt] = self._enlarge(encoded, candidates, prompt.candidate)
                self._masks.put((encoded.key, prompt), (found[prompt],))
        return [found[prompt] for prompt in prompts]

    def _find_candidates(self, encoded: ImageEmbedding, prompts: Sequence[MaskPrompt]) -> list[Candidates]:
        """What each prompt can mean; a correction starts from the best mask before it."""
        prompts = [replace(prompt, candidate=0) for prompt in prompts]
        found: dict[MaskPrompt, Candidates] = {}
        missing = []
        for prompt in dict.fromkeys(prompts):
            if kept := self._candidates.get((encoded.key, prompt)):
                found[prompt] = kept
            else:
                missing.append(prompt)
        for prompt, candidates in zip(missing, self._compute(encoded, missing), strict=True):
            found[prompt] = candidates
            self._candidates.put((encoded.key, prompt), candidates)
        return [found[prompt] for prompt in prompts]

    def _compute(self, encoded: ImageEmbedding, prompts: Sequence[MaskPrompt]) -> list[Candidates]:
        if not prompts:
            return []
        corrected = {prompt: earlier for prompt in prompts if (earlier := prompt.before)}
        before = dict(zip(corrected, self._find_candidates(encoded, list(corrected.values())), strict=True))
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
            previous = [self._moved(before[prompt], self._whole(encoded)) for prompt in group if prompt in before]
            for prompt, candidates in zip(group, self._decode(encoded, group, previous), strict=True):
                # Only now is it known of a click how large the object is.
                found[prompt] = self._look_closer(encoded, prompt, before.get(prompt), candidates) or candidates
        return [found[prompt] for prompt in prompts]

    def _look_closer(
        self,
        encoded: ImageEmbedding,
        prompt: MaskPrompt,
        before: Candidates | None,
        seen: Candidates | None = None,
    ) -> Candidates | None:
        """What a prompt can mean by a second look at its object; None where none is worth it.

        The object is where the whole picture's answer `seen` has it; without one in the prompt's box, or where the mask
        `before` is that the prompt corrects.
        """
        if not self.card.close_ups:
            return None
        inside = prompt.box_in(encoded.size)
        known = seen or (before if inside is None else None)
        about = known.box(encoded.size) if known else inside
        if about is None:
            return None
        clicks = prompt.clicks(encoded.size)
        low, high = (limit(np.array([about[:2], about[2:], *clicks[0]]), axis=0) for limit in (np.min, np.max))
        part = part_around((*low, *high), encoded.size, self.model.image_encoder.img_size)
        if part is None:
            return None
        features, _ = self._parts.get_or_compute(
            (encoded.key, part), lambda: encode_part(self.model, encoded.image, part)
        )
        previous = None if before is None else self._moved(before, part)[0]
        box = None if inside is None else inside.tolist()
        logits, quality = decode_part(self.model, features, part, box, clicks, previous)
        chosen = _best_first(quality[None], self._is_ambiguous(len(clicks[1]), box is not None))[0]
        return Candidates(logits[chosen], quality[chosen], part)

    def _whole(self, encoded: ImageEmbedding) -> Part:
        """The square that the model sees of the whole picture."""
        square = self.model.image_encoder.img_size
        height, width = encoded.input_size
        right, bottom = square * encoded.size[0] / width, square * encoded.size[1] / height
        return Part(0, 0, right, bottom, square, square)

    @staticmethod
    def _moved(candidates: Candidates, part: Part) -> Tensor:
        """The best mask's logits, (1, h, w) of a part."""
        logits = candidates.logits[:1]
        return logits if candidates.part == part else move(logits[0], candidates.part, part)[None]

    def _is_ambiguous(self, clicks: int, has_box: bool) -> bool:
        return clicks + has_box == 1 and not (has_box and self.card.single_for_box)

    @torch.inference_mode()
    def _decode(
        self, encoded: ImageEmbedding, prompts: Sequence[MaskPrompt], previous: Sequence[Tensor]
    ) -> list[Candidates]:
        """Runs the mask decoder for prompts with the same parts, and the logits (1, h, w) that they correct, if any.

        `SamPredictor.predict_torch` would enlarge all candidates of all prompts at once.
        """
        transform = ResizeLongestSide(self.model.image_encoder.img_size)
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
        sparse, dense = self.model.prompt_encoder(
            points=points, boxes=box_tensor, masks=torch.stack(list(previous)) if previous else None
        )
        logits, quality = self.model.mask_decoder.predict_masks(
            image_embeddings=encoded.features,
            image_pe=self.model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
        )
        order = _best_first(quality, self._is_ambiguous(clicks_each, bool(boxes)))
        whole = self._whole(encoded)
        return [
            Candidates(masks[chosen], scores[chosen], whole)
            for masks, scores, chosen in zip(logits, quality, order, strict=True)
        ]

    @torch.inference_mode()
    def _enlarge(self, encoded: ImageEmbedding, candidates: Candidates, index: int) -> _Mask:
        logits, part = candidates.logits[None, index : index + 1], candidates.part
        if part == self._whole(encoded):
            logits = self.model.postprocess_masks(logits, encoded.input_size, encoded.size[::-1])[0, 0]
            mask = (logits > self.model.mask_threshold).cpu().numpy()
        else:
            mask = np.zeros(encoded.size[::-1], bool)
            closer = enlarge(logits[0, 0], part) > self.model.mask_threshold
            left, top = int(part.left), int(part.top)
            mask[top : top + closer.shape[0], left : left + closer.shape[1]] = closer.cpu().numpy()
        return _Mask(compact(mask), float(candidates.quality[index]))

    def _everything(
        self,
        encoded: ImageEmbedding,
        points_per_side: int,
        min_quality: float,
        min_stability: float,
        nms_threshold: float,
    ) -> tuple[_Mask, ...]:
        if not self.card.proposes:
            found = find_everything(
                self.model,
                encoded.features,
                encoded.input_size,
                encoded.size,
                points_per_side,
                min_quality,
                min_stability,
                nms_threshold,
            )
            return tuple(_Mask(mask, quality) for mask, quality in found)
        boxes = propose_boxes(self.model.image_encoder, encoded.features, encoded.input_size, points_per_side)
        transform = np.tile(np.divide(encoded.size, encoded.input_size[::-1]), 2)
        candidates = self._cut_out(encoded, boxes.cpu().numpy() * transform)
        # A mask's own box is closer to the object than the one that was proposed.
        candidates = self._cut_out(encoded, [box for each in candidates if (box := each.box(encoded.size)) is not None])
        masks, scores = [], []
        for each in candidates:
            stability = each.stability()
            if each.quality[0] > min_quality and stability >= min_stability:
                masks.append(self._enlarge(encoded, each, 0))
                scores.append(masks[-1].quality * stability)
        kept = without_overlaps(join((one.mask for one in masks), encoded.size), np.array(scores), nms_threshold)
        return tuple(masks[index] for index in kept)

    def _cut_out(self, encoded: ImageEmbedding, boxes: Iterable[np.ndarray]) -> list[Candidates]:
        """What is in boxes (4,), xyxy in pixels of the picture; nothing for those without area."""
        prompts = [MaskPrompt(box=tuple(box)) for box in boxes if (box[2:] - box[:2]).min() >= 1]
        return [
            candidates
            for start in range(0, len(prompts), PROMPTS_PER_PASS)
            for candidates in self._find_candidates(encoded, prompts[start : start + PROMPTS_PER_PASS])
        ]

    def _tensor(self, array: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(array, dtype=dtype, device=self.device)

    def _check_owner(self, encoded: ImageEmbedding) -> None:
        if encoded.owner is not self:
            raise ValueError("The picture was encoded by another segmenter: encode it with the one that segments it.")


def _best_first(quality: Tensor, is_ambiguous: bool) -> Tensor:
    """Which of the decoder's masks to offer for each prompt, (N, 3) indices.

    Mask 0 is trained for prompts of several parts, masks 1 to 3 for those that may mean a whole or its parts, such as
    one click (paper, section 3, "Resolving ambiguity"; `select_masks` of segment-anything's ONNX export). So mask 0
    comes first where it counts, and the others follow by predicted IoU.
    """
    others = 1 + quality[:, 1:].argsort(dim=1, descending=True, stable=True)
    if is_ambiguous:
        return others
    return torch.cat([torch.zeros_like(others[:, :1]), others[:, :-1]], dim=1)


def _detections(masks: Sequence[_Mask], size: tuple[int, int], objects: sv.Detections | None) -> sv.Detections:
    joined = join((one.mask for one in masks), size)
    quality = np.array([one.quality for one in masks], np.float32)
    if objects is None:
        names = np.array([f"object {number}" for number in range(1, len(masks) + 1)], dtype=str)
        class_id = np.full(len(masks), -1)
        return sv.Detections(
            boxes_of(joined), joined, quality.copy(), class_id, data={"class_name": names, "mask_quality": quality}
        )
    return sv.Detections(
        objects.xyxy.copy(),
        joined,
        objects.confidence,
        objects.class_id,
        data={**objects.data, "mask_quality": quality},
    )
