import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from groundingdino.drawing import MaskStyle
from groundingdino.export import (
    annotated_png,
    coco_zip,
    cut_out,
    cut_out_png,
    file_names,
    json_file,
    masks_zip,
    record,
    yolo_zip,
)
from groundingdino.masks import boxes_of, compact, join

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


def ring() -> np.ndarray:
    """(240, 320): a square with a hole, and a part beside it."""
    mask = np.zeros((240, 320), bool)
    mask[20:100, 10:110] = True
    mask[50:60, 40:50] = False
    mask[200:210, 300:320] = True
    return mask


@pytest.fixture
def masked() -> sv.Detections:
    """A pizza with a hole, a zebra in one piece, and a cat of which nothing is seen."""
    zebra = np.zeros((240, 320), bool)
    zebra[120:180, 50:250] = True
    masks = join(map(compact, [ring(), zebra, np.zeros_like(zebra)]), (320, 240))
    return sv.Detections(
        boxes_of(masks),
        masks,
        confidence=np.array([0.912345, 0.5, 0.4], np.float32),
        class_id=np.array([2, 0, 1]),
        data={"class_name": np.array(["pizza", "zebra", "cat"]), "mask_quality": np.ones(3, np.float32)},
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


def test_record_has_masks_as_coco_run_lengths(masked):
    from pycocotools import mask as coco_masks

    written = json.loads(json_file(masked, (320, 240), "embedded + vit_b"))
    assert [set(one) for one in written["objects"]] == [{"phrase", "score", "box", "mask"}] * 3
    for one, mask in zip(written["objects"], masked.mask, strict=True):
        assert one["mask"]["size"] == [240, 320]
        assert isinstance(one["mask"]["counts"], str)
        assert np.array_equal(coco_masks.decode(one["mask"]), mask)


def test_a_cut_out_is_the_picture_in_the_mask_and_nothing_beside_it(image):
    cut = np.asarray(cut_out(image, ring()))
    assert cut.shape == (240, 320, 4)
    assert np.array_equal(cut[..., 3], np.where(ring(), 255, 0))
    assert np.array_equal(cut[ring()][:, :3], np.asarray(image)[ring()])
    assert not cut[~ring()].any()


def test_a_mask_of_another_picture_is_refused(image):
    with pytest.raises(ValueError, match=r"shape \(240, 320\), got \(320, 240\)"):
        cut_out(image, ring().T)


def test_all_objects_are_cut_out_together(image, masked):
    cut = Image.open(io.BytesIO(cut_out_png(image, masked)))
    assert (cut.format, cut.mode, cut.size) == ("PNG", "RGBA", (320, 240))
    assert np.array_equal(np.asarray(cut)[..., 3] > 0, masked.mask[0] | masked.mask[1])


def test_masks_are_grey_pictures_of_the_same_size(masked, tmp_path):
    assert unpack(masks_zip(masked), tmp_path) == ["01_pizza.png", "02_zebra.png", "03_cat.png"]
    pizza = Image.open(tmp_path / "01_pizza.png")
    assert pizza.mode == "L"
    assert np.array_equal(np.asarray(pizza), np.where(ring(), 255, 0))
    assert Image.open(tmp_path / "03_cat.png").getextrema() == (0, 0)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["red apple", "red apple"], ["01_red-apple", "02_red-apple"]),
        (["Hündchen", "кот", "猫"], ["01_hündchen", "02_кот", "03_猫"]),
        (["../../etc/passwd", "a:b*c?", "CON", "..."], ["01_etc-passwd", "02_a-b-c", "03_con", "04_object"]),
        (["x" * 100], ["01_" + "x" * 40]),
        ([], []),
    ],
)
def test_names_are_safe_sorted_and_different(labels, names):
    assert file_names(labels) == names


def test_a_hundred_names_still_sort():
    names = file_names(["cat"] * 100)
    assert names == sorted(names)
    assert (names[0], names[-1]) == ("001_cat", "100_cat")


@pytest.mark.parametrize("export", [masks_zip, lambda found: cut_out_png(Image.new("RGB", (320, 240)), found)])
def test_boxes_alone_have_no_masks(export, found):
    with pytest.raises(ValueError, match="segment them first"):
        export(found)


def test_coco_masks_are_read_back(image, masked, tmp_path):
    masked = masked[:2]
    unpack(coco_zip(image, "street", masked, PHRASES), tmp_path)
    path = tmp_path / "annotations" / "instances_default.json"
    back = sv.DetectionDataset.from_coco(str(tmp_path / "images"), str(path), force_masks=True)
    assert np.array_equal(np.asarray(back[0][2].mask), np.asarray(masked.mask))

    from pycocotools.coco import COCO

    coco = COCO(str(path))
    for annotation, mask in zip(coco.loadAnns(coco.getAnnIds()), masked.mask, strict=True):
        assert annotation["iscrowd"] == 0, "training code leaves crowds out"
        assert annotation["area"] == mask.sum()
        read = coco.annToMask(annotation).astype(bool)
        assert (read & mask).sum() / (read | mask).sum() > 0.95  # a polygon ends in the middle of its pixels


def test_yolo_masks_are_polygons(image, masked, tmp_path):
    masked = masked[:2]
    unpack(yolo_zip(image, "street", masked, PHRASES), tmp_path)
    back = sv.DetectionDataset.from_yolo(
        str(tmp_path / "images"), str(tmp_path / "labels"), str(tmp_path / "data.yaml"), force_masks=True
    )
    objects = back[0][2]
    assert objects.class_id.tolist() == [2, 2, 0]  # a part is an object of its own in this format
    pizza, zebra = objects.mask[0] | objects.mask[1], objects.mask[2]
    for read, mask in ((pizza, masked.mask[0]), (zebra, masked.mask[1])):
        assert (read & mask).sum() / (read | mask).sum() > 0.95


@pytest.mark.parametrize("export", [coco_zip, yolo_zip])
def test_masks_of_noise_are_exported_too(export, image, tmp_path):
    noise = np.random.default_rng(0).random((3, 240, 320)) < np.array([0.05, 0.5, 0.95])[:, None, None]
    masks = join(map(compact, noise), (320, 240))
    found = sv.Detections(
        boxes_of(masks), masks, np.ones(3, np.float32), np.zeros(3, int), data={"class_name": np.array(["cat"] * 3)}
    )
    names = unpack(export(image, "noise", found, PHRASES), tmp_path)
    if export is yolo_zip:
        back = sv.DetectionDataset.from_yolo(*(str(tmp_path / name) for name in ("images", "labels", "data.yaml")))
    else:
        back = sv.DetectionDataset.from_coco(str(tmp_path / "images"), str(tmp_path / names[1]))
    assert len(back[0][2]) >= 3


def test_annotated_picture_follows_the_mask_style(image, masked):
    pictures = [
        annotated_png(image, masked, PHRASES, mask_style=style)
        for style in (MaskStyle(), MaskStyle(opacity=0), MaskStyle(outline=False), MaskStyle(boxes=True))
    ]
    assert len(set(pictures)) == 4
