"""Prompts as users give them: on the object, or on what is wrong with a mask."""

import numpy as np
import pytest
import torch

from groundingdino.training.segmenter.pointing import Pointing, click, correction, draw_kind, loose_box, scribble

MASK = np.zeros((60, 80), bool)
MASK[20:40, 30:70] = True


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_boxes_are_exact_or_a_little_off(rng):
    boxes = np.stack([loose_box(MASK, rng) for _ in range(200)])
    exact = (boxes == [30, 20, 70, 40]).all(1)
    assert 0.2 < exact.mean() < 0.5
    assert np.abs(boxes - [30, 20, 70, 40]).max() <= 80 * 20 / 1024
    assert np.abs(boxes - [30, 20, 70, 40]).max() > 1


def test_boxes_stay_in_the_picture(rng):
    boxes = np.stack([loose_box(np.ones((60, 80), bool), rng) for _ in range(50)])
    assert boxes.min() >= 0
    assert (boxes <= [80, 60, 80, 60]).all()


def test_clicks_are_on_the_object_and_often_well_inside(rng):
    places = np.stack([click(MASK, rng) for _ in range(200)]).astype(int)
    assert MASK[places[:, 1], places[:, 0]].all()
    from_edge = np.minimum(places - [30, 20], [69, 39] - places).min(1)
    assert (from_edge >= 5).mean() > 0.5
    assert (from_edge < 3).any()


def test_a_single_pixel_can_be_clicked(rng):
    mask = np.zeros((3, 3), bool)
    mask[2, 1] = True
    assert click(mask, rng).tolist() == [1, 2]


def test_scribbles_are_several_points_on_the_object(rng):
    strokes = [scribble(MASK, rng) for _ in range(50)]
    for points in strokes:
        x, y = points.astype(int).T
        assert MASK[y[1:], x[1:]].all()
    assert {len(points) for points in strokes} >= {3, 4, 5, 6}
    assert max(np.ptp(points[:, 0]) for points in strokes) > 20


@pytest.mark.parametrize(
    ("predicted", "place", "label"),
    [
        (np.zeros_like(MASK), MASK, 1),  # nothing found: include
        (np.ones_like(MASK), ~MASK, 0),  # too much found: exclude
        (np.roll(MASK, 3, axis=1) | np.roll(MASK, -9, axis=1), np.roll(MASK, -9, axis=1) & ~MASK, 0),  # the larger
    ],
)
def test_corrections_click_on_the_largest_mistake(predicted, place, label, rng):
    for _ in range(20):
        (x, y), given = correction(predicted, MASK, rng)
        assert given == label
        assert place[int(y), int(x)]


def test_a_perfect_mask_is_clicked_on_again(rng):
    (x, y), label = correction(MASK, MASK, rng)
    assert (MASK[int(y), int(x)], label) == (True, 1)


def test_prompts_grow_by_clicks_on_mistakes():
    masks = np.stack([MASK, np.roll(MASK, 15, axis=0)])
    kinds = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        pointing = Pointing(masks, draw_kind(rng, (0.45, 0.4, 0.15)), rng)
        points, boxes, logits = pointing.tensors((0, 0))
        assert (points is None) == (boxes is not None)
        assert (pointing.kind == "box") == (points is None)
        assert logits is None
        before = 0 if points is None else points[1].shape[1]
        kinds.add("box" if boxes is not None else "click" if before == 1 else "scribble")
        pointing.correct(torch.full((2, 30, 40), -5.0))  # nothing was found
        (coordinates, labels), _, logits = pointing.tensors((0, 0))
        assert coordinates.shape == (2, before + 1, 2)
        assert logits.shape == (2, 1, 30, 40)
        for mask, place, label in zip(masks, coordinates, labels, strict=True):
            x, y = place[label >= 0][-1].int().tolist()
            assert mask[y, x]
    assert kinds == {"box", "click", "scribble"}


def test_prompts_are_given_in_the_pixels_of_the_square():
    for kind in ("box", "click", "scribble"):
        pointing = Pointing(MASK[None], kind, np.random.default_rng(0))
        pointing.correct(torch.full((1, 30, 40), -5.0))
        (here, _), box, _ = pointing.tensors((0, 0))
        (there, _), moved, _ = pointing.tensors((100, 8))
        assert (there - here).unique(dim=1).tolist() == [[[100, 8]]]
        assert box is None or torch.allclose(moved - box, torch.tensor([100.0, 8, 100, 8]))


def test_one_click_is_answered_by_the_best_of_three_and_more_by_the_first():
    qualities = torch.tensor([[0.9, 0.1, 0.2, 0.3]])
    answers = set()
    for kind in ("box", "click", "scribble"):
        pointing = Pointing(MASK[None], kind, np.random.default_rng(0))
        answer = pointing.answer(qualities).item()
        assert answer == (3 if kind == "click" else 0)
        answers.add(answer)
        pointing.correct(torch.full((1, 30, 40), -5.0))
        assert pointing.answer(qualities).item() == 0
    assert answers == {0, 3}
