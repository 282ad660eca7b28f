"""What is learned from, what is held out, and prompts that fit."""

import json
from dataclasses import replace

import numpy as np
import pytest

from groundingdino.evaluation.sets import find_sets
from groundingdino.training.detector.coco_folder import is_held_out
from groundingdino.training.detector.photographs import PhotographSource, Words
from groundingdino.training.finetuning.knowledge import Knowledge
from groundingdino.training.finetuning.pictures import check_names, find_own_pictures, fitted, labelled
from tests.evaluation.published import coco, lvis, write


def test_a_fifth_is_held_out_by_name_or_the_sets_own_part(tmp_path):
    own = find_own_pictures(write(tmp_path / "one", coco(30)))
    held_out = {one.file.path.name for one in own.held_out.pictures}
    assert held_out == {name for name in (f"{i:03}.png" for i in range(30)) if is_held_out(name)}
    assert len(held_out) + len(own.learn.pictures) == 30
    assert 2 <= len(held_out) <= 10
    other = find_own_pictures(tmp_path / "one", seed=3)
    assert {one.file.path.name for one in other.held_out.pictures} != held_out
    assert (own.names, own.complete) == (("cat", "dog"), True)
    write(tmp_path / "two" / "train", coco(6), "_annotations.coco.json", ".")
    write(tmp_path / "two" / "valid", coco(2), "_annotations.coco.json", ".")
    parts = find_own_pictures(tmp_path / "two", count=5)
    assert (len(parts.learn.pictures), len(parts.held_out.pictures)) == (5, 2)


def test_what_cannot_be_read_is_left_out_and_told(tmp_path):
    path = write(tmp_path, coco(4))
    (tmp_path / "images" / "001.png").write_bytes(b"no picture")
    told: list[str] = []
    own = find_own_pictures(path, told=told.append)
    both = [*own.learn.pictures, *(own.held_out.pictures if own.held_out else ())]
    assert sorted(one.file.path.name for one in both) == ["000.png", "002.png", "003.png"]
    assert len(told) == 1
    assert "001.png" in told[0]


def test_a_set_without_boxes_is_one_sentence(tmp_path):
    stored = coco(2)
    for one in stored["annotations"]:
        one["iscrowd"] = 1
    with pytest.raises(ValueError, match="has a box: there is nothing to learn"):
        find_own_pictures(write(tmp_path, stored))


def test_lvis_and_phrases_are_not_complete(tmp_path):
    own = find_own_pictures(write(tmp_path / "lvis", lvis(4)))
    assert not own.complete
    assert own.names == ("bow", "hot dog", "zebra")


def test_names_are_read_as_training_reads_them(tmp_path, tokenizer):
    check_names(["cat", "traffic light"], tokenizer, 256)
    with pytest.raises(ValueError, match=r"The name “cat cat.*” is 254 tokens long, but from 1 to 253 can be learned"):
        check_names(["cat " * 254], tokenizer, 256)
    with pytest.raises(ValueError, match="is 0 tokens long"):
        check_names([" "], tokenizer, 256)
    (of,) = find_sets(write(tmp_path, coco(1)))
    (one,) = labelled(of)
    assert one.names == ("cat",)
    np.testing.assert_allclose(one.boxes, [[20, 20, 80, 70]])


def test_boxes_beyond_the_picture_are_cut_and_empty_ones_go(tmp_path):
    stored = coco(1)
    first = stored["annotations"][0]
    stored["annotations"] += [{**first, "bbox": [150, 100, 50, 50]}, {**first, "bbox": [200, 100, 50, 50]}]
    (one,) = labelled(find_own_pictures(write(tmp_path, stored)).learn)
    np.testing.assert_allclose(one.boxes, [[20, 20, 80, 70], [150, 100, 160, 120]])


def test_long_prompts_lose_names_of_what_is_not_there_first(tmp_path, tokenizer):
    (one,) = labelled(find_sets(write(tmp_path, coco(1)))[0])
    names = ("cat", *(f"thing {i}" for i in range(60)))
    source = PhotographSource([one], names, (), Words(known=()))
    short = fitted(source, tokenizer, 40)
    for index in range(30):
        whole, cut = source(index, (64, 64)), short(index, (64, 64))
        assert len(tokenizer(" . ".join(cut.prompt))["input_ids"]) <= 41
        assert set(cut.prompt) <= set(whole.prompt)
        named = [whole.prompt[place] for place in whole.positives if place is not None]
        assert [cut.prompt[place] for place in cut.positives if place is not None] == named
    assert any(len(source(index, (64, 64)).prompt) > len(short(index, (64, 64)).prompt) for index in range(30))


def found(phrase: str, score: float, box: list[float]) -> dict:
    return {"phrase": phrase, "score": score, "box": box}


@pytest.fixture
def known(tmp_path):
    (of,) = find_sets(write(tmp_path, coco(1)))
    (one,) = labelled(of)  # a cat at 20, 20, 80, 70
    records = [
        found("dog", 0.9, [20, 20, 78, 70]),  # the cat
        found("bus", 0.8, [100, 30, 150, 90]),
        found("tree", 0.3, [0, 0, 20, 20]),  # not sure
        found("car", 0.8, [0, 80, 50, 119]),  # not among the names
    ]
    return of, one, Knowledge({one.path: records}, box_threshold=0.5)


def test_what_the_model_is_sure_of_is_marked_beside_what_is_marked(known):
    _, one, knowledge = known
    both = knowledge.added_to(one, ["dog", "bus", "tree"])
    assert both.names == ("cat", "bus")
    np.testing.assert_allclose(both.boxes, [[20, 20, 80, 70], [100, 30, 150, 90]])
    assert len(both.outlines) == len(both.crowds) == 2
    assert knowledge.added_to(replace(one, path=one.path), []).names == ("cat",)


def test_what_may_be_there_is_never_said_to_be_absent(known):
    _, one, knowledge = known
    assert knowledge.doubtful(one.path) == {"dog", "bus", "tree", "car"}
    absent = ("dog", "bus", "tree", "car", "boat")
    source = PhotographSource(
        [one], ("cat",), absent, Words(known=()), doubtful={one.path: knowledge.doubtful(one.path)}
    )
    asked = {phrase for index in range(60) for phrase in source(index, (64, 64)).prompt}
    assert any("boat" in phrase for phrase in asked)
    assert not [phrase for phrase in asked for name in absent[:4] if name in phrase]


def test_what_was_found_before_becomes_a_set_to_measure_by(known):
    of, _, knowledge = known
    there = knowledge.as_set(of, ["bus", "boat"])
    assert there is not None
    assert there.names == ["bus", "boat"]
    assert [one["bbox"] for one in there.objects] == [[100, 30, 50, 60]]
    assert knowledge.as_set(of, ["boat"]) is None
    json.dumps(there.truth())
