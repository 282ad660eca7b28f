"""Encode a picture once, then cut out objects by boxes, points, strokes, or all there are (Segment Anything)."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import supervision as sv
import torch
from PIL import Image
from torch import Tensor
from typing_extensions import Self

from groundingdino.files.downloads import Progress
from groundingdino.inputs.image import ImageSource, content_hash, load_image
from groundingdino.model.preprocessing import check_shape
from groundingdino.runtime.cache import ByteCache
from groundingdino.runtime.devices import find_device
from groundingdino.runtime.interruption import interrupt_before
from groundingdino.segmentation.candidates import CandidateFinder, Candidates, ImageEmbedding
from groundingdino.segmentation.close_ups import enlarge
from groundingdino.segmentation.everything import cut_out_twice, find_everything
from groundingdino.segmentation.mask_prompts import MaskPrompt
from groundingdino.segmentation.masks import boxes_of, compact, join, size_bytes, without_overlaps
from groundingdino.segmentation.proposals import ObjectCells
from groundingdino.segmentation.segmenter_models import LoadedSegmenter, load_segmenter
from groundingdino.segmentation.transformers_sam import predictor_of, transform_of

NMS_THRESHOLD = 0.7  # of `everything`, as published
OWN_OBJECT = 0.6  # agreement of the embedding's cells from which a mask is surely of one object


@dataclass(frozen=True)
class SegmenterCacheBytes:
    """What a segmenter may keep, in bytes. A picture takes 4 MB with SAM 1, 13 to 21 MB with others, a mask 10 kB."""

    images: int = 128 << 20
    parts: int = 64 << 20  # of pictures, looked at closer
    candidates: int = 64 << 20
    masks: int = 64 << 20


DEFAULT_CACHE_BYTES = SegmenterCacheBytes()


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
        interrupt_before([self.model.prompt_encoder])  # each pass of prompts
        self._finder = CandidateFinder(loaded, cache_bytes.parts, cache_bytes.candidates)
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

    def encode_image(self, image: ImageSource) -> ImageEmbedding:
        """Compute, or find, what the model knows of a picture before any prompt.

        Raises:
            ValueError: It is no picture, or too large, or too narrow: see `image.load_image` and `image.check_shape`.
        """
        start = time.perf_counter()
        picture = load_image(image)
        longest = self.model.image_encoder.img_size
        height, width = transform_of(self.model).get_preprocess_shape(*picture.size[::-1], longest)
        check_shape(picture.size, (width, height), longest)
        key = content_hash(picture)
        (features, input_size), cached = self._images.get_or_compute(key, lambda: self.compute_embedding(picture))
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
        """All objects the model sees: the masks it is sure of, each object once, the surest first.

        A published model is asked for each point of a grid, and the quality of its masks is the predicted IoU. The
        embedded one is asked for the boxes that its embedding proposes at those points, and the quality of its masks is
        the predicted IoU times how well the embedding knows their boxes, see `proposals.ObjectCells.agreement`.

        Args:
            encoded: A picture that this segmenter encoded.
            points_per_side: Points of the grid along each side; by default the model's own.
            min_quality: A mask is kept if its quality is greater, in [0, 1]; by default the model's own.
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

    def compute_embedding(self, image: Image.Image) -> tuple[Tensor, tuple[int, int]]:
        """What `encode_image` keeps of a picture: features (1, C, h, w), and (height, width) that the model sees."""
        predictor = predictor_of(self.model)
        predictor.set_image(np.asarray(image))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # so that the milliseconds are those of this step
        return predictor.features, predictor.input_size

    def compute_everything(self, features: Tensor, *settings: Any) -> list[tuple[sv.CompactMask, float]]:
        """What `everything` finds by asking for each point of a grid; `settings` are those of `find_everything`."""
        return list(find_everything(self.model, features, *settings))

    def _find_masks(self, encoded: ImageEmbedding, prompts: Sequence[MaskPrompt]) -> list[_Mask]:
        def compute(missing: list[tuple[str, MaskPrompt]]) -> Iterator[tuple[_Mask]]:
            asked = [prompt for _, prompt in missing]
            for prompt, candidates in zip(asked, self._finder.find_each(encoded, asked), strict=True):
                chosen = prompt.candidate
                yield (_Mask(self._enlarge(encoded, candidates, chosen), float(candidates.quality[chosen])),)

        for prompt in prompts:
            prompt.check_inside(encoded.size)
        return [mask for (mask,) in self._masks.get_or_compute_each([(encoded.key, each) for each in prompts], compute)]

    @torch.inference_mode()
    def _enlarge(self, encoded: ImageEmbedding, candidates: Candidates, index: int) -> sv.CompactMask:
        logits, part = candidates.logits[None, index : index + 1], candidates.part
        if part == encoded.whole(self.model.image_encoder.img_size):
            logits = self.model.postprocess_masks(logits, encoded.input_size, encoded.size[::-1])[0, 0]
            mask = (logits > self.model.mask_threshold).cpu().numpy()
        else:
            mask = np.zeros(encoded.size[::-1], bool)
            closer = enlarge(logits[0, 0], part) > self.model.mask_threshold
            left, top = int(part.left), int(part.top)
            mask[top : top + closer.shape[0], left : left + closer.shape[1]] = closer.cpu().numpy()
        return compact(mask)

    def _everything(
        self,
        encoded: ImageEmbedding,
        points_per_side: int,
        min_quality: float,
        min_stability: float,
        nms_threshold: float,
    ) -> tuple[_Mask, ...]:
        if not self.card.proposes:
            settings = points_per_side, min_quality, min_stability, nms_threshold
            found = self.compute_everything(encoded.features, encoded.input_size, encoded.size, *settings)
            return tuple(_Mask(mask, quality) for mask, quality in found)
        cells = ObjectCells.read(self.model.image_encoder, encoded.features, encoded.input_size)
        boxes = encoded.in_picture(cells.propose(points_per_side))
        answers = [
            each
            for each in cut_out_twice(partial(self._finder.find_each, encoded), boxes, encoded.size)
            if each.quality[0] > min_quality and each.stability() >= min_stability
        ]
        masks = [self._enlarge(encoded, each, 0) for each in answers]
        joined = join(masks, encoded.size)
        # The predicted IoU says little of masks of boxes that are no object's: the embedding's cells know better.
        agreement = cells.agreement(joined)
        quality = np.array([float(each.quality[0]) for each in answers]) * agreement
        kept = without_overlaps(joined, quality, nms_threshold, own=agreement > OWN_OBJECT)
        return tuple(_Mask(masks[index], quality[index]) for index in kept if quality[index] > min_quality)

    def _check_owner(self, encoded: ImageEmbedding) -> None:
        if encoded.owner is not self:
            raise ValueError("The picture was encoded by another segmenter: encode it with the one that segments it.")


def _detections(masks: Sequence[_Mask], size: tuple[int, int], objects: sv.Detections | None) -> sv.Detections:
    joined = join((one.mask for one in masks), size)
    quality = np.array([one.quality for one in masks], np.float32).clip(0, 1)  # decoders promise more at times, or less
    if objects is None:
        names = np.array([f"object {number}" for number in range(1, len(masks) + 1)], dtype=str)
        class_id = np.full(len(masks), -1)
        return sv.Detections(
            boxes_of(joined), joined, quality.copy(), class_id, data={"class_name": names, "mask_quality": quality}
        )
    return sv.Detections(
        objects.xyxy.copy(),
        joined,
        None if objects.confidence is None else objects.confidence.copy(),
        None if objects.class_id is None else objects.class_id.copy(),
        data={**objects.data, "mask_quality": quality},
    )
