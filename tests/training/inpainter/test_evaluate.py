"""The evaluator on edits and findings that are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import supervision as sv

from groundingdino.artwork.names import load_names
from groundingdino.editing.crops import Crop
from groundingdino.editing.edits import MaskSettings
from groundingdino.editing.perform import Painted
from groundingdino.editing.tasks import Remove, Replace
from groundingdino.training.inpainter.evaluate import Target, choose_target, evaluate, judge

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


TARGET = Target(detections((BOX, 0)), "puppy", "pizza")
PUPPY = dict.fromkeys(("scene", "pair", "alone"), TARGET.objects)
UNCLEAR = SimpleNamespace(**{**vars(SCENE), "image": np.ones_like(SCENE.image)})


class Detector:
    """Finds what it is told in a picture: by the scene's prompt, by the object and something else, by the object alone.

    Pictures are told apart by their brightest pixel: 0 in the scene, 1 in the unclear one, more in what was edited.
    """

    def __init__(self, **found: dict[str, sv.Detections]):
        self.found = found

    def encode_image(self, image):
        return ("original", "unclear", "edited")[min(np.asarray(image).max(), 2)]

    def ground(self, picture, prompt):
        key = "scene" if prompt == SCENE.prompt else "pair" if len(prompt) == 2 else "alone"
        assert prompt[0] == "puppy"
        return SimpleNamespace(detections=lambda _: self.found[picture][key])


def test_the_target_is_what_the_detector_found():
    shifted = BOX + 2
    detector = Detector(original={**PUPPY, "scene": detections((BOX, 1), (shifted, 0))})
    target = choose_target(SCENE, detector, np.random.default_rng(0))
    assert target.phrase == "puppy"
    np.testing.assert_array_equal(target.box, shifted)
    assert target.other != load_names()[0].name


@pytest.mark.parametrize("prompt", ["scene", "pair", "alone"])
@pytest.mark.parametrize("found", [detections(), detections((BOX, 1)), detections((BOX + 30, 0))])
def test_what_is_not_found_by_each_prompt_before_is_no_target(prompt, found):
    detector = Detector(original={**PUPPY, prompt: found})
    assert choose_target(SCENE, detector, np.random.default_rng(0)) is None


def test_what_the_prompt_does_not_name_is_no_target():
    unnamed = SimpleNamespace(**{**vars(SCENE), "positives": (None,)})
    assert choose_target(unnamed, Detector(original=PUPPY), np.random.default_rng(0)) is None


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
    edited = np.full_like(SCENE.image, 9)
    passed = judge(Replace("pizza"), edited, SCENE, TARGET, detections(), Detector(edited={"pair": found}))
    assert passed == {"replaced": replaced, "replaced_gone": gone}


@pytest.mark.parametrize(
    ("before", "after", "nothing_new"),
    [
        (detections(), detections(), True),
        (detections(), detections((BOX, 0)), False),
        (detections((BOX, 0)), detections((BOX, 0)), True),
        (detections(), detections((BOX, 1)), False),
        (detections((BOX, 1)), detections((BOX, 1)), True),  # it was there before
        (detections(), detections((BOX + 45, 1)), True),  # elsewhere
    ],
)
@pytest.mark.parametrize(
    ("alone", "removed"), [(detections(), True), (detections((BOX, 0)), False), (detections((BOX + 30, 0)), True)]
)
def test_removing_is_judged_by_what_is_left_and_what_is_new(before, after, nothing_new, alone, removed):
    edited = np.full_like(SCENE.image, 9)
    passed = judge(Remove(), edited, SCENE, TARGET, before, Detector(edited={"alone": alone, "scene": after}))
    assert passed == {"removed": removed, "nothing_new": nothing_new}


class Painter:
    """Paints what it is given."""

    name, paints_regions, lays_drawings = "plain", False, False
    painted = 0

    def __init__(self, boxes: bool):
        self.boxes = boxes
        self.card = SimpleNamespace(mask_for=self.mask_for)

    def mask_for(self, _task):
        return MaskSettings(grow=0, feather=0, boxes=self.boxes)

    def paint(self, _pixels, _mask, alpha, _texts, _sampling, _report, _stop):
        self.painted += 1
        crop = Crop.around(alpha, 32, 0.1)
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
def test_figures_are_shares_of_scenes_with_a_target(boxes):
    empty = SimpleNamespace(boxes=np.zeros((0, 4)))
    detector = Detector(original=PUPPY, unclear={**PUPPY, "alone": detections()}, edited=PUPPY)
    painter, segmenter = Painter(boxes), Segmenter()
    figures = evaluate(painter, detector, segmenter, [SCENE, empty, UNCLEAR])
    assert figures.pop("seconds") > 0
    assert figures == {"replaced": 0, "replaced_gone": 0, "removed": 0, "nothing_new": 1, "untouched": 1}
    assert segmenter.used == (0 if boxes else 2)
    assert painter.painted == 2
