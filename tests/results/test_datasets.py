import io
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import supervision as sv
import yaml
from PIL import Image
from pycocotools import mask as coco_masks

from groundingdino.results.datasets import FORMATS, parts, same_labels
from groundingdino.results.export import record
from groundingdino.results.labelled_picture import LabelledPicture, named, picture_of
from groundingdino.segmentation.masks import compact, join
from groundingdino.training.detector.coco_folder import CocoFolder

NAMES = ["cat", "red apple"]
BOXES = [[10.12, 20.5, 110.25, 90.75], [0.0, 0.0, 40.0, 30.0]]
SIZE = (120, 100)


def ring() -> np.ndarray:
    """(100, 120): a square with a hole, and a part beside it."""
    mask = np.zeros(SIZE[::-1], bool)
    mask[20:80, 10:90] = True
    mask[50:60, 40:50] = False
    mask[90:95, 100:120] = True
    return mask


def corner() -> np.ndarray:
    mask = np.zeros(SIZE[::-1], bool)
    mask[:30, :40] = True
    return mask


def objects(masks: bool = False) -> sv.Detections:
    return sv.Detections(
        np.array(BOXES),
        mask=join(map(compact, (ring(), corner())), SIZE) if masks else None,
        confidence=np.array([0.9, 0.5], np.float32),
        class_id=np.array([1, 0]),
        data={"class_name": np.array(["red apple", "cat"])},
    )


def pictures(masks: bool = False) -> list[LabelledPicture]:
    """One with two objects in a sub-folder, one with none."""
    found = picture_of("a/one.jpg", record(objects(masks), SIZE, ""))
    return [found, picture_of("two.png", {"width": 30, "height": 20, "objects": []})]


def written(format: str, output: str = "out", masks: bool = False) -> dict[str, bytes]:
    files = FORMATS[format](Path(output), NAMES, pictures(masks), "about")
    return {path.as_posix(): content for path, content in files}


def test_a_record_is_read_as_it_was_written():
    read = pictures(masks=True)[0]
    assert (read.file, read.size) == ("a/one.jpg", SIZE)
    assert read.objects.xyxy.tolist() == BOXES
    assert read.objects.data["class_name"].tolist() == ["red apple", "cat"]
    np.testing.assert_allclose(read.objects.confidence, [0.9, 0.5])
    assert np.array_equal(np.stack(list(read.objects.mask)), np.stack([ring(), corner()]))


def test_coco_has_ids_boxes_scores_and_every_name():
    ((name, content),) = written("coco", "coco.json").items()
    assert name == "coco.json"
    coco = json.loads(content)
    assert coco["info"] == {"description": "about"}
    assert [(one["id"], one["name"]) for one in coco["categories"]] == [(1, "cat"), (2, "red apple")]
    assert coco["images"] == [
        {"id": 1, "file_name": "a/one.jpg", "width": 120, "height": 100},
        {"id": 2, "file_name": "two.png", "width": 30, "height": 20},
    ]
    first, second = coco["annotations"]
    assert [first[key] for key in ("id", "image_id", "category_id", "score", "iscrowd")] == [1, 1, 2, 0.9, 0]
    assert first["bbox"] == pytest.approx([10.12, 20.5, 100.13, 70.25])
    assert (second["id"], second["category_id"], second["bbox"]) == (2, 1, [0, 0, 40, 30])


def test_coco_masks_keep_holes_and_parts(tmp_path):
    (content,) = written("coco", masks=True).values()
    (tmp_path / "annotations.json").write_bytes(content)
    one, two = CocoFolder(tmp_path)
    assert np.array_equal(one.mask(0), ring())
    assert np.array_equal(one.mask(1), corner())
    assert len(two.names) == 0


def test_our_reader_of_coco_finds_names_boxes_and_pictures(tmp_path):
    (tmp_path / "images" / "a").mkdir(parents=True)
    Image.new("RGB", SIZE).save(tmp_path / "images" / "a" / "one.jpg")
    (tmp_path / "annotations.json").write_bytes(*written("coco").values())
    folder = CocoFolder(tmp_path)
    assert folder.names == ("cat", "red apple")
    assert folder[0].path == tmp_path / "images" / "a" / "one.jpg"
    assert folder[0].names == ("red apple", "cat")
    np.testing.assert_allclose(folder[0].boxes, BOXES, atol=1e-4)


def test_odvg_is_a_line_each_and_a_map_of_labels():
    files = written("odvg", "x/set.jsonl")
    assert json.loads(files["x/set_label_map.json"]) == {"0": "cat", "1": "red apple"}
    one, two = map(json.loads, files["x/set.jsonl"].splitlines())
    assert (one["filename"], one["height"], one["width"]) == ("a/one.jpg", 100, 120)
    assert one["detection"]["instances"] == [
        {"bbox": BOXES[0], "label": 1, "category": "red apple", "score": 0.9},
        {"bbox": BOXES[1], "label": 0, "category": "cat", "score": 0.5},
    ]
    assert two == {"filename": "two.png", "height": 20, "width": 30, "detection": {"instances": []}}


def test_yolo_has_a_file_each_and_names():
    files = written("yolo")
    assert set(files) == {"out/labels/a/one.txt", "out/labels/two.txt", "out/data.yaml"}
    assert yaml.safe_load(files["out/data.yaml"])["names"] == NAMES
    first, second = files["out/labels/a/one.txt"].decode().splitlines()
    kind, *numbers = first.split()
    assert kind == "1"
    assert list(map(float, numbers)) == pytest.approx([60.185 / 120, 55.625 / 100, 100.13 / 120, 70.25 / 100])
    assert second == f"0 {20 / 120:.9g} 0.15 {40 / 120:.9g} 0.3"
    assert files["out/labels/two.txt"] == b""


def test_yolo_masks_are_polygons():
    _, second = written("yolo", masks=True)["out/labels/a/one.txt"].decode().splitlines()
    corners = np.array(second.split()[1:], float).reshape(-1, 2) * SIZE
    (runs,) = coco_masks.frPyObjects([corners.ravel().tolist()], 100, 120)
    assert np.array_equal(coco_masks.decode(runs).astype(bool), corner())


def test_voc_counts_pixels_from_one():
    files = written("voc")
    assert set(files) == {"out/Annotations/a/one.xml", "out/Annotations/two.xml", "out/classes.txt"}
    assert files["out/classes.txt"] == b"cat\nred apple\n"
    root = ElementTree.fromstring(files["out/Annotations/a/one.xml"])
    texts = [root.findtext(tag) for tag in ("folder", "filename", "size/width", "size/height", "segmented")]
    assert texts == ["JPEGImages/a", "one.jpg", "120", "100", "0"]
    found = [(one.findtext("name"), one.findtext("difficult")) for one in root.iter("object")]
    assert found == [("red apple", "0"), ("cat", "0")]
    boxes = [[int(edge.text or "") for edge in box] for box in root.iter("bndbox")]
    assert boxes == [[11, 21, 110, 91], [1, 1, 40, 30]]


def test_supervision_reads_our_voc_and_yolo(tmp_path):
    """Its readers take flat folders alone."""
    one = picture_of("one.png", record(objects(), SIZE, ""))
    for format, images in (("voc", "JPEGImages"), ("yolo", "images")):
        for path, content in FORMATS[format](tmp_path / format, NAMES, [one], ""):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (tmp_path / format / images).mkdir()
        Image.new("RGB", SIZE).save(tmp_path / format / images / "one.png")
    from_voc = sv.DetectionDataset.from_pascal_voc(
        str(tmp_path / "voc" / "JPEGImages"), str(tmp_path / "voc" / "Annotations")
    )
    from_yolo = sv.DetectionDataset.from_yolo(
        str(tmp_path / "yolo" / "images"), str(tmp_path / "yolo" / "labels"), str(tmp_path / "yolo" / "data.yaml")
    )
    for dataset, within in ((from_voc, 1), (from_yolo, 0.01)):
        ((_, _, read),) = list(dataset)
        np.testing.assert_allclose(read.xyxy, BOXES, atol=within)
        assert [dataset.classes[index] for index in read.class_id] == ["red apple", "cat"]


def test_voc_masks_are_numbers_and_the_better_object_is_seen():
    files = written("voc", masks=True)
    kinds, numbers = (
        np.asarray(Image.open(io.BytesIO(files[f"out/Segmentation{kind}/a/one.png"]))) for kind in ("Class", "Object")
    )
    assert np.array_equal(numbers == 1, ring())
    assert np.array_equal(numbers == 2, corner() & ~ring())
    assert np.array_equal(kinds == 2, ring())  # red apple
    assert np.array_equal(kinds == 1, corner() & ~ring())
    colours = Image.open(io.BytesIO(files["out/SegmentationObject/a/one.png"])).convert("RGB")
    assert [colours.getpixel((x, 25)) for x in (0, 15)] == [(0, 128, 0), (128, 0, 0)]  # the challenge's 2 and 1
    assert "out/SegmentationClass/two.png" not in files


def test_phrases_of_one_class_find_an_object_once():
    boxes = np.array([[0, 0, 50, 50], [1, 0, 50, 50], [60, 0, 90, 50], [60, 0, 90, 49]], float)
    found = sv.Detections(
        boxes,
        confidence=np.array([0.5, 0.8, 0.7, 0.6], np.float32),
        class_id=np.arange(4),
        data={"class_name": np.array(["dog", "puppy", "dog", "chair"])},
    )
    picture = LabelledPicture("a.png", SIZE, found)
    names = {"dog": "animal", "puppy": "animal"}
    one = named(picture, names, 0.7).objects
    assert one.data["class_name"].tolist() == ["animal", "animal", "chair"]
    assert one.xyxy.tolist() == boxes[1:].tolist()
    assert len(named(picture, names, None).objects) == 4
    assert named(picture, {}, 0.7) is picture


def test_pictures_of_one_label_file_are_found():
    assert same_labels(["b/a.jpg", "a.jpg", "a.b.jpg"]) == []
    assert same_labels(["a.jpg", "b.png", "A.png"]) == ["a.jpg", "A.png"]


def test_cvat_has_labels_shapes_and_scores():
    root = ElementTree.fromstring(written("cvat", "set.xml")["set.xml"])
    assert root.findtext("version") == "1.1"
    assert [label.findtext("name") for label in root.iterfind("meta/job/labels/label")] == NAMES
    one, two = root.findall("image")
    assert one.attrib == {"id": "0", "name": "a/one.jpg", "width": "120", "height": "100"}
    assert [(box.get("label"), box.get("source"), box.findtext("attribute")) for box in one] == [
        ("red apple", "auto", "0.9"),
        ("cat", "auto", "0.5"),
    ]
    assert [float(one[0].get(edge, "")) for edge in ("xtl", "ytl", "xbr", "ybr")] == BOXES[0]
    assert len(two) == 0
    (mask,) = ElementTree.fromstring(written("cvat", "set.xml", masks=True)["set.xml"]).findall("image/mask")[1:]
    assert [mask.get(name) for name in ("rle", "left", "top", "width", "height")] == ["0, 1200", "0", "0", "40", "30"]


def test_label_studio_has_tasks_with_predictions_and_an_interface():
    files = written("label-studio", "x/tasks.json")
    interface = ElementTree.fromstring(files["x/tasks_config.xml"])
    assert [one.get("name") for one in interface] == ["image", "box", "outline"]
    assert [one.get("value") for one in interface.iterfind("RectangleLabels/Label")] == NAMES
    one, two = json.loads(files["x/tasks.json"])
    assert one["data"] == {"image": "/data/local-files/?d=a/one.jpg"}
    first, second = one["predictions"][0]["result"]
    assert (first["from_name"], first["to_name"], first["type"]) == ("box", "image", "rectanglelabels")
    assert (first["original_width"], first["original_height"], first["score"]) == (120, 100, 0.9)
    assert second["value"] == {"x": 0, "y": 0, "width": pytest.approx(100 / 3), "height": 30, "rotation": 0} | {
        "rectanglelabels": ["cat"]
    }
    assert two["predictions"] == [{"model_version": "about", "result": []}]
    outlined = json.loads(written("label-studio", "x/tasks.json", masks=True)["x/tasks.json"])[0]["predictions"][0]
    assert {(one["type"], one["from_name"]) for one in outlined["result"]} == {("polygonlabels", "outline")}


@pytest.mark.parametrize("format", FORMATS)
def test_parts_cover_what_is_written(format):
    owned = parts(format, Path("x/set.jsonl"))
    for path in map(Path, written(format, "x/set.jsonl", masks=format != "odvg")):
        assert any(part == path or part in path.parents for part in owned), path
