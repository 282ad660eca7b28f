import numpy as np
import pytest
import torch

from groundingdino.phrases import Grounding, phrase_scores, span_scores
from groundingdino.prompt import Prompt


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


@pytest.mark.parametrize(
    ("text_threshold", "label"),
    [(0.25, "two dogs stick"), (0.5, "dogs stick"), (0.65, "dogs"), (0.9, "dogs"), (0.0, "two dogs with a stick")],
)
def test_a_sentence_is_labelled_with_its_passing_words_in_order(text_threshold, label):
    grounding = make("Two dogs with a stick", [[0.5, 0.75, 0.125, 0.25, 0.625]])
    found = grounding.detections(text_threshold=text_threshold)
    assert found["class_name"].tolist() == [label]
    assert found.confidence.tolist() == [0.75]
    assert grounding.phrases[found.class_id[0]] == "dogs"


def test_a_sentence_uses_the_checkpoints_text_threshold():
    found = make("Two dogs with a stick", [[0.3, 0.75, 0.2, 0.25, 0.4]]).detections()
    assert found["class_name"].tolist() == ["two dogs stick"]


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


def test_nms_in_a_sentence_works_within_a_best_word():
    scores = [[0.8, 0, 0.1], [0.9, 0.5, 0], [0, 0.3, 0.7], [0.6, 0, 0]]
    found = make("cat and dog", scores, OVERLAPPING).detections()
    assert found["class_name"].tolist() == ["cat and", "and dog", "cat"]


def test_nms_in_a_sentence_takes_a_word_that_comes_twice_for_one():
    scores = [[0.8, 0, 0, 0, 0], [0, 0, 0, 0.7, 0]]
    found = make("a cat and a dog", scores, OVERLAPPING[:2]).detections()
    assert found["class_name"].tolist() == ["a"]


def test_the_limit_keeps_the_best():
    grounding = make("cat", [[0.5], [0.75], [0.625]])
    assert grounding.detections(max_detections=2).confidence.tolist() == [0.75, 0.625]
    assert grounding.detections(max_detections=2, nms_threshold=None).confidence.tolist() == [0.75, 0.625]


def test_equal_scores_keep_their_order():
    found = make("cat", [[0.5]] * 50).detections()
    assert found.xyxy[:, 0].tolist() == [20 * query for query in range(50)]


@pytest.mark.parametrize(
    ("prompt", "scores"),
    [("", []), ("cat . dog", []), ("cat . dog", [[0.1, 0.2]]), ("two dogs with a stick", [[0.1] * 5])],
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
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make("cat", [[0.5]]).detections(**arguments)
