"""Training pictures made of photographs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_codec

from groundingdino.training.detector.coco_folder import Labelled
from groundingdino.training.detector.photographs import PhotographSource, Words, cutouts_of, without_doubles
from groundingdino.training.detector.targets import mix

RED, BLUE = (255, 0, 0), (0, 0, 255)


def labelled(folder: Path, name: str, colour, box=(40, 30, 80, 70), thing="cat", outlined=False) -> Labelled:
    """A grey picture of 160 x 120 pixels with one block."""
    pixels = np.full((120, 160, 3), 128, np.uint8)
    x0, y0, x1, y1 = box
    pixels[y0:y1, x0:x1] = colour
    path = folder / name
    Image.fromarray(pixels).save(path)
    mask = np.zeros((120, 160), np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    return Labelled(
        path,
        160,
        120,
        (thing,),
        np.array([box], np.float32),
        (mask_codec.encode(mask) if outlined else None,),
        np.zeros(1, bool),
    )


@pytest.fixture
def cats(tmp_path):
    return [labelled(tmp_path, f"{i}.png", RED) for i in range(3)]


def shows(example, box, colour):
    """Whether a box holds mostly pixels of a colour; light and noise of the picture vary."""
    x0, y0, x1, y1 = np.round(box).astype(int)
    inside = example.image[y0:y1, x0:x1].reshape(-1, 3).astype(int)
    channel = int(np.argmax(colour))
    return (inside[:, channel] - np.delete(inside, channel, axis=1).max(1) > 40).mean() > 0.85


def test_boxes_follow_crops_mirrors_and_mosaics(cats):
    source = PhotographSource(cats, ["cat", "dog"])
    seen = 0
    for index in range(60):
        example = source(index, (128, 96))
        assert example.image.shape == (96, 128, 3)
        for box in example.boxes:
            if min(box[2:] - box[:2]) >= 8:
                assert shows(example, box, RED)
                seen += 1
    assert seen > 40


def test_the_same_index_gives_the_same_picture(cats):
    source = PhotographSource(cats, ["cat", "dog"], ["anchor"], seed=3)
    one, again, other = source(5, (96, 96)), source(5, (96, 96)), source(6, (96, 96))
    np.testing.assert_array_equal(one.image, again.image)
    assert one.prompt == again.prompt
    assert not np.array_equal(one.image, other.image)


def test_prompts_name_what_is_there_and_only_what_is_known_to_be_absent(cats):
    source = PhotographSource(cats, ["cat", "dog"], ["anchor"], Words({"anchor": (), "dog": ()}))
    texts = set()
    for index in range(150):
        example = source(index, (96, 96))
        texts.update(example.prompt)
        for name, phrase in zip(example.names, example.positives, strict=True):
            assert name == "cat"
            said = example.prompt[phrase] if phrase is not None else "cat"
            assert any(word in said for word in ("cat", "kitten", "kitty", "kitties"))
        cat_phrases = [phrase for phrase in example.prompt if "cat" in phrase or "kit" in phrase]
        assert example.names or len(cat_phrases) <= 1
    singular = {text.replace("kitties", "kitty").removesuffix("s") for text in texts}
    assert {text.removeprefix("a ").removeprefix("an ") for text in singular} == {
        "cat", "kitten", "kitty", "dog", "anchor",
    }  # fmt: skip


def test_some_prompts_ask_for_all_names(cats):
    names = ["cat", *(f"thing {i}" for i in range(40))]
    prompts = [PhotographSource(cats, names)(index, (64, 64)).prompt for index in range(60)]
    assert any(len(prompt) >= 40 for prompt in prompts)
    assert any(len(prompt) <= 3 for prompt in prompts)


def test_pasted_objects_are_marked_and_hide_what_is_behind(tmp_path, cats):
    cutouts = cutouts_of([labelled(tmp_path, "cut.png", BLUE, thing="dog", outlined=True)])
    source = PhotographSource(cats, ["cat", "dog"], cutouts=cutouts)
    examples = [source(index, (128, 96)) for index in range(60)]
    dogs = [(e, box) for e in examples for box, name in zip(e.boxes, e.names, strict=True) if name == "dog"]
    assert len(dogs) > 15
    shown = [shows(example, box, BLUE) for example, box in dogs if min(box[2:] - box[:2]) >= 10]
    assert np.mean(shown) > 0.8  # others lie under what was pasted after them


def test_what_a_set_says_nothing_of_is_never_pasted(tmp_path, cats):
    cutouts = cutouts_of([labelled(tmp_path, "cut.png", BLUE, thing="person", outlined=True)])
    source = PhotographSource(cats, ["cat", "dog"], ["anchor"], cutouts=cutouts)
    assert {name for index in range(40) for name in source(index, (96, 96)).names} == {"cat"}


def test_doubles_and_crowds_are_left_out(tmp_path):
    picture = labelled(tmp_path, "0.png", RED)
    box = picture.boxes[0]
    double = Labelled(
        picture.path, 160, 120, ("cat", "cat", "dog", "cat"),
        np.array([box, box + 1, box, box + 60]), (None,) * 4, np.array([False, False, False, True]),
    )  # fmt: skip
    assert without_doubles(double).names == ("cat", "dog")


def test_pictures_without_boxes_are_refused(tmp_path):
    nowhere = labelled(tmp_path, "0.png", RED)
    nowhere.boxes[:] = np.nan
    with pytest.raises(ValueError, match="nothing to learn from"):
        PhotographSource([nowhere], ["cat"])


def test_words_of_other_pictures_that_may_be_true_are_no_errors(cats):
    example = next(e for i in range(20) if len((e := PhotographSource(cats, ["cat"])(i, (96, 96))).names))
    for text, may_be in (
        ("kitten", True),
        ("a black cat", True),
        ("animals", True),
        ("dog", False),
        ("catfish", False),
    ):
        other = type(example)(example.image, example.boxes, example.names, (text,), (), example.words)
        assert example.may_be(0, other, 0) is may_be


def test_sources_are_mixed_by_weight():
    source = mix([(3, lambda index, size: ("one", index, size)), (1, lambda index, size: ("other", index, size))])
    drawn = [source(index, (8, 8)) for index in range(400)]
    assert 0.2 < np.mean([kind == "other" for kind, *_ in drawn]) < 0.3
    assert [index for _, index, _ in drawn] == list(range(400))
    assert drawn[:20] == [source(index, (8, 8)) for index in range(20)]
