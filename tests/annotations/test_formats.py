"""Files of other programs, and damaged ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groundingdino.annotations.label_studio import brushed
from groundingdino.annotations.opening import open_annotations
from groundingdino.annotations.pictures import find_pictures

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><labels><label><name>cat</name><attributes/></label><label><name>dog</name></label></labels></task></meta>
<image id="0" name="a.png" width="100" height="80">{}</image></annotations>"""
VOC = "<annotation><filename>C:\\\\me\\\\a.png</filename>{}</annotation>"


def test_cvat_turned_boxes_polygons_masks_and_what_has_no_area(tmp_path):
    shapes = """
      <box label="cat" xtl="40" ytl="30" xbr="60" ybr="50" rotation="90"/>
      <polygon label="dog" points="10.5,20;30,20;30,40.25"/>
      <mask label="cat" rle="1, 2, 1, 2" left="5" top="6" width="3" height="2"/>
      <points label="cat" points="1,2"/>"""
    path = tmp_path / "export"
    path.write_text(CVAT.format(shapes))
    box, polygon, mask = open_annotations(path).objects(0)
    assert box.box == pytest.approx((40, 30, 60, 50))
    assert (polygon.name, polygon.box) == ("dog", (10.5, 20, 30, 40.25))
    assert polygon.outline == [[10.5, 20, 30, 20, 30, 40.25]]
    assert mask.box == (5, 6, 8, 8)


def test_voc_of_labelimg_has_paths_of_another_machine(tmp_path):
    (tmp_path / "Annotations").mkdir()
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"
    (tmp_path / "Annotations" / "a.xml").write_text(VOC.format(f"<object><name>cat</name>{box}</object>"))
    document = open_annotations(tmp_path)
    assert (document.files, document.names, document.size(0)) == (["a.png"], ["cat"], None)
    assert document.objects(0)[0].box == (0, 1, 30, 40)


def task(image: str, *results: dict, key: str = "annotations", **more) -> dict:
    return {"data": {"image": image}, key: [{"result": list(results), **more}]}


SIZE = {"original_width": 200, "original_height": 100}
BOX = {"type": "rectanglelabels", **SIZE, "value": {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}}
BOX["value"]["rectanglelabels"] = ["cat"]


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("/data/upload/1/0a1b2c3d-my cat.jpg", "my cat.jpg"),
        ("/data/local-files/?d=set%2Fmy%20cat.jpg", "set/my cat.jpg"),
        ("https://example.org/some/cat.png?token=1", "cat.png"),
        ("s3://bucket/set/cat.png", "cat.png"),
        ("set/cat.png", "set/cat.png"),
    ],
)
def test_label_studio_has_pictures_by_many_addresses(address, file, tmp_path):
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task(address, BOX)]))
    document = open_annotations(path)
    assert (document.files, document.size(0)) == ([file], (200, 100))
    assert document.objects(0)[0].box == pytest.approx((20, 20, 80, 60))


def test_label_studio_annotations_count_before_predictions_and_cancelled_ones_do_not(tmp_path):
    other = {**BOX, "value": {**BOX["value"], "rectanglelabels": ["dog"]}}
    both = {**task("a.png", BOX), "predictions": [{"result": [other]}]}
    cancelled = {**task("b.png", BOX, was_cancelled=True), "predictions": [{"result": [other]}]}
    path = tmp_path / "export.json"
    path.write_text(json.dumps([both, cancelled]))
    document = open_annotations(path)
    assert [[one.name for one in document.objects(index)] for index in (0, 1)] == [["cat"], ["dog"]]


def test_a_label_studio_box_that_is_turned_about_its_corner(tmp_path):
    turned = {**BOX, "value": {**BOX["value"], "rotation": 90}}
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task("a.png", turned)]))
    # 60 x 40 pixels at (20, 20): after a quarter turn to the right its width goes down and its height to the left.
    assert open_annotations(path).objects(0)[0].box == pytest.approx((-20, 20, 20, 80))


def packed(values: list[int], run: int) -> list[int]:
    """Bits as rle-pack writes them, in runs of one length at most."""
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    for start in range(0, len(values), run):
        part = values[start : start + run]
        if len(set(part)) == 1:
            bits += f"110{len(part) - 1:08b}{part[0]:08b}"
        else:
            bits += f"010{len(part) - 1:08b}" + "".join(f"{value:08b}" for value in part)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


@pytest.mark.parametrize("run", [1, 7, 64])
def test_a_brush_of_label_studio_is_its_alpha(run):
    mask = np.zeros((5, 6), np.uint8)
    mask[1:4, 2:5] = 255
    rgba = np.dstack([np.zeros_like(mask)] * 3 + [mask]).ravel().tolist()
    assert np.array_equal(brushed(packed(rgba, run), (6, 5)), mask > 0)
    with pytest.raises(ValueError, match="end too soon"):
        brushed(packed(rgba, run)[:-3], (6, 5))
    with pytest.raises(ValueError, match="a brush has 30 pixels, but its picture 42"):
        brushed(packed(rgba, run), (6, 7))


NO_CORNER = {**BOX, "value": {"rectanglelabels": ["cat"]}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is in no layout that is known: expected a file in COCO's"),
        ("name,box\n", "is in no layout that is known"),
        ('{"images": [', r"is damaged, or no JSON \(Expecting"),
        ('{"hello": 1}', "is not in COCO's layout"),
        ("[]", "is an empty list"),
        ("[1]", "Task 1 of .* is not in Label Studio's layout: it has no “data”"),
        (json.dumps([{"image": "a.png", "label": []}]), "export it from Label Studio as JSON, not as JSON-MIN"),
        (json.dumps([task("a.txt", BOX)]), "Task 1 of .* it names no picture"),
        (json.dumps([task("a.png", BOX), task("b.png", NO_CORNER)]), "Task 2 of .* it lacks 'x'"),
        ("<annotations><image", "is not XML"),
        ("<html/>", "begins with <html>: expected <annotations>, as CVAT exports it"),
        ("<annotations><track/></annotations>", "has tracks of a video: export it from CVAT as “CVAT for images 1.1”"),
        ("<annotations><image/></annotations>", "Picture 1 of .* has no name"),
        ("<annotation/>", "is of one picture of a Pascal VOC set: give the folder"),
        (CVAT.format('<box label="cat" xtl="1"/>'), "at the picture a.png: it lacks 'ytl'"),
        (CVAT.format('<box label="cat" xtl="1" ytl="2" xbr="x" ybr="4"/>'), "at the picture a.png: could not convert"),
        (CVAT.format('<polygon label="cat" points="1;2"/>'), "at the picture a.png: '1;2' are no corners"),
        (
            CVAT.format('<mask label="cat" rle="1,2" left="0" top="0" width="9" height="9"/>'),
            "do not fill its box",
        ),
        (CVAT.format('<mask label="cat" rle="0,4" left="99" top="0" width="2" height="2"/>'), "not within its picture"),
    ],
)
def test_a_damaged_file_is_one_sentence_with_its_place(text, said, tmp_path):
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=said) as told:
        open_annotations(path).coco()
    assert "\n" not in str(told.value)
    assert str(path) in str(told.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<annotation", "a.xml' is not XML"),
        ("<annotations/>", "a.xml' is not in Pascal VOC's layout: it begins with <annotations>"),
        (VOC.format("<object><name>cat</name></object>"), "a.xml' is not in .*: an object has no name or no bndbox"),
        (VOC.format("<object><name>cat</name><bndbox/></object>"), "a.xml' is not in Pascal VOC's layout"),
        (VOC.format("<size><width>5</width></size>"), "a.xml' is not in Pascal VOC's layout"),
    ],
)
def test_a_damaged_file_of_voc_is_named(text, said, tmp_path):
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text(text)
    with pytest.raises(ValueError, match=said) as told:
        open_annotations(tmp_path).coco()
    assert "\n" not in str(told.value)


def test_bytes_that_are_no_text_and_what_is_not_there(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match="is in no layout that is known"):
        open_annotations(tmp_path / "a.json")
    with pytest.raises(ValueError, match="There is no"):
        open_annotations(tmp_path / "b.json")
    with pytest.raises(ValueError, match=r"is no data set: expected data.yaml \(YOLO\) or Annotations"):
        open_annotations(tmp_path)


def test_pictures_are_found_in_the_one_folder_that_has_them_all(tmp_path):
    def put(*files: str) -> None:
        for file in files:
            (tmp_path / file).parent.mkdir(exist_ok=True)
            Image.new("RGB", (8, 8)).save(tmp_path / file)

    path: Path = tmp_path / "labels.json"
    put("photos/a.png", "photos/b.png", "others/a.png")
    assert find_pictures(path, ["a.png", "b.png"]) == {name: tmp_path / "photos" / name for name in ("a.png", "b.png")}
    put("others/b.png")  # which of them is meant cannot be known
    with pytest.raises(ValueError, match=r"2 of 2 pictures of .* are not there, as 'a.png': .* or where --pictures"):
        find_pictures(path, ["a.png", "b.png"])
    assert find_pictures(path, ["a.png"], tmp_path / "others") == {"a.png": tmp_path / "others" / "a.png"}
