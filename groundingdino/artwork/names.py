"""What a scene can show and what people call it: the reviewed list `names.tsv`.

The names follow the English short names and keywords of Unicode CLDR, cleaned into everyday words. Two drawings that
deserve the same name (dog, dog face) are one class. `kinds` are broader words that are true of a class but may be true
of others too (an eagle is a bird), so they are never used as if they were absent.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray")
POSES = ("", "text", "upright")

IRREGULAR_PLURALS = {
    "bus": "buses",
    "cactus": "cacti",
    "deer": "deer",
    "die": "dice",
    "fish": "fish",
    "foot": "feet",
    "hippopotamus": "hippopotamuses",
    "human": "humans",
    "knife": "knives",
    "leaf": "leaves",
    "loaf": "loaves",
    "mango": "mangoes",
    "minibus": "minibuses",
    "mosquito": "mosquitoes",
    "mouse": "mice",
    "octopus": "octopuses",
    "people": "people",
    "person": "people",
    "potato": "potatoes",
    "rhinoceros": "rhinoceroses",
    "scarf": "scarves",
    "sheaf": "sheaves",
    "sheep": "sheep",
    "shrimp": "shrimp",
    "tomato": "tomatoes",
    "tooth": "teeth",
    "volcano": "volcanoes",
    "wolf": "wolves",
}
# Last words of names that nobody puts in the plural.
NO_PLURAL = frozenset((
    "bacon", "badminton", "beer", "bowling", "bread", "broccoli", "butter", "candy", "cattle", "champagne",
    "chocolate", "clothes", "clothing", "cloudy", "coffee", "confetti", "construction", "corn", "coral", "curry",
    "cutlery", "dancing", "dice", "dna", "down", "dynamite", "earth", "fire", "firewood", "food", "fruit", "garlic",
    "hockey", "honey", "ice", "increasing", "jewelry", "juice", "lettuce", "liberty", "lightning", "luggage",
    "mahjong", "meat", "milk", "money", "music", "pasta", "paprika", "pong", "poo", "poop", "popcorn", "ramen",
    "rice", "running", "salt", "saturn", "shampoo", "soap", "soup", "spaghetti", "sushi", "tea", "tempura", "tennis",
    "thread", "toast", "underwear", "up", "voltage", "wheat", "whiskey", "whisky", "wine", "wood", "yarn",
))  # fmt: skip


@dataclass(frozen=True)
class Drawing:
    """One character of the artwork, as lower-case code points joined by "-", and its colour word where it has one."""

    codepoints: str
    colour: str | None = None


@dataclass(frozen=True)
class Name:
    """A class of things that carry one everyday name.

    Args:
        group: things that are alike, as in CLDR's subgroups; the source of hard absent names.
        name: the name used most.
        synonyms: other names of exactly this class.
        kinds: broader words that are true of it, and of other classes too.
        tint: whether a colour word makes sense for it ("blue car", but not "blue pizza").
        pose: "text" is never mirrored, "upright" is neither mirrored nor turned far, "" may be both.
        drawings: its characters, at least one.
    """

    group: str
    name: str
    synonyms: tuple[str, ...]
    kinds: tuple[str, ...]
    tint: bool
    pose: str
    drawings: tuple[Drawing, ...]

    @cached_property
    def words(self) -> frozenset[str]:
        """Everything that may be said of it without a colour."""
        return frozenset((self.name, *self.synonyms, *self.kinds))

    @cached_property
    def own_colours(self) -> frozenset[str]:
        """The colours that some of its drawings have by themselves."""
        return frozenset(drawing.colour for drawing in self.drawings if drawing.colour)


@lru_cache(maxsize=1)
def load_names() -> tuple[Name, ...]:
    """The reviewed list, in its own order: the index of a name is the class index of the scenes.

    Raises:
        ValueError: a line of `names.tsv` is not what it should be, or two classes share a name.
    """
    path = Path(__file__).with_name("names.tsv")
    with path.open(encoding="utf-8", newline="") as file:
        names = tuple(_parse(row) for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    owners: dict[str, str] = {}
    for name in names:
        for word in (name.name, *name.synonyms):
            if word in owners:
                raise ValueError(f'Each name may belong to one class only, but "{word}" names two in {path.name}.')
            owners[word] = name.name
    return names


def plural(name: str) -> str:
    """English plural of a name; the name itself where it is one already, or has none.

    >>> plural("wine glass"), plural("cherry"), plural("computer mouse"), plural("snowman"), plural("ear of corn")
    ('wine glasses', 'cherries', 'computer mice', 'snowmen', 'ears of corn')
    >>> plural("jeans"), plural("milk")
    ('jeans', 'milk')
    """
    if " and " in name:
        return name
    for preposition in (" of ", " with ", " in ", " behind "):
        if preposition in name:
            head, rest = name.split(preposition, 1)
            return plural(head) + preposition + rest
    stem, _, last = name.rpartition(" ")
    return f"{stem} {_plural_word(last)}" if stem else _plural_word(last)


def may_mean(text: str, words: Iterable[str]) -> bool:
    """Whether a phrase may be true of what these words are true of: it holds one of them, whatever else it says."""
    text = f" {text} "
    return any(f" {word} " in text or f" {plural(word)} " in text for word in words)


def _plural_word(word: str) -> str:
    if word in NO_PLURAL:
        return word
    if word in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[word]
    if word.endswith("man"):
        return word[:-3] + "men"
    if word.endswith(("ch", "sh", "ss", "x")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou-":
        return word[:-1] + "ies"
    return word if word.endswith("s") else word + "s"


def _parse(row: dict[str, str]) -> Name:
    drawings = []
    for text in row["drawings"].split():
        codepoints, _, colour = text.partition(":")
        if colour and colour not in COLOURS:
            raise ValueError(f'The colour of "{row["name"]}" should be one of {COLOURS}, but is "{colour}".')
        drawings.append(Drawing(codepoints, colour or None))
    if not drawings or row["pose"] not in POSES or row["tint"] not in ("yes", "no"):
        raise ValueError(f'names.tsv needs drawings, a pose of {POSES} and a tint of yes or no at "{row["name"]}".')
    return Name(
        group=row["group"],
        name=row["name"],
        synonyms=_split(row["synonyms"]),
        kinds=_split(row["kinds"]),
        tint=row["tint"] == "yes",
        pose=row["pose"],
        drawings=tuple(drawings),
    )


def _split(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
