"""Text side before fusion: BERT under the sub-sentence mask, projected to the model's width (paper section 3.4)."""

from typing import NamedTuple

from torch import Tensor, nn
from transformers import BertConfig, BertModel

from groundingdino.model.config import TextConfig
from groundingdino.model.layers import sine_encoding
from groundingdino.model.text_tokens import TextTokens


class TextFeatures(NamedTuple):
    """A batch of encoded captions."""

    features: Tensor  # (B, T, C)
    positions: Tensor  # (B, T, C), encodings of each token's place in its phrase
    tokens: TextTokens


class TextEncoder(nn.Module):
    """transformers' BERT without its pooler, and a linear layer to the width `dim` of the model."""

    def __init__(self, config: TextConfig, dim: int):
        super().__init__()
        bert = BertConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            intermediate_size=config.intermediate_size,
            max_position_embeddings=config.max_position_embeddings,
            attn_implementation="sdpa",
            # No dropout: scenes to train on are drawn anew at every step, so that there is nothing to overfit.
            # Published weights are only read, and then it does nothing.
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.bert = BertModel(bert, add_pooling_layer=False)
        self.projection = nn.Linear(config.hidden_size, dim)

    def forward(self, tokens: TextTokens) -> TextFeatures:
        """Words attend to those of their own phrase alone, in which their positions begin at 0."""
        hidden = self.bert(
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask[:, None],  # (B, 1, T, T): used as it is
            position_ids=tokens.position_ids,
        ).last_hidden_state
        features = self.projection(hidden)
        positions = sine_encoding(tokens.position_ids, features.shape[2])
        return TextFeatures(features, positions.to(features.dtype), tokens)
