"""What the model reads of a prompt; `detection.text_tokens` makes it from phrases."""

from typing import NamedTuple

import torch
from torch import Tensor


class TextTokens(NamedTuple):
    """One batch of tokenised captions, padded on the right."""

    input_ids: Tensor  # (B, T) int64
    token_mask: Tensor  # (B, T) bool, True on real tokens
    attention_mask: Tensor  # (B, T, T) bool, True where the row's token may attend to the column's
    position_ids: Tensor  # (B, T) int64, from 0 in each phrase

    def to(self, device: torch.device | str) -> "TextTokens":
        """The same tokens on another device."""
        return TextTokens(*(tensor.to(device) for tensor in self))
