"""What `label` writes is read back to the pixel, in all formats, and no format is told by its file's name."""

from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from PIL import Image
from pycocotools import mask as mask_codec

from groundingdino.annotations.document import Marked
from groundingdino.annotations.opening import open_annotations
from groundingdino.evaluation.sets import find_sets
from groundingdino.results.datasets import FORMATS, PICTURES_IN
from groundingdino.results.labelled_picture import LabelledPicture
from groundingdino.segmentation.masks import compact, join

NAMES = ["cat", "red apple", "bird"]
SIZE = (120, 100)
BOXES = [[10.12, 20.5, 110.25, 90.75], [0.0, 0.0, 40.0, 30.0]]
OUTPUTS = {"coco": "a.json", "odvg": "b.jsonl", "cvat": "c.xml", "label-studio": "d.json", "yolo": "e", "voc": "f"}
NAME_OF = {"coco": "COCO", "odvg": "ODVG", "cvat": "CVAT", "label-studio": "Label Studio", "yolo": "YOLO"}
WITHIN = {"voc": 1.0, "yolo": 1e-5}  # whole pixels; nine digits of a share


def shapes() -> np.ndarray:
    """(2, 100, 120): a square with a hole and a part beside it, and a corner that the first leaves free."""
    masks = np.zeros((2, *SIZE[::-1]), bool)
    masks[0, 40:80, 10:90] = True
    masks[0, 50:60, 40:50] = False
    masks[0, 90:95, 100:120] = True
    masks[1, :30, :40] = True
    return masks


def write(format: str, folder: Path, masks: bool = False) -> Path:
    """A data set of two pictures, with objects and without; its path."""
    objects = sv.Detections(
        np.array(BOXES),
        mask=join(map(compact, shapes()), SIZE) if masks else None,
        confidence=np.array([0.9, 0.5], np.float32),
        class_id=np.array([1, 0]),
        data={"class_name": np.array(["red apple", "cat"])},
    )
    empty = sv.Detections(np.zeros((0, 4)), confidence=np.zeros(0), class_id=np.zeros(0, int))
    empty.data["class_name"] = np.zeros(0, str)
    pictures = [LabelledPicture("more/a b.png", SIZE, objects), LabelledPicture("z.png", (60, 40), empty)]
    output = folder / OUTPUTS[format]
    for path, content in FORMATS[format](output, NAMES, pictures, "about"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    where = output / PICTURES_IN[format] if format in PICTURES_IN else folder / "photographs"
    for picture in pictures:
        (where / picture.file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", picture.size, "teal").save(where / picture.file)
    return output


def mask_of(outline: object) -> np.ndarray:
    runs = outline
    if isinstance(outline, list):
        runs = mask_codec.merge(mask_codec.frPyObjects(outline, *SIZE[::-1]))
    return mask_codec.decode(runs).astype(bool)


def names_and_boxes(objects: list[Marked]) -> tuple[list[str], list[list[float]]]:
    return [one.name for one in objects], [list(one.box) for one in objects]


@pytest.mark.parametrize("format", FORMATS)
def test_boxes_come_back(format, tmp_path):
    document = open_annotations(write(format, tmp_path))
    assert document.format == NAME_OF.get(format, "Pascal VOC")
    assert document.names == NAMES  # found or not, in the prompt's order
    prefix = "images/" if format == "yolo" else ""
    assert document.files == [f"{prefix}more/a b.png", f"{prefix}z.png"]
    assert [document.size(index) for index in (0, 1)] == [SIZE, (60, 40)]
    names, boxes = names_and_boxes(document.objects(0))
    assert names == ["red apple", "cat"]
    np.testing.assert_allclose(boxes, BOXES, atol=WITHIN.get(format, 1e-9))
    assert document.objects(1) == []
    scores = [None, None] if format in ("yolo", "voc") else [0.9, 0.5]
    assert [one.score for one in document.objects(0)] == scores
    assert [(one.state, one.outline or None) for one in document.objects(0)] == [("", None)] * 2


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "odvg"])
def test_masks_come_back_to_the_pixel(format, tmp_path):
    objects = open_annotations(write(format, tmp_path, masks=True)).objects(0)
    several, whole = (mask_of(one.outline) for one in objects)
    parts, corner = shapes()
    assert np.array_equal(whole, corner)
    assert several[parts].all()
    # YOLO and Label Studio have one outline for all parts: pycocotools draws the bridges, see `polygons.polygon`.
    assert (several & ~parts).sum() <= (40 if format in ("yolo", "label-studio") else 0)
    assert names_and_boxes(objects)[0] == ["red apple", "cat"]


@pytest.mark.parametrize("format", FORMATS)
def test_evaluate_and_finetune_read_each_format(format, tmp_path):
    (one,) = find_sets(write(format, tmp_path))
    assert one.names == NAMES
    assert [picture.file.path.name for picture in one.pictures] == ["a b.png", "z.png"]
    boxes = np.array([found["bbox"] for found in one.objects])
    boxes[:, 2:] += boxes[:, :2]
    np.testing.assert_allclose(boxes, BOXES, atol=WITHIN.get(format, 1e-9))
    assert [one.size for one in one.pictures] == [SIZE, (60, 40)]


@pytest.mark.parametrize("format", ["coco", "odvg", "cvat", "label-studio"])
def test_the_file_and_not_its_name_tells_the_format(format, tmp_path):
    written = write(format, tmp_path)
    other = written.with_name("export.txt")
    written.rename(other)
    document = open_annotations(other)
    assert document.format == NAME_OF[format]
    assert names_and_boxes(document.objects(0))[0] == ["red apple", "cat"]
