"""Sets in YOLO's and ODVG's layouts, and sets in parts."""

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from groundingdino.evaluation.sets import LabelledSet, find_parts, find_sets, open_picture
from tests.evaluation.published import coco, picture, write


def boxes(of: LabelledSet) -> list[tuple[str, list[float]]]:
    names = {one["id"]: one["name"] for one in of.categories}
    return [(names[one["category_id"]], one["bbox"]) for one in of.objects]


def save_yolo(folder: Path, about: dict, labels: dict[str, str], size=(200, 100)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in labels.items():
        picture(folder / "images" / name, 0, size)
        path = (folder / "labels" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines)
    (folder / "data.yaml").write_text(yaml.safe_dump(about))
    return folder


PARTS = {"train/a.png": "0 .5 .5 .2 .4\n\n1 0.1 0.2 0.3 0.2 0.3 0.6\n", "train/b.png": "", "val/c.png": "1 .5 .5 1 1"}


@pytest.mark.parametrize("names", [["cat", "traffic light"], {0: "cat", 1: "traffic light"}])
@pytest.mark.parametrize("path", [None, ".", "/somewhere/else"])
def test_yolo_with_parts(tmp_path, names, path):
    about = {"train": "images/train", "val": "images/val", "names": names, **({"path": path} if path else {})}
    save_yolo(tmp_path / "set", about, PARTS)
    for given in (tmp_path / "set", tmp_path / "set" / "data.yaml"):
        learn, held_out = find_parts(given)
        assert held_out is not None
        assert (learn.name, learn.names) == ("set", ["cat", "traffic light"])
        assert [name for name, _ in boxes(learn)] == ["cat", "traffic light"]
        assert boxes(learn)[0][1] == pytest.approx([80, 30, 40, 40])
        assert boxes(learn)[1][1] == pytest.approx([20, 20, 40, 40])  # an outline's
        assert [one.file.path.name for one in learn.pictures] == ["a.png", "b.png"]
        assert open_picture(learn.pictures[0]).size == (200, 100)
        assert boxes(held_out) == [("traffic light", [0, 0, 200, 100])]
        (measured,) = find_sets(given)
        assert [one.file.path.name for one in measured.pictures] == ["c.png"]


def test_yolo_as_label_and_roboflow_write_it(tmp_path):
    one = {"a.png": "0 .5 .5 .2 .4"}
    learn, held_out = find_parts(save_yolo(tmp_path / "x", {"train": "images", "val": "images", "names": ["cat"]}, one))
    assert (len(learn.pictures), held_out) == (1, None)
    other = save_yolo(tmp_path / "y", {"train": "../train/images", "names": ["cat"]}, {})
    picture(other / "train" / "images" / "a.png", 0)
    (other / "train" / "labels").mkdir()
    (other / "train" / "labels" / "a.txt").write_text("0 .5 .5 .2 .4")
    assert len(find_parts(other)[0].objects) == 1


def test_a_yolo_list_of_pictures_and_a_turned_one(tmp_path):
    folder = save_yolo(tmp_path, {"train": "list.txt", "names": ["cat"]}, {"a.jpg": "0 .5 .5 .5 .5"})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (200, 100)).save(folder / "images" / "a.jpg", exif=exif)
    (folder / "list.txt").write_text("./images/a.jpg\n\n")
    learn, _ = find_parts(folder)
    assert boxes(learn) == [("cat", [25, 50, 50, 100])]  # of the upright picture
    assert open_picture(learn.pictures[0]).size == (100, 200)


@pytest.mark.parametrize(
    ("about", "label", "sentence"),
    [
        ({"names": ["cat"]}, "", "names no pictures: expected 'train' and 'val'"),
        ({"train": "images"}, "", "has no 'names'"),
        ({"train": "nowhere", "names": ["cat"]}, "", "which is not there"),
        ({"train": "images", "names": ["cat"]}, "1 .5 .5 .1 .1", "Line 1 of .*a.txt' is not a class from 0 to 0"),
        ({"train": "images", "names": ["cat"]}, "0 .5 .5\n", "is not a class from 0 to 0 with a box or an outline"),
        ({"train": "images", "names": ["cat"]}, "", "is marked with a box"),
        (["cat"], "", "does not describe a data set"),
    ],
)
def test_a_bad_yolo_set_is_one_sentence(tmp_path, about, label, sentence):
    save_yolo(tmp_path, about, {"a.png": label})
    with pytest.raises(ValueError, match=sentence) as error:
        find_parts(tmp_path)
    assert "\n" not in str(error.value)


def save_odvg(path: Path, lines: list) -> Path:
    for line in lines:
        if isinstance(line, dict):
            picture(path.parent / "images" / line["filename"], 0)
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


SIZE = {"height": 120, "width": 160}


def test_odvg_of_detection(tmp_path):
    found = [{"bbox": [10, 20, 30, 60], "label": 1, "category": "dog"}, {"bbox": [0, 0, 5, 5], "label": 0}]
    lines = [{"filename": "a.png", **SIZE, "detection": {"instances": found}}, {"filename": "b.png", **SIZE}]
    path = save_odvg(tmp_path / "odvg.jsonl", lines)
    (tmp_path / "odvg_label_map.json").write_text(json.dumps({"0": "cat", "1": "dog", "2": "bird"}))
    learn, held_out = find_parts(path)
    assert (learn.names, held_out) == (["cat", "dog", "bird"], None)
    assert boxes(learn) == [("dog", [10, 20, 20, 40]), ("cat", [0, 0, 5, 5])]
    assert [one.phrases for one in learn.pictures] == [(), ()]


def test_odvg_of_grounding(tmp_path):
    regions = [
        {"bbox": [10, 20, 30, 60], "phrase": "a red car"},
        {"bbox": [[0, 0, 5, 5], [5, 5, 9, 9]], "phrase": ["two dogs", "dogs"]},
    ]
    line = {"filename": "a.png", **SIZE, "grounding": {"caption": "a red car and two dogs", "regions": regions}}
    learn, _ = find_parts(save_odvg(tmp_path / "odvg.jsonl", [line]))
    assert [name for name, _ in boxes(learn)] == ["a red car", "two dogs", "two dogs"]
    assert learn.pictures[0].phrases == (("a red car", 0), ("two dogs", 1))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "Line 1 of .* is not in ODVG's layout"),
        (
            {"filename": "a.png", "detection": {"instances": [{"bbox": [1, 2], "category": "cat"}]}},
            "not in ODVG's layout",
        ),
        (
            {"filename": "a.png", "detection": {"instances": [{"bbox": [1, 2, 3, 4], "label": 9}]}},
            "not in ODVG's layout",
        ),
        ({"filename": "a.png", "grounding": {"regions": [{"bbox": [1, 2, 3, 4], "phrase": " "}]}}, "has no phrase"),
    ],
)
def test_a_bad_odvg_file_is_one_sentence(tmp_path, line, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        find_parts(save_odvg(tmp_path / "odvg.jsonl", [line]))
    assert "\n" not in str(error.value)


def test_coco_in_parts_and_in_one(tmp_path):
    write(tmp_path / "parts" / "train", coco(3), "_annotations.coco.json", ".")
    write(tmp_path / "parts" / "valid", coco(2), "_annotations.coco.json", ".")
    learn, held_out = find_parts(tmp_path / "parts")
    assert held_out is not None
    assert (len(learn.pictures), len(held_out.pictures)) == (3, 2)
    whole, none = find_parts(write(tmp_path / "one", coco(4)))
    assert (len(whole.pictures), none) == (4, None)
    write(tmp_path / "several" / "a", coco(1))
    write(tmp_path / "several" / "b", coco(1))
    with pytest.raises(ValueError, match=r"There are 2 sets in .*, as a and b: give one"):
        find_parts(tmp_path / "several")
    with pytest.raises(ValueError, match="There is no"):
        find_parts(tmp_path / "nowhere")
