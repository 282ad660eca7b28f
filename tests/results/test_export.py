import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import supervision as sv
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from groundingdino.results.drawing import MaskStyle
from groundingdino.results.export import (
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
from groundingdino.segmentation.masks import boxes_of, compact, join
from tests.mask_shapes import CASES, SAME_EACH_TIME, masks_of

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


def objects_of(masks: Sequence[np.ndarray]) -> sv.Detections:
    """Cats with those masks, in boxes that a detector found: a little beside the masks, not in whole pixels."""
    height, width = masks[0].shape
    joined = join(map(compact, masks), (width, height))
    return sv.Detections(
        boxes_of(joined) + np.array([0.25, 0.25, -0.25, -0.25], np.float32) * joined.area.clip(0, 1)[:, None],
        joined,
        np.ones(len(masks), np.float32),
        np.zeros(len(masks), int),
        data={"class_name": np.array(["cat"] * len(masks))},
    )


def read_coco(folder: Path) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
    """Masks as pycocotools gives them to who trains, and their annotations."""
    from pycocotools.coco import COCO

    coco = COCO(str(folder / "annotations" / "instances_default.json"))
    annotations = coco.loadAnns(coco.getAnnIds())
    return [coco.annToMask(annotation).astype(bool) for annotation in annotations], annotations


def read_yolo(folder: Path) -> tuple[list[str], list[tuple[str, np.ndarray]]]:
    """Class names, and (name, mask) of each line, as a trainer finds them that gets `data.yaml`.

    Pictures lie where it says, relative to it, and labels beside them. A pixel is in a polygon if its centre is.
    """
    about = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    assert about["nc"] == len(about["names"])
    assert (folder / about["train"]).samefile(folder / about["val"])
    objects = []
    for path in sorted((folder / about["train"]).iterdir()):
        width, height = Image.open(path).size
        labels = Path(str(path).replace("/images/", "/labels/")).with_suffix(".txt")
        for line in labels.read_text().splitlines():
            index, *numbers = line.split()
            assert len(numbers) == 4 or len(numbers) >= 6, "a box, or a polygon"
            assert all(0 <= float(number) <= 1 for number in numbers)
            corners = np.array(numbers, float).reshape(-1, 2) * (width, height)
            if len(numbers) == 4:
                (x, y), (w, h) = corners
                corners = np.array([[x - w / 2, y - h / 2], [x + w / 2, y - h / 2], [x + w / 2, y + h / 2]])
                corners = np.vstack([corners, [x - w / 2, y + h / 2]])
            objects.append((about["names"][int(index)], inside(corners, (height, width))))
    return about["names"], objects


def inside(corners: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centres are inside a polygon (K, 2), by the even-odd rule: left of how many sides is each?"""
    height, width = shape
    mask = np.zeros(shape, bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        rows = np.arange(height) + 0.5
        rows = rows[(rows > min(y0, y1)) & (rows <= max(y0, y1))]
        crossing = x0 + (rows - y0) * (x1 - x0) / (y1 - y0) if len(rows) else rows
        mask[(rows - 0.5).astype(int)] ^= np.arange(width) + 0.5 < crossing[:, None]
    return mask


def check_round_trip(masks: Sequence[np.ndarray], folder: Path) -> None:
    """Each format's reader finds the masks that were exported, to the pixel."""
    found = objects_of(masks)
    height, width = masks[0].shape
    picture = Image.new("RGB", (width, height))

    unpack(coco_zip(picture, "cats", found, PHRASES), folder / "coco")
    read, annotations = read_coco(folder / "coco")
    assert len(read) == len(masks)
    for mask, back, annotation in zip(masks, read, annotations, strict=True):
        assert np.array_equal(back, mask)
        assert annotation["area"] == mask.sum()
        assert annotation["iscrowd"] == 0, "training code leaves crowds out"
        if mask.any():
            x, y, w, h = annotation["bbox"]
            rows, columns = np.nonzero(mask)
            assert (x, y, x + w, y + h) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)

    unpack(yolo_zip(picture, "cats", found, PHRASES), folder / "yolo")
    names, objects = read_yolo(folder / "yolo")
    assert names == list(PHRASES)
    seen = [mask for mask in masks if mask.any()]
    assert len(objects) == len(seen), "an object of several parts is one, and one that is not seen is none"
    for mask, (name, back) in zip(seen, objects, strict=True):
        assert name == "cat"
        assert np.array_equal(back, mask)

    from pycocotools import mask as coco_masks

    entries = json.loads(json_file(found, (width, height), "embedded"))["objects"]
    unpack(masks_zip(found), folder / "masks")
    files = sorted((folder / "masks").iterdir())
    for mask, entry, file in zip(masks, entries, files, strict=True):
        assert np.array_equal(coco_masks.decode(entry["mask"]), mask)
        assert np.array_equal(np.asarray(Image.open(file)), mask * np.uint8(255))
    cut = Image.open(io.BytesIO(cut_out_png(picture, found)))
    assert np.array_equal(np.asarray(cut)[..., 3] == 255, np.any(masks, axis=0))


@pytest.mark.parametrize("mask", CASES.values(), ids=CASES)
def test_masks_that_formats_stumble_over_are_read_back(mask, tmp_path):
    check_round_trip([mask, ~mask], tmp_path)


@SAME_EACH_TIME
@given(st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(lambda shape: st.lists(masks_of(shape), min_size=1)))
def test_any_masks_are_read_back(masks):
    with TemporaryDirectory() as folder:
        check_round_trip(masks, Path(folder))


def test_masks_of_noise_are_read_back(tmp_path):
    noise = np.random.default_rng(0).random((3, 120, 160)) < np.array([0.05, 0.5, 0.95])[:, None, None]
    check_round_trip(noise, tmp_path)


def test_masks_are_read_back_by_supervision(image, masked, tmp_path):
    """It draws the border of a polygon too, on whole pixels: masks gain a pixel at right and below, and bridges."""
    masked = masked[:2]
    unpack(coco_zip(image, "street", masked, PHRASES), tmp_path)
    path = tmp_path / "annotations" / "instances_default.json"
    coco = sv.DetectionDataset.from_coco(str(tmp_path / "images"), str(path), force_masks=True)
    unpack(yolo_zip(image, "street", masked, PHRASES), tmp_path / "yolo")
    names = (str(tmp_path / "yolo" / name) for name in ("images", "labels", "data.yaml"))
    yolo = sv.DetectionDataset.from_yolo(*names, force_masks=True)
    for back in (coco[0][2], yolo[0][2]):
        assert back.class_id.tolist() == [2, 0]
        for read, mask in zip(back.mask, masked.mask, strict=True):
            assert (mask & ~read).sum() == 0
            assert mask.sum() / read.sum() > 0.94


def test_an_object_that_is_not_seen_has_no_polygon(image, masked, tmp_path):
    unpack(coco_zip(image, "street", masked, PHRASES), tmp_path / "coco")
    read, annotations = read_coco(tmp_path / "coco")
    assert annotations[2]["segmentation"] == {"size": [240, 320], "counts": [240 * 320]}
    assert not read[2].any()
    unpack(yolo_zip(image, "street", masked, PHRASES), tmp_path / "yolo")
    assert [name for name, _ in read_yolo(tmp_path / "yolo")[1]] == ["pizza", "zebra"]


def test_yolo_boxes_are_read_back(image, found, tmp_path):
    found.xyxy[0] = [9.6, 20.4, 110.4, 90.6]
    found.xyxy[1] = [-3, 100, 400, 200]  # trainers refuse what reaches out of the picture
    unpack(yolo_zip(image, "street", found, PHRASES), tmp_path)
    expected = np.zeros((2, 240, 320), bool)
    expected[0, 20:91, 10:110] = True
    expected[1, 100:200] = True
    objects = read_yolo(tmp_path)[1]
    assert [name for name, _ in objects] == ["pizza", "zebra"]
    for (_, read), mask in zip(objects, expected, strict=True):
        assert np.array_equal(read, mask)


@pytest.mark.parametrize("phrases", [[], ["yes", "3", "a: b", "'", "#", "café", "猫", "😀", "x" * 200]])
def test_names_of_classes_are_what_the_prompt_said(image, phrases, tmp_path):
    unpack(yolo_zip(image, "street", sv.Detections.empty(), phrases), tmp_path)
    assert read_yolo(tmp_path) == (phrases, [])


@pytest.mark.parametrize(
    "write",
    [
        lambda found: record(found, (100, 80), "embedded"),
        lambda found: coco_zip(Image.new("RGB", (100, 80)), "a", found),
        lambda found: yolo_zip(Image.new("RGB", (100, 80)), "a", found),
        lambda found: cut_out_png(Image.new("RGB", (100, 80)), found),
        lambda found: annotated_png(Image.new("RGB", (100, 80)), found),
    ],
)
@pytest.mark.parametrize("as_array", [False, True])
def test_masks_of_another_picture_are_refused(write, as_array, masked):
    if as_array:
        masked.mask = np.asarray(masked.mask)
    with pytest.raises(
        ValueError, match="masks have 320 x 240 pixels and the picture 100 x 80: cut the objects out of"
    ):
        write(masked)


def test_annotated_picture_follows_the_mask_style(image, masked):
    pictures = [
        annotated_png(image, masked, PHRASES, mask_style=style)
        for style in (MaskStyle(), MaskStyle(opacity=0), MaskStyle(outline=False), MaskStyle(boxes=True))
    ]
    assert len(set(pictures)) == 4
