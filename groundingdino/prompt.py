"""What is typed becomes phrases, and phrases become tokens: ids, sub-sentence mask, position ids.

A prompt is one of three things:

- phrases, `cat . remote control`: each is looked for as a whole and comes back whole;
- a sentence, `a cat sleeps on a red sofa`: its words come back, those whose score passes the text threshold;
- a caption with character spans: each span is a phrase, and the rest of the caption is its context.

In the model's caption each phrase ends in a dot. The words of one phrase see each other and no other phrase (the
paper's sub-sentence mask, arXiv 2303.05499, section 3.4), so the order of phrases does not matter. A prompt of more
than `max_tokens` tokens becomes several passages, each a caption of its own.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor
from transformers import BertTokenizerFast

# A dot or comma between two digits is part of a number ("2.5 l bottle", "1,000 people"). A question mark separates
# because the published sub-sentence mask ends a phrase there, whatever we would call it.
_SEPARATOR = re.compile(r"(?<!\d)[.,]|[.,](?!\d)|[;?\r\n]")
_QUOTES = "\"'`´“”„‘’‚«»‹›"  # around a phrase, no part of it  # noqa: RUF001
_DELIMITERS = ("[CLS]", "[SEP]", ".", "?")  # the tokens at which the published sub-sentence mask ends a phrase

# A prompt of one phrase is read as a sentence when it is longer than names are, or joins several things.
_LONGEST_NAME = 4  # words: "person on the left" is still a name
_JOINING_WORDS = frozenset({"and", "or", "with", "is", "are"})

_SPAN_EPS = 1e-6  # published: a span's weights are 1 / (tokens + 1e-6) each
_WORDS_IN_NOTE = 4
_QUOTE_LENGTH = 40  # characters of the user's text that a message repeats

Span = tuple[int, int]  # characters [start, end) of a caption


class TextTokens(NamedTuple):
    """One batch of tokenised captions, padded on the right."""

    input_ids: Tensor  # (B, T) int64
    token_mask: Tensor  # (B, T) bool, True on real tokens
    attention_mask: Tensor  # (B, T, T) bool, True where the row's token may attend to the column's
    position_ids: Tensor  # (B, T) int64, from 0 in each phrase

    def to(self, device: torch.device | str) -> "TextTokens":
        """The same tokens on another device."""
        return TextTokens(*(tensor.to(device) for tensor in self))


@dataclass(frozen=True)
class Prompt:
    """What is looked for. Prompts that mean the same are equal: `Cat` and `cat .` are one prompt.

    `phrases` is what a detection's class id counts: the phrases, in a sentence its words.
    """

    phrases: tuple[str, ...]
    kind: Literal["phrases", "sentence", "spans"] = "phrases"
    caption: str = ""  # of spans only: the text they count characters in
    spans: tuple[tuple[Span, ...], ...] = ()  # of spans only: the spans of each phrase

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what a user typed.

        Phrases end at `.`, `,`, `;`, `?` or a line break. A single phrase is a sentence when it has more than four
        words or one of `and`, `or`, `with`, `is`, `are`; `from_phrases` and `from_spans` decide otherwise.
        """
        phrases = split_phrases(text)
        if len(phrases) == 1:
            words = phrases[0].split()
            if len(words) > _LONGEST_NAME or not _JOINING_WORDS.isdisjoint(words):
                return cls(tuple(words), kind="sentence")
        return cls(phrases)

    @classmethod
    def from_phrases(cls, phrases: Iterable[str]) -> Self:
        """Take each string as one whole phrase, separators in it included ("St. Bernard")."""
        return cls(_unique(phrases))

    @classmethod
    def from_spans(cls, caption: str, spans: Sequence[Sequence[Span]]) -> Self:
        """Ground parts of a caption: for each phrase its character spans, ends excluded.

        Raises:
            ValueError: A phrase has no span, or a span is empty or outside the caption.
        """
        for phrase_spans in spans:
            if not phrase_spans:
                raise ValueError("Each phrase needs at least one character span, but one of them has none.")
            for start, end in phrase_spans:
                if not (0 <= start < end <= len(caption)) or not caption[start:end].strip():
                    raise ValueError(
                        f"A span must cover text of the caption (0 to {len(caption)}, end excluded), "
                        f"but ({start}, {end}) does not."
                    )
        phrases = tuple(" ".join(caption[start:end] for start, end in phrase_spans) for phrase_spans in spans)
        frozen_spans = tuple(tuple((start, end) for start, end in phrase_spans) for phrase_spans in spans)
        return cls(phrases, kind="spans", caption=caption, spans=frozen_spans)


@dataclass(frozen=True, eq=False)
class Passage:
    """A caption that the model reads in one pass, and which of its tokens belong to which phrase of the prompt."""

    tokens: TextTokens  # B = 1
    phrases: range  # the prompt's phrases that this passage holds
    positive_map: Tensor  # (len(phrases), T) bool, True on the phrase's word tokens, never on a delimiter


class TokenizedPrompt(NamedTuple):
    """A prompt as the model reads it; `notes` are sentences for the user."""

    passages: tuple[Passage, ...]
    notes: tuple[str, ...]


def split_phrases(text: str) -> tuple[str, ...]:
    """The phrases of a typed prompt: lower case, white space squeezed, no quotes around, duplicates once, in order.

    What has neither letters nor digits nor signs, but punctuation alone, names nothing.
    """
    phrases = (phrase.strip().strip(_QUOTES) for phrase in _SEPARATOR.split(text))
    return _unique(phrase for phrase in phrases if not all(unicodedata.category(c)[0] in "PZ" for c in phrase))


def tokenize(prompt: Prompt, tokenizer: BertTokenizerFast, max_tokens: int) -> TokenizedPrompt:
    """Tokenise a prompt into as many passages of at most `max_tokens` tokens as it needs.

    Raises:
        ValueError: A single phrase, sentence or caption is longer than one passage.
    """
    if not prompt.phrases:
        return TokenizedPrompt((), ())
    if prompt.kind == "spans":
        passages = [_span_passage(prompt, tokenizer, max_tokens)]
    elif prompt.kind == "sentence":
        words = _encode(prompt.phrases, tokenizer)
        _check_length(" ".join(prompt.phrases), sum(map(len, words)), max_tokens)
        passages = [_passage(words, range(len(words)), tokenizer, dotted=False)]
    else:
        phrases = _encode(prompt.phrases, tokenizer)
        for phrase, ids in zip(prompt.phrases, phrases, strict=True):
            _check_length(phrase, len(ids), max_tokens)
        packed = _pack([len(ids) + 1 for ids in phrases], max_tokens - 2)
        passages = [_passage(phrases[chosen.start : chosen.stop], chosen, tokenizer) for chosen in packed]
    return TokenizedPrompt(tuple(passages), _notes(prompt, tokenizer))


def tokenize_captions(captions: Sequence[str], tokenizer: BertTokenizerFast) -> TextTokens:
    """Tokenise captions in the published form, `cat . dog .`; a missing final dot is added."""
    return batch_tokens([ids for ids, _ in (_encode_caption(caption, tokenizer) for caption in captions)], tokenizer)


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
    captions = [_caption_ids([next(encoded) for _ in phrases], tokenizer) for phrases in pictures]
    longest = max(len(row) for row, _ in captions)
    if longest > max_tokens:
        raise ValueError(f"The phrases of one picture are {longest} tokens together, but at most {max_tokens} fit.")
    tokens = batch_tokens([row for row, _ in captions], tokenizer)
    words = ~_is_delimiter(tokens.input_ids, tokenizer)
    return tokens, [_positive_map(ranges, words[index]) for index, (_, ranges) in enumerate(captions)]


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


def _unique(phrases: Iterable[str]) -> tuple[str, ...]:
    # Half of a character, as the bytes of a command line can be, no tokenizer reads.
    readable = (phrase.encode(errors="ignore").decode() for phrase in phrases)
    squeezed = (" ".join(phrase.lower().split()) for phrase in readable)
    return tuple(dict.fromkeys(phrase for phrase in squeezed if phrase))


def _encode(texts: Sequence[str], tokenizer: BertTokenizerFast) -> list[list[int]]:
    """Token ids of each text alone, without special tokens; a typed "[SEP]" is read as text."""
    if not texts:
        return []
    encoded = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False)
    return encoded["input_ids"]


def _encode_caption(caption: str, tokenizer: BertTokenizerFast) -> tuple[list[int], list[Span]]:
    """Token ids of a whole caption with special tokens, and the characters of each (empty for special tokens)."""
    if not caption.rstrip().endswith("."):
        caption += "."
    encoded = tokenizer(caption, split_special_tokens=True, return_offsets_mapping=True, verbose=False)
    return encoded["input_ids"], encoded["offset_mapping"]


def _is_delimiter(input_ids: Tensor, tokenizer: BertTokenizerFast) -> Tensor:
    """True on the tokens that end a sub-sentence, same shape as `input_ids`."""
    ids = set(tokenizer.convert_tokens_to_ids(list(_DELIMITERS)))
    ids.discard(tokenizer.unk_token_id)  # a delimiter that a small vocabulary lacks must not make each unknown word one
    return torch.isin(input_ids, torch.tensor(sorted(ids)))


def _caption_ids(
    texts: Sequence[Sequence[int]], tokenizer: BertTokenizerFast, dotted: bool = True
) -> tuple[list[int], list[Span]]:
    """`[CLS] phrase . phrase . [SEP]`, undotted `[CLS] word word . [SEP]`, and the tokens [start, end) of each text."""
    dot = tokenizer.convert_tokens_to_ids(".")
    if dot == tokenizer.unk_token_id:
        raise ValueError('The vocabulary must hold ".", which ends a phrase, but it does not: use a BERT vocabulary.')
    row, ranges = [tokenizer.cls_token_id], []
    for ids in texts:
        ranges.append((len(row), len(row) + len(ids)))
        row += [*ids, dot] if dotted else ids
    return [*row, *([] if dotted else [dot]), tokenizer.sep_token_id], ranges


def _passage(
    texts: Sequence[Sequence[int]], phrases: range, tokenizer: BertTokenizerFast, dotted: bool = True
) -> Passage:
    row, ranges = _caption_ids(texts, tokenizer, dotted)
    tokens = batch_tokens([row], tokenizer)
    return Passage(tokens, phrases, _positive_map(ranges, ~_is_delimiter(tokens.input_ids[0], tokenizer)))


def _span_passage(prompt: Prompt, tokenizer: BertTokenizerFast, max_tokens: int) -> Passage:
    """The tokens that overlap a phrase's spans are its own: a span that cuts a word takes the pieces it touches."""
    row, offsets = _encode_caption(prompt.caption, tokenizer)
    _check_length(prompt.caption, len(row) - 3, max_tokens)
    touched = [[any(a < end and start < b for start, end in spans) for a, b in offsets] for spans in prompt.spans]
    tokens = batch_tokens([row], tokenizer)
    words = ~_is_delimiter(tokens.input_ids[0], tokenizer)
    return Passage(tokens, range(len(prompt.phrases)), torch.tensor(touched) & words)


def _positive_map(ranges: Sequence[Span], words: Tensor) -> Tensor:
    """(P, T) bool: True on the tokens [start, end) of each phrase that are words, `words` being (T,) bool."""
    index = torch.arange(len(words))
    bounds = torch.tensor(ranges, dtype=torch.long).reshape(-1, 2)
    return (index >= bounds[:, :1]) & (index < bounds[:, 1:]) & words


def _pack(lengths: Sequence[int], limit: int) -> Iterator[range]:
    """Consecutive ranges of phrases whose lengths together stay within the limit."""
    start, total = 0, 0
    for index, length in enumerate(lengths):
        if total + length > limit:
            yield range(start, index)
            start, total = index, 0
        total += length
    yield range(start, len(lengths))


def _check_length(text: str, tokens: int, max_tokens: int) -> None:
    most = max_tokens - 3  # [CLS], the final dot, [SEP]
    if tokens > most:
        raise ValueError(
            f"“{_shorten(text)}” is {tokens} tokens long, but one phrase can have {most} at most: "
            "shorten it, or separate its parts with dots."
        )


def _notes(prompt: Prompt, tokenizer: BertTokenizerFast) -> tuple[str, ...]:
    text = prompt.caption or " ".join(prompt.phrases)
    words = list(dict.fromkeys(text.split()))
    unreadable = [
        word
        for word, ids in zip(words, _encode(words, tokenizer), strict=True)
        if not ids or tokenizer.unk_token_id in ids or _has_foreign_letter(word)
    ]
    if not unreadable:
        return ()
    named = ", ".join(f"“{_shorten(word)}”" for word in unreadable[:_WORDS_IN_NOTE])
    more = len(unreadable) - _WORDS_IN_NOTE
    rest = f" and {more} more" if more > 0 else ""
    return (f"The model reads English only and cannot read {named}{rest}: boxes found for that are guesses.",)


def _has_foreign_letter(word: str) -> bool:
    """BERT's vocabulary spells other scripts letter by letter without knowing them, so `[UNK]` alone does not tell."""
    return any(letter.isalpha() and "LATIN" not in unicodedata.name(letter, "") for letter in word)


def _shorten(text: str) -> str:
    return text if len(text) <= _QUOTE_LENGTH else text[: _QUOTE_LENGTH - 1] + "…"
