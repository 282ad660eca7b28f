"""Prompts for a picture whose things are known: which phrases to name, and which phrase is true of which thing.

Truth comes first: a phrase is used only where it is certain of every thing in the picture whether the phrase is true
of it, and no two phrases of a prompt are true of the same thing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from groundingdino.artwork.names import COLOURS, Name, plural

MAX_PHRASES = 12
MAX_PHRASES_OF_CROWD = 32
ARTICLES = ("a", "an", "the")
SPELLINGS = {"gray": "grey"}  # other spellings of colour words, half of the time
HELD_OUT_PERCENT = 15


@dataclass(frozen=True)
class Thing:
    """What one object of a picture is.

    Args:
        label: its class index in `load_names`.
        colour: the colour word that is true of it; None where that is not known.
    """

    label: int
    colour: str | None = None


@dataclass(frozen=True)
class Phrase:
    """One phrase of a prompt.

    Args:
        text: as it stands in the prompt, such as "blue puppies".
        word: the name, synonym or kind in it, such as "puppy".
        colour: the colour word in it, or None.
        label: the class it was made for; a kind is true of other classes too.
    """

    text: str
    word: str
    colour: str | None
    label: int


@dataclass(frozen=True)
class Caption:
    """A prompt: its phrases in order, and per thing the index of the phrase that is true of it, or None."""

    phrases: tuple[Phrase, ...]
    positives: tuple[int | None, ...]


def is_held_out(colour: str, name: Name) -> bool:
    """Whether a colour and a class are never trained together; they measure how well words combine.

    A drawing that has the colour by itself (the red apple) is known to everybody and never held out.
    """
    if colour in name.own_colours:
        return False
    # A checksum, because Python's own hash differs from run to run.
    return crc32(f"{colour} {name.name}".encode()) % 100 < HELD_OUT_PERCENT


def is_true(phrase: Phrase, thing: Thing, names: Sequence[Name]) -> bool | None:
    """Whether a phrase is true of a thing; None where nobody can say, because its colour is not known."""
    if phrase.word not in names[thing.label].words:
        return False
    if phrase.colour is None:
        return True
    return None if thing.colour is None else thing.colour == phrase.colour


class Captioner:
    """Makes prompts.

    Args:
        names: the classes, `load_names()`.
        may_colour: whether a colour word may be put before a class (colour, name).
        colour_rate: how often the colour of a thing is named where it is known.
        short_rate: how many prompts have one to three phrases, more of them false than in others: what a prompt leaves
            out must not be taken for what it says.
    """

    def __init__(
        self,
        names: Sequence[Name],
        may_colour: Callable[[str, Name], bool],
        colour_rate: float,
        short_rate: float = 0.0,
    ):
        self.names = names
        self.may_colour = may_colour
        self.colour_rate = colour_rate
        self.short_rate = short_rate
        self._groups: dict[str, list[int]] = {}
        for label, name in enumerate(names):
            self._groups.setdefault(name.group, []).append(label)

    def compose(self, things: Sequence[Thing], rng: np.random.Generator, complete: bool = False) -> Caption:
        """A prompt for a picture: most of what is there, or all, and some names that are not, in any order."""
        present = list(dict.fromkeys(thing.label for thing in things))
        rng.shuffle(present)
        named = present
        most = MAX_PHRASES_OF_CROWD if complete else MAX_PHRASES
        # Without short prompts nothing is drawn for them, so that the evaluations' scenes stay what they were.
        if not complete and self.short_rate and rng.random() < self.short_rate:
            most = int(rng.integers(1, 4))
            named = present[: int(rng.integers(most + 1))]
        elif not complete and rng.random() < 0.06:
            named = []  # only absent names
        elif not complete and rng.random() < 0.25:
            named = present[: int(rng.integers(len(present))) + 1] if present else []
        chosen: list[tuple[Phrase, list[bool]]] = []
        for label in named:
            for phrase in self._present_phrases(label, things, rng):
                self._add(chosen, phrase, things, most)
        self._add_absent(chosen, present, things, most, rng)
        order = rng.permutation(len(chosen))
        phrases = tuple(chosen[index][0] for index in order)
        truths = [chosen[index][1] for index in order]
        positives = tuple(
            next((index for index, truth in enumerate(truths) if truth[thing]), None) for thing in range(len(things))
        )
        return Caption(phrases, positives)

    def _add(self, chosen: list[tuple[Phrase, list[bool]]], phrase: Phrase, things: Sequence[Thing], most: int) -> bool:
        """Take a phrase into the prompt unless it would make the prompt ambiguous."""
        truths = [is_true(phrase, thing, self.names) for thing in things]
        taken = any(old.word == phrase.word and old.colour == phrase.colour for old, _ in chosen)
        overlap = any(new and old for _, others in chosen for new, old in zip(truths, others, strict=True))
        if len(chosen) >= most or taken or overlap or None in truths:
            return False
        chosen.append((phrase, [bool(truth) for truth in truths]))
        return True

    def _present_phrases(self, label: int, things: Sequence[Thing], rng: np.random.Generator) -> list[Phrase]:
        """The name of a class that is there, or its colours with the name where the colours are known."""
        colours = {thing.colour for thing in things if thing.label == label}
        count = sum(thing.label == label for thing in things)
        if None not in colours and rng.random() < self.colour_rate:
            phrases = [self._phrase(label, rng, colour) for colour in sorted(filter(None, colours))]
            if rng.random() < 0.4:
                other = self._other_colour(label, colours, rng)
                phrases += [self._phrase(label, rng, other)] if other else []
            return phrases
        return [self._phrase(label, rng, None, count)]

    def _other_colour(self, label: int, colours: set[str | None], rng: np.random.Generator) -> str | None:
        choice = [c for c in COLOURS if c not in colours and self.may_colour(c, self.names[label])]
        return choice[rng.integers(len(choice))] if choice else None

    def _add_absent(
        self,
        chosen: list[tuple[Phrase, list[bool]]],
        present: Sequence[int],
        things: Sequence[Thing],
        most: int,
        rng: np.random.Generator,
    ) -> None:
        """One to six names of what is not there, as many as there is room for, half of them close to what is."""
        wanted = int(rng.integers(1, 7))
        for _ in range(4 * wanted):
            if wanted == 0:
                return
            label = int(rng.integers(len(self.names)))
            if present and rng.random() < 0.5:
                near = self._groups[self.names[present[int(rng.integers(len(present)))]].group]
                label = near[int(rng.integers(len(near)))]
            colour = None
            if rng.random() < 0.12:
                colour = self._other_colour(label, set(), rng)
            phrase = self._phrase(label, rng, colour)
            if not any(is_true(phrase, thing, self.names) for thing in things):
                wanted -= int(self._add(chosen, phrase, things, most))

    def _phrase(self, label: int, rng: np.random.Generator, colour: str | None, count: int = 1) -> Phrase:
        """A name of the class as somebody may type it: mostly the first one, bare and in the singular."""
        name = self.names[label]
        word = name.name
        chance = rng.random()
        if name.synonyms and chance < 0.4:
            word = name.synonyms[rng.integers(len(name.synonyms))]
        elif name.kinds and colour is None and chance > 0.96:
            word = name.kinds[rng.integers(len(name.kinds))]
        text = word
        if colour is not None:
            spelling = SPELLINGS[colour] if colour in SPELLINGS and rng.random() < 0.5 else colour
            text = f"{spelling} {word}"
        chance = rng.random()
        if chance < (0.25 if count > 1 else 0.04) and self._has_plural(word):
            text = plural(text)
        elif chance > 0.94:
            article = "the" if rng.random() < 0.3 or plural(word) == word else "an" if text[0] in "aeiou" else "a"
            text = f"{article} {text}"
        return Phrase(text, word, colour, label)

    def _has_plural(self, word: str) -> bool:
        """Whether the plural is no other word of the list, as the glasses one drinks from are."""
        other = plural(word)
        return other != word and not any(other in name.words for name in self.names)
