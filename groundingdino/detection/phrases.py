"""Token scores and boxes become detections: one whole phrase for each box."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import supervision as sv
import torch
from torch import Tensor
from torchvision.ops import batched_nms
from typing_extensions import Self

from groundingdino.detection.boxes import firsts_of_sources, to_pixels
from groundingdino.detection.query_masks import LEAST_SCORE, QueryMasks
from groundingdino.detection.text_tokens import Passage, span_weights
from groundingdino.inputs.coordinates import Size
from groundingdino.inputs.prompt import Prompt

MAX_DETECTIONS = 300
NMS_THRESHOLD = 0.7
SAME_OBJECT = 0.5  # IoU of boxes of one phrase in overlapping parts of a picture, as supervision's slicer has it


def phrase_scores(token_scores: Tensor, positive_map: Tensor) -> Tensor:
    """The score of a phrase is the best of its word tokens, as published for a box's confidence.

    Args:
        token_scores: (Q, T) in [0, 1].
        positive_map: (P, T) bool, True on the word tokens of each phrase.

    Returns:
        (Q, P); 0 for a phrase without tokens.
    """
    phrases, tokens = positive_map.nonzero(as_tuple=True)
    scores = token_scores.new_zeros(len(token_scores), len(positive_map))
    return scores.scatter_reduce_(1, phrases.expand(len(token_scores), -1), token_scores[:, tokens], "amax")


def span_scores(token_scores: Tensor, positive_map: Tensor) -> Tensor:
    """The score of a span is the mean over its tokens, as published for phrase grounding; shapes as `phrase_scores`."""
    return token_scores @ span_weights(positive_map).T


def noun_scores(token_scores: Tensor, noun_map: Tensor) -> Tensor:
    """The score of each phrase's best noun, for `noun_map` (P, T) bool; infinite for one without."""
    scores = phrase_scores(token_scores, noun_map)
    return scores.masked_fill(~noun_map.any(1), torch.inf)


@dataclass(frozen=True, eq=False)
class Grounding:
    """Every query's box and phrase scores for one picture and one prompt, before any threshold.

    Choosing detections from it never runs the model. The arrays are read-only.
    """

    prompt: Prompt
    boxes: np.ndarray  # (Q, 4) float32, xyxy pixels of the picture, inside it; Q counts the queries of all passages
    scores: np.ndarray  # (Q, K) float32 in [0, 1], of the phrases of the query's passage; 0 behind the last of them
    box_threshold: float  # the checkpoint's defaults
    text_threshold: float
    notes: tuple[str, ...]  # sentences for the user
    text_milliseconds: float  # what this call spent on tokens and text features
    grounding_milliseconds: float  # what this call took in all, less the text's part
    text_cached: bool  # no text was encoded for this call
    cached: bool  # the model did not run at all
    phrase_ids: np.ndarray | None = None  # (Q, K) int, the index in `phrases` of each score; None: it is the column's
    noun_scores: np.ndarray | None = None  # (Q, K) float32 of a sentence: of the nouns in each phrase
    sources: np.ndarray | None = None  # (Q,) int, which of overlapping parts of the picture a box is of; None: of one
    passes: int = 1  # of the model's decoder that it is made of, now or before
    masks: QueryMasks | None = None  # of the queries that may be detections, where the model makes masks

    @classmethod
    def of_passages(
        cls,
        prompt: Prompt,
        passages: Sequence[Passage],
        outputs: Sequence[tuple[Tensor, Tensor]],
        size: Size,
        box_threshold: float,
        text_threshold: float,
        notes: tuple[str, ...],
    ) -> Self:
        """What the model's answers mean, one for each passage of a prompt: logits (Q, T) and boxes (Q, 4), cxcywh.

        Boxes are in [0, 1] of a picture of `size`; nothing is timed.
        """
        score = span_scores if prompt.kind == "spans" else phrase_scores
        boxes, scores, nouns, ids = [np.empty((0, 4), np.float32)], [], [], []
        for passage, (logits, normalised) in zip(passages, outputs, strict=True):
            token_scores = logits.sigmoid()  # (Q, T)
            boxes.append(to_pixels(normalised, size).numpy())
            scores.append(score(token_scores, passage.positive_map).numpy())
            nouns.append(noun_scores(token_scores, passage.noun_map).numpy())
            ids.append(np.broadcast_to(np.array(passage.phrases, np.int32), scores[-1].shape))
        return cls(
            prompt,
            boxes=read_only(np.concatenate(boxes)),
            scores=read_only(_below_each_other(scores)),
            box_threshold=box_threshold,
            text_threshold=text_threshold,
            notes=notes,
            text_milliseconds=0.0,
            grounding_milliseconds=0.0,
            text_cached=False,
            cached=False,
            phrase_ids=read_only(_below_each_other(ids)),
            noun_scores=read_only(_below_each_other(nouns)) if prompt.kind == "sentence" else None,
            passes=len(passages),
        )

    def timed(self, text_milliseconds: float, grounding_milliseconds: float, text_cached: bool) -> Self:
        """The same with other times."""
        return replace(
            self,
            text_milliseconds=text_milliseconds,
            grounding_milliseconds=grounding_milliseconds,
            text_cached=text_cached,
        )

    @property
    def phrases(self) -> tuple[str, ...]:
        """What a detection's class id counts: the phrases of the prompt, of a sentence the things that it names."""
        return self.prompt.phrases

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = (self.boxes, self.scores, self.phrase_ids, self.noun_scores, self.sources)
        masks = 0 if self.masks is None else self.masks.nbytes
        return masks + sum(array.nbytes for array in arrays if array is not None)

    def detections(
        self,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        nms_threshold: float | None = NMS_THRESHOLD,
        max_detections: int = MAX_DETECTIONS,
        best_only: bool = False,
        masks: bool = False,
    ) -> sv.Detections:
        """The boxes that pass, best first.

        Args:
            box_threshold: A box is kept if the score of its best phrase is greater, in [0, 1]; default: the
                checkpoint's.
            text_threshold: Of a sentence only: a phrase counts for a box if the score of a noun in it is greater, in
                [0, 1]. The "red" of a red sofa alone makes no sofa. Default: the checkpoint's.
            nms_threshold: Of two boxes of one phrase that overlap by a greater IoU the better one stays, in [0, 1];
                None keeps both. Of tiles of a picture, boxes in two of them are one from an IoU of 0.5.
            max_detections: The best that many are returned.
            best_only: Only the best box of each phrase is returned, as for "left lion", which is one.
            masks: Of a model that makes them, such as SAM 3, masks are returned, too; there are none of boxes with a
                score of 0.05 or less, which are left out then.

        Returns:
            `xyxy` (N, 4) float32 pixels, `confidence` (N,) float32, `class_id` (N,) the index into `phrases` of the
            best phrase, `data["class_name"]` (N,) str, that phrase; with `masks` `mask` (N, H, W), a `CompactMask`.

        Raises:
            ValueError: A threshold is no number in [0, 1], or the limit no whole number of 1 or more; or masks are
                asked for where there are none.
        """
        if masks and self.masks is None:
            raise ValueError("There are no masks of these boxes: cut them out with a Segmenter.")
        box_threshold = _fraction("box threshold", self.box_threshold if box_threshold is None else box_threshold)
        text_threshold = _fraction("text threshold", self.text_threshold if text_threshold is None else text_threshold)
        if nms_threshold is not None:
            nms_threshold = _fraction("NMS threshold", nms_threshold)
        if not isinstance(max_detections, Integral) or isinstance(max_detections, bool) or max_detections < 1:
            raise ValueError(f"The limit on detections must be 1 or more, but it is {max_detections!r:.40}.")

        scores = self.scores
        if self.noun_scores is not None:
            scores = np.where(self.noun_scores > text_threshold, scores, 0)
        confidence = scores.max(axis=1, initial=0)
        queries = np.argsort(-confidence, kind="stable")
        queries = queries[confidence[queries] > (max(box_threshold, LEAST_SCORE) if masks else box_threshold)]
        class_id = scores[queries].argmax(axis=1) if len(queries) else np.empty(0, dtype=np.int64)
        if self.phrase_ids is not None:
            class_id = self.phrase_ids[queries, class_id].astype(np.int64)
        if nms_threshold is not None:
            # torchvision's, because supervision's takes 20 to 90 ms for 900 boxes, too long under a moving slider.
            boxes, best, classes = map(torch.from_numpy, (self.boxes[queries], confidence[queries], class_id))
            kept = np.sort(batched_nms(boxes, best, classes, nms_threshold).numpy())
            queries, class_id = queries[kept], class_id[kept]
        if best_only:
            firsts = np.sort(np.unique(class_id, return_index=True)[1])
            queries, class_id = queries[firsts], class_id[firsts]
        elif self.sources is not None:
            kept = firsts_of_sources(self.boxes[queries], class_id, self.sources[queries], SAME_OBJECT, max_detections)
            queries, class_id = queries[kept], class_id[kept]
        queries, class_id = queries[:max_detections], class_id[:max_detections]
        chosen = self._chosen(queries, class_id, confidence[queries])
        if masks and self.masks is not None:
            chosen.mask = self.masks.draw(queries)
        return chosen

    def pairs(self, most: int = MAX_DETECTIONS) -> sv.Detections:
        """The best pairs of a box and a phrase, without threshold or NMS, as in the authors' evaluation on COCO.

        A box counts once for each phrase. What is returned is that of `detections`, `most` pairs, best first.
        """
        flat = self.scores.ravel()
        floor = np.partition(flat, -most)[-most] if len(flat) > most else 0
        chosen = np.flatnonzero((flat >= floor) & (flat > 0))  # 0 is behind the last phrase of a passage
        chosen = chosen[np.argsort(-flat[chosen], kind="stable")[:most]]
        queries, columns = np.divmod(chosen, max(self.scores.shape[1], 1))
        class_id = columns if self.phrase_ids is None else self.phrase_ids[queries, columns].astype(np.int64)
        return self._chosen(queries, class_id, flat[chosen])

    def _chosen(self, queries: np.ndarray, class_id: np.ndarray, confidence: np.ndarray) -> sv.Detections:
        return sv.Detections(
            xyxy=self.boxes[queries],
            confidence=confidence,
            class_id=class_id,
            data={"class_name": np.array([self.phrases[index] for index in class_id], dtype=str)},
        )


def one_by_one(prompt: Prompt, ground: Callable[[Prompt], Sequence[Grounding]]) -> list[Grounding]:
    """What `ground` gives of each of some pictures, with a pass of its own for each phrase of the prompt."""
    prompt = prompt.without_context()
    phrases = prompt.one_by_one()
    if not phrases:
        return [*ground(prompt)]
    passes = zip(*map(ground, phrases.values()), strict=True)  # of each picture those of all phrases
    return [_joined(prompt, tuple(phrases), of_one) for of_one in passes]


def _joined(prompt: Prompt, ids: Sequence[int], groundings: Sequence[Grounding]) -> Grounding:
    """Groundings of single phrases of a prompt, of those indices, in one picture as a grounding of all."""
    sources = [one.sources for one in groundings if one.sources is not None]
    starts = np.cumsum([0, *(len(one.boxes) for one in groundings)])
    masks = [one.masks.moved(start) for one, start in zip(groundings, starts[:-1], strict=True) if one.masks]
    filled = [np.full(one.scores.shape, phrase, np.int32) for phrase, one in zip(ids, groundings, strict=True)]
    return replace(
        groundings[0],
        prompt=prompt,
        boxes=read_only(np.concatenate([one.boxes for one in groundings])),
        scores=read_only(np.concatenate([one.scores for one in groundings])),
        phrase_ids=read_only(np.concatenate(filled)),
        noun_scores=None,
        sources=read_only(np.concatenate(sources)) if sources else None,
        masks=QueryMasks.joined(masks),
        **told(groundings),
    )


def told(groundings: Sequence[Grounding]) -> dict[str, Any]:
    """What several groundings say and took, as one."""
    return {
        "notes": tuple(dict.fromkeys(note for one in groundings for note in one.notes)),
        "text_milliseconds": sum(one.text_milliseconds for one in groundings),
        "grounding_milliseconds": sum(one.grounding_milliseconds for one in groundings),
        "text_cached": all(one.text_cached for one in groundings),
        "cached": all(one.cached for one in groundings),
        "passes": sum(one.passes for one in groundings),
    }


def _below_each_other(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays (Q, K) of passages in one; K is the largest, and what others lack of it is 0."""
    rows, columns = sum(map(len, parts)), max((part.shape[1] for part in parts), default=0)
    array = np.zeros((rows, columns), parts[0].dtype if parts else np.float32)
    start = 0
    for part in parts:
        array[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return array


def read_only(array: np.ndarray) -> np.ndarray:
    """The array, which stays as it is from now on."""
    array.flags.writeable = False
    return array


def _fraction(name: str, value: object) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ValueError(f"The {name} must be a number between 0 and 1, but it is {value!r:.40}.")
    if not 0 <= float(value) <= 1:
        raise ValueError(f"The {name} must be between 0 and 1, but it is {value}.")
    return float(value)
