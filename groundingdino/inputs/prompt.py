"""What is typed becomes phrases. `text_tokens` makes of them what the model reads.

A prompt is one of three things:

- phrases, `cat . remote control` or `cat and remote control`: each is looked for as a whole and comes back whole;
- a sentence, `a cat sleeps on a red sofa`: the things that it names are looked for, each with the sentence around it;
- a caption with character spans: each span is a phrase, and the rest of the caption is its context.

Phrases in Chinese come back as they were typed, too, but it is their English that is looked for, see `chinese`.

Nothing here needs torch, so that a bad prompt is reported at once.
"""

import operator
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, Literal, NamedTuple

from typing_extensions import Self

from groundingdino.inputs.chinese import in_english, is_chinese, listed
from groundingdino.inputs.noun_phrases import NounPhrase, names_something, read

# Where a phrase ends. A dot or comma between two digits is part of a number ("2.5 l bottle", "1,000 people"). A
# question mark separates because the published sub-sentence mask ends a phrase there, whatever we would call it. Lines
# may begin with a bullet or a number.
_ENDS = (
    r"(?<![0-9])[.,]|[.,](?![0-9])|[;?|\r\n。｡．，､、；？｜…•‣◦▪●■]"  # noqa: RUF001
    r"|^[^\S\r\n]*(?:[\-–—*+·・]+(?![0-9])|[0-9]{1,3}[.)][^\S\r\n])"  # noqa: RUF001
)
_SEPARATOR, _LAST_SEPARATORS = re.compile(_ENDS, re.MULTILINE), re.compile(rf"(?:\s|{_ENDS})+\Z", re.MULTILINE)
_JOINER, _LEADING_JOINERS = re.compile(r"\s(?:and/or|and|or|&)(?=\s)"), re.compile(r"^(?:(?:and/or|and|or|&)\s+)+")
_QUOTES = "\"'`´“”„‘’‚«»‹›"  # around a phrase, no part of it  # noqa: RUF001

_APOSTROPHES = "’‘ʼ´`＇"  # noqa: RUF001
_PLAIN: dict[int, int | str] = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # full-width ASCII
_PLAIN |= {ord(sign): "'" for sign in _APOSTROPHES}
_INVISIBLE = frozenset(("Cc", "Cf", "Cs"))  # control characters, zero-width ones, halves of a character
# But for those that spell: emoji of several parts and Persian words.
_SPELLING = re.compile("(?<=[^\0-\u024f\u200b-\u200f])[\u200c\u200d](?=[^\0-\u024f\u200b-\u200f])")

# A prompt of one phrase that is longer than names are, or joins things by "with", is a sentence if it has any grammar.
_LONGEST_NAME = 4  # words: "person on the left" is still a name

MAX_PROMPT = 4_000  # characters of a text: the 365 names of Objects365 fit; sixteen passes of 256 tokens at worst
MAX_LIST = 50_000  # characters of a list, which only programs give: the 1,203 names of LVIS are a third of it
MAX_PHRASE = 500  # characters of what becomes a label
_QUOTE_LENGTH = 40  # characters of the user's text that a message repeats

Span = tuple[int, int]  # characters [start, end) of a text


class Part(NamedTuple):
    """A text that ends in a dot in the model's caption: a phrase, or what phrases stand in."""

    text: str
    phrases: tuple[int, ...]  # which phrases of the prompt are in it
    spans: tuple[tuple[Span, ...], ...]  # characters of each of them
    nouns: tuple[tuple[Span, ...], ...]  # characters of the nouns of each; none where the phrase is the whole text


@dataclass(frozen=True)
class Prompt:
    """What is looked for. Prompts that mean the same are equal: `Cat`, `cat .` and `the cat or a cat` are one prompt.

    `phrases` is what a detection's class id counts. Of a list that a program gave all are there, also those that are
    not looked for: what names nothing, and the second of two that are the same.
    """

    phrases: tuple[str, ...]
    kind: Literal["phrases", "sentence", "spans"] = "phrases"
    context: tuple[Part, ...] = ()  # of sentences and spans: what the phrases stand in

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what a user typed.

        Phrases end at `.`, `,`, `;`, `?`, `|`, at their full-width forms, bullets and line breaks; names joined by
        `and` or `or` are phrases, too. What has a verb, or `and` between more than names, is a sentence, and so is a
        single phrase that has `with`, or more than four words and a preposition among them. What stands in quotes is
        one phrase; `from_phrases` and `from_spans` take anything. Chinese names may be joined by "和" or a space.

        Raises:
            ValueError: it is no text, or longer than is read.
        """
        texts = _split(_clean(_text(text, "The prompt", MAX_PROMPT)))
        pieces = [piece for one in texts for piece in _read(one, alone=len(texts) == 1)]
        phrases: dict[str, str] = {}  # by what they mean
        for piece in pieces:
            for name in piece.names:
                phrases.setdefault(meaning(name), name)
        _check_phrases(phrases.values())
        if not any(piece.is_sentence for piece in pieces):
            return cls(tuple(phrases.values()))
        ids = {said: index for index, said in enumerate(phrases)}
        return cls(tuple(phrases.values()), "sentence", tuple(piece.part(ids) for piece in pieces))

    @classmethod
    def from_phrases(cls, phrases: Iterable[str]) -> Self:
        """Take each string as one whole phrase, separators in it included ("St. Bernard").

        Raises:
            ValueError: one of them is no text, or they are longer than is read.
        """
        read: list[str] = []
        characters = 0
        for number, phrase in enumerate(islice(phrases, MAX_LIST + 1), 1):
            text = _text(phrase, f"Phrase {number} of the prompt", MAX_LIST)
            characters += len(text) + 1
            _check_length(characters, MAX_LIST)
            read.append(" ".join(_clean(text).lower().split()))
        _check_phrases(read)
        return cls(tuple(read))

    @classmethod
    def from_names(cls, names: Iterable[str]) -> Self:
        """Names of categories as the authors' evaluation on COCO asks for them (`build_captions_and_token_span`).

        Each is a text of its own and a span over all of it, so that its score is the mean of its tokens'. Unlike
        phrases of a list all are looked for, whatever they say: "a" is a letter, and two names may be the same.

        Raises:
            ValueError: one of them is no text, empty or longer than is read.
        """
        texts = cls.from_phrases(names).phrases
        if "" in texts:
            raise ValueError(f"Name {texts.index('') + 1} of {len(texts)} is empty: give each category a name.")
        parts = (Part(text, (index,), (((0, len(text)),),), ((),)) for index, text in enumerate(texts))
        return cls(texts, "spans", tuple(parts))

    @classmethod
    def from_spans(cls, caption: str, spans: Sequence[Sequence[Span]]) -> Self:
        """Ground parts of a caption: for each phrase its character spans, ends excluded.

        Raises:
            ValueError: A phrase has no span, or a span is no two whole numbers, empty or outside the caption.
        """
        # Half of a character no tokenizer reads; what takes its place keeps the others where they are.
        caption = re.sub("[\ud800-\udfff]", " ", _text(caption, "The caption", MAX_PROMPT))
        read = [_read_spans(caption, phrase_spans) for phrase_spans in _listed(spans)]
        phrases = tuple(" ".join(caption[start:end] for start, end in phrase_spans) for phrase_spans in read)
        _check_phrases(phrases)
        text = caption.rstrip().removesuffix(".")  # a part's dot is the model's
        part = Part(text, tuple(range(len(phrases))), tuple(read), ((),) * len(phrases))
        return cls(phrases, "spans", (part,) if phrases else ())

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The texts that the model's caption consists of, in order; none if there is nothing to look for."""
        if self.context:
            return self.context
        first: dict[str, int] = {}
        for index, phrase in enumerate(self.phrases):
            if names_something(phrase):
                first.setdefault(meaning(phrase), index)
        return tuple(Part(phrase, (index,), (((0, len(phrase)),),), ((),)) for phrase, index in first.items())

    @property
    def unread(self) -> tuple[str, ...]:
        """Phrases of a list that are not looked for because they name nothing, such as "and"; but for empty ones."""
        read = {index for part in self.parts for index in part.phrases}
        left = (phrase for index, phrase in enumerate(self.phrases) if index not in read)
        return tuple(phrase for phrase in dict.fromkeys(left) if phrase and not names_something(phrase))

    def without_context(self) -> "Prompt":
        """The phrases of a sentence, each looked for by itself; other prompts stay as they are."""
        return Prompt(self.phrases) if self.kind == "sentence" else self

    def one_by_one(self) -> dict[int, "Prompt"]:
        """What is looked for as prompts of one phrase, by its index in `phrases`; without the context of a sentence."""
        prompts = {}
        for part in self.without_context().parts:
            # A name of `from_names` stays one: all of them are looked for, and its score is a mean.
            alone = (part._replace(phrases=(0,)),) if self.kind == "spans" and len(part.phrases) == 1 else ()
            prompts[part.phrases[0]] = Prompt((part.text,), "spans", alone) if alone else Prompt((part.text,))
        return prompts


def read_prompt(prompt: str | Iterable[str] | Prompt, spans: Sequence[Sequence[Span]] | None = None) -> Prompt:
    """What a caller asks for: a text as a user types it, or a list of phrases; with `spans` a caption.

    A `Prompt` that was read before stays as it is.

    Raises:
        ValueError: it is none of them; see `Prompt`.
    """
    if spans is not None:
        if not isinstance(prompt, str):
            given = f"{len(prompt)} phrases" if isinstance(prompt, list | tuple) else _kind(prompt)
            raise ValueError(f"Spans count characters of one caption, but the prompt is {given}: give a str.")
        return Prompt.from_spans(prompt, spans)
    if isinstance(prompt, Prompt):
        return prompt
    if isinstance(prompt, str):
        return Prompt.parse(prompt)
    # A set has no order for class ids to count, and what is iterated over in bytes are numbers.
    if isinstance(prompt, bytes | bytearray | memoryview | Mapping | Set):
        raise ValueError(_no_prompt(prompt))
    try:
        phrases = iter(prompt)
    except TypeError:
        raise ValueError(_no_prompt(prompt)) from None
    return Prompt.from_phrases(phrases)


def add_phrase(text: str, phrase: str) -> str:
    """What was typed with one more phrase behind it, or as it is if it has the phrase.

    Raises:
        ValueError: it is longer than is read.
    """
    if {*map(meaning, Prompt.parse(phrase).phrases)} <= {*map(meaning, Prompt.parse(text).phrases)}:
        return text
    before = _LAST_SEPARATORS.sub("", text)
    return f"{before} . {phrase}" if before else phrase


def meaning(phrase: str) -> str:
    """What a phrase of a prompt is looked for as: itself, or its English if it is made of Chinese words we know."""
    return in_english(phrase) or phrase


def shorten(text: str) -> str:
    """As much of the user's text as a message repeats."""
    return text if len(text) <= _QUOTE_LENGTH else text[: _QUOTE_LENGTH - 1] + "…"


@dataclass(frozen=True)
class _Piece:
    """A phrase, or a sentence and what it names."""

    text: str
    things: tuple[NounPhrase, ...] = ()
    is_sentence: bool = False

    @property
    def names(self) -> list[str]:
        return [self.text[thing.start : thing.end] for thing in self.things] if self.is_sentence else [self.text]

    def part(self, ids: Mapping[str, int]) -> Part:
        """With the phrases by what they mean; what is named twice is one phrase in two places."""
        if not self.is_sentence:
            text = meaning(self.text)
            return Part(text, (ids[text],), (((0, len(text)),),), ((),))
        spans: dict[int, list[Span]] = {}
        nouns: dict[int, list[Span]] = {}
        for name, thing in zip(self.names, self.things, strict=True):
            index = ids[meaning(name)]
            spans.setdefault(index, []).append((thing.start, thing.end))
            nouns.setdefault(index, []).extend(thing.nouns)
        return Part(self.text, tuple(spans), tuple(map(tuple, spans.values())), tuple(map(tuple, nouns.values())))


def _read(text: str, alone: bool) -> list[_Piece]:
    """What one text between separators is: phrases, or a sentence; `alone` if it is the whole prompt."""
    bare = text.strip(_QUOTES).strip()
    if text[0] in _QUOTES and text[-1] in _QUOTES and not any(quote in bare for quote in _QUOTES if quote != "'"):
        return [_Piece(bare)] if names_something(bare) else []
    bare = _LEADING_JOINERS.sub("", bare)
    if is_chinese(bare):
        return [_Piece(phrase) for phrase in listed(bare)]
    reading = read(bare)
    if reading.is_list:
        return [_Piece(bare[thing.start : thing.end]) for thing in reading.things]
    words = bare.split()
    long = alone and reading.has_grammar and (len(words) > _LONGEST_NAME or "with" in words)
    if not (long or reading.is_sentence):
        return [_Piece(bare)] if names_something(bare) else []
    if reading.things:
        return [_Piece(bare, reading.things, is_sentence=True)]
    return [_Piece(item.strip()) for item in _JOINER.split(bare) if names_something(item)]


def _split(text: str) -> list[str]:
    """What stands between separators, without white space around and with single spaces inside."""
    return [squeezed for one in _SEPARATOR.split(text) if (squeezed := " ".join(one.split()))]


def _clean(text: str) -> str:
    """Lower case, without invisible characters; every line break is "\n", every apostrophe the typewriter's."""
    lines = "\n".join(text.splitlines())
    spelling = {match.start() for match in _SPELLING.finditer(lines)}
    visible = "".join(
        sign
        for index, sign in enumerate(lines)
        if sign.isspace() or index in spelling or unicodedata.category(sign) not in _INVISIBLE
    )
    return unicodedata.normalize("NFC", visible).translate(_PLAIN).lower()


def _text(value: Any, what: str, most: int) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} must be text, but it is {_kind(value)}.")
    _check_length(len(value), most)
    return str.__str__(value)  # of a subclass, too, whatever it prints


def _kind(value: Any) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def _no_prompt(value: Any) -> str:
    return f"The prompt must be text such as 'cat . remote control' or a list of phrases, but it is {_kind(value)}."


def _check_length(characters: int, most: int) -> None:
    if characters > most:
        raise ValueError(
            f"The prompt is longer than the {most:,} characters that are read at once: look for fewer things."
        )


def _check_phrases(phrases: Iterable[str]) -> None:
    for phrase in phrases:
        if len(phrase) > MAX_PHRASE:
            raise ValueError(
                f"“{shorten(phrase)}” is {len(phrase):,} characters long, but one phrase can have {MAX_PHRASE} at "
                "most: shorten it, or separate its parts with dots."
            )


def _listed(value: Any) -> list[Any]:
    """The items of a list that a program gave."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ValueError(f"Spans must be a list of (start, end) for each phrase, but got {value!r:.40}.")
    items = list(islice(value, MAX_PROMPT + 1))
    if len(items) > MAX_PROMPT:
        raise ValueError(f"There are more than {MAX_PROMPT:,} spans: look for fewer things.")
    return items


def _read_spans(caption: str, spans: Any) -> tuple[Span, ...]:
    read = []
    for span in _listed(spans):
        try:
            start, end = map(operator.index, span)
        except (TypeError, ValueError):
            raise ValueError(
                f"A span must be two whole numbers, the characters [start, end) of the caption, but got {span!r:.40}."
            ) from None
        if not (0 <= start < end <= len(caption)) or not caption[start:end].strip():
            raise ValueError(
                f"A span must cover text of the caption (0 to {len(caption)}, end excluded), "
                f"but ({start}, {end}) does not."
            )
        read.append((start, end))
    if not read:
        raise ValueError("Each phrase needs at least one character span, but one of them has none.")
    return tuple(read)
