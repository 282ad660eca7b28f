"""OmDet-Turbo (arXiv 2403.06892): a real-time DETR whose decoder reads a task, "Detect cat, dog.", beside the phrases.

Backbone and encoder see the picture alone, so that a prompt costs the decoder.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from groundingdino.detection.boxes import to_pixels
from groundingdino.detection.text_tokens import pack
from groundingdino.detection.transformers_detectors import Architecture, Found, TransformersPasses
from groundingdino.inputs.coordinates import Size
from groundingdino.inputs.prompt import Prompt


class OmDetTurboPasses(TransformersPasses):
    """Runs OmDet-Turbo; phrases whose task is longer than the model reads are looked for in several passes."""

    most_tokens = 77

    def _layers(self) -> list[nn.Module]:
        return [self.model.encoder, *self.model.decoder.layers]

    def _encode(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Of B pictures maps (B, C, H, W), the finest first."""
        maps = self.model.encoder(self.model.vision_backbone(pixels), return_dict=True).extracted_states
        return tuple(maps)

    def _encode_texts(self, tokens: Any) -> list[tuple[Tensor, ...]]:
        """Of each text what it is as a phrase, (C,), and as a task, (T, C) and (T,), its padding left out."""
        backbone = self.model.language_backbone
        phrases = backbone(tokens.input_ids, encode_type="class")
        tasks, mask = backbone(tokens.input_ids, mask=tokens.attention_mask, encode_type="task")
        return [
            (phrase, task[read != 0], read[read != 0])
            for phrase, task, read in zip(phrases, tasks.transpose(0, 1), mask, strict=True)
        ]

    def _needed(self, texts: Sequence[tuple[int, str]]) -> list[str]:
        return [*(text for _, text in texts), *map(_task, self._packed(texts))]

    def count(self, prompt: Prompt) -> int:
        """As `Passes`."""
        return len(self._packed(self._phrases(prompt)))

    def _packed(self, texts: Sequence[tuple[int, str]]) -> list[Sequence[tuple[int, str]]]:
        """Phrases in as many tasks as they need."""
        if not texts:
            return []
        with self._tokenizer_lock:
            around = len(self.tokenizer(_task(())).input_ids)
            ids = self.tokenizer([text for _, text in texts], add_special_tokens=False).input_ids
        spans = pack([len(one) + 1 for one in ids], self.most_tokens - around + 1)  # all but the last with a comma
        return [texts[start:end] for start, end in spans]

    def _ground(
        self, features: tuple[Tensor, ...], texts: Sequence[tuple[int, str]], sizes: Sequence[Size]
    ) -> list[list[Found]]:
        maps = [one.to(self.device) for one in features]
        passes = [self._pass(maps, some, sizes) for some in self._packed(texts)]
        return [[*of_one] for of_one in zip(*passes, strict=True)]

    def _pass(self, maps: list[Tensor], texts: Sequence[tuple[int, str]], sizes: Sequence[Size]) -> list[Found]:
        (_, task, mask), *phrases = self._embed([_task(texts), *(text for _, text in texts)])
        batch = len(sizes)
        output = self.model.decoder(
            maps,
            torch.stack([phrase for phrase, _, _ in phrases])[:, None].expand(-1, batch, -1),
            task[:, None].expand(-1, batch, -1),
            mask.expand(batch, -1),
            return_dict=True,
        )
        ids = tuple(index for index, _ in texts)
        boxes, scores = output.decoder_coords[-1], output.decoder_classes[-1].sigmoid()
        return [Found(to_pixels(boxes[index], size), scores[index], ids) for index, size in enumerate(sizes)]


def _task(texts: Sequence[tuple[int, str]]) -> str:
    """What the decoder is told, as transformers' processor has it."""
    return f"Detect {', '.join(text for _, text in texts)}."


def _side(config: Any) -> int:
    sides = config.image_size
    return int(sides if isinstance(sides, int) else sides[0])


OMDET_TURBO = Architecture(
    "OmDet-Turbo",
    model="OmDetTurboForObjectDetection",
    processor="OmDetTurboProcessor",
    alike="omdet-turbo-t",
    side=_side,
    passes=OmDetTurboPasses,
)
