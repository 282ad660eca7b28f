import pytest

from groundingdino.artwork import names as names_module
from groundingdino.artwork.names import COLOURS, Drawing, Name, load_names, plural

NAMES = load_names()


def test_at_least_five_hundred_everyday_names():
    assert len(NAMES) >= 500
    assert {"cat", "dog", "pizza", "apple", "soccer ball", "birthday cake", "car"} <= {name.name for name in NAMES}


def test_no_two_classes_share_a_name_or_a_drawing():
    words = [word for name in NAMES for word in (name.name, *name.synonyms)]
    assert len(words) == len(set(words))
    drawings = [drawing.codepoints for name in NAMES for drawing in name.drawings]
    assert len(drawings) == len(set(drawings))


def test_two_drawings_of_a_dog_are_one_class():
    dog = next(name for name in NAMES if name.name == "dog")
    assert [drawing.codepoints for drawing in dog.drawings] == ["1f436", "1f415"]


def test_kinds_say_more_than_the_names_of_their_class():
    assert all(not {name.name, *name.synonyms} & set(name.kinds) for name in NAMES)


def test_words_can_stand_in_a_prompt():
    """Phrases are separated by punctuation, and case does not matter."""
    words = [word for name in NAMES for word in name.words]
    assert all(word == word.lower().strip() and not set(word) & set(".,;\n") for word in words)


def test_an_apple_is_red_or_green_by_itself():
    apple = next(name for name in NAMES if name.name == "apple")
    assert apple.drawings == (Drawing("1f34e", "red"), Drawing("1f34f", "green"))
    assert apple.own_colours == {"red", "green"} <= set(COLOURS)
    assert apple.words == {"apple", "fruit", "food"}


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("dog", "dogs"),
        ("cherry", "cherries"),
        ("monkey", "monkeys"),
        ("wine glass", "wine glasses"),
        ("fox", "foxes"),
        ("computer mouse", "computer mice"),
        ("snowman", "snowmen"),
        ("cup of coffee", "cups of coffee"),
        ("school bus", "school buses"),
        ("yo-yo", "yo-yos"),
        ("jeans", "jeans"),
        ("milk", "milk"),
        ("nut and bolt", "nut and bolt"),
    ],
)
def test_plural(one, many):
    assert plural(one) == many


HEADER = "group\tname\tsynonyms\tkinds\ttint\tpose\tdrawings\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a\tdog\t\t\tyes\t\t1f436\na\tcat\tdog\t\tyes\t\t1f431\n", '"dog" names two'),
        ("a\tdog\t\t\tyes\t\t\n", "needs drawings"),
        ("a\tdog\t\t\tmaybe\t\t1f436\n", "needs drawings, a pose"),
        ("a\tdog\t\t\tyes\tlying\t1f436\n", "needs drawings, a pose"),
        ("a\tdog\t\t\tyes\t\t1f436:beige\n", 'but is "beige"'),
    ],
)
def test_a_wrong_list_is_refused(tmp_path, monkeypatch, rows, message):
    (tmp_path / "names.tsv").write_text(HEADER + rows, encoding="utf-8")
    monkeypatch.setattr(names_module, "__file__", str(tmp_path / "names.py"))
    with pytest.raises(ValueError, match=message):
        load_names.__wrapped__()


def test_words_of_a_name():
    name = Name("bird", "eagle", ("sea eagle",), ("bird",), False, "", (Drawing("1f985"),))
    assert name.words == {"eagle", "sea eagle", "bird"}
