import pytest

from groundingdino.artwork.reading import read


@pytest.mark.parametrize(
    ("text", "name", "colour", "unread"),
    [
        ("dog", "dog", None, ()),
        ("A Puppy", "dog", None, ()),
        ("two dogs", "dog", None, ()),
        ("a red car on green grass", "car", "red", ("green", "grass")),
        ("grey car", "car", "gray", ()),
        ("birthday cake", "birthday cake", None, ()),
        ("a happy sleeping cat", "cat", None, ("happy", "sleeping")),
        ("animal", "dog", None, ()),  # of a kind, the first
        ("night sky with stars", "star", None, ("night", "sky")),
    ],
)
def test_a_text_names_what_is_drawn(text, name, colour, unread):
    wanted = read(text)
    assert (wanted.name.name, wanted.colour, wanted.unread) == (name, colour, unread)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("elefant", "no drawing of 'elefant': the nearest there are 'elephant', 'eggplant' or 'planet'"),
        ("a blue giraff", "the nearest there are 'giraffe'"),
        ("qqqq", "everyday things, such as 'cat'"),
        ("red", "everyday things"),
        ("?!", "everyday things"),
    ],
)
def test_what_cannot_be_drawn_is_told_with_the_nearest_there_is(text, message):
    with pytest.raises(ValueError, match=message):
        read(text)
