"""Segmenters of transformers, asked through ours and through transformers' own processor and model."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from groundingdino.segmentation.mask_prompts import MaskPrompt
from groundingdino.segmentation.segmenter import Segmenter, SegmenterCacheBytes
from groundingdino.segmentation.segmenter_models import LoadedSegmenter, load_segmenter
from tests.tiny_segmenters import KINDS, SIDE, WIDTH, build, follow_the_authors

CLICK = MaskPrompt(points=[(30, 40, 1)])
BOX = MaskPrompt(box=(10, 20, 60, 50))
SIZE = (90, 70)


class Pair(NamedTuple):
    """The same weights twice."""

    loaded: LoadedSegmenter  # ours
    model: Any  # transformers'
    processor: Any


def pair(kind: str, folder: Path, **decoder: Any) -> Pair:
    model, processor = build(kind, **decoder)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    follow_the_authors(model)
    return Pair(load_segmenter(folder), model, processor)


@pytest.fixture(scope="module", params=KINDS)
def both(request, tmp_path_factory) -> Pair:
    return pair(request.param, tmp_path_factory.mktemp(request.param))


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> Image.Image:
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


class Answer(NamedTuple):
    """What transformers says of one prompt, best first."""

    masks: np.ndarray  # (M, H, W) logits at the size of the picture
    quality: np.ndarray  # (M,)
    logits: torch.Tensor  # (1, 1, h, w) of the best


def ask(
    both: Pair, image: Image.Image, prompt: MaskPrompt, before: torch.Tensor | None = None, three: bool = False
) -> Answer:
    """transformers' own answer by three masks or one; `before` holds the logits that are corrected."""
    given: dict[str, Any] = {}
    if prompt.points:
        given["input_points"] = [[[[x, y] for x, y, _ in prompt.points]]]
        given["input_labels"] = [[[label for *_, label in prompt.points]]]
    if prompt.box:
        given["input_boxes"] = [[list(prompt.box)]]
    inputs = both.processor(images=image, return_tensors="pt", **given)
    sizes = [inputs.pop(name) for name in ("original_sizes", "reshaped_input_sizes") if name in inputs]
    with torch.no_grad():
        outputs = both.model(**inputs, input_masks=before, multimask_output=three)
    masks = both.processor.post_process_masks(outputs.pred_masks, *sizes, binarize=False)[0][0].numpy()
    quality = outputs.iou_scores[0, 0].numpy()
    order = np.argsort(-quality, kind="stable")
    return Answer(masks[order], quality[order], outputs.pred_masks[:, 0, order[:1]])


def check(segmenter: Segmenter, encoded: Any, prompt: MaskPrompt, expected: Answer) -> None:
    found = segmenter.segment(encoded, [replace(prompt, candidate=index) for index in range(len(expected.masks))])
    # Sums in another order may move a logit at the cut-off itself.
    sure = np.abs(expected.masks) > 1e-3
    assert sure.mean() > 0.99
    assert 0.01 < (expected.masks > 0).mean() < 0.99, "masks that show something"
    assert np.array_equal(np.asarray(found.mask)[sure], (expected.masks > 0)[sure])
    assert found.confidence == pytest.approx(expected.quality, abs=1e-4)


@pytest.mark.parametrize("size", [SIZE, (40, 300)])
def test_each_kind_of_prompt_is_answered_as_by_transformers(both, size):
    image = picture(1, size)
    segmenter = Segmenter(both.loaded)
    encoded = segmenter.encode_image(image)
    width, height = size
    at = (0.4 * width, 0.5 * height)
    one = MaskPrompt(points=[(*at, 1)])
    box = MaskPrompt(box=(0.1 * width, 0.2 * height, 0.7 * width, 0.8 * height))
    apart = (0.8 * width, 0.1 * height, 0)

    clicked = ask(both, image, one, three=True)
    check(segmenter, encoded, one, clicked)
    boxed = ask(both, image, box)
    check(segmenter, encoded, box, boxed)

    # A further click corrects the mask before it, whose logits go in again.
    two = MaskPrompt(points=[*one.points, apart])
    check(segmenter, encoded, two, ask(both, image, two, clicked.logits))
    in_box = MaskPrompt(box=box.box, points=one.points)
    corrected = ask(both, image, in_box, boxed.logits)
    check(segmenter, encoded, in_box, corrected)
    again = MaskPrompt(box=box.box, points=two.points)
    check(segmenter, encoded, again, ask(both, image, again, corrected.logits))
    assert len({mask.tobytes() for mask in (clicked.masks[0], boxed.masks[0], corrected.masks[0])}) == 3


def test_together_is_as_alone(both):
    prompts = [CLICK, BOX, MaskPrompt(box=(5, 5, 80, 60)), MaskPrompt(box=BOX.box, points=CLICK.points)]
    prompts += [MaskPrompt(strokes=[([(5, 5), (80, 60)], 1)]), MaskPrompt(points=[(50, 20, 1)])]
    segmenter = Segmenter(both.loaded)
    together = segmenter.segment(segmenter.encode_image(picture()), prompts)
    for index, prompt in enumerate(prompts):
        other = Segmenter(both.loaded)
        alone = other.segment(other.encode_image(picture()), [prompt])
        assert alone.confidence[0] == pytest.approx(together.confidence[index], abs=1e-5)
        assert (alone.mask[0] != together.mask[index]).mean() < 1e-3


@pytest.mark.parametrize("least", [0.0, 1.0])
def test_the_single_mask_counts_where_it_is_stable_as_the_model_is_configured(least, tmp_path):
    both = pair("sam2", tmp_path, dynamic_multimask_stability_thresh=least, dynamic_multimask_stability_delta=0.5)
    assert both.loaded.card.stable_single == (0.5, least)
    segmenter = Segmenter(both.loaded)
    encoded = segmenter.encode_image(picture())
    check(segmenter, encoded, BOX, ask(both, picture(), BOX))
    qualities = [segmenter.segment(encoded, [replace(BOX, candidate=index)]).confidence[0] for index in range(3)]
    assert len(set(qualities)) == 3
    assert (qualities == sorted(qualities, reverse=True)) == (least == 1), "the best of three first, or the single one"


def test_a_model_that_is_configured_so_takes_its_single_mask_always(tmp_path):
    both = pair("sam2", tmp_path, dynamic_multimask_via_stability=False)
    assert both.loaded.card.stable_single is None
    segmenter = Segmenter(both.loaded)
    check(segmenter, segmenter.encode_image(picture()), BOX, ask(both, picture(), BOX))


def test_a_picture_is_encoded_once_and_kept_by_its_bytes(both, monkeypatch):
    encoder = both.loaded.model.image_encoder
    calls, encode = [], encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda pixels: calls.append(pixels.shape) or encode(pixels))
    features = Segmenter(both.loaded).encode_image(picture()).features
    cells, maps = (SIDE // 16) ** 2, 3 if both.loaded.card.stable_single is None else 4
    assert features.nbytes == 4 * maps * WIDTH * cells
    assert calls == [(1, 3, SIDE, SIDE)]
    segmenter = Segmenter(both.loaded, SegmenterCacheBytes(images=2 * features.nbytes))
    cached = [segmenter.encode_image(picture(seed)).cached for seed in (0, 1, 0, 2, 0, 1)]
    assert cached == [False, False, True, False, True, False]
    before = len(calls)
    encoded = segmenter.encode_image(picture(1))
    segmenter.segment(encoded, [CLICK, BOX, MaskPrompt(box=BOX.box, points=CLICK.points)])
    assert len(calls) == before


def test_everything_is_what_each_point_of_a_grid_means(both):
    segmenter = Segmenter(both.loaded)
    encoded = segmenter.encode_image(picture())
    loose = {"points_per_side": 2, "min_quality": 0.0, "min_stability": 0.0, "nms_threshold": 1.0}
    found = segmenter.everything(encoded, **loose)
    clicks = [
        MaskPrompt(points=[(x * SIZE[0], y * SIZE[1], 1)], candidate=index)
        for y in (0.25, 0.75)
        for x in (0.25, 0.75)
        for index in range(3)
    ]
    expected = segmenter.segment(encoded, clicks)
    order = np.argsort(-expected.confidence, kind="stable")
    assert sorted(mask.tobytes() for mask in found.mask) == sorted(mask.tobytes() for mask in expected.mask)
    np.testing.assert_allclose(found.confidence, expected.confidence[order], atol=1e-5)
    assert len(segmenter.everything(encoded, **{**loose, "min_quality": 1.0})) == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (1500, 700)])
def test_pictures_of_any_size_have_masks_of_their_size(both, size):
    segmenter = Segmenter(both.loaded)
    encoded = segmenter.encode_image(picture(size=size))
    width, height = size
    found = segmenter.segment(encoded, [MaskPrompt(box=(0, 0, width, height)), MaskPrompt(points=[(0, 0, 1)])])
    assert found.mask.shape == (2, height, width)


def test_a_transparent_picture_is_seen_as_by_other_segmenters(both):
    segmenter = Segmenter(both.loaded)
    half = picture()
    half.putalpha(Image.linear_gradient("L").resize(SIZE))
    features = segmenter.encode_image(half).features
    assert features.isfinite().all()
    assert not torch.equal(features, segmenter.encode_image(picture()).features)


def test_a_picture_of_a_single_line_is_refused_only_where_proportions_are_kept(both):
    segmenter = Segmenter(both.loaded)
    line = Image.new("RGB", (1, 2000))
    if both.loaded.card.stable_single is None:  # SAM-HQ
        with pytest.raises(ValueError, match="too narrow"):
            segmenter.encode_image(line)
    else:
        assert segmenter.encode_image(line).input_size == (SIDE, SIDE)


def test_a_copy_moves_whole(both):
    """All that the model needs belongs to it: buffers follow to another device or type."""
    moved = copy.deepcopy(both.loaded.model).to(torch.float64)
    assert {tensor.dtype for tensor in (*moved.parameters(), *moved.buffers()) if tensor.is_floating_point()} == {
        torch.float64
    }
