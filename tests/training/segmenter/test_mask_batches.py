"""Batches of pictures with exact masks, and the plan they follow."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from groundingdino.segmentation.close_ups import CONTEXT
from groundingdino.training.segmenter.mask_batches import MaskBatches, Plan, Stage, extents

PLAN = Plan(
    stages=(
        Stage(steps=2, pictures=2, objects=2, side=64, whole=False, stages_learn=False),
        Stage(steps=1, pictures=1, objects=1, side=96, whole=True, stages_learn=True),
    ),
    enlarged=0.0,
    reduced=0.0,
)


def blocks(index: int, size: tuple[int, int]) -> Any:
    """A bright block and a dim one, and a dot too small to be pointed at."""
    width, height = size
    image = np.random.default_rng(index).integers(0, 100, (height, width, 3), dtype=np.uint8)
    masks = np.zeros((3, height, width), bool)
    masks[0, 2 : height // 2, 4 : width // 3] = True
    masks[1, height // 2 :, width // 2 : -4] = True
    masks[2, 0, -2:] = True
    image[masks.any(0)] = 255
    return SimpleNamespace(image=image, masks=masks, owners=np.zeros((height, width), np.uint8))


def nothing(_: int, size: tuple[int, int]) -> Any:
    width, height = size
    return SimpleNamespace(
        image=np.zeros((height, width, 3), np.uint8),
        masks=np.zeros((0, height, width), bool),
        owners=np.zeros((height, width), np.uint8),
    )


def test_batches_depend_on_their_step_alone():
    batches, again = MaskBatches(blocks, PLAN), MaskBatches(blocks, PLAN)
    again[1]
    assert len(batches) == 3
    torch.testing.assert_close(tuple(batches[0]), tuple(again[0]), rtol=0, atol=0, equal_nan=True)
    assert not torch.equal(batches[0].pixels, batches[1].pixels)


def test_no_picture_is_shown_twice():
    shown = []

    def note(index: int, size: tuple[int, int]) -> Any:
        shown.append(index)
        return blocks(index, size)

    batches = MaskBatches(note, PLAN)
    for step in range(len(batches)):
        batches[step]
    assert shown == list(range(5))


def test_windows_have_one_area_and_whole_pictures_one_long_side():
    batches = MaskBatches(blocks, PLAN)
    for step in (0, 1):
        height, width = batches[step].pixels.shape[2:]
        assert (height % 32, width % 32) == (0, 0)
        assert 0.5 * 64**2 <= height * width <= 1.5 * 64**2
    assert max(batches[2].pixels.shape[2:]) == 96
    assert batches[2].pixels.shape[3] % 8 == 0


def test_some_objects_are_pointed_at_and_all_are_owners():
    batch = MaskBatches(blocks, PLAN)[0]
    assert [len(masks) for masks in batch.masks] == [2, 2]  # the dot is left out
    for masks, owners in zip(batch.masks, batch.owners, strict=True):
        assert sorted(int(owners[mask].unique()) for mask in masks) == [1, 2]
        assert owners.unique().tolist() == [0, 1, 2, 3]
    assert [len(masks) for masks in MaskBatches(blocks, PLAN)[2].masks] == [1]


@pytest.mark.parametrize(("enlarged", "least", "most"), [(1.0, 0.4, 0.95), (0.0, 1.05, 2.05)])
def test_pictures_made_in_other_sizes_have_masks_that_fit_them(enlarged: float, least: float, most: float):
    sizes = []

    def source(index: int, size: tuple[int, int]) -> Any:
        sizes.append(size)
        return blocks(index, size)

    batch = MaskBatches(source, Plan(stages=PLAN.stages, enlarged=enlarged, reduced=1 - enlarged))[0]
    height, width = batch.pixels.shape[2:]
    assert all(least < made[0] / width < most and abs(made[1] / height - made[0] / width) < 0.05 for made in sizes)
    for pixels, masks in zip(batch.pixels, batch.masks, strict=True):
        bright = pixels.min(0).values > 180
        assert ((bright & masks.any(0)).sum() / (bright | masks.any(0)).sum()) > 0.85


@pytest.mark.parametrize("place", [0, 40, 300, 520])
def test_a_close_up_is_of_one_object_however_large_the_picture_is(place):
    def dot(_: int, size: tuple[int, int]) -> Any:
        width, height = size
        left = min(place, width - 60)
        masks = np.zeros((2, height, width), bool)
        masks[0, 100:140, left : left + 60] = True
        masks[1, :4, :4] = True  # another one, far off
        boxes = np.array([[left, 100, left + 60, 140]] * 2, np.float32)  # whichever is drawn
        return SimpleNamespace(
            image=255 * masks.any(0)[..., None].repeat(3, 2).astype(np.uint8),
            masks=masks,
            boxes=boxes,
            owners=masks[0].astype(np.uint8),
        )

    stage = Stage(steps=4, pictures=2, objects=1, side=160, whole=False, stages_learn=True, close_up=True)
    batches = MaskBatches(dot, Plan(stages=(stage,)))
    for step in range(4):
        batch = batches[step]
        assert max(batch.pixels.shape[2:]) == 160
        for pixels, (mask,) in zip(batch.pixels, batch.masks, strict=True):
            wide = np.ptp(np.flatnonzero(mask.any(0))) + 1
            assert 160 / CONTEXT * 0.65 < wide < 160 / CONTEXT * 1.3
            assert (pixels[0].numpy() > 127)[mask].mean() > 0.9


def test_a_picture_of_nothing_is_a_picture():
    batch = MaskBatches(nothing, PLAN)[0]
    assert [len(masks) for masks in batch.masks] == [0, 0]
    assert not batch.owners.any()
    assert batch.extents.isnan().all()


def test_extents_reach_to_the_edges_of_what_is_seen():
    owners = np.zeros((16, 32), np.uint8)
    owners[2:10, 3:13] = 1
    owners[8:16, 16:32] = 2
    reach = extents(owners)
    assert reach.shape == (4, 2, 4)
    assert reach[:, 0, 0].tolist() == [1, 2, 9, 6]  # of the cell whose centre is (4, 4)
    assert reach[:, 1, 3].tolist() == [12, 4, 4, 4]
    assert np.isnan(reach[:, 0, 2:]).all()


def test_a_plan_ends():
    assert PLAN.steps == 3
    assert PLAN.stage_at(2).whole
    with pytest.raises(IndexError):
        PLAN.stage_at(3)
