"""Names in Chinese are read as English ones, which is all that the models know.

`chinese_names.tsv` lists the words: names with those that mean the same, colours and other words before a name, and
little words. A phrase that is made of these alone has an English reading, "两只红色的猫" is "red cat"; any other has
none, and whoever reads it says so. Nothing is guessed: a name within a longer unknown word would be another thing.
"""

import csv
import re
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

_WORDS = Path(__file__).with_name("chinese_names.tsv")
_CHINESE = re.compile("[\u3400-\u9fff\uf900-\ufaff]")

# Where one is within a phrase: at its beginning, behind a word like "red", behind a number, behind its name.
_START, _DESCRIBED, _COUNTED, _NAMED = range(4)
# What kind of a word leads from where to where.
_STEPS = {
    "numeral": [(_START, _COUNTED)],
    "classifier": [(_COUNTED, _START)],
    "quantity": [(_START, _START)],
    "colour": [(_START, _DESCRIBED), (_DESCRIBED, _DESCRIBED)],
    "modifier": [(_START, _DESCRIBED), (_DESCRIBED, _DESCRIBED)],
    "particle": [(_DESCRIBED, _DESCRIBED)],
    "name": [(_START, _NAMED), (_DESCRIBED, _NAMED)],
    "joiner": [(_NAMED, _START)],
    "space": [(_NAMED, _START), (_NAMED, _NAMED), (_START, _START), (_COUNTED, _COUNTED), (_DESCRIBED, _DESCRIBED)],
}
_BETWEEN = ("joiner", "space")


class Word(NamedTuple):
    """What a word is; its English is empty if nothing of it reaches the model."""

    kind: str
    chinese: str
    english: str


def is_chinese(text: str) -> bool:
    """Whether there is a Chinese character in it."""
    return bool(_CHINESE.search(text))


def in_english(phrase: str) -> str | None:
    """The English reading of one phrase, in the order of its words; None if there is none."""
    words = _words_of(phrase.lower())
    if not words or any(word.kind == "joiner" for word in words) or sum(word.kind == "name" for word in words) > 1:
        return None
    return " ".join(word.english for word in words if word.english)


def listed(text: str) -> list[str]:
    """The phrases that a text joins by "和" and words like it, or by spaces; the text itself where it is unknown."""
    words = _words_of(text)
    if not words:
        return [text]
    phrases, named = [""], False
    for word in words:
        if named and word.kind in _BETWEEN:
            phrases.append("")
        else:
            phrases[-1] += word.chinese
        named = word.kind == "name" or (named and word.kind in _BETWEEN)
    return [phrase.strip() for phrase in phrases if phrase.strip()]


@lru_cache(maxsize=1024)
def _words_of(text: str) -> tuple[Word, ...]:
    """The fewest words that a text consists of and that make phrases; none if there is no such reading.

    Fewest means longest: "红酒" is wine and not red alcohol, and "和服" a kimono.
    """
    if not is_chinese(text):
        return ()
    words, longest = _known()
    # From the end: of the best reading from each place, and where one is within a phrase there, how many words it has,
    # the first of them, and where the next begins.
    best: dict[tuple[int, int], tuple[int, Word | None, tuple[int, int]]]
    best = {(len(text), last): (0, None, (0, 0)) for last in (_NAMED, _DESCRIBED)}
    for start in reversed(range(len(text))):
        for end in range(start + 1, min(len(text), start + longest) + 1):
            for word in words.get(text[start:end], ()):
                for before, after in _STEPS[word.kind]:
                    rest, known = best.get((end, after)), best.get((start, before))
                    if rest and (known is None or rest[0] + 1 < known[0]):
                        best[start, before] = (rest[0] + 1, word, (end, after))
    read: list[Word] = []
    _, first, place = best.get((0, _START), (0, None, (0, 0)))
    while first:
        read.append(first)
        _, first, place = best[place]
    return tuple(read)


@lru_cache(maxsize=1)
def _known() -> tuple[dict[str, list[Word]], int]:
    """The words by their characters, and how many characters the longest has."""
    known: defaultdict[str, list[Word]] = defaultdict(list)
    for row in read_words():
        known[row.chinese].append(row)
    for kind, chinese in (("particle", "的"), ("space", " ")):
        known[chinese].append(Word(kind, chinese, ""))
    return dict(known), max(map(len, known))


def read_words() -> list[Word]:
    """All that `chinese_names.tsv` says, a word for each Chinese one; first of what means the same comes the usual."""
    with open(_WORDS, encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    return [Word(row["kind"], chinese, row["english"]) for row in rows for chinese in row["chinese"].split("、")]
