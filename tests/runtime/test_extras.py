"""What is said where a library of an extra is missing."""

import pytest

from groundingdino.runtime import extras


@pytest.mark.parametrize(
    ("absent", "sentence"),
    [
        ((), None),
        (("diffusers",), "Painting needs diffusers, which is not installed: pip install diffusers."),
        (
            ("diffusers", "accelerate"),
            "Painting needs diffusers and accelerate, which are not installed: pip install diffusers accelerate.",
        ),
    ],
)
def test_the_sentence_says_what_to_install(monkeypatch, absent, sentence):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in absent else object())
    assert extras.missing("Painting", "inpaint") == sentence
