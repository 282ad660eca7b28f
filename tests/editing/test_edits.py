import numpy as np
import pytest

from groundingdino.editing.edits import BrushStroke, Edit, MaskSettings, Sampling
from groundingdino.editing.tasks import Region, Regions, Remove, Replace, TransparentBackground

REGION = Region((0, 0, 10, 10), "cat")


@pytest.mark.parametrize("task", [TransparentBackground, "replace", None])
def test_what_is_no_task_is_refused_at_once(task):
    with pytest.raises(ValueError, match=r"Expected a task such as Replace\('dog'\)"):
        Edit(task)


def test_whole_numbers_of_any_kind_are_taken_and_no_others():
    sampling = Sampling(steps=np.int32(4), seed=np.int64(5))
    assert (type(sampling.steps), type(sampling.seed)) == (int, int)
    for name in ("steps", "seed", "candidates"):
        with pytest.raises(ValueError, match=f"Expected a whole number as {name}, got 1.5"):
            Sampling(**{name: 1.5})
    with pytest.raises(ValueError, match=r"seed from 0 to 4294967295, got -1"):
        Sampling(seed=-1)


def test_masks_grow_by_what_suits_the_object_unless_told():
    default, told = MaskSettings(), MaskSettings(grow=-3, feather=0)
    assert default.grow_of(120, Replace("dog")) == 10
    assert default.grow_of(5, Remove()) == 1
    assert default.grow_of(3000, Remove()) == 64  # at most
    assert default.grow_of(120, TransparentBackground()) == 0  # what is kept does not take its surroundings along
    assert default.grow_of(120, Regions((REGION,))) == 0
    assert default.feather_in((960, 640)) == 5
    assert (told.grow_of(120, Remove()), told.feather_in((960, 640))) == (-3, 0)
    share = MaskSettings(grow_share=0.25)
    assert [share.grow_of(longer, Remove()) for longer in (8, 120, 9000)] == [2, 30, 512]
    assert MaskSettings(grow_share=-0.25).grow_of(120, TransparentBackground()) == -30


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BrushStroke((), 5), "one or more places"),
        (lambda: BrushStroke(((0, float("inf")),), 5), "finite"),
        (lambda: BrushStroke(((0, 0),), 0), "wider than 0 and at most 32767"),
        (lambda: BrushStroke(((0, 0),), 32768), "wider than 0 and at most 32767"),
        (lambda: MaskSettings(grow_share=1.5), "a share of -1 to 1 of an object, but it is 1.5"),
        (lambda: MaskSettings(grow=513), "-512 to 512 pixels, but 513"),
        (lambda: MaskSettings(grow=-513), "-512 to 512 pixels, but -513"),
        (lambda: MaskSettings(feather=-1), "0 to 512 pixels, but -1"),
        (lambda: Sampling(steps=0), "steps from 1 to 150, got 0"),
        (lambda: Sampling(steps=151), "steps from 1 to 150, got 151"),
        (lambda: Sampling(guidance=-1), "guidance from 0 to 30, got -1"),
        (lambda: Sampling(strength=0), "strength over 0 and up to 1, got 0"),
        (lambda: Sampling(strength=float("nan")), "strength over 0"),
        (lambda: Sampling(seed=-1), "seed from 0 to"),
        (lambda: Sampling(seed=2**32), "seed from 0 to"),
        (lambda: Sampling(candidates=5), "candidates from 1 to 4, got 5"),
        (lambda: Sampling(negative_prompt="x" * 2001), "negative prompt is longer"),
        (lambda: Sampling(scheduler="nonsense"), "There is no scheduler 'nonsense': choose one of ddim"),
        (lambda: Sampling(guidance="7"), "guidance from 0 to 30, got '7'"),
        (lambda: Sampling(guidance=float("nan")), "guidance from 0 to 30, got nan"),
        (lambda: Sampling(strength=True), "strength over 0 and up to 1, got True"),
        (lambda: Sampling(steps=True), "a whole number as steps, got True"),
        (lambda: Sampling(steps=10**30), "steps from 1 to 150"),
        (lambda: Sampling(scheduler=["ddim"]), "There is no scheduler"),
        (lambda: Sampling(negative_prompt=None), "a text as negative prompt, got None"),
        (lambda: MaskSettings(grow="5"), "-512 to 512 pixels, but '5'"),
        (lambda: MaskSettings(grow=True), "-512 to 512 pixels, but True"),
        (lambda: MaskSettings(feather=float("nan")), "0 to 512 pixels, but nan"),
        (lambda: MaskSettings(grow_share="1"), "a share of -1 to 1 of an object, but it is '1'"),
        (lambda: BrushStroke("12", 5), "A stroke is a list of"),
        (lambda: BrushStroke([(1, 2, 3)], 5), "but it holds"),
        (lambda: BrushStroke([(1, 2)], "5"), "wider than 0 and at most 32767 pixels, but it is '5'"),
        (lambda: BrushStroke([(1, 2)] * 10_001, 5), "at most 10000 points"),
        (lambda: Edit(Remove(), brush=[((0, 0), 1)]), "Expected a list of brush strokes"),
        (lambda: Edit(Remove(), brush=(BrushStroke(((0, 0),), 1),) * 1001), "at most 1000 brush strokes, got 1001"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(make, message):
    with pytest.raises(ValueError, match=message) as refusal:
        make()
    assert str(refusal.value).endswith(".")
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 200


def test_lists_and_arrays_are_taken():
    assert BrushStroke(np.array([[1, 2], [3, 4]]), np.float32(5)) == BrushStroke(((1, 2), (3, 4)), 5)
    assert Edit(Remove(), brush=[BrushStroke([(1, 2)], 5)]).brush == (BrushStroke(((1, 2),), 5),)
