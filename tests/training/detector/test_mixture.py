"""Mixing sets of photographs by a settings file."""

import json

import numpy as np
import pytest

from groundingdino.artwork.names import load_names
from groundingdino.training.detector.mixture import absent_names, photographs, read_settings, texts
from tests.training.labelled import write_folder

SETTINGS = {
    "synonyms": {"person": ["people"]},
    "words": ["grass"],
    "sets": {
        "one": {"weight": 1, "absent_groups": ["marine"], "absent": ["oven", "cat"], "present": ["fish"]},
        "two": {"weight": 3, "absent_groups": [], "absent": []},
    },
}


def test_sets_are_read_from_their_folders_and_mixed(tmp_path):
    for name, thing in (("one", "cat"), ("two", "dog")):
        boxes = [{"category_id": 5, "bbox": [2, 1, 8, 8], "image_id": 10 + i} for i in range(12)]
        write_folder(tmp_path / name, boxes, count=12, names=(thing,))
    source = photographs(tmp_path, SETTINGS)
    named = [name for index in range(80) for name in set(source(index, (64, 64)).names)]
    assert set(named) == {"cat", "dog"}
    assert named.count("dog") > 1.5 * named.count("cat")


def test_a_set_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"one' holds no annotations\.json"):
        photographs(tmp_path, SETTINGS)


def test_absent_names_are_those_of_groups_without_what_may_be_there():
    names = absent_names(SETTINGS["sets"]["one"], ("cat",))
    marine = {name.name for name in load_names() if name.group == "marine"}
    fish = {name.name for name in load_names() if "fish" in name.words}
    assert set(names) == (marine - fish) | {"oven"}


def test_the_projects_own_settings_name_no_set_absent_of_its_own():
    settings = read_settings()
    known = {name.name for name in load_names()} | set(settings["synonyms"]) | set(settings["words"])
    assert np.isfinite([known_set["weight"] for known_set in settings["sets"].values()]).all()
    assert "person" in texts(settings)
    groups = {name.group for name in load_names()}
    for of in settings["sets"].values():
        assert set(of["absent_groups"]) <= groups
    assert len(known) > 600


@pytest.mark.parametrize("text", [None, "{"])
def test_settings_that_cannot_be_read_are_told(tmp_path, text):
    path = tmp_path / "settings.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match="does not hold settings"):
        read_settings(path)
    path.write_text(json.dumps(SETTINGS))
    assert read_settings(path) == SETTINGS
