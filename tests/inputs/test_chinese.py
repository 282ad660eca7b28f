"""Chinese names are read as English ones; unlike `test_prompt.py` all of it is about one language."""

# ruff: noqa: RUF001  # Chinese punctuation is what is tested

from collections import Counter

import pytest
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from groundingdino.artwork.names import COLOURS, load_names
from groundingdino.inputs.chinese import in_english, listed, read_words
from groundingdino.inputs.prompt import Prompt, add_phrase, meaning

WORDS = read_words()

READINGS = [
    ("猫", "cat"),
    ("小狗", "dog"),
    ("T恤", "t-shirt"),
    ("红色的猫", "red cat"),
    ("红 猫", "red cat"),
    ("两只红色的猫", "red cat"),
    ("3 只猫", "cat"),
    ("那些黑白相间的大狗", "black and white big dog"),
    ("左边的人", "left person"),
    ("红酒", "wine"),  # the longest word, not "red alcohol"
    ("面包车", "minibus"),  # no bread
    ("和服", "kimono"),  # no "and"
    ("红色", "red"),
]
UNREADABLE = [
    "",
    "cat",
    "的",
    "和",
    "两只",
    "魑魅",
    "猫魑",
    "睡在沙发上的猫",
    "猫狗",
    "猫和狗",
    "cat 猫",
    "кошка",
    "犬の",
]

LISTS = [
    ("猫和狗", ["猫", "狗"]),
    ("猫 狗 鸟", ["猫", "狗", "鸟"]),
    ("猫 和 红色的 狗以及和服", ["猫", "红色的 狗", "和服"]),
    ("白色的汽车或者公交车", ["白色的汽车", "公交车"]),
    ("猫和魑魅", ["猫和魑魅"]),
    ("和猫", ["和猫"]),
    ("cat", ["cat"]),
]


@pytest.mark.parametrize(("phrase", "english"), READINGS)
def test_a_phrase_of_known_words_has_an_english_reading(phrase, english):
    assert in_english(phrase) == english
    assert meaning(phrase) == english


@pytest.mark.parametrize("phrase", UNREADABLE)
def test_nothing_is_guessed_of_any_other(phrase):
    assert in_english(phrase) is None
    assert meaning(phrase) == phrase


@pytest.mark.parametrize(("text", "phrases"), LISTS)
def test_names_may_be_joined_as_in_a_list(text, phrases):
    assert listed(text) == phrases


def test_phrases_stay_as_typed_and_their_english_is_read():
    prompt = Prompt.parse("猫。红色的汽车，狗、鸟；魑魅")
    assert prompt == Prompt(("猫", "红色的汽车", "狗", "鸟", "魑魅"))
    assert [part.text for part in prompt.parts] == ["cat", "red car", "dog", "bird", "魑魅"]
    assert [part.spans for part in prompt.parts][1] == (((0, 7),),)
    assert [one.parts[0].text for one in prompt.one_by_one().values()] == ["cat", "red car", "dog", "bird", "魑魅"]
    assert [part.text for part in Prompt.from_phrases(["猫", "dog"]).parts] == ["cat", "dog"]


def test_words_that_mean_the_same_are_one_phrase():
    assert Prompt.parse("猫 . cat . 猫咪").phrases == ("猫",)
    assert Prompt.parse("cat . 猫").phrases == ("cat",)
    assert add_phrase("猫 . 狗", "dog") == "猫 . 狗"
    assert add_phrase("猫", "dog") == "猫 . dog"
    # Of a list the class ids count all.
    assert Prompt.from_phrases(["猫", "cat"]).phrases == ("猫", "cat")
    assert len(Prompt.from_phrases(["猫", "cat"]).parts) == 1


def test_chinese_phrases_beside_an_english_sentence():
    prompt = Prompt.parse("a cat sleeps on a red sofa . 狗")
    assert prompt.phrases == ("cat", "red sofa", "狗")
    assert [(part.text, part.phrases) for part in prompt.parts] == [
        ("a cat sleeps on a red sofa", (0, 1)),
        ("dog", (2,)),
    ]
    assert [part.text for part in prompt.without_context().parts] == ["cat", "red sofa", "dog"]


def test_what_stands_in_quotes_is_one_phrase():
    assert Prompt.parse("“猫和狗”").phrases == ("猫和狗",)


def test_long_texts_are_read_to_their_end():
    assert listed("猫和" * 999 + "狗") == ["猫"] * 999 + ["狗"]
    assert listed(" 猫" * 1999) == ["猫"] * 1999
    assert in_english("红" * 4000) == " ".join(["red"] * 4000)
    assert in_english("的" * 4000) is None


def test_each_word_has_one_meaning_and_each_name_a_word():
    names = Counter(word.chinese for word in WORDS if word.kind == "name")
    assert [name for name, count in names.items() if count > 1] == []
    english = {word.english for word in WORDS if word.kind == "name"}
    assert len(english) > 1200
    assert [name.name for name in load_names() if name.name not in english] == []
    assert {word.english for word in WORDS if word.kind == "colour"} >= {*COLOURS}
    assert [word for word in WORDS if word.chinese != word.chinese.strip().lower() or not word.chinese] == []
    assert [word for word in WORDS if word.english != word.english.strip().lower()] == []
    assert {word.kind for word in WORDS} == {
        *("name", "colour", "modifier", "numeral", "classifier", "quantity", "joiner")
    }


def test_each_name_is_read_as_itself():
    wrong = {
        word.chinese: in_english(word.chinese)
        for word in WORDS
        if word.kind == "name" and in_english(word.chinese) != word.english
    }
    assert wrong == {}


def test_the_names_of_coco_are_known_by_the_words_of_the_drawings():
    said = {word.english for word in WORDS if word.kind == "name"}
    said |= {synonym for name in load_names() for synonym in name.synonyms}
    categories = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    assert [name for name in categories if name not in said and name not in ("__background__", "N/A")] == []
