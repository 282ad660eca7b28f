"""Where sets and their pictures are found, and what is said of those that are none."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groundingdino.evaluation.sets import find_sets, open_picture
from tests.evaluation.published import coco, lvis, picture, write


@pytest.mark.parametrize(
    ("file", "pictures", "name"),
    [
        ("annotations.json", "images", "set"),
        ("annotations.json", ".", "set"),
        ("mine.json", ".", "mine"),
        ("annotations/instances_val2017.json", "val2017", "instances_val2017"),
        ("annotations/all.json", ".", "all"),
        ("annotations/all.json", "images", "all"),
    ],
)
def test_pictures_are_found_beside_and_above(tmp_path, file, pictures, name):
    path = write(tmp_path / "set", coco(3), file, pictures)
    (one,) = find_sets(path)
    assert (one.name, one.names, one.federated) == (name, ["cat", "dog"], False)
    assert [picture.file.path.name for picture in one.pictures] == ["000.png", "001.png", "002.png"]
    assert one.pictures[1].file.name == f"{name}/001.png"
    assert [object["id"] for object in one.objects] == [1, 2, 3, 4]
    assert open_picture(one.pictures[0]).size == (160, 120)


def test_pictures_may_be_elsewhere(tmp_path):
    path = write(tmp_path / "set", coco(2), pictures="../far")
    with pytest.raises(
        ValueError, match=r"2 of 2 pictures of .* are not there, as '000\.png': expected them beside it"
    ):
        find_sets(path)
    assert len(find_sets(path, tmp_path / "far")[0].pictures) == 2
    with pytest.raises(ValueError, match=r"expected them in '.*set'"):
        find_sets(path, tmp_path / "set")


def test_lvis_is_federated_and_has_addresses(tmp_path):
    (one,) = find_sets(write(tmp_path, lvis(2), "lvis_v1_val.json", "val2017"))
    assert one.federated
    assert one.pictures[0].file.path == tmp_path / "val2017" / "000.png"
    assert one.categories[0]["frequency"] == "r"
    assert one.truth()["images"][0]["neg_category_ids"] == [17]


def test_a_folder_of_sets_as_odinw_has_them(tmp_path):
    usual = "annotations_without_background.json"
    write(tmp_path / "Aquarium" / "Combined.v2.coco" / "test", coco(1), usual, ".")
    write(tmp_path / "Aquarium" / "Combined.v2.coco" / "valid", coco(2), usual, ".")
    write(tmp_path / "Drone" / "large" / "valid", coco(3), usual, ".")
    write(tmp_path / "Drone" / "large" / "train", coco(5), usual, ".")
    write(tmp_path / "Drone" / "tiled" / "test", coco(4), usual, ".")
    write(tmp_path / "pistols" / "export", coco(2), f"val_{usual}", ".")
    write(tmp_path / "raccoons", coco(1))
    found = {one.name: len(one.pictures) for one in find_sets(tmp_path)}
    assert found == {"Aquarium": 1, "Drone/large": 3, "Drone/tiled": 4, "pistols": 2, "raccoons": 1}


def test_some_of_the_pictures_have_what_is_marked_in_them(tmp_path):
    (one,) = find_sets(write(tmp_path, coco(4)))
    first = one.first(2)
    assert [picture.id for picture in first.pictures] == [100, 99]
    assert {object["image_id"] for object in first.objects} == {100, 99}
    assert [image["id"] for image in first.truth()["images"]] == [100, 99]
    assert len(one.objects_of[99]) == 2


def test_what_has_no_mask_is_no_target_of_masks(tmp_path):
    stored = coco(2, masks=True)
    del stored["annotations"][1]["segmentation"]
    (one,) = find_sets(write(tmp_path, stored))
    assert [object["iscrowd"] for object in one.truth(with_masks=True)["annotations"]] == [0, 1, 0]
    assert [object["iscrowd"] for object in one.truth()["annotations"]] == [0, 0, 0]


def test_a_picture_is_as_its_boxes_are(tmp_path):
    """COCO's boxes are of the pixels as they are stored, whatever EXIF says."""
    stored = coco(3)
    path = write(tmp_path, stored)
    turned = Image.new("RGB", (160, 120), "red")
    turned.putpixel((0, 0), (0, 0, 255))
    exif = Image.Exif()
    exif[274] = 6
    turned.save(tmp_path / "images" / "000.png", exif=exif)
    picture(tmp_path / "images" / "001.png", 0, (80, 60))
    stored["images"][2] |= {"width": 120, "height": 160}
    turned.save(tmp_path / "images" / "002.png", exif=exif)
    path.write_text(json.dumps(stored))
    (one,) = find_sets(path)
    as_stored, upright = open_picture(one.pictures[0]), open_picture(one.pictures[2])
    assert np.asarray(as_stored)[0, 0].tolist() == [0, 0, 255]
    assert (as_stored.size, upright.size) == ((160, 120), (120, 160))
    with pytest.raises(ValueError, match="It has 80 x 60 pixels, but its annotations are of 160 x 120"):
        open_picture(one.pictures[1])


def test_names_that_are_the_same_are_told_apart(tmp_path):
    (one,) = find_sets(write(tmp_path, coco(2, ("cat", "cat", "dog"))))
    assert one.names == ["cat #3", "cat #10", "dog"]


def broken(change: str) -> str:
    stored = coco(2)
    exec(change, {"stored": stored})
    return json.dumps(stored)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is damaged, or no JSON"),
        ("[]", "is an empty list: expected tasks of Label Studio, or COCO's lists"),
        ('{"images": [], "annotations": 5, "categories": []}', "is not in COCO's layout .*should be lists"),
        (broken("stored['categories'] = []; stored['annotations'] = []"), "has no categories"),
        (broken("stored['images'] = []; stored['annotations'] = []"), "has no images"),
        (broken("stored['annotations'] = []"), "is marked with a box"),
        (broken("[one.pop('bbox') for one in stored['annotations']]"), "is marked with a box"),
        (broken("stored['annotations'][0]['image_id'] = 5"), "no image has the id 5"),
        (broken("stored['annotations'][0]['category_id'] = 5"), "no category has the id 5"),
        (broken("stored['annotations'][0]['bbox'] = [1, 2, 3]"), "is not in COCO's layout"),
        (broken("stored['annotations'][0]['bbox'] = [1, 2, float('nan'), 4]"), "is no box"),
        (broken("stored['images'][0].pop('file_name')"), "is not in COCO's layout .*coco_url"),
    ],
)
def test_what_is_no_set_is_told(tmp_path, text, said):
    path = write(tmp_path, coco(2))
    path.write_text(text)
    with pytest.raises(ValueError, match=said) as told:
        find_sets(tmp_path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_folder_without_annotations_is_told(tmp_path: Path):
    (tmp_path / "more" / "images").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"There are no annotations in .*: expected annotations.json"):
        find_sets(tmp_path)
    with pytest.raises(ValueError, match=r"There is no '.*nowhere'"):
        find_sets(tmp_path / "nowhere")
