import hashlib

import numpy as np
import pytest

from groundingdino.artwork.drawings import HELD_OUT_STYLE, MAIN_STYLE, TRAINING_STYLES, Artwork
from groundingdino.training.scenes.captions import is_held_out
from groundingdino.training.scenes.scenes import (
    EVALUATIONS,
    SceneMaker,
    _draw_pose,
    evaluation_maker,
    evaluation_scenes,
)


@pytest.fixture(scope="module")
def maker():
    return SceneMaker(Artwork((MAIN_STYLE,), 64), seed=3, short_side=(96, 160))


@pytest.fixture(scope="module")
def scenes(maker):
    return [maker.scene(index) for index in range(80)]


def digest(scene):
    parts = [scene.image.tobytes(), scene.boxes.tobytes(), scene.labels.tobytes(), repr(scene.prompt).encode()]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def test_boxes_are_the_extents_of_the_visible_pixels(scenes):
    for scene in scenes:
        assert scene.boxes.dtype == np.float32
        assert scene.boxes.shape == (len(scene.labels), 4)
        assert scene.masks.shape == (len(scene.labels), *scene.image.shape[:2])
        for box, mask in zip(scene.boxes, scene.masks, strict=True):
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_a_picture_is_as_asked_for(maker, scenes):
    for scene in scenes:
        height, width, channels = scene.image.shape
        assert (channels, scene.image.dtype) == (3, np.uint8)
        assert 96 <= min(height, width) <= 160
        assert max(height, width) <= 2 * min(height, width)
        assert scene.owners.shape == (height, width)
    assert maker.scene(7, size=(120, 72)).image.shape == (72, 120, 3)
    shapes = [scene.image.shape for scene in scenes]
    assert any(height > width for height, width, _ in shapes)
    assert any(height < width for height, width, _ in shapes)


def test_one_to_ten_objects_of_which_some_repeat(scenes):
    counts = [len(scene.labels) for scene in scenes]
    assert set(range(1, 9)) <= set(counts)
    assert max(counts) <= 10
    repeated = np.mean([len(set(scene.labels.tolist())) < len(scene.labels) for scene in scenes])
    assert 0.05 < repeated < 0.5


def test_positives_are_exactly_what_is_true(maker, scenes):
    for scene in scenes:
        for label, colour, positive in zip(scene.labels, scene.colours, scene.positives, strict=True):
            words = maker.names[label].words
            true = [
                index
                for index, phrase in enumerate(scene.phrases)
                if phrase.word in words and phrase.colour in (None, colour)
            ]
            assert true == ([] if positive is None else [positive])


def test_prompts_also_name_absent_things_and_may_name_nothing_else(scenes):
    present = [{positive for positive in scene.positives if positive is not None} for scene in scenes]
    absent = [len(scene.phrases) - len(some) for scene, some in zip(scenes, present, strict=True)]
    assert np.mean(np.array(absent) > 0) > 0.8
    assert any(not some for some in present)
    assert max(len(scene.phrases) for scene in scenes) <= 12


def test_held_out_colours_are_never_trained(maker):
    for index in range(250):
        scene = maker.scene(index, size=(64, 64))
        pairs = [(phrase.colour, phrase.label) for phrase in scene.phrases if phrase.colour]
        pairs += [(colour, label) for colour, label in zip(scene.colours, scene.labels, strict=True) if colour]
        assert not any(is_held_out(colour, maker.names[label]) for colour, label in pairs)


def test_the_colours_evaluation_holds_nothing_else():
    maker = evaluation_maker("colours")
    named = 0
    for scene in (maker.scene(index, size=(80, 80)) for index in range(12)):
        for colour, label in zip(scene.colours, scene.labels, strict=True):
            assert is_held_out(colour, maker.names[label])
        named += sum(scene.phrases[index].colour is not None for index in scene.positives if index is not None)
    assert named >= 20


def test_a_scene_is_the_same_whenever_it_is_made(maker):
    other = SceneMaker(Artwork((MAIN_STYLE,), 64), seed=3, short_side=(96, 160))
    assert digest(other.scene(11)) == digest(maker.scene(11))
    different = SceneMaker(Artwork((MAIN_STYLE,), 64), seed=4, short_side=(96, 160))
    assert digest(different.scene(11)) != digest(maker.scene(11))


@pytest.mark.parametrize(
    ("name", "expected"), [("noto", "d9d5d6fc12ea5f0a"), ("colours", "a50be78695edc9dd"), ("style", "985700cdac45c6e3")]
)
def test_the_held_out_scenes_are_those_of_the_published_figures(name, expected):
    """A change of their bytes makes figures incomparable: train and evaluate anew, then write the new digest."""
    assert digest(next(evaluation_scenes(name, 1))) == expected


def test_evaluation_styles():
    assert evaluation_maker("noto").artwork.styles == (MAIN_STYLE,)
    assert evaluation_maker("style").artwork.styles == (HELD_OUT_STYLE,)
    assert HELD_OUT_STYLE not in SceneMaker(Artwork(), seed=0).artwork.styles == TRAINING_STYLES


def test_evaluation_pictures_have_the_sizes_people_upload():
    maker = evaluation_maker("noto")
    sizes = [maker._draw_size(np.random.default_rng(index)) for index in range(300)]
    shorts, longs = [min(size) for size in sizes], [max(size) for size in sizes]
    assert 256 <= min(shorts) < 300
    assert 750 < max(shorts) <= 800 < max(longs) <= 1600


def test_an_unknown_evaluation_is_refused():
    with pytest.raises(ValueError, match=f"one of {', '.join(EVALUATIONS)}"):
        evaluation_maker("photographs")


def test_one_word_for_all_ways_to_say_it(scenes, maker):
    for scene in scenes:
        for index, phrase in enumerate(scene.phrases):
            category = scene.category(index)
            if phrase.colour:
                assert category == f"{phrase.colour} {maker.names[phrase.label].name}"
            else:
                assert category in maker.names[phrase.label].words


def test_a_crowd_shows_many_things_and_names_all(maker):
    scenes = [maker.scene(index, size=(160, 128), crowded=True) for index in range(10)]
    assert min(len(scene.labels) for scene in scenes) > 10
    assert max(len(scene.labels) for scene in scenes) <= 24
    named = [positive is not None for scene in scenes for positive in scene.positives]
    assert np.mean(named) > 0.95
    assert all(len(set(scene.labels.tolist())) == len(scene.labels) for scene in scenes)


def test_training_shows_larger_things_than_the_evaluations_have():
    """What is large was learned last: half of the few things in a picture are as often large as small."""

    def sizes(varied):
        rng = np.random.default_rng(0)
        return np.array([_draw_pose("", rng, short=100, crowd=2, varied=varied).size for _ in range(400)])

    trained, evaluated = sizes(varied=True), sizes(varied=False)
    assert 10 <= evaluated.min() < 11
    assert 55 < evaluated.max() <= 60
    assert 85 < trained.max() <= 90
    assert (trained > 40).mean() > (evaluated > 40).mean() + 0.15


def test_a_scene_is_known_without_one_of_its_objects():
    maker = evaluation_maker("noto")
    index = next(index for index in range(20) if len(maker.scene(index).boxes) > 1)
    scene = maker.scene(index)
    without = maker.without(index, 0)
    around = np.zeros(scene.owners.shape, bool)  # with its shadow
    x0, y0, x1, y1 = scene.boxes[0].astype(int)
    margin = max(x1 - x0, y1 - y0) // 3
    around[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin] = True
    assert (without != scene.image)[scene.masks[0]].any(1).mean() > 0.9
    np.testing.assert_array_equal(without[~around], scene.image[~around])


def test_of_varied_scenes_no_truth_is_known():
    with pytest.raises(ValueError, match="where pictures are not varied"):
        SceneMaker(Artwork(("noto",)), seed=0).without(0, 0)
