"""Which words name things; whole prompts are in `test_prompt.py`."""

import pytest

from groundingdino.inputs.noun_phrases import names_something, read


@pytest.mark.parametrize(
    "text", ["cat", "the cat", "can", "c++", "c", "7", "🐱", "猫", "of mice", "(cat)", "will smith"]
)
def test_what_names_something(text):
    assert names_something(text)


@pytest.mark.parametrize("text", ["", " ", "the", "and", "on", "what is this", "?!", "— …", "( )", "& the", "\u0301"])
def test_what_names_nothing(text):
    assert not names_something(text)


@pytest.mark.parametrize(
    ("text", "is_list", "is_sentence", "has_grammar"),
    [
        ("cat", False, False, False),
        ("the red cat", False, False, False),
        ("a cat and the dog", True, False, False),
        ("cat on a mat", False, False, True),
        ("cat on a mat and dog", False, True, True),
        ("man riding a horse", False, False, True),
        ("a man rides", False, True, True),
        ("a man is here", False, True, True),
    ],
)
def test_how_a_line_is_read(text, is_list, is_sentence, has_grammar):
    reading = read(text)
    assert (reading.is_list, reading.is_sentence, reading.has_grammar) == (is_list, is_sentence, has_grammar)


def test_where_names_and_their_nouns_are():
    text = "the (red) cup of hot coffee"
    red, cup = read(text).things
    assert text[red.start : red.end] == "red"
    assert text[cup.start : cup.end] == "cup of hot coffee"
    assert [text[start:end] for start, end in cup.nouns] == ["cup", "coffee"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("salt and pepper", ["salt", "pepper"]),  # one thing to us
        ("a man zips a jacket", ["man zips", "jacket"]),  # a verb that is in no list
        ("the cat is black", ["cat"]),  # what it is like is left out
    ],
)
def test_what_the_lists_miss(text, named):
    assert [text[thing.start : thing.end] for thing in read(text).things] == named
