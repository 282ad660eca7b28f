from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from groundingdino.detection.phrases import Grounding, noun_scores, phrase_scores, span_scores
from groundingdino.inputs.prompt import Prompt


def make(prompt: Prompt | str, scores: list, boxes: list | None = None) -> Grounding:
    """A grounding with the given phrase scores; by default its boxes lie apart."""
    if boxes is None:
        boxes = [[20 * query, 0, 20 * query + 10, 10] for query in range(len(scores))]
    prompt = Prompt.parse(prompt) if isinstance(prompt, str) else prompt
    return Grounding(
        prompt,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.array(scores, np.float32).reshape(len(scores), len(prompt.phrases)),
        box_threshold=0.35,
        text_threshold=0.25,
        notes=(),
        text_milliseconds=0.0,
        grounding_milliseconds=0.0,
        text_cached=False,
        cached=False,
    )


def test_a_phrase_scores_as_its_best_token():
    tokens = torch.tensor([[0.9, 0.1, 0.3, 0.9, 0.2, 0.9], [0.0, 0.6, 0.5, 0.0, 0.7, 0.0]])
    positive_map = torch.tensor([[0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0], [0] * 6], dtype=torch.bool)
    torch.testing.assert_close(phrase_scores(tokens, positive_map), torch.tensor([[0.3, 0.2, 0.0], [0.6, 0.7, 0.0]]))


def test_a_span_scores_as_the_mean_of_its_tokens():
    tokens = torch.tensor([[0.9, 0.1, 0.3], [0.0, 0.6, 0.5]])
    positive_map = torch.tensor([[0, 1, 1], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)
    torch.testing.assert_close(
        span_scores(tokens, positive_map), torch.tensor([[0.2, 0.9, 0.0], [0.55, 0.0, 0.0]]), atol=1e-6, rtol=1e-5
    )


def test_each_box_gets_one_whole_phrase():
    found = make(
        "remote . remote control . trap . ap", [[0.5, 0.6, 0, 0], [0.9, 0.8, 0, 0], [0, 0, 0.4, 0.7]]
    ).detections()
    assert found["class_name"].tolist() == ["remote", "ap", "remote control"]
    assert found.class_id.tolist() == [0, 3, 1]
    np.testing.assert_allclose(found.confidence, [0.9, 0.7, 0.6])
    assert found.xyxy.tolist() == [[20, 0, 30, 10], [40, 0, 50, 10], [0, 0, 10, 10]]
    assert (found.xyxy.dtype, found.confidence.dtype) == (np.float32, np.float32)


def test_the_box_threshold_is_exclusive_and_defaults_to_the_checkpoints():
    grounding = make("cat", [[0.3], [0.5], [0.75]])
    assert grounding.detections().confidence.tolist() == [0.75, 0.5]
    assert grounding.detections(box_threshold=0.5).confidence.tolist() == [0.75]
    assert len(grounding.detections(box_threshold=0)) == 3
    assert len(grounding.detections(box_threshold=1)) == 0


def test_the_text_threshold_leaves_whole_phrases_alone():
    grounding = make("red cat . dog", [[0.6, 0.5]])
    for threshold in (0.0, 0.55, 1.0):
        assert grounding.detections(text_threshold=threshold)["class_name"].tolist() == ["red cat"]


def sentence(text: str, scores: list, nouns: list, boxes: list | None = None) -> Grounding:
    """A grounding of a sentence with the given scores of its phrases and of their nouns."""
    grounding = make(text, scores, boxes)
    assert grounding.prompt.kind == "sentence"
    return replace(grounding, noun_scores=np.array(nouns, np.float32))


SOFA = ("a cat sleeps on a red sofa", [[0.75, 0.5], [0.25, 0.625], [0, 0.625]], [[0.75, 0], [0.25, 0.625], [0, 0.25]])


@pytest.mark.parametrize(
    ("text_threshold", "labels"),
    [
        (0.0, ["cat", "red sofa", "red sofa"]),
        (0.25, ["cat", "red sofa"]),  # that "red" alone is seen in the last box makes no sofa
        (0.625, ["cat"]),
        (0.75, []),
        (1.0, []),
    ],
)
def test_a_box_of_a_sentence_has_one_whole_phrase_of_which_the_noun_is_seen(text_threshold, labels):
    found = sentence(*SOFA).detections(text_threshold=text_threshold)
    assert found["class_name"].tolist() == labels
    assert [("cat", "red sofa")[index] for index in found.class_id] == labels
    assert found.confidence.tolist() == [0.75, 0.625, 0.625][: len(labels)]


def test_a_sentence_uses_the_checkpoints_text_threshold():
    assert sentence(*SOFA).detections()["class_name"].tolist() == ["cat", "red sofa"]
    assert len(replace(sentence(*SOFA), text_threshold=0.2).detections()) == 3


def test_a_box_goes_to_the_best_phrase_of_which_the_noun_is_seen():
    grounding = sentence("a cat sleeps on a red sofa", [[0.5, 0.75]], [[0.5, 0.125]])
    found = grounding.detections()
    assert (found["class_name"].tolist(), found.confidence.tolist()) == (["cat"], [0.5])


def test_a_phrase_without_a_noun_of_its_own_is_judged_as_a_whole():
    nouns = noun_scores(torch.tensor([[0.5, 0.25, 0.75]]), torch.tensor([[1, 1, 0], [0, 0, 0]], dtype=torch.bool))
    assert nouns.tolist() == [[0.5, float("inf")]]
    found = sentence("a cat sleeps here . blue dog", [[0.5, 0.75]], nouns.tolist()).detections(text_threshold=1)
    assert found["class_name"].tolist() == ["blue dog"]


def test_spans_come_back_whole():
    prompt = Prompt.from_spans("there is a cat and a dog", [[(9, 10), (11, 14)], [(21, 24)]])
    assert make(prompt, [[0.5, 0.4], [0.2, 0.6]]).detections()["class_name"].tolist() == ["dog", "a cat"]


OVERLAPPING = [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [0, 0, 10, 5]]


def test_nms_works_within_a_phrase_and_can_be_turned_off():
    grounding = make("cat . dog", [[0.8, 0], [0.9, 0], [0, 0.7], [0.6, 0]], OVERLAPPING)
    assert grounding.detections().confidence.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert grounding.detections(nms_threshold=0.95).confidence.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])
    assert grounding.detections(nms_threshold=0.3).confidence.tolist() == pytest.approx([0.9, 0.7])
    assert grounding.detections(nms_threshold=None).confidence.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])


def test_nms_works_within_a_phrase_of_a_sentence():
    scores = [[0.8, 0], [0.9, 0.5], [0.1, 0.7], [0.6, 0]]
    found = sentence("a cat chases a dog", scores, scores, OVERLAPPING).detections()
    assert found["class_name"].tolist() == ["cat", "dog", "cat"]
    assert found.confidence.tolist() == pytest.approx([0.9, 0.7, 0.6])


def test_class_ids_count_the_callers_list():
    """As the detector fills it in: a list's columns are the phrases that are read."""
    names = ["", "Cat", "cat ", "pizza", "Cat"]
    grounding = Grounding(
        Prompt.from_phrases(names),
        boxes=np.array([[0, 0, 9, 9], [20, 0, 29, 9]], np.float32),
        scores=np.array([[0.9, 0.1], [0.2, 0.8]], np.float32),
        phrase_ids=np.array([[1, 3], [1, 3]]),
        box_threshold=0.35,
        text_threshold=0.25,
        notes=(),
        text_milliseconds=0.0,
        grounding_milliseconds=0.0,
        text_cached=False,
        cached=False,
    )
    found = grounding.detections()
    assert [names[index] for index in found.class_id] == ["Cat", "pizza"]
    assert found["class_name"].tolist() == ["cat", "pizza"]


def test_the_limit_keeps_the_best():
    grounding = make("cat", [[0.5], [0.75], [0.625]])
    assert grounding.detections(max_detections=2).confidence.tolist() == [0.75, 0.625]
    assert grounding.detections(max_detections=2, nms_threshold=None).confidence.tolist() == [0.75, 0.625]


def test_only_the_best_of_each_phrase():
    grounding = make("cat . dog", [[0.5, 0.1], [0.1, 0.75], [0.625, 0.1], [0.1, 0.875], [0.2, 0.1]])
    found = grounding.detections(best_only=True)
    assert found["class_name"].tolist() == ["dog", "cat"]
    assert found.confidence.tolist() == [0.875, 0.625]
    assert grounding.detections(best_only=True, max_detections=1)["class_name"].tolist() == ["dog"]
    assert len(grounding.detections(box_threshold=0.9, best_only=True)) == 0


def test_equal_scores_keep_their_order():
    found = make("cat", [[0.5]] * 50).detections()
    assert found.xyxy[:, 0].tolist() == [20 * query for query in range(50)]


@pytest.mark.parametrize(
    ("prompt", "scores"),
    [("", []), ("cat . dog", []), ("cat . dog", [[0.1, 0.2]]), ("two dogs with a stick", [[0.1] * 2])],
)
def test_nothing_found_is_a_typed_result(prompt, scores):
    found = make(prompt, scores).detections()
    assert len(found) == 0
    assert found.xyxy.shape == (0, 4)
    assert found.confidence.shape == found.class_id.shape == found["class_name"].shape == (0,)
    assert found["class_name"].dtype.kind == "U"
    assert np.issubdtype(found.class_id.dtype, np.integer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"box_threshold": 1.5}, "The box threshold must be between 0 and 1, but it is 1.5"),
        ({"text_threshold": -0.1}, "The text threshold must be between 0 and 1, but it is -0.1"),
        ({"nms_threshold": float("nan")}, "The NMS threshold must be between 0 and 1, but it is nan"),
        ({"max_detections": 0}, "The limit on detections must be 1 or more, but it is 0"),
        ({"max_detections": 2.5}, "The limit on detections must be 1 or more, but it is 2.5"),
        ({"max_detections": "3"}, "The limit on detections must be 1 or more, but it is '3'"),
        ({"max_detections": True}, "The limit on detections must be 1 or more, but it is True"),
        ({"max_detections": None}, "The limit on detections must be 1 or more, but it is None"),
        ({"box_threshold": "0.3"}, "The box threshold must be a number between 0 and 1, but it is '0.3'"),
        ({"box_threshold": True}, "The box threshold must be a number between 0 and 1, but it is True"),
        ({"box_threshold": [0.3]}, r"The box threshold must be a number between 0 and 1, but it is \[0.3\]"),
        ({"box_threshold": float("inf")}, "The box threshold must be between 0 and 1, but it is inf"),
        ({"text_threshold": "high"}, "The text threshold must be a number between 0 and 1, but it is 'high'"),
        ({"text_threshold": 1j}, "The text threshold must be a number between 0 and 1, but it is 1j"),
        ({"nms_threshold": "off"}, "The NMS threshold must be a number between 0 and 1, but it is 'off'"),
        ({"nms_threshold": np.bool_(True)}, "The NMS threshold must be a number between 0 and 1, but it is"),
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make("cat", [[0.5]]).detections(**arguments)


@pytest.mark.parametrize("threshold", [0.5, np.float32(0.5), np.float64(0.5), Fraction(1, 2)])
def test_any_kind_of_number_is_a_threshold(threshold):
    found = make("cat", [[0.25], [0.75]]).detections(threshold, threshold, threshold, np.int64(3))
    assert found.confidence.tolist() == [0.75]


@pytest.mark.parametrize("threshold", [0, 1])
def test_the_ends_are_thresholds(threshold):
    assert len(make("cat", [[0.25], [0.75]]).detections(threshold, threshold, threshold)) == 2 - 2 * threshold


def test_pairs_count_a_box_once_for_each_phrase():
    grounding = make("cat . dog . bird", [[0.5, 0.2, 0], [0.9, 0.6, 0.6]])
    found = grounding.pairs()
    assert found.class_id.tolist() == [0, 1, 2, 0, 1]  # of equal scores the first; 0 is no phrase
    np.testing.assert_allclose(found.confidence, [0.9, 0.6, 0.6, 0.5, 0.2])
    assert found.xyxy[:, 0].tolist() == [20, 20, 20, 0, 0]
    assert found["class_name"].tolist() == ["cat", "dog", "bird", "cat", "dog"]
    assert grounding.pairs(2).class_id.tolist() == [0, 1]
    assert len(make("cat", []).pairs()) == 0


def test_pairs_of_passages_have_the_phrases_of_theirs():
    grounding = replace(
        make("cat . dog . bird", [[0.5, 0.2, 0], [0.9, 0, 0]]), phrase_ids=np.array([[0, 1, 0], [2, 0, 0]])
    )
    assert grounding.pairs()["class_name"].tolist() == ["bird", "cat", "dog"]
