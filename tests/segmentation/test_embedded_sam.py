"""The embedded segmenter's architecture: segment-anything's interface, with a fine map beside the embedding."""

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from groundingdino.files.weight_files import read_weights
from groundingdino.segmentation.available_models import COME_ALONG
from groundingdino.segmentation.embedded_encoder import DIM, FINE_DIM, split_features
from groundingdino.segmentation.embedded_sam import (
    DRAWING_BACKBONE,
    PHOTOGRAPHIC_BACKBONE,
    build_embedded_sam,
    save_embedded_sam,
)
from groundingdino.segmentation.segmenter_models import load_segmenter

LARGEST = 8_600_000  # bytes of the file


BACKBONES = pytest.mark.parametrize("backbone", [DRAWING_BACKBONE, PHOTOGRAPHIC_BACKBONE], ids=["drawings", "photos"])


@BACKBONES
def test_predictors_of_segment_anything_take_it(backbone):
    torch.manual_seed(0)
    predictor = SamPredictor(build_embedded_sam(96, backbone).eval())
    predictor.set_image(np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8))
    assert predictor.features.shape == (1, DIM + 16 * (FINE_DIM + 3), 12, 12)
    masks, quality, logits = predictor.predict(box=np.array([10, 20, 60, 50]))
    assert (masks.shape, quality.shape, logits.shape) == ((3, 70, 90), (3,), (3, 48, 48))
    assert predictor.predict(np.array([[30, 40]]), np.array([1]), mask_input=logits[:1])[2].shape == (3, 48, 48)


@pytest.mark.parametrize("name", COME_ALONG)  # fresh weights of a deep backbone show little of where something is
def test_the_fine_map_keeps_its_place(name):
    encoder = load_segmenter(name).model.image_encoder
    pixels = torch.zeros(1, 3, 96, 96)
    with torch.no_grad():
        plain = split_features(encoder(pixels))[1]
        pixels[..., 33, 50] = 5
        changed = (split_features(encoder(pixels))[1] - plain).abs().sum(1)[0]
    assert plain.shape == (1, FINE_DIM, 48, 48)
    y, x = divmod(int(changed.argmax()), 48)
    assert abs(y - 16) <= 1
    assert abs(x - 25) <= 1


def test_the_picture_itself_comes_along():
    pixels = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        colours = split_features(build_embedded_sam(96).image_encoder.eval()(pixels))[2]
    torch.testing.assert_close(colours[0, :, 3, 5], pixels[0, :, 6:8, 10:12].mean((1, 2)))


def test_prompts_are_drawn_where_they_lie():
    """Ways from the centres of cells, which are 8 pixels apart, in units of 64 pixels."""
    encoder = build_embedded_sam(96).prompt_encoder
    box = encoder.draw(None, torch.tensor([[16.0, 24, 48, 80], [0, 0, 96, 96]]))
    assert box.shape == (2, 11, 12, 12)
    assert (64 * box[0, :5, 3, 4]).tolist() == [20, 4, 12, 52, 64]  # of the cell at (36, 28)
    assert (64 * box[0, :2, 0, 0]).tolist() == [-12, -20]  # outside
    assert not box[:, 5:].any()

    places = torch.tensor([[[35.5, 27.5], [91.5, 91.5], [3.5, 91.5], [50.0, 50.0]]])
    clicks = encoder.draw((places, torch.tensor([[1, 1, 0, -1]])), None)[0]
    assert not clicks[:5].any()
    assert (64 * clicks[5:, 3, 4]).tolist() == [0, 0, 64, -32, 64, 64]
    assert (64 * clicks[5:, 11, 10]).tolist() == [8, 0, 64, -80, 0, 64]  # the nearest of each kind
    assert not encoder.draw((places[:, :1], torch.tensor([[1]])), None)[0, 8:].any()


def test_what_is_far_is_only_far():
    far = build_embedded_sam(512).prompt_encoder.draw((torch.tensor([[[499.5, 3.5]]]), torch.tensor([[1]])), None)
    assert far[0, 5, 0, 0] == 4


def test_a_window_is_embedded_as_a_part_of_the_whole():
    torch.manual_seed(0)
    encoder = build_embedded_sam(96).prompt_encoder
    points, boxes = (torch.tensor([[[30.0, 40.0]]]), torch.tensor([[0]])), torch.tensor([[10.0, 20, 60, 50]])
    sparse, dense = encoder(points, boxes, None)
    window = (slice(2, 9), slice(4, 12))
    part_sparse, part = encoder.embed(points, boxes, None, window)
    torch.testing.assert_close((part_sparse, part), (sparse, dense[:, :, 2:9, 4:12]))
    masks = torch.randn(1, 1, 48, 48)
    corrected = encoder(points, boxes, masks)[1]
    window = (slice(0, 12), slice(0, 12))
    torch.testing.assert_close(encoder.embed(points, boxes, masks, window)[1], corrected)
    assert not torch.allclose(corrected, dense)


@BACKBONES
def test_the_file_is_small(backbone, tmp_path):
    path, model = tmp_path / "model.safetensors", build_embedded_sam(backbone=backbone)
    save_embedded_sam(model, path)
    assert path.stat().st_size < LARGEST
    state, _ = read_weights(path)
    narrow = {name for name, x in state.items() if x.dtype == torch.float16}
    assert narrow == dict(model.named_parameters()).keys()  # what was measured stays as it was
