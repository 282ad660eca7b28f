"""Reading labelled pictures in COCO's layout."""

import numpy as np
import pytest
from pycocotools import mask as mask_codec

from groundingdino.training.detector.coco_folder import CocoFolder
from tests.training.labelled import write_folder

SQUARE = [2, 1, 6, 1, 6, 5, 2, 5]  # a polygon


def test_boxes_and_names(tmp_path):
    folder = CocoFolder(write_folder(tmp_path, [{"category_id": 6, "bbox": [2, 1, 4, 30], "iscrowd": 1}]))
    picture = folder[0]
    assert folder.names == ("cat", "dog")
    assert (picture.names, picture.boxes.tolist()) == (("dog",), [[2, 1, 6, 10]])  # clipped to the picture
    assert picture.crowds.tolist() == [True]
    assert picture.path.is_file()


def test_a_name_without_a_box_is_somewhere_in_the_picture(tmp_path):
    picture = CocoFolder(write_folder(tmp_path, [{"category_id": 5}]))[0]
    assert picture.names == ("cat",)
    assert np.isnan(picture.boxes).all()


@pytest.mark.parametrize("kind", ["polygon", "counts", "packed"])
def test_outlines_in_all_of_cocos_ways(tmp_path, kind):
    mask = np.zeros((10, 20), np.uint8, order="F")
    mask[1:5, 2:6] = 1
    packed = mask_codec.encode(mask)
    counts = [2 * 10 + 1, 4, 6, 4, 6, 4, 6, 4, 200 - 2 * 10 - 35]
    segmentation = {
        "polygon": [SQUARE],
        "counts": {"size": [10, 20], "counts": counts},
        "packed": {"size": [10, 20], "counts": packed["counts"].decode()},
    }[kind]
    annotation = {"category_id": 5, "bbox": [2, 1, 4, 4], "segmentation": segmentation}
    picture = CocoFolder(write_folder(tmp_path, [annotation]))[0]
    np.testing.assert_array_equal(picture.mask(0), mask.astype(bool))
    assert picture.keep([0]).mask(0).sum() == 16


def test_the_split_is_by_name_alone(tmp_path):
    folder = CocoFolder(write_folder(tmp_path, [], count=200))
    learn, test = folder.split(seed=1)
    assert 20 <= len(test) <= 60
    assert not {picture.path for picture in learn} & {picture.path for picture in test}
    assert [picture.path for picture in folder.split(seed=1)[1]] == [picture.path for picture in test]
    assert [picture.path for picture in folder.split(seed=2)[1]] != [picture.path for picture in test]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "holds no annotations.json"),
        ("{", "is not in COCO's layout"),
        ("[]", "is not in COCO's layout"),
        ('{"images": [], "annotations": [{"image_id": 1}], "categories": []}', "is not in COCO's layout"),
    ],
)
def test_what_is_no_such_folder_is_told(tmp_path, text, said):
    if text is not None:
        (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(ValueError, match=said):
        CocoFolder(tmp_path)
