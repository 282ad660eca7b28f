"""Phrases become tokens: ids, sub-sentence mask, position ids, and which tokens belong to which phrase.

In the model's caption each phrase ends in a dot. The words of one phrase see each other and no other phrase (the
paper's sub-sentence mask, arXiv 2303.05499, section 3.4), so the order of phrases does not matter; a sentence is one
such text, and the phrases it names are parts of it. A prompt of more than `max_tokens` tokens becomes several passages,
each a caption of its own.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import BertTokenizerFast

from groundingdino.inputs.prompt import Part, Prompt, Span, shorten
from groundingdino.model.text_tokens import TextTokens

_DELIMITERS = ("[CLS]", "[SEP]", ".", "?")  # the tokens at which the published sub-sentence mask ends a phrase

_SPAN_EPS = 1e-6  # published: a span's weights are 1 / (tokens + 1e-6) each
_WORDS_IN_NOTE = 4


@dataclass(frozen=True, eq=False)
class Passage:
    """A caption that the model reads in one pass, and which of its tokens belong to which phrase of the prompt."""

    tokens: TextTokens  # B = 1
    phrases: tuple[int, ...]  # the prompt's phrases that this passage holds, P of them
    positive_map: Tensor  # (P, T) bool, True on the phrase's word tokens, never on a delimiter
    noun_map: Tensor  # (P, T) bool, of the phrases of a sentence: True on the tokens of its nouns


class TokenizedPrompt(NamedTuple):
    """A prompt as the model reads it; `notes` are sentences for the user."""

    passages: tuple[Passage, ...]
    notes: tuple[str, ...]


def tokenize(prompt: Prompt, tokenizer: BertTokenizerFast, max_tokens: int) -> TokenizedPrompt:
    """Tokenise a prompt into as many passages of at most `max_tokens` tokens as it needs.

    Raises:
        ValueError: A single phrase, sentence or caption is longer than one passage.
    """
    parts = prompt.parts
    encoded = _encode([part.text for part in parts], tokenizer)
    for part, (ids, _) in zip(parts, encoded, strict=True):
        check_length(part.text, len(ids), max_tokens - 3)  # [CLS], the final dot, [SEP]
    packed = pack([len(ids) + 1 for ids, _ in encoded], max_tokens - 2)
    passages = tuple(_passage(parts[start:end], encoded[start:end], tokenizer) for start, end in packed)
    return TokenizedPrompt(passages, _notes(prompt, tokenizer))


def tokenize_captions(captions: Sequence[str], tokenizer: BertTokenizerFast) -> TextTokens:
    """Tokenise captions in the published form, `cat . dog .`; a missing final dot is added."""
    ended = [caption if caption.rstrip().endswith(".") else f"{caption}." for caption in captions]
    return batch_tokens([ids for ids, _ in _encode(ended, tokenizer, special=True)], tokenizer)


def collate_phrases(
    pictures: Sequence[Sequence[str]], tokenizer: BertTokenizerFast, max_tokens: int
) -> tuple[TextTokens, list[Tensor]]:
    """Tokenise the phrases of each picture of a training batch, one passage per picture.

    Returns:
        The tokens (B rows), and for each picture its positive map, (number of its phrases, T) bool: True on the word
        tokens of the phrase. T counts the batch's padding, so that the maps fit the model's logits.

    Raises:
        ValueError: A picture's phrases are more than `max_tokens` tokens together.
    """
    encoded = iter(_encode([phrase for phrases in pictures for phrase in phrases], tokenizer))
    captions = [_caption_ids([next(encoded)[0] for _ in phrases], tokenizer) for phrases in pictures]
    longest = max(len(row) for row, _ in captions)
    if longest > max_tokens:
        raise ValueError(f"The phrases of one picture are {longest} tokens together, but at most {max_tokens} fit.")
    tokens = batch_tokens([row for row, _ in captions], tokenizer)
    words = ~_is_delimiter(tokens.input_ids, tokenizer)
    return tokens, [_range_map(ranges, words[index]) for index, (_, ranges) in enumerate(captions)]


def batch_tokens(rows: Sequence[Sequence[int]], tokenizer: BertTokenizerFast) -> TextTokens:
    """Pad rows of token ids, special tokens included, and derive the published sub-sentence mask and position ids.

    A sub-sentence ends with its delimiter; `[CLS]` and `[SEP]` are sub-sentences of their own (the row's last phrase
    must end in a dot), and a padding token attends to itself only.
    """
    width = max(map(len, rows))
    lengths = torch.tensor([len(row) for row in rows])
    input_ids = torch.tensor([[*row, *[tokenizer.pad_token_id] * (width - len(row))] for row in rows])  # (B, T)
    token_mask = torch.arange(width) < lengths[:, None]

    ends = _is_delimiter(input_ids, tokenizer)
    sub_sentence = ends.cumsum(1) - ends.long()  # (B, T) index of the token's sub-sentence
    attention_mask = sub_sentence[:, :, None] == sub_sentence[:, None, :]
    attention_mask &= token_mask[:, :, None] & token_mask[:, None, :]
    attention_mask |= torch.eye(width, dtype=torch.bool)

    index = torch.arange(width).expand_as(input_ids)
    first = torch.where(ends, index + 1, 0).roll(1, dims=1)  # where a sub-sentence starts, its index
    first[:, 0] = 0
    position_ids = torch.where(token_mask, index - first.cummax(1).values, 0)
    return TextTokens(input_ids, token_mask, attention_mask, position_ids)


def span_weights(positive_map: Tensor) -> Tensor:
    """The published positive map of spans: (P, T) bool to (P, T) float32, each row sums to 1 (less 1e-6).

    A phrase's score is then the mean over its tokens.
    """
    weights = positive_map.float()
    return weights / (weights.sum(1, keepdim=True) + _SPAN_EPS)


_Encoded = tuple[list[int], list[Span]]  # token ids, and the characters of each


def _encode(texts: Sequence[str], tokenizer: BertTokenizerFast, special: bool = False) -> list[_Encoded]:
    """Token ids of each text alone and the characters of each; a typed "[SEP]" is read as text.

    `special` tokens stand around them if asked for; they have no characters.
    """
    if not texts:
        return []
    encoded = tokenizer(
        list(texts),
        add_special_tokens=special,
        split_special_tokens=True,
        return_offsets_mapping=True,
        verbose=False,
    )
    return list(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True))


def _is_delimiter(input_ids: Tensor, tokenizer: BertTokenizerFast) -> Tensor:
    """True on the tokens that end a sub-sentence, same shape as `input_ids`."""
    ids = set(tokenizer.convert_tokens_to_ids(list(_DELIMITERS)))
    ids.discard(tokenizer.unk_token_id)  # a delimiter that a small vocabulary lacks must not make each unknown word one
    return torch.isin(input_ids, torch.tensor(sorted(ids)))


def _caption_ids(texts: Sequence[Sequence[int]], tokenizer: BertTokenizerFast) -> tuple[list[int], list[Span]]:
    """`[CLS] phrase . phrase . [SEP]`, and the tokens [start, end) of each text."""
    dot = tokenizer.convert_tokens_to_ids(".")
    if dot == tokenizer.unk_token_id:
        raise ValueError('The vocabulary must hold ".", which ends a phrase, but it does not: use a BERT vocabulary.')
    row, ranges = [tokenizer.cls_token_id], []
    for ids in texts:
        ranges.append((len(row), len(row) + len(ids)))
        row += [*ids, dot]
    return [*row, tokenizer.sep_token_id], ranges


def _passage(parts: Sequence[Part], encoded: Sequence[_Encoded], tokenizer: BertTokenizerFast) -> Passage:
    """The tokens that overlap a phrase's spans are its own: a span that cuts a word takes the pieces it touches."""
    row, ranges = _caption_ids([ids for ids, _ in encoded], tokenizer)
    tokens = batch_tokens([row], tokenizer)
    phrases = tuple(phrase for part in parts for phrase in part.phrases)
    maps = torch.zeros(2, len(phrases), len(row), dtype=torch.bool)  # of phrases and of nouns
    index = 0
    for part, (_, offsets), (start, end) in zip(parts, encoded, ranges, strict=True):
        for spans, nouns in zip(part.spans, part.nouns, strict=True):
            maps[0, index, start:end] = _touched(offsets, spans)
            maps[1, index, start:end] = _touched(offsets, nouns)
            index += 1
    maps &= ~_is_delimiter(tokens.input_ids[0], tokenizer)
    return Passage(tokens, phrases, maps[0], maps[1])


def _touched(offsets: Sequence[Span], spans: Sequence[Span]) -> Tensor:
    """(T,) bool: which of the tokens with these characters share one with a span."""
    first, end = torch.tensor(offsets, dtype=torch.long).reshape(-1, 2).T
    span_first, span_end = torch.tensor(spans, dtype=torch.long).reshape(-1, 2, 1).unbind(1)  # (S, 1)
    return ((first < span_end) & (span_first < end)).any(0)


def _range_map(ranges: Sequence[Span], words: Tensor) -> Tensor:
    """(P, T) bool: True on the tokens [start, end) of each phrase that are words, `words` being (T,) bool."""
    index = torch.arange(len(words))
    bounds = torch.tensor(ranges, dtype=torch.long).reshape(-1, 2)
    return (index >= bounds[:, :1]) & (index < bounds[:, 1:]) & words


def pack(lengths: Sequence[int], limit: int) -> Iterator[Span]:
    """Consecutive parts [start, end) whose lengths together stay within the limit."""
    start, total = 0, 0
    for index, length in enumerate(lengths):
        if total + length > limit:
            yield start, index
            start, total = index, 0
        total += length
    if lengths:
        yield start, len(lengths)


def check_length(text: str, tokens: int, most: int) -> None:
    """A ValueError where a text is longer than a model reads as one phrase."""
    if tokens > most:
        raise ValueError(
            f"“{shorten(text)}” is {tokens} tokens long, but one phrase can have {most} at most: "
            "shorten it, or separate its parts with dots."
        )


def _notes(prompt: Prompt, tokenizer: BertTokenizerFast) -> tuple[str, ...]:
    words = list(dict.fromkeys(word for part in prompt.parts for word in part.text.split()))
    foreign = [
        word
        for word, (ids, _) in zip(words, _encode(words, tokenizer), strict=True)
        if not ids or tokenizer.unk_token_id in ids or _has_foreign_letter(word)
    ]
    notes = []
    if foreign:
        notes.append(
            f"The model reads English only and cannot read {_named(foreign)}: boxes found for that are guesses."
        )
    return *notes, *unread_notes(prompt)


def unread_notes(prompt: Prompt) -> tuple[str, ...]:
    """A sentence on what of a prompt is not looked for, if there is such."""
    return (f"Names nothing and is not looked for: {_named(prompt.unread)}.",) if prompt.unread else ()


def _named(words: Sequence[str]) -> str:
    named = ", ".join(f"“{shorten(word)}”" for word in words[:_WORDS_IN_NOTE])
    more = len(words) - _WORDS_IN_NOTE
    return f"{named} and {more} more" if more > 0 else named


def _has_foreign_letter(word: str) -> bool:
    """BERT's vocabulary spells other scripts letter by letter without knowing them, so `[UNK]` alone does not tell."""
    return any(letter.isalpha() and "LATIN" not in unicodedata.name(letter, "") for letter in word)
