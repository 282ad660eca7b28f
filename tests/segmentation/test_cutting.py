from dataclasses import replace

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from groundingdino.segmentation.cutting import BY_HAND, EVERYTHING, cut, is_cut
from groundingdino.segmentation.masks import HOLES
from groundingdino.segmentation.object_ids import object_ids
from groundingdino.segmentation.pointing import Gesture, Pointing
from tests.scissors import Scissors

SIZE = (320, 240)
CAT, PIZZA = (10, 20, 110, 120), (100, 150, 180, 230)
OTHERS = {SIZE: [(12, 22, 108, 118), (200, 20, 300, 120)]}  # the cat again, and something new
FOUND = sv.Detections(
    np.array([CAT, PIZZA], np.float32),
    confidence=np.array([0.9, 0.6], np.float32),
    class_id=np.array([0, 1]),
    data={"class_name": np.array(["cat", "pizza"])},
)
FIRST, SECOND = object_ids(FOUND)


def ask(detections: sv.Detections = FOUND, min_area: float = 0, pointing: Pointing | None = None) -> sv.Detections:
    scissors = Scissors(OTHERS)
    encoded = scissors.encode_image(Image.new("RGB", SIZE))
    return cut(scissors, encoded, detections, pointing or Pointing(), min_area)


def click(target: str, x: float, y: float, label: int = 1) -> Gesture:
    return Gesture(target, point=(x, y, label))


def area(objects: sv.Detections, index: int) -> int:
    return int(objects.mask[index].sum())


def test_what_was_found_keeps_phrase_score_box_and_id_and_gets_a_mask():
    objects = ask()
    assert objects["class_name"].tolist() == ["cat", "pizza"]
    assert objects.confidence.tolist() == pytest.approx([0.9, 0.6])
    assert objects["mask_quality"].tolist() == pytest.approx([0.9, 0.9])
    assert objects.xyxy.tolist() == [list(CAT), list(PIZZA)]
    assert object_ids(objects) == [FIRST, SECOND]
    assert area(objects, 0) == pytest.approx(np.pi * 50 * 50, rel=0.05)


def with_halves() -> sv.Detections:
    """What a detector found that makes masks: the upper half of each box."""
    masks = np.zeros((2, *SIZE[::-1]), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, (CAT, PIZZA), strict=True):
        mask[y0 : (y0 + y1) // 2, x0:x1] = True
    return replace(FOUND, mask=masks)


def test_masks_of_the_detector_are_kept_and_need_no_segmenter():
    found = with_halves()
    assert is_cut(found, Pointing())
    objects = cut(None, None, found, Pointing(), 0)
    assert [area(objects, index) for index in range(2)] == [100 * 50, 80 * 40]
    assert isinstance(objects.mask, sv.CompactMask)
    assert np.isnan(objects["mask_quality"]).all()
    assert (object_ids(objects), objects["group"].tolist()) == ([FIRST, SECOND], ["cat", "pizza"])
    assert not is_cut(FOUND, Pointing())
    assert len(cut(None, None, found[:0], Pointing(), 0)) == 0


def test_what_is_pointed_at_is_cut_out_beside_masks_of_the_detector():
    pointing = Pointing((click(FIRST, 60, 70), click("pointed 1", 250, 60)), everything=True)
    assert not is_cut(with_halves(), pointing)
    objects = ask(with_halves(), pointing=pointing)
    assert area(objects, 0) == pytest.approx(np.pi * 50 * 50, rel=0.05)
    assert area(objects, 1) == 80 * 40
    assert objects["class_name"].tolist() == ["cat", "pizza", "object 1", "object 2"]
    assert np.isnan(objects["mask_quality"]).tolist() == [False, True, False, False]


def test_nothing_found_and_nothing_pointed_at_is_no_object():
    objects = ask(FOUND[:0])
    assert len(objects) == 0
    assert objects.mask is not None


def test_what_was_pointed_at_comes_behind_and_is_numbered():
    clicked = Gesture("pointed 2", box=(200, 100, 300, 200))
    objects = ask(pointing=Pointing((click("pointed 7", 250, 60), clicked)))
    assert objects["class_name"].tolist() == ["cat", "pizza", "object 1", "object 2"]
    assert object_ids(objects)[2:] == ["pointed 7", "pointed 2"]
    assert objects["group"].tolist() == ["cat", "pizza", BY_HAND, BY_HAND]
    assert objects.mask[2][60, 250]
    assert objects.xyxy[2].round().tolist() == [230, 40, 271, 81]


def test_a_click_corrects_the_mask_of_a_found_object_alone():
    before, after = ask(), ask(pointing=Pointing((click(FIRST, 60, 70, 0), click(FIRST, 200, 200))))
    assert len(after) == 2
    assert before.mask[0][70, 60]
    assert not after.mask[0][70, 60], "excluded"
    assert after.mask[0][200, 200], "included"
    assert area(after, 1) == area(before, 1)
    assert after.xyxy.tolist() == before.xyxy.tolist()


def test_what_was_said_of_an_object_that_is_not_found_any_more_waits_for_it():
    pointing = Pointing((click(FIRST, 60, 70, 0),), ((SECOND, 1),))
    assert len(ask(FOUND[:0], pointing=pointing)) == 0
    objects = ask(FOUND[:1], pointing=pointing)
    assert not objects.mask[0][70, 60]


def test_a_correction_stays_with_its_object_when_its_box_moves_a_little():
    moved = sv.Detections(
        FOUND.xyxy + np.array([[3], [60]]), confidence=FOUND.confidence, class_id=FOUND.class_id, data={**FOUND.data}
    )
    pointing = Pointing((click(FIRST, 60, 70, 0), click(SECOND, 140, 190, 0)))
    objects = ask(moved, pointing=pointing)
    assert object_ids(objects)[0] == FIRST
    assert not objects.mask[0][70, 60]
    assert object_ids(objects)[1] != SECOND, "the pizza has moved too far to be the same"
    relabelled = sv.Detections(
        FOUND.xyxy[:1], confidence=FOUND.confidence[:1], class_id=np.array([0]), data={"class_name": np.array(["dog"])}
    )
    assert ask(relabelled, pointing=pointing).mask[0][70, 60]


def test_another_candidate_is_another_mask():
    objects = ask(pointing=Pointing(candidates=((SECOND, 2),)))
    assert area(objects, 1) < 0.3 * area(ask(), 1)
    assert objects["mask_quality"].tolist() == pytest.approx([0.9, 0.7])


def test_everything_adds_what_is_not_there_yet_and_can_be_corrected():
    objects = ask(pointing=Pointing(everything=True))
    assert objects["class_name"].tolist() == ["cat", "pizza", "object 1"]
    assert objects["group"].tolist()[2] == EVERYTHING
    assert objects.xyxy[2, 0] > 190
    name = object_ids(objects)[2]
    corrected = ask(pointing=Pointing((click(name, 250, 70, 0),), everything=True))
    assert object_ids(corrected)[2] == name
    assert objects.mask[2][70, 250]
    assert not corrected.mask[2][70, 250]


def test_holes_are_filled_when_they_are_small():
    pointing = Pointing((click(FIRST, 60, 70, 0),))
    hole = 20**2 / (50**2 - 20**2)  # a disc cut out of a disc, as a share of what is left
    assert not ask(pointing=pointing, min_area=0.8 * hole / HOLES).mask[0][70, 60]
    assert ask(pointing=pointing, min_area=1.2 * hole / HOLES).mask[0][70, 60]


@pytest.mark.parametrize(
    ("gesture", "message"),
    [
        (click("pointed 1", 400, 10), "outside the picture"),
        (click("pointed 1", 10, 10, 0), "with label 1"),
        (click("nothing", 10, 10), "load the page again"),
    ],
)
def test_what_cannot_be_cut_out_is_refused_in_a_sentence(gesture: Gesture, message: str):
    with pytest.raises(ValueError, match=message):
        ask(pointing=Pointing((gesture,)))
