"""SAM 3: boxes and masks of all that a phrase names. Each phrase is a pass of its own on the picture's features."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert, clip_boxes_to_image

from groundingdino.detection.examples import Shown
from groundingdino.detection.phrases import Grounding
from groundingdino.detection.query_masks import QueryMasks
from groundingdino.detection.transformers_detectors import Architecture, Found, TransformersPasses
from groundingdino.inputs.coordinates import Size
from groundingdino.inputs.prompt import Prompt

_NO_WORDS = "visual"  # what it reads where there are examples alone


class Sam3Passes(TransformersPasses):
    """Runs the detector of SAM 3."""

    most_tokens = 32

    def _layers(self) -> list[nn.Module]:
        model = self.model
        return [*model.vision_encoder.backbone.layers, *model.detr_encoder.layers, *model.detr_decoder.layers]

    def _encode(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Of B pictures the maps (B, C, H, W) of the neck, the finest first, but for the coarsest that is not used."""
        return tuple(self.model.get_vision_features(pixel_values=pixels).fpn_hidden_states[:-1])

    def _encode_texts(self, tokens: Any) -> list[tuple[Tensor, ...]]:
        """Of each text its tokens (T, C), and which of them are read, (T,)."""
        texts = self.model.get_text_features(tokens.input_ids, tokens.attention_mask, return_dict=True).pooler_output
        return [*zip(texts, tokens.attention_mask, strict=True)]

    def count(self, prompt: Prompt) -> int:
        """As `Passes`."""
        return len(self._phrases(prompt))

    def _ground(
        self, features: tuple[Tensor, ...], texts: Sequence[tuple[int, str]], sizes: Sequence[Size]
    ) -> list[list[Found]]:
        seen = self._vision(features)
        embedded = self._embed([text for _, text in texts])
        passes = [self._pass(seen, text, index, sizes) for (index, _), text in zip(texts, embedded, strict=True)]
        return [[*of_one] for of_one in zip(*passes, strict=True)]

    def _vision(self, features: tuple[Tensor, ...]) -> Any:
        """Features as the model takes them: with where they are, which is the same for each picture."""
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        maps = [one.to(self.device) for one in features]
        encode = self.model.vision_encoder.neck.position_encoding
        places = [encode(one.shape, one.device, one.dtype) for one in maps]
        unused = (None,)  # where the coarsest map was
        return Sam3VisionEncoderOutput(fpn_hidden_states=(*maps, *unused), fpn_position_encoding=(*places, *unused))

    def ground_like(self, features: tuple[Tensor, ...], size: Size, shown: Shown, name: str) -> Grounding:
        """As `Passes`."""
        if shown.elsewhere:
            raise ValueError("SAM 3 takes examples in the picture that is searched alone: draw them there.")
        return self._called(name, lambda: self._like(features, size, shown))

    def _like(self, features: tuple[Tensor, ...], size: Size, shown: Shown) -> Found:
        like, unlike = shown.examples
        boxes = torch.tensor([*like, *unlike], device=self.device) / torch.tensor([*size, *size], device=self.device)
        kinds = torch.tensor([1] * len(like) + [0] * len(unlike), device=self.device)
        (text,) = self._embed([_NO_WORDS])
        return self._pass(self._vision(features), text, 0, [size], (box_convert(boxes, "xyxy", "cxcywh"), kinds))[0]

    def _pass(
        self,
        seen: Any,
        text: tuple[Tensor, ...],
        phrase: int,
        sizes: Sequence[Size],
        examples: tuple[Tensor, Tensor] | None = None,
    ) -> list[Found]:
        """`examples` are boxes (N, 4) cxcywh in [0, 1], and 1 or 0 of each for like and unlike."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        tokens, read = (part.expand(len(sizes), *part.shape) for part in text)
        boxes, kinds = (None, None) if examples is None else (part[None] for part in examples)
        output = self.model(
            vision_embeds=seen,
            text_embeds=BaseModelOutputWithPooling(pooler_output=tokens),
            attention_mask=read,
            input_boxes=boxes,
            input_boxes_labels=kinds,
        )
        scores = output.pred_logits.sigmoid() * output.presence_logits.sigmoid()  # (B, Q)
        found = []
        for index, (width, height) in enumerate(sizes):
            boxes = output.pred_boxes[index] * output.pred_boxes.new_tensor([width, height, width, height])
            masks = QueryMasks.of_queries(output.pred_masks[index], scores[index], (width, height))
            clipped = clip_boxes_to_image(boxes, (height, width))
            found.append(Found(clipped, scores[index][:, None], (phrase,), masks))
        return found


def _side(config: Any) -> int:
    return int(config.vision_config.image_size)


SAM3 = Architecture("SAM 3", model="Sam3Model", processor="Sam3Processor", alike="sam3", side=_side, passes=Sam3Passes)
