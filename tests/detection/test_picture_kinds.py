"""Photographs and drawings are told apart, and the model that knows a picture answers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from groundingdino.detection.picture_kinds import is_photograph, suited
from groundingdino.files.assets import ASSETS
from groundingdino.segmentation.available_models import SEGMENTERS
from groundingdino.training.detector.picture_kinds import fit
from groundingdino.training.scenes.examples import PHOTOGRAPHED
from groundingdino.training.scenes.scenes import evaluation_scenes

FOLDER = ASSETS / "examples"
DRAWN = sorted({*FOLDER.glob("*.webp")} - {FOLDER / name for name in PHOTOGRAPHED})
PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "photos"


@pytest.mark.parametrize("path", DRAWN, ids=lambda path: path.stem)
def test_the_drawn_examples_are_drawings(path):
    image = Image.open(path).convert("RGB")
    assert not is_photograph(image)
    assert suited(image, "embedded-photos") == "embedded"


@pytest.mark.parametrize("name", PHOTOGRAPHED)
def test_the_photographed_examples_are_photographs(name):
    image = Image.open(FOLDER / name).convert("RGB")
    assert is_photograph(image)
    assert suited(image, "embedded") == "embedded-photos"
    assert suited(image, "embedded", cards=SEGMENTERS) == "embedded-photos"


def test_drawn_scenes_are_drawings():
    assert sum(is_photograph(Image.fromarray(scene.image)) for scene in evaluation_scenes("noto", 12)) == 0


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs are not in ../shared/photos")
@pytest.mark.parametrize("name", ["animals", "groceries", "coco", "raccoons"])
def test_photographs_are_photographs(name):
    paths = sorted((PHOTOS / name / "images").iterdir())[::40][:12]
    images = [Image.open(path).convert("RGB") for path in paths]
    assert sum(map(is_photograph, images)) >= len(images) - 1
    assert suited(images[0], "embedded") == "embedded-photos"


def test_another_model_stays_and_so_does_the_only_one():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8))
    assert suited(noise, "swin-t") == "swin-t"
    assert suited(noise, "embedded", offered=("embedded", "swin-t")) == "embedded"


def test_what_is_too_narrow_to_tell_is_no_photograph():
    assert not is_photograph(Image.new("RGB", (4000, 2)))


def test_two_clouds_are_told_apart():
    generator = torch.Generator().manual_seed(0)
    cloud = torch.randn(200, 3, generator=generator) * torch.tensor([1.0, 50.0, 0.1])
    weight, bias = fit(cloud + torch.tensor([4.0, 0.0, 0.0]), cloud[:50])
    assert ((cloud + torch.tensor([4.0, 0.0, 0.0])) @ weight + bias > 0).float().mean() > 0.95
    assert (cloud @ weight + bias > 0).float().mean() < 0.05
