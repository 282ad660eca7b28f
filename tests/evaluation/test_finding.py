"""Names as they are asked for, by the reference's own construction."""

import json

import numpy as np
import pytest

from groundingdino.detection.text_tokens import span_weights, tokenize, tokenize_captions
from groundingdino.evaluation.finding import prompt_of, spoken
from groundingdino.inputs.prompt import Prompt


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("traffic light", "traffic light"),
        ("hot_dog", "hot dog"),
        ("bow_(decorative_ribbons)", "bow"),
        ("pipe_(smoking)_old", "pipe old"),
        ("(x)", "(x)"),
    ],
)
def test_names_are_asked_for_in_plain_words(name, asked):
    assert spoken(name) == asked


def test_the_caption_and_its_spans_are_the_published_ones(reference, tokenizer):
    published = json.loads(reference("token_spans.json").read_text())["category_caption"]
    prompt = prompt_of(published["categories"], as_shown=False)
    ((passage,), notes) = tokenize(prompt, tokenizer, 256)
    assert notes == ()
    assert passage.tokens.input_ids.tolist() == tokenize_captions([published["caption"]], tokenizer).input_ids.tolist()
    offsets = tokenizer(published["caption"], return_offsets_mapping=True)["offset_mapping"]
    for row, spans in zip(passage.positive_map, published["token_spans"].values(), strict=True):
        tokens = [any(first < end and start < last for start, end in spans) for first, last in offsets]
        assert row.tolist() == tokens
    assert span_weights(passage.positive_map).sum(1).tolist() == pytest.approx([1] * 4, abs=1e-5)


def test_all_names_are_asked_for_whatever_they_say(tokenizer):
    names = ["A", "the", "St. Bernard", "cat", "cat"]
    prompt = Prompt.from_names(names)
    assert prompt.phrases == ("a", "the", "st. bernard", "cat", "cat")
    ((passage,), _) = tokenize(prompt, tokenizer, 256)
    assert passage.phrases == (0, 1, 2, 3, 4)
    assert passage.positive_map.sum(1).tolist() == [1, 1, 2, 1, 1]  # never on a dot
    with pytest.raises(ValueError, match="Name 2 of 2 is empty: give each category a name"):
        Prompt.from_names(["cat", " "])
    assert Prompt.from_names([]).parts == ()


def test_many_names_become_passages_that_fit(tokenizer):
    names = [f"name number {number}" for number in range(200)]
    passages, _ = tokenize(prompt_of(names, as_shown=False), tokenizer, 256)
    assert [index for passage in passages for index in passage.phrases] == list(range(200))
    assert all(passage.tokens.input_ids.shape[1] <= 256 for passage in passages)
    assert np.ptp([len(passage.phrases) for passage in passages[:-1]]) <= 10
