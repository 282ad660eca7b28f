import json
import re

import pytest
from safetensors import safe_open

from groundingdino.model_cards import EMBEDDED_FILE, MODELS, is_cached


@pytest.mark.parametrize("name", MODELS)
def test_a_card_is_whole(name):
    card = MODELS[name]
    assert card.name == name
    assert 0 < card.text_threshold <= card.box_threshold < 1
    assert card.title
    assert card.description.endswith(".")
    if card.source is not None:
        assert card.source.size == card.size_bytes
        assert re.fullmatch("[0-9a-f]{64}", card.source.sha256)
        assert re.fullmatch("[0-9a-f]{40}", card.source.revision)


def test_the_embedded_model_is_always_here():
    assert MODELS["embedded"].source is None
    assert is_cached("embedded") == EMBEDDED_FILE.is_file()


@pytest.mark.skipif(not EMBEDDED_FILE.is_file(), reason="the embedded model is not trained yet")
def test_the_embedded_card_says_what_its_file_says():
    card = MODELS["embedded"]
    with safe_open(EMBEDDED_FILE, framework="pt") as file:
        stored = json.loads(file.metadata()["groundingdino"])
    assert (card.title, card.description) == (stored["title"], stored["description"])
    assert (card.box_threshold, card.text_threshold) == (stored["box_threshold"], stored["text_threshold"])
    assert card.size_bytes == pytest.approx(EMBEDDED_FILE.stat().st_size, rel=0.05)
