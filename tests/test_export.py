import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from groundingdino.export import annotated_png, coco_zip, json_file, record, yolo_zip

PHRASES = ("zebra", "cat", "pizza")
BOXES = [[10.123456, 20.5, 110.25, 90.75], [0.0, 0.0, 320.0, 240.0]]


@pytest.fixture
def image() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def found() -> sv.Detections:
    return sv.Detections(
        xyxy=np.array(BOXES, np.float32),
        confidence=np.array([0.912345, 0.5], np.float32),
        class_id=np.array([2, 0]),
        data={"class_name": np.array(["pizza", "zebra"])},
    )


def unpack(archive: bytes, folder: Path) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        opened.extractall(folder)
        return opened.namelist()


def test_record_is_the_contract(found):
    expected = {
        "width": 320,
        "height": 240,
        "model": "embedded",
        "objects": [
            {"phrase": "pizza", "score": 0.9123, "box": [10.12, 20.5, 110.25, 90.75]},
            {"phrase": "zebra", "score": 0.5, "box": [0.0, 0.0, 320.0, 240.0]},
        ],
    }
    assert record(found, (320, 240), "embedded") == expected
    assert json.loads(json_file(found, (320, 240), "embedded")) == expected


def test_record_of_nothing():
    assert record(sv.Detections.empty(), (8, 6), "swin-t") == {
        "width": 8,
        "height": 6,
        "model": "swin-t",
        "objects": [],
    }


def test_json_keeps_other_scripts_readable(found):
    found.data["class_name"] = np.array(["Hündchen", "кот"])
    assert "Hündchen" in json_file(found, (320, 240), "embedded").decode()


def test_annotated_picture_has_the_size_of_the_picture(image, found):
    drawn = Image.open(io.BytesIO(annotated_png(image, found, PHRASES)))
    assert (drawn.format, drawn.size) == ("PNG", image.size)
    assert drawn.tobytes() != image.tobytes()


def test_coco_is_read_back_by_supervision_and_pycocotools(image, found, tmp_path):
    names = unpack(coco_zip(image, "street", found, PHRASES), tmp_path)
    assert names == ["images/street.png", "annotations/instances_default.json"]
    path = tmp_path / "annotations" / "instances_default.json"

    coco = json.loads(path.read_text())
    assert [(category["id"], category["name"]) for category in coco["categories"]] == [
        (1, "zebra"),
        (2, "cat"),
        (3, "pizza"),
    ]
    (picture,) = coco["images"]
    assert (picture["file_name"], picture["width"], picture["height"]) == ("street.png", 320, 240)
    assert [annotation["category_id"] for annotation in coco["annotations"]] == [3, 1]
    assert coco["annotations"][0]["bbox"] == pytest.approx([10.123456, 20.5, 100.126544, 70.25], abs=1e-4)
    assert coco["annotations"][0]["score"] == 0.9123
    assert coco["licenses"] == [], "nobody declares a licence for the user's picture"

    back = sv.DetectionDataset.from_coco(str(tmp_path / "images"), str(path))
    assert back.classes == list(PHRASES)
    _, pixels, annotations = back[0]
    assert annotations.xyxy == pytest.approx(found.xyxy, abs=1e-4)
    assert annotations.class_id.tolist() == [2, 0]
    assert np.array_equal(pixels[..., ::-1], np.asarray(image)), "the picture is stored without loss"

    from pycocotools.coco import COCO

    assert len(COCO(str(path)).getAnnIds()) == 2


def test_yolo_is_read_back_by_supervision(image, found, tmp_path):
    names = unpack(yolo_zip(image, "street", found, PHRASES), tmp_path)
    assert names == ["images/street.png", "labels/street.txt", "data.yaml"]
    back = sv.DetectionDataset.from_yolo(
        str(tmp_path / "images"), str(tmp_path / "labels"), str(tmp_path / "data.yaml")
    )
    assert back.classes == list(PHRASES)
    _, _, annotations = back[0]
    assert annotations.xyxy == pytest.approx(found.xyxy, abs=5e-3)
    assert annotations.class_id.tolist() == [2, 0]


@pytest.mark.parametrize("export", [coco_zip, yolo_zip])
def test_nothing_found_is_a_data_set_without_objects(export, image, tmp_path):
    names = unpack(export(image, "empty", sv.Detections.empty(), PHRASES), tmp_path)
    assert "images/empty.png" in names
    if export is yolo_zip:
        assert (tmp_path / "labels" / "empty.txt").read_text().strip() == ""
    else:
        assert json.loads((tmp_path / "annotations" / "instances_default.json").read_text())["annotations"] == []


def test_labels_that_are_no_phrase_become_categories(image, found, tmp_path):
    found.data["class_name"] = np.array(["red sofa", "cat"])  # words of a sentence, snapped together
    unpack(coco_zip(image, "room", found, ["a", "cat", "red", "sofa"]), tmp_path)
    coco = json.loads((tmp_path / "annotations" / "instances_default.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert [names[annotation["category_id"]] for annotation in coco["annotations"]] == ["red sofa", "cat"]
