from collections import Counter

import numpy as np
import pytest

from groundingdino.artwork.names import COLOURS, load_names
from groundingdino.training.scenes.captions import MAX_PHRASES, Captioner, Phrase, Thing, is_held_out, is_true

NAMES = load_names()
LABELS = {name.name: label for label, name in enumerate(NAMES)}


def thing(name, colour=None):
    return Thing(LABELS[name], colour)


@pytest.fixture(scope="module")
def captioner():
    return Captioner(NAMES, lambda _, name: name.tint, colour_rate=0.7)


@pytest.mark.parametrize(
    ("word", "colour", "of", "expected"),
    [
        ("car", None, thing("car"), True),
        ("automobile", None, thing("car"), True),
        ("car", None, thing("taxi"), True),  # a taxi is a car
        ("taxi", None, thing("car"), False),
        ("car", "blue", thing("car", "blue"), True),
        ("car", "blue", thing("car", "red"), False),
        ("car", "blue", thing("car"), None),  # nobody knows what colour it was drawn in
        ("car", "blue", thing("cat"), False),
        ("apple", "red", thing("apple", "red"), True),
        ("mouse", None, thing("computer mouse"), True),
        ("dog", None, thing("hot dog"), False),
    ],
)
def test_truth(word, colour, of, expected):
    label = LABELS.get(word, LABELS["car"])
    assert is_true(Phrase(f"{colour} {word}", word, colour, label), of, NAMES) is expected


def test_each_thing_answers_to_one_phrase_at_most_and_absent_phrases_to_nothing(captioner):
    rng = np.random.default_rng(0)
    for _ in range(400):
        things = [Thing(int(rng.integers(len(NAMES))), rng.choice([None, *COLOURS])) for _ in range(rng.integers(1, 9))]
        caption = captioner.compose(things, rng)
        assert 1 <= len(caption.phrases) <= MAX_PHRASES
        assert len({phrase.text for phrase in caption.phrases}) == len(caption.phrases)
        for index, positive in enumerate(caption.positives):
            truths = [is_true(phrase, things[index], NAMES) for phrase in caption.phrases]
            assert None not in truths
            assert [number for number, truth in enumerate(truths) if truth] == [positive] * (positive is not None)


def test_short_prompts_leave_things_out_and_name_what_is_not_there():
    captioner = Captioner(NAMES, lambda _, name: name.tint, colour_rate=0.7, short_rate=1.0)
    rng = np.random.default_rng(0)
    things = [thing(name) for name in ("cat", "pizza", "sun", "sailboat", "apple")]
    captions = [captioner.compose(things, rng) for _ in range(300)]
    assert {len(caption.phrases) for caption in captions} == {1, 2, 3}
    found = Counter(sum(positive is not None for positive in caption.positives) for caption in captions)
    assert found[0] > 60
    assert found[1] > 60
    assert max(found) <= 3
    assert len(captioner.compose(things, rng, complete=True).phrases) > 5


def test_a_picture_without_things_gets_absent_names(captioner):
    caption = captioner.compose([], np.random.default_rng(0))
    assert len(caption.phrases) >= 1
    assert caption.positives == ()


def test_prompts_are_as_people_type_them(captioner):
    rng = np.random.default_rng(1)
    texts = Counter(
        phrase.text
        for _ in range(1500)
        for phrase in captioner.compose([thing("dog"), thing("dog"), thing("umbrella", "gray")], rng).phrases
    )
    spoken = {"dog", "puppy", "dogs", "puppies", "a dog", "the dog", "an umbrella", "gray umbrella", "grey umbrella"}
    assert spoken <= set(texts)
    assert texts["dog"] > texts["puppy"] > texts["a dog"]
    assert not {"a umbrella", "the dogs", "an dog"} & set(texts)


def test_a_thing_with_its_own_colour_meets_the_same_thing_in_another(captioner):
    rng = np.random.default_rng(2)
    prompts = [captioner.compose([thing("apple", "red")], rng) for _ in range(600)]
    texts = [{phrase.text for phrase in caption.phrases} for caption in prompts]
    assert any("red apple" in text for text in texts)
    captioner = Captioner(NAMES, lambda colour, name: colour in name.own_colours, colour_rate=1.0)
    texts = [{p.text for p in captioner.compose([thing("apple", "red")], rng).phrases} for _ in range(200)]
    assert any({"red apple", "green apple"} <= text for text in texts)


def test_held_out_combinations_are_some_and_the_same_everywhere():
    pairs = [(colour, name) for name in NAMES if name.tint for colour in COLOURS]
    share = np.mean([is_held_out(colour, name) for colour, name in pairs])
    assert 0.12 < share < 0.18
    assert not is_held_out("red", NAMES[LABELS["apple"]])
    held = [colour for colour in COLOURS if is_held_out(colour, NAMES[LABELS["cat"]])]
    assert held == ["yellow", "blue", "gray"]
