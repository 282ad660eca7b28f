"""The evaluator on edits and findings that are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import supervision as sv

from groundingdino.editing.crops import Crop
from groundingdino.editing.edits import MaskSettings, Remove, Replace
from groundingdino.editing.perform import Painted
from groundingdino.training.evaluate_inpainter import choose_target, evaluate, judge
from groundingdino.training.names import load_names

BOX = np.array([10, 10, 50, 50], np.float32)
SCENE = SimpleNamespace(
    image=np.zeros((60, 80, 3), np.uint8),
    boxes=BOX[None],
    labels=np.array([0]),
    prompt=["puppy", "cat"],
    positives=(0,),
)


def detections(*found: tuple[np.ndarray, int]) -> sv.Detections:
    boxes = np.array([box for box, _ in found], np.float32).reshape(-1, 4)
    return sv.Detections(boxes, class_id=np.array([phrase for _, phrase in found], int))


class Detector:
    """Finds what it is told: by the brightest pixel of a picture, and by what the prompt names first."""

    def __init__(self, **found: sv.Detections):
        self.found = found

    def encode_image(self, image):
        return "edited" if np.asarray(image).any() else "original"

    def ground(self, picture, prompt):
        key = f"{picture}_{prompt[1]}" if f"{picture}_{prompt[-1]}" in self.found else picture
        return SimpleNamespace(detections=lambda: self.found.get(key, detections()))


def test_the_target_is_what_the_detector_found():
    shifted = BOX + 2
    detector = Detector(original=detections((BOX, 1), (shifted, 0)))
    target = choose_target(SCENE, detector, np.random.default_rng(0))
    assert target.phrase == "puppy"
    np.testing.assert_array_equal(target.box, shifted)
    assert target.other != load_names()[0].name


def test_the_target_is_the_object_itself_where_nothing_is_found():
    target = choose_target(SCENE, Detector(), np.random.default_rng(0))
    assert target.phrase == "puppy"
    np.testing.assert_array_equal(target.box, BOX)
    unnamed = SimpleNamespace(**{**vars(SCENE), "positives": (None,)})
    assert choose_target(unnamed, Detector(), np.random.default_rng(0)).phrase == "dog"


@pytest.mark.parametrize(
    ("found", "replaced", "gone"),
    [
        (detections((BOX, 1)), True, True),
        (detections((BOX, 0)), False, False),
        (detections((BOX, 1), (BOX, 0)), True, False),
        (detections((BOX + 30, 1), (BOX + 30, 0)), False, True),  # elsewhere
        (detections(), False, True),
    ],
)
def test_replacing_is_judged_in_the_place_of_the_object(found, replaced, gone):
    target = choose_target(SCENE, Detector(), np.random.default_rng(0))
    edited = np.full_like(SCENE.image, 9)
    passed = judge(Replace("pizza"), edited, SCENE, target, detections(), Detector(edited=found))
    assert passed == {"replaced": replaced, "replaced_gone": gone}


@pytest.mark.parametrize(
    ("before", "after", "removed", "nothing_new"),
    [
        (detections(), detections(), True, True),
        (detections(), detections((BOX, 0)), False, False),
        (detections((BOX, 0)), detections((BOX, 0)), False, True),
        (detections(), detections((BOX, 1)), True, False),
        (detections((BOX, 1)), detections((BOX, 1)), True, True),  # it was there before
        (detections(), detections((BOX + 45, 1)), True, True),  # elsewhere
    ],
)
def test_removing_is_judged_by_what_is_left_and_what_is_new(before, after, removed, nothing_new):
    target = choose_target(SCENE, Detector(), np.random.default_rng(0))
    edited = np.full_like(SCENE.image, 9)
    passed = judge(Remove(), edited, SCENE, target, before, Detector(edited=after))
    assert passed == {"removed": removed, "nothing_new": nothing_new}


class Painter:
    """Paints what it is given."""

    name, paints_regions = "plain", False

    def __init__(self, boxes: bool):
        self.boxes = boxes
        self.card = SimpleNamespace(mask_for=self.mask_for)

    def mask_for(self, _task):
        return MaskSettings(grow=0, feather=0, boxes=self.boxes)

    def paint(self, _pixels, mask, alpha, _texts, _sampling, _report, _stop):
        crop = Crop.centred(mask, alpha, 32, 0.1)
        return Painted(crop, np.full((*alpha[crop.window].shape, 3), 200, np.uint8))


class Segmenter:
    """Cuts out the left half of a box."""

    used = 0

    def encode_image(self, image):
        return image

    def segment_boxes(self, image, objects):
        self.used += 1
        mask = np.zeros((1, *image.shape[:2]), bool)
        x0, y0, x1, y1 = objects.xyxy[0].astype(int)
        mask[0, y0:y1, x0 : (x0 + x1) // 2] = True
        return sv.Detections(objects.xyxy, mask=mask, class_id=objects.class_id)


@pytest.mark.parametrize("boxes", [True, False])
def test_figures_are_shares_of_scenes(boxes):
    empty = SimpleNamespace(boxes=np.zeros((0, 4)))
    detector, segmenter = Detector(original=detections((BOX, 0)), edited=detections((BOX, 0))), Segmenter()
    figures = evaluate(Painter(boxes), detector, segmenter, [SCENE, empty])
    assert figures.pop("seconds") > 0
    assert figures == {"replaced": 0, "replaced_gone": 0, "removed": 0, "nothing_new": 1, "untouched": 1}
    assert segmenter.used == (0 if boxes else 2)
