import json
import re
from pathlib import Path

import pytest
from safetensors import safe_open

from groundingdino.detection.available_models import EMBEDDED_FILE, MODELS, is_cached
from groundingdino.editing.available_models import INPAINTERS, mask_settings_for
from groundingdino.editing.edits import MaskSettings
from groundingdino.editing.tasks import Remove, Replace
from groundingdino.files.hub import is_repository
from groundingdino.page.model_cache import readable_size
from groundingdino.segmentation.available_models import EMBEDDED_SEGMENTER, SEGMENTERS, has_segmenter


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
    assert EMBEDDED_FILE.is_file()
    assert is_cached("embedded")


def test_the_embedded_card_says_what_its_file_says():
    card = MODELS["embedded"]
    with safe_open(EMBEDDED_FILE, framework="pt") as file:
        stored = json.loads(file.metadata()["groundingdino"])
    assert (card.title, card.description) == (stored["title"], stored["description"])
    assert (card.box_threshold, card.text_threshold) == (stored["box_threshold"], stored["text_threshold"])
    assert card.size_bytes == pytest.approx(EMBEDDED_FILE.stat().st_size, rel=0.05)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_segmenters_card_is_whole(name):
    card = SEGMENTERS[name]
    assert card.name == name
    assert card.title
    assert card.description.endswith(".")
    assert card.points_per_side > 1
    assert 0 < card.min_quality < 1
    assert 0 < card.min_stability < 1
    assert (card.source is None) + (card.repository is None) == (2 if name == "embedded" else 1)
    assert bool(card.licence) == (name != "embedded")
    if card.source is not None:
        assert card.source.size == card.size_bytes
        assert re.fullmatch("[0-9a-f]{64}", card.source.sha256)
        assert re.fullmatch(rf"https://.*/sam_{name}_[0-9a-f]{{6}}\.pth", card.source.url)
    if card.repository is not None:
        assert is_repository(card.repository)
        assert card.stable_single is None, "the model's configuration says it"


def test_the_page_on_segmenters_says_what_the_cards_say():
    text = (Path(__file__).resolve().parents[2] / "docs" / "segmenters.md").read_text(encoding="utf-8")
    rows = {row[0].strip("`"): row for line in text.splitlines() if len(row := line.strip("| ").split(" | ")) == 6}
    assert set(SEGMENTERS) == set(rows) - {"name"}
    for name, card in SEGMENTERS.items():
        _, _, size, licence, gated, source = rows[name]
        assert size == readable_size(card.size_bytes)
        assert not card.licence or card.licence.startswith(licence)
        assert (gated != "no") == ("gated" in card.licence)
        assert card.repository is None or f"(https://huggingface.co/{card.repository})" in source


def test_the_embedded_segmenter_comes_along():
    assert SEGMENTERS["embedded"].source is None
    assert EMBEDDED_SEGMENTER.is_file()
    assert has_segmenter("embedded")


def test_the_embedded_segmenters_card_knows_its_size():
    assert SEGMENTERS["embedded"].size_bytes == pytest.approx(EMBEDDED_SEGMENTER.stat().st_size, rel=0.05)
    assert EMBEDDED_SEGMENTER.stat().st_size <= 8_000_000


@pytest.mark.parametrize(
    ("inpainter", "task", "asked", "expected"),
    [
        ("embedded", Replace("dog"), {}, MaskSettings(one_by_one=True, boxes=True)),
        ("embedded", Remove("model"), {}, MaskSettings(one_by_one=True)),
        ("embedded", Remove("fill"), {}, MaskSettings()),
        ("somebody/elses", Replace("dog"), {}, MaskSettings()),
        ("embedded", Replace("dog"), {"one_by_one": False, "boxes": False}, MaskSettings()),
        ("sd15", Replace("dog"), {"one_by_one": True, "boxes": True}, MaskSettings(one_by_one=True, boxes=True)),
        ("sd15", Replace("dog"), {"grow": 4, "feather": 0}, MaskSettings(4, 0)),
    ],
)
def test_a_mask_is_as_asked_for_and_else_as_it_suits(inpainter, task, asked, expected):
    assert mask_settings_for(INPAINTERS.get(inpainter), task, **asked) == expected
