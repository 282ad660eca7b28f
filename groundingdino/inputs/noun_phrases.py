"""Which words of an English line name things: "a cat sleeps on the red sofa" names a cat and a red sofa.

No language model is used. The words that are no names are few and known (articles, prepositions, conjunctions,
pronouns, forms of "to be", verbs that captions use); what lies between them are names. So the limits are those of the
lists: a verb that is in none joins the name beside it, a noun that is spelled like a verb in one ("a park ranger
walks") can be cut, adjectives after "is" are left out, and a name that holds an "and" of its own ("salt and pepper")
is two. Other languages have no words in the lists: their lines are one name.
"""

import re
import string
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


DETERMINERS = _set(
    """a an the this that these those my your his her its our their some any each every no another both either neither
    all several many few"""
)
CONJUNCTIONS = _set("and or and/or & but nor so than as because if when where whenever wherever while")
_JOINERS = _set("and or and/or &")  # the conjunctions of a list
PREPOSITIONS = _set(
    """of about above across after against along alongside among amid around at atop before behind below beneath beside
    besides between beyond by down during for from in inside into like near nearby next off on onto opposite out outside
    over past through throughout to toward towards under underneath until up upon via with within without"""
)
_PRONOUNS = _set(
    """i you he she it we they me him us them who whom whose which what there here someone something anyone anything
    everyone everything nobody nothing himself herself itself themselves each"""
)
_TO_BE = _set("is are was were be been being am isn't aren't wasn't weren't it's there's that's")
_AUXILIARIES = _TO_BE | _set("has have had does do did will would could should shall must cannot")
_ADVERBS = _set("very also too just only not together apart away ahead close far still already again then now please")
# Never a noun phrase: they stand beside one, or between two.
_FUNCTION_WORDS = DETERMINERS | CONJUNCTIONS | PREPOSITIONS | _PRONOUNS | _AUXILIARIES | _ADVERBS

# Where something is, or how much of it there is; alone no thing to look for in a sentence.
_PLACES = _set(
    """left right front back top bottom middle center centre side background foreground edge corner end lot lots couple
    number kind type sort one ones photo photograph picture image view close-up closeup"""
)
_COLOURS = _set("black white red green blue yellow orange pink purple brown gray grey gold silver")
_ADJECTIVES = _COLOURS | _set(
    """big small large little tiny huge tall short long young old new dark bright light two three four five six seven
    eight nine ten"""
)

# Verbs of captions: as they are after "two dogs", and with -s after "a dog".
_VERBS = _set(
    """sit stand lie lay sleep run walk jump play ride hold carry wear eat drink look watch hang fly swim lean rest
    smile talk read cook throw catch kick push pull chase follow cross surround pour fall float climb feed pet hug kiss
    wave wait drive sail graze sniff bark contain include have get go come show see face fight dance sing"""
)
_ALSO_NOUNS = _set("drinks watches waves pets floats faces")  # verbs only before an article or a pronoun
_PARTICIPLES = _set(  # that end in no -ed; after a noun and before another word of grammar
    """made seen worn held sat stood lain laid ridden eaten driven thrown caught hung shown taken cut built ran ate wore
    rode flew lit"""
)
_NOUNS_WITH_ING = _set(
    """building ceiling painting string ring king wing swing thing clothing lightning wedding earring pudding spring
    railing awning dumpling duckling morning evening sibling icing topping stocking wiring viking being"""
)
_BEFORE_NOUNS = _set(  # "a red sleeping bag", but "a man riding horses"
    """sleeping swimming washing frying cutting dining rocking running parking shopping drinking flying living baking
    fishing sewing driving walking boxing sailing racing surfing skiing"""
)
_NOUNS_WITH_ED = _set("flowerbed seabed breed moped watershed steed speed")
_NOUNS_WITH_LY = _set("jelly belly family butterfly dragonfly firefly lily holly doily bully")
_PEOPLE = _set("people men women children persons sheep fish geese")  # plurals without -s

_EDGES = "".join(set(string.punctuation) - set("&+#%")) + "“”„‘’«»‹›…"  # noqa: RUF001  # round a word, none of it


class _Role(Enum):
    NAME = 1
    DETERMINER = 2
    JOINER = 3  # "and", "or"
    OTHER = 4  # verbs, prepositions, pronouns, ...


class NounPhrase(NamedTuple):
    """Where in a text a name is, without its article: characters [start, end)."""

    start: int
    end: int
    nouns: tuple[tuple[int, int], ...]  # the same of its nouns, without what describes them: of "cup of coffee" both


@dataclass(frozen=True)
class Reading:
    """What a line of text is made of."""

    things: tuple[NounPhrase, ...]
    is_list: bool  # two names or more with nothing between them but "and", "or" and articles
    is_sentence: bool  # it has a verb, or "and" or "or" between more than names
    has_grammar: bool  # it has a word that is neither part of a name nor an article


@dataclass
class _Word:
    text: str  # lower case, without the punctuation around it
    start: int
    end: int
    opens: bool  # punctuation stands before it
    closes: bool  # or behind it
    role: _Role = _Role.NAME


def names_something(text: str) -> bool:
    """Whether a phrase has a word that can be looked for: no article, preposition, conjunction or pronoun, no dash."""
    return any(word.text not in _FUNCTION_WORDS and not _is_punctuation(word.text) for word in _words(text))


def read(text: str) -> Reading:
    """Find the names in a line of lower-case text."""
    words = list(_words(text))
    verb = False
    for index, word in enumerate(words):
        word.role, is_verb = _role(words, index)
        verb |= is_verb
    chunks = list(_chunks(words))
    named = [chunk for chunk in chunks if not _names_no_thing(words, chunk)]
    things = tuple(_noun_phrase(words, chunk) for chunk in named or chunks)
    roles = [word.role for word in words]
    has_grammar = _Role.OTHER in roles
    joined = _Role.JOINER in roles
    return Reading(
        things,
        is_list=joined and not has_grammar,
        is_sentence=verb or (joined and has_grammar),
        has_grammar=has_grammar,
    )


def _is_punctuation(text: str) -> bool:
    return all(unicodedata.category(sign)[0] in "PZM" for sign in text)  # M: an accent without its letter


def _words(text: str) -> Iterator[_Word]:
    for match in re.finditer(r"\S+", text):
        token = match.group()
        left, core = len(token) - len(token.lstrip(_EDGES)), token.strip(_EDGES)
        start = match.start() + left
        yield _Word(core.lower(), start, start + len(core), left > 0, left + len(core) < len(token))


def _role(words: Sequence[_Word], index: int) -> tuple[_Role, bool]:
    """What a word is, given the roles of those before it, and whether it is a verb that makes a sentence."""
    word = words[index].text
    before = words[index - 1] if index else None
    after = words[index + 1].text if index + 1 < len(words) else None
    if word in _JOINERS:
        # "a black and white cat" is one
        joins = before is not None and before.text in _COLOURS and after in _COLOURS
        return (_Role.NAME if joins else _Role.JOINER), False
    if word in DETERMINERS:
        return _Role.DETERMINER, False
    if word == "of":
        return _of(words, index), False
    if _is_punctuation(word) or word in _FUNCTION_WORDS:
        return _Role.OTHER, word in _AUXILIARIES
    if _is_verb(words, index, after):
        return _Role.OTHER, not word.endswith(("ing", "ed")) and word not in _PARTICIPLES
    is_adverb = word.endswith("ly") and len(word) > 4 and word not in _NOUNS_WITH_LY
    return (_Role.OTHER if is_adverb and after is not None and before is not None else _Role.NAME), False


def _of(words: Sequence[_Word], index: int) -> _Role:
    """Part of a name ("cup of coffee"), but not of a place or a number ("on top of a table", "a lot of cats")."""
    inside = any(word.text not in _PLACES for word in _names_before(words, index))
    following = (word.text for word in words[index + 1 : index + 4] if word.text not in DETERMINERS)
    return _Role.NAME if inside and next(following, "of") not in _FUNCTION_WORDS else _Role.OTHER


def _names_before(words: Sequence[_Word], index: int) -> Iterator[_Word]:
    while index and words[index - 1].role is _Role.NAME and not words[index - 1].closes:
        index -= 1
        yield words[index]


def _is_verb(words: Sequence[_Word], index: int, after: str | None) -> bool:
    word, before = words[index].text, words[index - 1] if index else None
    follows_name = before is not None and before.role is _Role.NAME and before.text not in _ADJECTIVES
    follows_of = before is not None and before.text == "of"
    ends = after is None or after in _FUNCTION_WORDS
    if before is not None and before.text in _TO_BE and word.endswith(("ing", "ed")):
        return True
    if before is not None and before.text in {"to", "not", "can", "will"} and word in _VERBS:
        return True
    if word.endswith("ing") and len(word) > 4 and word not in _NOUNS_WITH_ING:
        if before is None or before.role is _Role.JOINER:
            # "boxing and pizza" is a list, "a man sitting and holding a cup" is none
            alone = (after is None or after in _JOINERS) and (index < 2 or words[index - 2].role is _Role.NAME)
            return ends and not alone
        return (ends and (follows_name or before.role is _Role.OTHER)) or (follows_name and word not in _BEFORE_NOUNS)
    if not follows_name or follows_of:
        return False
    if word in _PARTICIPLES or (word.endswith("ed") and len(word) > 4 and word not in _NOUNS_WITH_ED):
        return ends
    if _third_person(word):
        return word not in _ALSO_NOUNS or after in DETERMINERS | _PRONOUNS
    assert before is not None
    plural = (before.text.endswith("s") and not before.text.endswith("ss")) or before.text in _PEOPLE
    return word in _VERBS and plural and ends


def _third_person(word: str) -> bool:
    stems = {word.removesuffix("s"), word.removesuffix("es"), f"{word.removesuffix('ies')}y"}
    return word.endswith("s") and not stems.isdisjoint(_VERBS)


def _chunks(words: Sequence[_Word]) -> Iterator[range]:
    """Runs of words that are part of a name."""
    start = None
    for index, word in enumerate(words):
        article_inside = word.role is _Role.DETERMINER and start is not None and words[index - 1].text == "of"
        if start is not None and word.opens:
            yield range(start, index)
            start = None
        if word.role is _Role.NAME or article_inside:  # "a map of the sea"
            start = index if start is None else start
            if word.closes:
                yield range(start, index + 1)
                start = None
        elif start is not None:
            yield range(start, index)
            start = None
    if start is not None:
        yield range(start, len(words))


def _names_no_thing(words: Sequence[_Word], chunk: range) -> bool:
    """A place ("on the left"), a number, or what something is like ("the cat is black")."""
    texts = [words[index].text for index in chunk]
    before = words[chunk.start - 1].text if chunk.start else ""
    predicate = before in _TO_BE and before != "there's" and len(texts) == 1 and not texts[0].endswith("s")
    if predicate and chunk.start > 1 and words[chunk.start - 2].text == "there":
        predicate = False
    return all(text in _PLACES for text in texts) or predicate


def _noun_phrase(words: Sequence[_Word], chunk: range) -> NounPhrase:
    texts = [words[index].text for index in chunk]
    # Each "of" has a noun before it, and the last word is one.
    ends = [position - 1 for position, text in enumerate(texts) if text == "of" and position] + [len(texts) - 1]
    nouns = tuple((words[chunk[end]].start, words[chunk[end]].end) for end in ends)
    return NounPhrase(words[chunk.start].start, words[chunk.stop - 1].end, nouns)
