"""OWLv2 (arXiv 2306.09683): one box for each patch of a picture, and its likeness to each phrase.

A picture's part is all but one product: boxes and the vectors that phrases are compared with depend on no prompt.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert, clip_boxes_to_image

from groundingdino.detection.transformers_detectors import Architecture, Found, TransformersPasses
from groundingdino.inputs.coordinates import Size

_EPS = 1e-6  # of the published head


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
