"""Training pictures of outlined photographs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from groundingdino.training.segmenter.evaluate import held_out
from groundingdino.training.segmenter.mask_batches import UNKNOWN, MaskBatches, Plan, Stage
from groundingdino.training.segmenter.mask_losses import object_losses
from groundingdino.training.segmenter.photographs import MaskedPhotographs, outlined
from groundingdino.training.segmenter.train import photographs
from tests.training.labelled import write_folder

COUNT = 30
OUTLINED = {"category_id": 5, "bbox": [40, 30, 40, 40], "segmentation": [[40, 30, 80, 30, 80, 70, 40, 70]]}
BOXED = {"category_id": 6, "bbox": [100, 60, 40, 40]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """White pictures with a red block that is outlined, and a blue one that has a box alone."""
    annotations = [{"image_id": 10 + i, **annotation} for i in range(COUNT) for annotation in (OUTLINED, BOXED)]
    folder = write_folder(tmp_path / "blocks", annotations, COUNT, size=(160, 120))
    for path in (folder / "images").iterdir():
        image = Image.new("RGB", (160, 120), "white")
        image.paste((255, 0, 0), (40, 30, 80, 70))
        image.paste((0, 0, 255), (100, 60, 140, 100))
        image.save(path)
    return folder


def test_masks_follow_the_part_that_is_shown(folder: Path):
    source = MaskedPhotographs(outlined([folder]), seed=1)
    shown = 0
    for index in range(40):
        picture = source(index, (128, 96))
        assert picture.image.shape == (96, 128, 3)
        assert picture.masks.shape[1:] == (96, 128)
        for mask, box in zip(picture.masks, picture.boxes, strict=True):
            inside, outside = (picture.image[region].astype(int) for region in (mask, ~mask))
            redness = [np.median(pixels[:, 0] - pixels[:, 1:].max(1)) for pixels in (inside, outside)]
            assert redness[0] > 40 > redness[1]
            assert mask[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])].sum() == mask.sum() > 0
            shown += 1
    assert shown > 20
    np.testing.assert_array_equal(source(3, (64, 64)).image, source(3, (64, 64)).image)


def test_what_is_not_outlined_is_unknown_and_no_background(folder: Path):
    picture = MaskedPhotographs(outlined([folder]))(0, (128, 96))
    assert set(np.unique(picture.owners)) <= {1, UNKNOWN}
    stage = Stage(steps=1, pictures=3, objects=2, side=96, whole=False, stages_learn=True)
    batch = MaskBatches(MaskedPhotographs(outlined([folder])), Plan(stages=(stage,)))[0]
    assert set(batch.owners.unique().tolist()) <= {1, UNKNOWN}
    assert not batch.extents[:, 0].isnan().all()
    assert batch.extents[:, 0][batch.owners[:, 4::8, 4::8] == UNKNOWN].isnan().all()


def test_the_unknown_teaches_nothing():
    owners = torch.full((1, 32, 32), UNKNOWN, dtype=torch.uint8)
    owners[:, :16] = 0
    nothing = torch.full((1, 4, 4, 4), torch.nan)
    outlines, taken = torch.zeros(1, 2, 16, 16, requires_grad=True), torch.zeros(1, 4, 4, requires_grad=True)
    losses = object_losses(outlines, taken, torch.zeros(1, 4, 4, 4), owners, nothing)
    torch.stack(list(losses.values())).sum().backward()
    assert outlines.grad is not None
    assert taken.grad is not None
    assert (taken.grad[0, :2] != 0).all()
    assert (taken.grad[0, 2:] == 0).all()
    assert (outlines.grad[0, 0, :8] != 0).all()
    assert (outlines.grad[0, :, 9:] == 0).all()


def test_the_held_out_fifth_is_measured_and_not_learned_from(folder: Path):
    measured = held_out(folder)
    assert len(measured) + len(outlined([folder])) == COUNT
    assert not {picture.path for picture in measured} & {picture.path for picture in outlined([folder])}
    assert {picture.names for picture in measured} == {("cat",)}


def test_sets_without_outlines_are_refused(tmp_path: Path):
    write_folder(tmp_path / "boxes", [BOXED], size=(160, 120))
    with pytest.raises(ValueError, match="nothing to learn masks from"):
        photographs(tmp_path, {"sets": {"boxes": {}}})
    with pytest.raises(ValueError, match="Nothing is outlined"):
        held_out(tmp_path / "boxes")
