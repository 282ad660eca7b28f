import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import Owlv2Config, Owlv2ForObjectDetection

from groundingdino.detection.available_models import (
    COME_ALONG,
    MODELS,
    OTHER_MODELS,
    Figures,
    OtherConfig,
    find_detector,
    is_cached,
)
from groundingdino.detection.families import ARCHITECTURES
from groundingdino.editing.available_models import INPAINTERS, mask_settings_for
from groundingdino.editing.edits import MaskSettings
from groundingdino.editing.tasks import Remove, Replace
from groundingdino.files import hub
from groundingdino.files.hub import HubFile, HubFolder, is_repository
from groundingdino.model import GroundingDINO
from groundingdino.page.model_cache import readable_size
from groundingdino.segmentation.available_models import COME_ALONG as WITH_THE_PROGRAM
from groundingdino.segmentation.available_models import SEGMENTERS, has_segmenter
from tests.conftest import ROOT


@pytest.mark.parametrize("name", MODELS)
def test_a_card_is_whole(name):
    card = MODELS[name]
    assert card.name == name
    assert 0 < card.text_threshold <= card.box_threshold < 1
    assert card.title
    assert card.description.endswith(".")
    if isinstance(card.source, HubFile):
        assert card.source.size == card.size_bytes
        assert re.fullmatch("[0-9a-f]{64}", card.source.sha256)
        assert re.fullmatch("[0-9a-f]{40}", card.source.revision)


FOLDERS = [card for card in (*MODELS.values(), *OTHER_MODELS.values()) if isinstance(card.source, HubFolder)]


@pytest.mark.parametrize("card", FOLDERS, ids=lambda card: card.name)
def test_a_card_of_a_repository_is_whole(card):
    assert is_repository(card.source.repository)
    assert re.fullmatch("[0-9a-f]{40}|main", card.source.revision)
    assert (card.name in MODELS) or (card.name == card.source.repository)
    if isinstance(card.config, OtherConfig):
        assert card.config.model_type in ARCHITECTURES
        return
    with torch.device("meta"):
        numbers = sum(parameter.numel() for parameter in GroundingDINO(card.config).parameters())
    assert card.size_bytes == pytest.approx(4 * numbers, rel=0.005)


@pytest.mark.parametrize(
    ("name", "text", "vision"),
    [
        ("owlv2-b", {}, {}),
        (
            "owlv2-l",
            {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
            {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
        ),
    ],
)
def test_the_size_of_owlv2_is_that_of_its_numbers(name, text, vision):
    card = MODELS[name]
    vision |= {"image_size": card.config.side, "patch_size": 16 if name == "owlv2-b" else 14}
    config = Owlv2Config(text_config=text, vision_config=vision, projection_dim=text.get("hidden_size", 512))
    with torch.device("meta"):
        numbers = sum(parameter.numel() for parameter in Owlv2ForObjectDetection(config).parameters())
    assert card.size_bytes == pytest.approx(4 * numbers, rel=0.005)


def test_each_repository_has_one_card():
    assert len({card.source.repository for card in FOLDERS}) == len(FOLDERS) == 17


def test_who_may_have_gated_weights_is_told():
    gated = [card for card in MODELS.values() if card.gated]
    assert [card.name for card in gated] == ["sam3"]
    for card in gated:
        assert f"ask for access at https://huggingface.co/{card.source.repository}" in card.description


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        (Figures(50.4, 41.4), "COCO AP 50.4, LVIS AP 41.4, without training on COCO."),
        (Figures(coco=59.5, saw_coco=True), "COCO AP 59.5, with COCO in training."),
        (Figures(lvis=44.7, saw_coco=True), "LVIS AP 44.7, with COCO in training."),
    ],
)
def test_figures_as_a_sentence(figures, sentence):
    assert figures.sentence() == sentence


def test_the_table_of_the_documents_says_what_the_cards_say():
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    links = dict(re.findall(r"^\[(\w+)\]: (\S+)$", text, re.M))
    rows = {}
    for line in re.findall(r"^\| `.+$", text, re.M):
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name.strip("`")] = [re.sub(r"\[.+\]\[(\w+)\]", lambda link: links[link[1]], cell) for cell in cells]
    expected = {}
    for card in (*MODELS.values(), *OTHER_MODELS.values()):
        figures = card.figures or Figures()
        expected[card.name] = [
            card.title,
            readable_size(card.size_bytes),
            card.licence,
            "yes" if card.gated else "no",
            str(figures.coco or ""),
            "" if card.figures is None else "no" if figures.saw_coco else "yes",
            str(figures.lvis or ""),
            f"{card.box_threshold:.2f} / {card.text_threshold:.2f}",
            figures.source,
        ]
    assert rows == expected


@pytest.mark.parametrize(
    ("name", "thresholds"),
    [("iSEE-Laboratory/llmdet_tiny", (0.40, 0.25)), ("openmmlab-community/mm_grounding_dino_base_all", (0.30, 0.25))],
)
def test_a_repository_that_has_a_card_is_found_with_it(name, thresholds, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(hub, "fetch_model_folder", lambda repository, *_: asked.append(repository) or tmp_path)
    folder, card = find_detector(name)
    assert (folder, card.name, (card.box_threshold, card.text_threshold)) == (tmp_path, name, thresholds)
    assert asked == [name]
    assert find_detector("owner/unknown") == (tmp_path, None)


def test_a_folder_of_the_same_name_comes_first(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "iSEE-Laboratory" / "llmdet_tiny").mkdir(parents=True)
    assert find_detector("iSEE-Laboratory/llmdet_tiny") == (Path("iSEE-Laboratory/llmdet_tiny"), None)


@pytest.mark.parametrize("name", COME_ALONG)
def test_what_comes_along_is_always_here(name: str):
    assert MODELS[name].source is None
    assert COME_ALONG[name].is_file()
    assert is_cached(name)


@pytest.mark.parametrize("name", COME_ALONG)
def test_the_card_of_what_comes_along_says_what_its_file_says(name: str):
    card = MODELS[name]
    with safe_open(COME_ALONG[name], framework="pt") as file:
        stored = json.loads(file.metadata()["groundingdino"])
    assert (card.title, card.description) == (stored["title"], stored["description"])
    assert (card.box_threshold, card.text_threshold) == (stored["box_threshold"], stored["text_threshold"])
    assert card.size_bytes == pytest.approx(COME_ALONG[name].stat().st_size, rel=0.05)


def test_a_model_with_few_names_knows_what_says_one_of_them():
    card = MODELS["embedded-photos"]
    assert all(map(card.knows_name, ("dog", "two black dogs", "People", "a Horse")))
    assert not any(map(card.knows_name, ("zebra", "hotdog", "")))
    assert MODELS["swin-t"].knows_name("zebra")


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_segmenters_card_is_whole(name):
    card = SEGMENTERS[name]
    assert card.name == name
    assert card.title
    assert card.description.endswith(".")
    assert card.points_per_side > 1
    assert 0 < card.min_quality < 1
    assert 0 < card.min_stability < 1
    comes_along = name in ("embedded", "embedded-photos")
    assert (card.source is None) + (card.repository is None) == (2 if comes_along else 1)
    assert bool(card.licence) == (not comes_along)
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


@pytest.mark.parametrize("name", WITH_THE_PROGRAM)
def test_segmenters_come_along(name):
    assert SEGMENTERS[name].source is None
    assert has_segmenter(name)
    assert SEGMENTERS[name].size_bytes == WITH_THE_PROGRAM[name].stat().st_size <= 9_000_000


def test_detectors_and_segmenters_that_come_along_have_the_same_names():
    assert WITH_THE_PROGRAM.keys() == COME_ALONG.keys()
    for name in COME_ALONG:
        assert SEGMENTERS[name].knows == MODELS[name].knows


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
