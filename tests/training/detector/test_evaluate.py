"""The evaluator on a detector whose answers are known."""

import numpy as np
import pytest

from groundingdino.detection.phrases import Grounding
from groundingdino.inputs.prompt import Prompt
from groundingdino.training.detector.evaluate import evaluate
from tests.training.labelled import Picture

BOX, OTHER = (10.0, 10.0, 50.0, 40.0), (60.0, 20.0, 90.0, 70.0)


class Answers:
    """Stands where a detector does and gives the boxes and scores it was made with, for the prompt ("cat", "dog")."""

    def __init__(self, boxes, scores):
        self.boxes, self.scores = np.array(boxes, np.float32), np.array(scores, np.float32)

    def encode_image(self, image):
        return image

    def ground(self, _, prompt):
        return Grounding(
            Prompt.from_phrases(prompt),
            boxes=self.boxes,
            scores=self.scores,
            box_threshold=0.35,
            text_threshold=0.25,
            notes=(),
            text_milliseconds=0.0,
            grounding_milliseconds=0.0,
            text_cached=False,
            cached=False,
        )


def picture(positives=(0, 1)) -> Picture:
    return Picture(np.zeros((80, 100, 3), np.uint8), np.array([BOX, OTHER], np.float32), ("cat", "dog"), positives)


@pytest.mark.parametrize(
    ("boxes", "scores", "expected"),
    [
        ([BOX, OTHER], [[0.9, 0.1], [0.1, 0.8]], {"AP": 1, "AP50": 1, "named_right": 1, "found": 1, "false_boxes": 0}),
        ([BOX, OTHER], [[0.1, 0.9], [0.8, 0.1]], {"AP": 0, "named_right": 0, "found": 0, "false_boxes": 0}),
        ([BOX], [[0.9, 0.1]], {"AP": 0.5, "AP50": 0.5, "named_right": 1, "found": 0.5}),
        ([BOX], [[0.3, 0.1]], {"AP": 0.5, "found": 0, "false_boxes": 0}),  # under the default threshold
        ([(10, 10, 50, 32), OTHER], [[0.9, 0], [0, 0.9]], {"AP": 0.75, "AP50": 1, "AP75": 0.5}),  # IoU 0.73: 5 of 10
    ],
)
def test_figures(boxes, scores, expected):
    figures = evaluate(Answers(boxes, scores), [picture()]).overall
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=0.01)


def test_boxes_of_absent_names_are_false_and_unnamed_objects_are_no_targets():
    figures = evaluate(Answers([BOX, OTHER], [[0.9, 0.1], [0.1, 0.8]]), [picture((0, None)), picture((0, 1))]).overall
    assert figures["false_boxes"] == 0.5
    assert figures["found"] == 1


def test_what_is_found_depends_on_the_threshold():
    answers = Answers([BOX, OTHER], [[0.9, 0.1], [0.1, 0.8]])
    found = [evaluate(answers, [picture((0, 1))], box_threshold=score).overall["found"] for score in (0.5, 0.85, 0.95)]
    assert found == [1, 0.5, 0]


def test_categories_gather_synonyms():
    figures = evaluate(Answers([BOX, OTHER], [[0.9, 0.1], [0.1, 0.8]]), [picture()], category=lambda *_: "animal")
    assert list(figures.of_each) == ["animal"]
    assert figures.overall["AP"] == pytest.approx(1)
