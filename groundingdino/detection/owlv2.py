"""OWLv2 (arXiv 2306.09683): one box for each patch of a picture, and its likeness to each phrase.

A picture's part is all but one product: boxes and the vectors that phrases are compared with depend on no prompt.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert, box_iou, clip_boxes_to_image, generalized_box_iou

from groundingdino.detection.examples import Shown
from groundingdino.detection.phrases import Grounding
from groundingdino.detection.transformers_detectors import Architecture, Found, TransformersPasses
from groundingdino.inputs.coordinates import Size

_EPS = 1e-6  # of the published head
_NEARLY = 0.8  # of the best overlap with an example, as published


class Owlv2Features(NamedTuple):
    """What it knows of B pictures; S counts their patches."""

    boxes: Tensor  # (B, S, 4) cxcywh in [0, 1] of the padded square
    classes: Tensor  # (B, S, C) what phrases are compared with, of length 1
    shift: Tensor  # (B, S, 1) of logits
    scale: Tensor  # (B, S, 1)
    objectness: Tensor  # (B, S) logits


class Owlv2Passes(TransformersPasses):
    """Runs OWLv2."""

    most_tokens = 16

    def _layers(self) -> list[nn.Module]:
        return [*self.model.owlv2.vision_model.encoder.layers]

    def _encode(self, pixels: Tensor) -> Owlv2Features:
        feature_map, _ = self.model.image_embedder(pixel_values=pixels)
        tokens, head = feature_map.flatten(1, 2), self.model.class_head
        classes = head.dense0(tokens)
        return Owlv2Features(
            self.model.box_predictor(tokens, feature_map),
            classes / (torch.linalg.norm(classes, dim=-1, keepdim=True) + _EPS),
            head.logit_shift(tokens),
            head.elu(head.logit_scale(tokens)) + 1,
            self.model.objectness_predictor(tokens),
        )

    def _encode_texts(self, tokens: Any) -> list[tuple[Tensor, ...]]:
        features = self.model.owlv2.get_text_features(**tokens).pooler_output
        features = features / torch.linalg.norm(features, dim=-1, keepdim=True)
        return [(one / (torch.linalg.norm(one) + _EPS),) for one in features]

    def _ground(
        self, features: Owlv2Features, texts: Sequence[tuple[int, str]], sizes: Sequence[Size]
    ) -> list[list[Found]]:
        queries = torch.stack([text for (text,) in self._embed([text for _, text in texts])])  # (P, C)
        ids = tuple(index for index, _ in texts)
        return [[self._found(features, index, queries, ids, size)] for index, size in enumerate(sizes)]

    def ground_like(self, features: Owlv2Features, size: Size, shown: Shown, name: str) -> Grounding:
        """As `Passes`."""
        return self._called(name, lambda: self._like(features, size, shown))

    def _like(self, features: Owlv2Features, size: Size, shown: Shown) -> Found:
        """The likeness to an example is that to the patch whose box it is; to several, the greatest.

        What is more like an example of what is not to be found is left out.
        """
        like, unlike = (
            [self._query(shown, box) for box in boxes] for boxes in (shown.examples.like, shown.examples.unlike)
        )
        found = self._found(features, 0, torch.stack([*like, *unlike]), (0,), size)
        scores = found.scores[:, : len(like)].amax(1, keepdim=True)
        if unlike:
            scores = scores.masked_fill(found.scores[:, len(like) :].amax(1, keepdim=True) > scores, 0)
        return found._replace(scores=scores)

    def _query(self, shown: Shown, box: tuple[float, ...]) -> Tensor:
        """(C,): what tells of an example, as the authors choose it in their `embed_image_query`.

        Of the patches whose boxes fit it nearly as well as the best the one that is least like the whole picture.
        """
        boxes, classes = (shown.features[part][0].to(self.device) for part in (0, 1))
        boxes = box_convert(boxes, "cxcywh", "xyxy") * max(shown.size)
        overlaps = box_iou(boxes, boxes.new_tensor([box]))[:, 0]
        if not overlaps.any():  # then the nearest
            overlaps = generalized_box_iou(boxes, boxes.new_tensor([box]))[:, 0] + 1
        fitting = (overlaps >= _NEARLY * overlaps.amax()).nonzero()[:, 0]
        best = fitting[(classes[fitting] @ classes.mean(0)).argmin()]
        query: Tensor = classes[best]
        return query

    def _found(self, features: Owlv2Features, index: int, queries: Tensor, ids: tuple[int, ...], size: Size) -> Found:
        """What is like queries (P, C), in one picture of a batch."""
        boxes, classes, shift, scale, _ = (part[index].to(self.device) for part in features)
        scores = ((classes @ queries.T + shift) * scale).sigmoid()
        # The square is as wide as the longer side; what lies in its padding alone is no part of the picture.
        boxes = clip_boxes_to_image(box_convert(boxes, "cxcywh", "xyxy") * max(size), size[::-1])
        inside = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
        return Found(boxes[inside], scores[inside], ids)


OWLV2 = Architecture(
    "OWLv2",
    model="Owlv2ForObjectDetection",
    processor="Owlv2Processor",
    alike="owlv2-b",
    side=lambda config: int(config.vision_config.image_size),
    passes=Owlv2Passes,
)
