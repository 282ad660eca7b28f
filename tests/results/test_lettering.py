import unicodedata

import pytest
from PIL import ImageFont

from groundingdino.results.lettering import font, shorten

SCRIPTS = {
    "Latin": "cat café Ångström fiancée łódź Việt naïve ß ő ğ",
    "Greek": "Ελλάδα γάτα",
    "Cyrillic": "кошка їжак ђ",
    "Chinese": "猫和比萨饼 紅蘋果 狗",
    "Japanese": "雪だるま ネコ",
    "Korean": "고양이 피자",
    "Hebrew": "חתול",
    "Arabic": "قطة گربه",
    "Devanagari": "बिल्ली",
    "Thai": "แมว",
    "Armenian": "կատու",
    "Georgian": "კატა",
    "Bengali": "বিড়াল",
    "Tamil": "பூனை",
    "Ethiopic": "ድመት",
    "emoji": "😀🐈🍕⚽🚗",
    "signs": "0.42 … “x” — ½ © ™ € ₹ №",
}


def drawn(text: str) -> bytes:
    mask = font(24).getmask(text)
    return repr(mask.size).encode() + bytes(mask)


@pytest.mark.parametrize("script", SCRIPTS)
def test_letters_of_many_scripts_are_no_empty_boxes(script):
    letters = {letter for letter in SCRIPTS[script] if not letter.isspace()}
    boxes = {drawn("\ue000"), drawn("\U000e1234")}
    assert len(boxes) == 1, "what no font has is one and the same box"
    # Marks that stand over or under others are drawn with them.
    alone = {letter for letter in letters if not unicodedata.category(letter).startswith("M")}
    assert {letter for letter in alone if drawn(letter) in boxes} == set()


def test_different_words_look_different():
    words = ["cafe", "café", "caff", "кошка", "кошки", "猫", "狗", "🐈", "🐕"]
    assert len({drawn(word) for word in words}) == len(words)


@pytest.mark.parametrize("size", [1, 13, 200])
def test_the_font_has_the_size_that_was_asked_for(size):
    assert font(size).size == size
    assert font(size) is not font(size)


TEXTS = ["cat", "a phrase that goes on and on and never ends", "猫和比萨饼" * 20, "שלום עולם " * 9, "cafe\u0301 " * 30]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("room", [30, 100, 333, 10_000])
def test_a_text_is_as_long_as_there_is_room(text, room):
    letters = font(13)
    short = shorten(text, letters, room, " 0.42")
    assert short.endswith(" 0.42")
    if letters.getlength(f"{text} 0.42") <= room:
        assert short == f"{text} 0.42"
        return
    beginning, _, end = short.partition("…")
    assert (text.startswith(beginning), end) == (True, " 0.42")
    assert letters.getlength(short) <= room or not beginning
    # With the next word or letter it is too long.
    longer = text[: len(beginning) + 2].rstrip()
    assert letters.getlength(f"{longer}… 0.42") > room


@pytest.mark.parametrize("letter", ["x", "猫", "\u0301", "א"])
def test_what_is_measured_is_bounded_by_the_room_and_not_by_the_text(monkeypatch, letter):
    measured, letters = [], font(13)
    monkeypatch.setattr(
        ImageFont.FreeTypeFont, "getlength", lambda _, text: measured.append(len(text)) or 8.0 * len(text)
    )
    shorten(letter * 20_000, letters, 800, " 0.42")
    assert len(measured) <= 12
    assert max(measured) < 820
