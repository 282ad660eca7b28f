"""What a text asks to be drawn: one of the names, and a colour."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

from groundingdino.artwork.names import COLOURS, Name, load_names, plural

SPELLINGS = {"grey": "gray", "violet": "purple", "golden": "yellow", "gold": "yellow"}
# Words that are not to be drawn.
_LITTLE = frozenset(("a", "an", "the", "some", "one", "two", "three", "four", "five")) | frozenset(
    ("of", "with", "and", "in", "on", "at", "to")
)
_ALIKE = 0.6  # how much of a word has to be right to be taken for a slip, in [0, 1]


@dataclass(frozen=True)
class Wanted:
    """What a text asks to be drawn.

    Args:
        name: the class.
        colour: one of `COLOURS`; None if the text names none.
        unread: words of the text that say something else, in their order.
    """

    name: Name
    colour: str | None = None
    unread: tuple[str, ...] = ()


def read(text: str) -> Wanted:
    """The name in a text that begins first, the longest if several do: "a red school bus" is a bus of a school.

    Raises:
        ValueError: there is none; the sentence tells the nearest there are.
    """
    words = re.findall(r"[\w'-]+", text.lower())
    known = _known()
    for start in range(len(words)):
        for end in range(len(words), start, -1):
            name = known.get(" ".join(words[start:end]))
            if name is not None:
                return _wanted(name, words[:start], words[end:])
    raise ValueError(f"There is no drawing of '{text.strip()}': {_nearest(words)}.")


def _wanted(name: Name, before: list[str], after: list[str]) -> Wanted:
    others = [SPELLINGS.get(word, word) for word in (*before, *after)]
    # Of "a red car on green grass" the car is red: the colour stands before the thing, or is the only one.
    colours = [SPELLINGS.get(word, word) for word in before if SPELLINGS.get(word, word) in COLOURS]
    colour = colours[-1] if colours else None
    unread = tuple(word for word in others if word != colour and word not in _LITTLE)
    return Wanted(name, colour, unread)


@lru_cache(maxsize=1)
def _known() -> dict[str, Name]:
    """All that may be said, in the singular and the plural; of a kind, the first class that is one."""
    names = load_names()
    known: dict[str, Name] = {}
    for words in ([(name.name, *name.synonyms) for name in names], [name.kinds for name in names]):
        for name, said in zip(names, words, strict=True):
            for word in said:
                known.setdefault(word, name)
        for name, said in zip(names, words, strict=True):
            for word in said:
                known.setdefault(plural(word), name)
    return known


def _nearest(words: list[str]) -> str:
    """The end of a sentence that tells the nearest names."""
    content = [word for word in words if word not in _LITTLE and SPELLINGS.get(word, word) not in COLOURS]
    names = [word for name in load_names() for word in (name.name, *name.synonyms)]
    tried = [" ".join(content), *sorted(content, key=len, reverse=True)]
    near = [match for words in tried for match in get_close_matches(words, names, n=3, cutoff=_ALIKE)]
    near = list(dict.fromkeys(near))[:3]
    if len(near) == 1:
        return f"the nearest there is {_list(near)}"
    if near:
        return f"the nearest there are {_list(near)}"
    return "the drawings are of everyday things, such as 'cat', 'tree' or 'birthday cake'"


def _list(words: list[str]) -> str:
    quoted = [f"'{word}'" for word in words]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else quoted[0]
