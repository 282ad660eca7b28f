"""Token scores and boxes become detections: one whole phrase for each box."""

from dataclasses import dataclass

import numpy as np
import supervision as sv
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from groundingdino.prompt import Prompt, span_weights

MAX_DETECTIONS = 300
NMS_THRESHOLD = 0.7


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


@dataclass(frozen=True, eq=False)
class Grounding:
    """Every query's box and phrase scores for one picture and one prompt, before any threshold.

    Choosing detections from it never runs the model. The arrays are read-only.
    """

    prompt: Prompt
    boxes: np.ndarray  # (Q, 4) float32, xyxy pixels of the picture, inside it; Q counts the queries of all passages
    scores: np.ndarray  # (Q, P) float32 in [0, 1], of each of `phrases`; 0 for the phrases of other passages
    box_threshold: float  # the checkpoint's defaults
    text_threshold: float
    notes: tuple[str, ...]  # sentences for the user
    text_milliseconds: float  # what this call spent on tokens and text features
    grounding_milliseconds: float  # what this call took in all, less the text's part
    text_cached: bool  # no text was encoded for this call
    cached: bool  # the model did not run at all

    @property
    def phrases(self) -> tuple[str, ...]:
        """What a detection's class id counts: the phrases of the prompt, of a sentence its words."""
        return self.prompt.phrases

    def detections(
        self,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        nms_threshold: float | None = NMS_THRESHOLD,
        max_detections: int = MAX_DETECTIONS,
    ) -> sv.Detections:
        """The boxes that pass, best first.

        Args:
            box_threshold: A box is kept if the score of its best phrase is greater, in [0, 1]; default: the
                checkpoint's.
            text_threshold: Of a sentence only: a word is part of a box's label if its score is greater, in [0, 1];
                if none is, the best word is the label. Phrases and spans are whole, so it does not change them.
                Default: the checkpoint's.
            nms_threshold: Of two boxes of one phrase (of a sentence: with the same best word) that overlap by a greater
                IoU the better one stays, in [0, 1]; None keeps both.
            max_detections: The best that many are returned.

        Returns:
            `xyxy` (N, 4) float32 pixels, `confidence` (N,) float32, `class_id` (N,) the index into `phrases` of the
            best phrase (of a sentence: word), `data["class_name"]` (N,) str.

        Raises:
            ValueError: A threshold is outside [0, 1], or the limit below 1.
        """
        box_threshold = self.box_threshold if box_threshold is None else box_threshold
        text_threshold = self.text_threshold if text_threshold is None else text_threshold
        _check_fraction("box threshold", box_threshold)
        _check_fraction("text threshold", text_threshold)
        if nms_threshold is not None:
            _check_fraction("NMS threshold", nms_threshold)
        if max_detections < 1:
            raise ValueError(f"The limit on detections must be 1 or more, but it is {max_detections}.")

        confidence = self.scores.max(axis=1, initial=0)
        queries = np.argsort(-confidence, kind="stable")
        queries = queries[confidence[queries] > box_threshold]
        class_id = self.scores[queries].argmax(axis=1) if len(queries) else np.empty(0, dtype=np.int64)
        if nms_threshold is not None:
            groups = class_id
            if self.prompt.kind == "sentence":  # a word that it has twice is one word
                groups = np.array([self.phrases.index(word) for word in self.phrases])[class_id]
            # torchvision's, because supervision's takes 20 to 90 ms for 900 boxes, too long under a moving slider.
            boxes, scores, classes = map(torch.from_numpy, (self.boxes[queries], confidence[queries], groups))
            kept = np.sort(batched_nms(boxes, scores, classes, nms_threshold).numpy())
            queries, class_id = queries[kept], class_id[kept]
        queries, class_id = queries[:max_detections], class_id[:max_detections]
        return sv.Detections(
            xyxy=self.boxes[queries],
            confidence=confidence[queries],
            class_id=class_id,
            data={"class_name": self._labels(queries, class_id, text_threshold)},
        )

    def _labels(self, queries: np.ndarray, class_id: np.ndarray, text_threshold: float) -> np.ndarray:
        """(N,) str: the phrase itself, or the words of the sentence that pass, in the sentence's order."""
        phrases = np.array(self.phrases, dtype=str)
        if self.prompt.kind != "sentence":
            return phrases[class_id]
        passing = self.scores[queries] > text_threshold  # (N, P)
        passing[np.arange(len(queries)), class_id] = True
        return np.array([" ".join(phrases[words]) for words in passing], dtype=str)


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"The {name} must be between 0 and 1, but it is {value}.")
