"""What is typed as phrases."""

# ruff: noqa: RUF001  # signs that look like others are what is tested

import itertools
import re
import subprocess
import sys

import numpy as np
import pytest

from groundingdino.inputs.prompt import MAX_LIST, MAX_PHRASE, MAX_PROMPT, Prompt, add_phrase, read_prompt

SPLITS = [
    ("cat", ("cat",)),
    ("Cat . Remote Control .", ("cat", "remote control")),
    ("cat.dog", ("cat", "dog")),
    ("cat, dog; bird\nfish\r\nant", ("cat", "dog", "bird", "fish", "ant")),
    ("who is that? the umbrella", ("the umbrella",)),
    ("  red \t apple  ", ("red apple",)),
    ("猫，狗、鸟。鱼；牛｜羊？ant．ox", ("猫", "狗", "鸟", "鱼", "牛", "羊", "ant", "ox")),
    ("cat | dog… bird", ("cat", "dog", "bird")),
    ("- cat\n * red dog\n– bird\n-emu", ("cat", "red dog", "bird", "emu")),
    ("• fish • ant ◦ bee\n・bear", ("fish", "ant", "bee", "bear")),
    ("1. ox\n2) cow\n10. goat", ("ox", "cow", "goat")),
    ("-5 l jar\n2.5 l jar\n3 cats", ("-5 l jar", "2.5 l jar", "3 cats")),
    ("t-shirt\nc++\nblack & white tv", ("t-shirt", "c++", "black & white tv")),
    ("dog . Dog . cat . DOG", ("dog", "cat")),
    ("2.5 l bottle, 1,000 people", ("2.5 l bottle", "1,000 people")),
    ("cat 1. dog .5", ("cat 1", "dog", "5")),
    ("", ()),
    (" . , ;\n ? .. ", ()),
    ("?!.,; -", ()),
    ("👩\u200d🚀\u200d . c\u200da\u200cr . می\u200cز", ("👩\u200d🚀", "car", "می\u200cز")),
    ("the . cat . and . of", ("cat",)),
    ('"Cat" . “red  dog” , c++ . dog\'s', ("cat", "red dog", "c++", "dog's")),
]


def test_half_a_character_is_left_out():
    assert Prompt.parse("c\udcffat . \ud800").phrases == ("cat",)


@pytest.mark.parametrize(("text", "phrases"), SPLITS)
def test_where_phrases_end(text, phrases):
    assert Prompt.parse(text) == Prompt(phrases)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "cat . dog",
            "Cat.Dog.",
            "cat,\ndog;",
            " CAT . dog . cat .",
            "cat and dog",
            "a cat or the dog",
            "cat, and dog",
        ),
        *("\ufeffcat\u200b . do\u00adg\u2060", "ｃａｔ、ＤＯＧ", "cat & dog", "cat and dog or cat", "cat\u2028dog"),
        *("either a cat and/or a dog", "cat and dog and", "and cat . or dog", "the . cat . and . dog", "“cat” . ‘dog’"),
    ],
)
def test_prompts_that_mean_the_same_are_equal(text):
    assert Prompt.parse(text) == Prompt(("cat", "dog"))
    assert hash(Prompt.parse(text)) == hash(Prompt.from_phrases(["cat", "dog"]))


def test_a_typographic_apostrophe_is_an_apostrophe():
    for apostrophe in "’‘ʼ´`":
        assert Prompt.parse(f"dog{apostrophe}s bowl").phrases == ("dog's bowl",)
    assert Prompt.parse("cafe\u0301") == Prompt.parse("café")


LISTS = [
    ("cat and pizza", ("cat", "pizza")),
    ("blue car and red car", ("blue car", "red car")),
    ("a cat and two dogs or the bird", ("cat", "two dogs", "bird")),
    ("cup of coffee and a glass of water", ("cup of coffee", "glass of water")),
    ("cat, a dog, and pizza", ("cat", "a dog", "pizza")),
    ("cat and dog . bird", ("cat", "dog", "bird")),
    ("black and white cat and dog", ("black and white cat", "dog")),
    ("boxing and pizza", ("boxing", "pizza")),
    ("sitting and lying", ("sitting", "lying")),
    ("can and bottle", ("can", "bottle")),
    ("remote control", ("remote control",)),
    ("person on the left", ("person on the left",)),
    ("a bottle of wine .", ("a bottle of wine",)),
    ("a cat on a red sofa . dog", ("a cat on a red sofa", "dog")),
    ("large red vintage double decker bus", ("large red vintage double decker bus",)),
    ("кошка и собака на диване рядом", ("кошка и собака на диване рядом",)),
    ("sand . orchid", ("sand", "orchid")),
    ('"salt and pepper" . “a man on a horse that is brown”', ("salt and pepper", "a man on a horse that is brown")),
    ("what is this", ()),
    ("and", ()),
]


@pytest.mark.parametrize(("text", "phrases"), LISTS)
def test_names_joined_by_and_are_phrases(text, phrases):
    assert Prompt.parse(text) == Prompt(phrases)


SENTENCES = [
    ("a cat and a pizza on the grass", "cat|pizza|grass"),
    ("A cat on a red sofa .", "cat|red sofa"),
    ("The Dog With a stick", "dog|stick"),
    ("where is the cat?", "cat"),
    ("the cat is black and the dog is white", "cat|dog"),
    ("a man riding horses on the beach", "man|horses|beach"),
    ("two dogs play in the park", "two dogs|park"),
    ("a red sleeping bag next to the tent", "red sleeping bag|tent"),
    ("a cat in front of a dog on the left", "cat|dog"),
    ("a photo of a cat", "cat"),
    ("a car parked on the street near a garden shed", "car|street|garden shed"),
    ("the boy who is eating a slice of the pizza", "boy|slice of the pizza"),
    ("a brightly colored bird (a parrot) sits there", "colored bird|parrot"),
    ("a lot of cats and dogs", "cats|dogs"),
    ("a man watches the watches on a table", "man|watches|table"),
    ("a small cat sleeps on the mat, dog", "small cat|mat|dog"),
    ("A man rides a horse. A dog runs beside it.", "man|horse|dog"),
    ("a cat chases a cat and a dog", "cat|dog"),
]


@pytest.mark.parametrize(("text", "phrases"), SENTENCES)
def test_of_a_sentence_the_things_that_it_names_are_phrases(text, phrases):
    prompt = Prompt.parse(text)
    assert (prompt.kind, "|".join(prompt.phrases)) == ("sentence", phrases)
    for part in prompt.parts:  # the sentence itself is what the model reads
        assert part.text in text.lower()
        for index, spans in zip(part.phrases, part.spans, strict=True):
            assert {part.text[start:end] for start, end in spans} == {prompt.phrases[index]}
    assert prompt.without_context() == Prompt(prompt.phrases)


def test_a_thing_that_is_named_twice_is_one_phrase_in_two_places():
    (part,) = Prompt.parse("a red cat chases a red cat").parts
    assert part == ("a red cat chases a red cat", (0,), (((2, 9), (19, 26)),), (((6, 9), (23, 26)),))


def test_an_article_or_a_conjunction_is_never_a_phrase():
    words = ("a", "an", "the", "and", "or", "of", "on", "in", "with", "is", "are", "it", "that", "to")
    for text in [" ".join(words), *words, *(f"{first} {second}" for first in words for second in words)]:
        assert not Prompt.parse(text).phrases, text
    for one, other in itertools.product(words, words):
        for text in (f"{one} cat {other} dog", f"{one} . cat {other}", f"cat {one} {other} dog"):
            assert not set(Prompt.parse(text).phrases) & set(words), text


def test_class_ids_count_a_list_as_it_was_given():
    prompt = Prompt.from_phrases(["Bow and arrow", "", "St. Bernard", "bow  and arrow", "And", "?", "pizza\u200b"])
    assert prompt.phrases == ("bow and arrow", "", "st. bernard", "bow and arrow", "and", "?", "pizza")
    assert [(part.text, part.phrases) for part in prompt.parts] == [
        ("bow and arrow", (0,)),
        ("st. bernard", (2,)),
        ("pizza", (6,)),
    ]
    assert prompt.unread == ("and", "?")
    assert prompt.kind == "phrases"


class Text(str):
    def __str__(self) -> str:
        return "something else"


@pytest.mark.parametrize(
    "given",
    [
        *("cat . pizza", Text("cat . pizza"), np.str_("cat . pizza"), ["cat", "pizza"], ("cat", "pizza")),
        *((word for word in ("cat", "pizza")), [Text("cat"), np.str_("pizza")], np.array(["cat", "pizza"])),
        *({"cat": 0, "pizza": 1}.keys().__iter__(), ["Cat ", "pizza"]),
    ],
    ids=lambda given: repr(given).partition(" at 0x")[0],
)
def test_what_programs_give_as_a_prompt(given):
    assert read_prompt(given) == Prompt(("cat", "pizza"))
    assert all(type(phrase) is str for phrase in read_prompt(given).phrases)


NO_PROMPT = "The prompt must be text such as 'cat . remote control' or a list of phrases, but it is"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, f"{NO_PROMPT} None."),
        (3, f"{NO_PROMPT} of type int."),
        (True, f"{NO_PROMPT} of type bool."),
        (b"cat", f"{NO_PROMPT} of type bytes."),
        (bytearray(b"cat"), f"{NO_PROMPT} of type bytearray."),
        ({"cat": 0}, f"{NO_PROMPT} of type dict."),
        ({"cat"}, f"{NO_PROMPT} of type set."),
        (np.array(1), f"{NO_PROMPT} of type ndarray."),
        ([1, 2], "Phrase 1 of the prompt must be text, but it is of type int."),
        (["cat", None], "Phrase 2 of the prompt must be text, but it is None."),
        ([["cat"], ["dog"]], "Phrase 1 of the prompt must be text, but it is of type list."),
        (["cat", b"dog"], "Phrase 2 of the prompt must be text, but it is of type bytes."),
        (itertools.count(), "Phrase 1 of the prompt must be text, but it is of type int."),
    ],
    ids=repr,
)
def test_what_is_no_prompt_is_refused(given, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read_prompt(given)


TOO_LONG = "The prompt is longer than the {} characters that are read at once: look for fewer things."
LONG_PHRASE = "x" * (MAX_PHRASE + 1)


@pytest.mark.parametrize(
    "given",
    ["cat . " * 700, [""] * (MAX_LIST + 1), ["cat"] * 12_501, itertools.repeat("cat"), "\n" * 10**7, "x" * 10**7],
    ids=["typed", "empty phrases", "phrases", "endless", "lines", "word"],
)
def test_a_prompt_that_is_too_long_is_refused(given):
    most = "4,000" if isinstance(given, str) else "50,000"
    with pytest.raises(ValueError, match=f"^{re.escape(TOO_LONG.format(most))}$"):
        read_prompt(given)


@pytest.mark.parametrize(
    "given",
    [
        LONG_PHRASE,
        f"cat . {LONG_PHRASE}",
        ["cat", LONG_PHRASE],
        f"a {LONG_PHRASE} on the grass",
        f"cat and {LONG_PHRASE}",
    ],
    ids=["alone", "beside others", "in a list", "in a sentence", "joined"],
)
def test_a_phrase_that_is_too_long_is_refused(given):
    said = (
        f"“{'x' * 39}…” is 501 characters long, but one phrase can have 500 at most: shorten it, or separate its parts"
    )
    with pytest.raises(ValueError, match=f"^{said} with dots.$"):
        read_prompt(given)


def test_long_prompts_are_read():
    names = [f"fire hydrant {number}" for number in range(185)]
    for given in (" . ".join(names), ",".join(names), " and ".join(names), names * 12):
        assert Prompt(tuple(dict.fromkeys(read_prompt(given).phrases))) == Prompt(tuple(names))
    sentence = "a man rides a horse " + "and a dog runs on the grass near the house " * 40
    assert Prompt.parse(sentence).phrases == ("man", "horse", "dog", "grass", "house")
    assert read_prompt(["x" * MAX_PHRASE]).phrases == ("x" * MAX_PHRASE,)


UNITS = [
    "\n",
    " ",
    "and ",
    "a and ",
    ". ",
    "-",
    '"',
    "a of ",
    "left of ",
    "cat of ",
    "- \n",
    "1. ",
    "\u200b",
    "cat is ",
    "1,",
    "x",
]


@pytest.mark.parametrize("unit", UNITS, ids=repr)
def test_the_time_to_read_a_text_grows_with_its_length(unit):
    """Without limits: thirty times what is allowed takes seconds, and were some step quadratic, minutes."""
    unlimited = "import groundingdino.inputs.prompt as prompt; prompt.MAX_PROMPT = prompt.MAX_PHRASE = 10**9"
    code = f"{unlimited}; prompt.Prompt.parse({unit!r} * ({30 * MAX_PROMPT} // {len(unit)})).parts"
    assert subprocess.run([sys.executable, "-c", code], timeout=40).returncode == 0


def test_a_prompt_is_read_without_torch():
    code = "import sys; from groundingdino.inputs.prompt import read_prompt; read_prompt('a cat is here')"
    assert subprocess.run([sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"]).returncode == 0


def test_spans_name_their_phrases():
    prompt = Prompt.from_spans("There is a Cat and a dog", [[(9, 10), (11, 14)], [(21, 24)]])
    assert prompt.phrases == ("a Cat", "dog")
    assert prompt.kind == "spans"
    assert Prompt.from_spans("a cat", []).phrases == ()


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([[]], "at least one character span"),
        ([[(2, 2)]], r"\(2, 2\) does not"),
        ([[(1, 2)]], r"\(1, 2\) does not"),
        ([[(-1, 2)]], r"\(-1, 2\) does not"),
        ([[(2, 6)]], r"\(0 to 5, end excluded\)"),
    ],
)
def test_spans_outside_the_text_are_refused(spans, message):
    with pytest.raises(ValueError, match=message):
        Prompt.from_spans("a cat", spans)


@pytest.mark.parametrize(
    "spans", [3, None, "ab", [3], ["ab"], [[3]], [[(1,)]], [[(0, 1, 2)]], [[(0.0, 1.0)]], [[("a", "b")]]]
)
def test_what_is_no_span_is_refused(spans):
    with pytest.raises(ValueError, match=r"^(Spans must be a list|A span must be two whole numbers)"):
        Prompt.from_spans("a cat", spans)


def test_half_a_character_leaves_the_others_of_a_caption_where_they_are():
    prompt = Prompt.from_spans("a\ud800cat", [[(np.int64(2), 5)]])
    assert (prompt.phrases, prompt.parts[0].text) == (("cat",), "a cat")


HAVE_PIZZA = [
    *(
        "cat . pizza",
        "Cat.pizza",
        "cat,pizza;",
        "cat and pizza",
        "a pizza or cat",
        "2.5 l bottle, pizza",
        "cat; pizza?",
    ),
    *("cat，pizza", "cat、pizza。", "cat｜pizza", "cat | pizza", "• cat • pizza", "- cat\n- pizza", "1. cat\n2) pizza"),
    *("the cat eats a pizza", "cat… pizza", '"pizza" . cat', "-5 l jar\npizza", "ｐｉｚｚａ"),
]


@pytest.mark.parametrize("text", HAVE_PIZZA)
def test_a_phrase_that_a_prompt_has_is_not_added(text):
    assert add_phrase(text, "Pizza") == text
    assert Prompt.parse(add_phrase(text, "dog")).phrases == (*Prompt.parse(text).phrases, "dog")


@pytest.mark.parametrize(
    ("text", "added"),
    [
        *(("", "dog"), (" . ", "dog"), ("cat", "cat . dog"), ("cat , ", "cat . dog"), ("cat。", "cat . dog")),
        *(("c++", "c++ . dog"), ("no. 5", "no. 5 . dog"), ("pizza\n- ", "pizza . dog"), ("hot dog", "hot dog . dog")),
    ],
)
def test_a_phrase_is_added_behind_a_dot(text, added):
    assert add_phrase(text, "dog") == added


def test_names_that_are_asked_one_by_one_stay_names():
    prompts = Prompt.from_names(["cat", "a", "cat"]).one_by_one()
    assert prompts == {0: Prompt.from_names(["cat"]), 1: Prompt.from_names(["a"]), 2: Prompt.from_names(["cat"])}
    assert Prompt.from_phrases(["cat", "a"]).one_by_one() == {0: Prompt.from_phrases(["cat"])}
