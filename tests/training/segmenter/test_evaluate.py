"""The evaluator on segmenters whose answers are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import supervision as sv

from groundingdino.segmentation.masks import compact, empty_masks, join
from groundingdino.training.segmenter.evaluate import everything_figures, pointing_figures, text_figures

TRUTH = np.zeros((2, 60, 80), bool)
TRUTH[0, 10:30, 10:30] = TRUTH[1, 20:50, 40:70] = True
BOXES = np.array([[10, 10, 30, 30], [40, 20, 70, 50]], np.float32)
SCENE = SimpleNamespace(
    image=np.zeros((60, 80, 3), np.uint8),
    boxes=BOXES,
    masks=TRUTH,
    visible=np.array([1.0, 0.8], np.float32),
    phrases=("cat", "dog"),
    prompt=["cat", "dog"],
    positives=(0, 1),
    category=lambda phrase: ("cat", "dog")[phrase],
)


class Answers:
    """Stands where a segmenter does: boxes are answered by the whole object, clicks by half of it until corrected."""

    def __init__(self, everything: list[np.ndarray]):
        self.all = everything

    def encode_image(self, image):
        return SimpleNamespace(size=image.shape[1::-1])

    def segment(self, _, prompts):
        (prompt,) = prompts
        if prompt.box is not None:
            return self._found([TRUTH[list(BOXES[:, 0]).index(prompt.box[0])]])
        x, y, _ = prompt.points[0]
        whole = next(mask for mask in TRUTH if mask[int(y), int(x)])
        half = whole & (np.arange(80) < BOXES[int(whole[40, 50]), [0, 2]].mean())
        return self._found([whole if len(prompt.points) > 2 else half])

    def segment_boxes(self, _, detections):
        masks = [TRUTH[list(BOXES[:, 0]).index(box[0])] for box in detections.xyxy]
        return sv.Detections(
            detections.xyxy,
            mask=self._found(masks).mask,
            confidence=detections.confidence,
            class_id=detections.class_id,
        )

    def everything(self, _):
        return self._found(self.all)

    def _found(self, masks):
        packed = join([compact(mask) for mask in masks], (80, 60)) if masks else empty_masks((80, 60))
        return sv.Detections(np.zeros((len(masks), 4)), mask=packed)


def test_pointing_is_judged_by_the_masks_it_gives():
    figures = pointing_figures(Answers([]), [SCENE])
    assert figures == pytest.approx({"box": 1, "click": 0.5, "corrected": 1})


@pytest.mark.parametrize(
    ("found", "share", "false"),
    [
        ([TRUTH[0]], 1, 0),
        ([TRUTH[1]], 0, 0),  # covered by something: need not be found, but is no mistake
        ([TRUTH[0], TRUTH[0] | TRUTH[1], ~TRUTH[0]], 1, 2),
        ([], 0, 0),
    ],
)
def test_everything_need_find_only_what_nothing_covers(found, share, false):
    assert everything_figures(Answers(found), [SCENE]) == {"everything": share, "everything_false": false}


def test_nothing_to_find_is_no_failure_to_count():
    empty = SimpleNamespace(image=SCENE.image, masks=TRUTH[:0], visible=np.zeros(0, np.float32))
    assert everything_figures(Answers([TRUTH[0]]), [empty]) == {"everything": 0, "everything_false": 1}


def test_text_needs_the_right_name_and_the_right_mask():
    class Detector:
        def __init__(self, class_id):
            found = sv.Detections(BOXES, confidence=np.array([0.9, 0.8]), class_id=np.array(class_id))
            self.grounding = SimpleNamespace(detections=lambda **_: found)

        def encode_image(self, image):
            return image

        def ground(self, *_):
            return self.grounding

    assert text_figures(Detector([0, 1]), Answers([]), [SCENE])["AP50"] == pytest.approx(1, abs=0.01)
    assert text_figures(Detector([1, 0]), Answers([]), [SCENE])["AP50"] == pytest.approx(0, abs=0.01)
