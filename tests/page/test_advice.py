from dataclasses import replace
from typing import Any

import pytest

from groundingdino.detection.available_models import MODELS
from groundingdino.editing.available_models import INPAINTERS
from groundingdino.files.assets import DRAWINGS, PHOTOGRAPHS
from groundingdino.page.advice import DETECTOR, for_photographs, to_fetch
from groundingdino.page.model_cache import ModelCache
from groundingdino.segmentation.available_models import SEGMENTERS
from tests.oracle import CARD, Oracle

PENCIL = replace(CARD, title="Pencil", knows=(DRAWINGS,))
LENS = replace(CARD, name="lens", title="Lens", size_bytes=2_000_000)
MIRROR = replace(CARD, name="mirror", title="Mirror", size_bytes=3_000_000_000)


def shelf(*ready: str, **options: Any) -> ModelCache:
    cards = {"embedded": PENCIL, "lens": LENS, "mirror": MIRROR}
    return ModelCache(cards, lambda *_, **__: Oracle({}), lambda name: name in ("embedded", *ready), **options)


@pytest.mark.parametrize(
    ("ready", "model", "label"),
    [((), "lens", "Get Lens · 2 MB"), (("mirror",), "mirror", "Use Mirror"), (("lens", "mirror"), "lens", "Use Lens")],
)
def test_it_names_a_model_for_photographs_and_prefers_one_that_is_here(ready, model: str, label: str):
    advice = for_photographs(shelf(*ready), PENCIL, DETECTOR)
    assert advice == {
        "text": "This detector knows drawings. Is this a photograph?",
        "label": label,
        "kind": "detector",
        "model": model,
    }


def test_without_downloads_there_is_no_button_but_the_name_and_size():
    advice = for_photographs(shelf(local_files_only=True), PENCIL, DETECTOR)
    assert (advice["label"], "Lens (2 MB), but downloads are off" in advice["text"]) == ("", True)
    assert to_fetch(shelf(local_files_only=True), "lens", DETECTOR, again=False) is None


@pytest.mark.parametrize("knows", [(PHOTOGRAPHS,), (DRAWINGS, PHOTOGRAPHS)])
def test_who_knows_photographs_needs_no_advice(knows: tuple[str, ...]):
    assert for_photographs(shelf(), replace(PENCIL, knows=knows), DETECTOR) is None


def test_where_no_model_knows_them_there_is_none_to_name():
    only = ModelCache({"embedded": PENCIL}, lambda *_, **__: Oracle({}), lambda _: True)
    assert for_photographs(only, PENCIL, DETECTOR) is None


def test_every_model_says_what_it_is_for():
    for card in [*MODELS.values(), *SEGMENTERS.values(), *INPAINTERS.values()]:
        assert card.knows
        assert set(card.knows) <= {DRAWINGS, PHOTOGRAPHS}


SMALL = replace(CARD, name="small", title="Small", names=("person", "black cat", "dog", "cow", "horse", "sheep"))


def shelf_with_small(*ready: str, **options: Any) -> ModelCache:
    cards = {"embedded": PENCIL, "small": SMALL, "lens": LENS}
    return ModelCache(cards, lambda *_, **__: Oracle({}), lambda name: name in ("embedded", "small", *ready), **options)


@pytest.mark.parametrize(
    ("missed", "model"),
    [
        (["a brown dog"], "small"),
        (["two dogs"], "small"),
        (["zebra", "dog"], "small"),
        (["zebra"], "lens"),
        ([], "lens"),
    ],
)
def test_a_model_that_knows_few_names_is_named_where_it_knows_one_that_was_missed(missed: list[str], model: str):
    advice = for_photographs(shelf_with_small(), PENCIL, DETECTOR, missed=missed)
    assert advice is not None
    assert advice["model"] == model


def test_who_knows_few_names_says_so_and_names_who_knows_more():
    advice = for_photographs(shelf_with_small(), SMALL, DETECTOR, missed=["dog"])
    assert advice is not None
    assert advice["text"] == (
        "This detector knows person, black cat, dog, cow, horse and 1 more names, and misses some."
    )
    assert advice["label"] == "Get Lens · 2 MB"
    offline = for_photographs(shelf_with_small(local_files_only=True), SMALL, DETECTOR, missed=["dog"])
    assert offline is not None
    assert offline["text"].endswith("Others need Lens (2 MB), but downloads are off.")


def test_only_a_model_that_can_do_what_was_asked_is_named():
    advice = for_photographs(shelf("lens"), PENCIL, DETECTOR, lambda card: card.title != "Lens")
    assert advice["model"] == "mirror"
    assert for_photographs(shelf(), PENCIL, DETECTOR, lambda card: card.title == "Pencil") is None
