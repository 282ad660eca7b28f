"""Tracks as files: what other programs read."""

import io
import json
import zipfile

import numpy as np
import pytest
import supervision as sv
from PIL import Image
from pycocotools import mask as coco_mask

from groundingdino.tracking.exports import write_json, write_masks, write_mot, write_youtube_vis
from groundingdino.tracking.video import VideoInfo
from tests.tracking.test_track_file import SIZE, frame

INFO = VideoInfo(*SIZE, 3, 0.3, 10.0)
BOX, OTHER = [10.25, 20.5, 40.75, 60], [0, 0, 5, 5]


def frames(masks: bool = False):
    return lambda: [
        frame(0, [BOX, OTHER], [3, 7], phrases=["cat", "red apple"], masks=masks),
        frame(1),
        frame(2, [OTHER], [3], masks=masks),
    ]


def test_json_has_tracks_and_frames():
    file = io.StringIO()
    write_json(file, frames(), INFO, "clip.mp4", "by me: cat")
    read = json.loads(file.getvalue())
    assert {name: read[name] for name in ("video", "about", "width", "height", "rate")} == {
        "video": "clip.mp4",
        "about": "by me: cat",
        "width": 160,
        "height": 120,
        "rate": 10.0,
    }
    assert read["tracks"] == [
        {"id": 3, "phrase": "cat", "score": 0.8125, "first": 0, "last": 2, "seconds": [0, 0.2], "frames": 2},
        {"id": 7, "phrase": "red apple", "score": 0.8125, "first": 0, "last": 0, "seconds": [0, 0], "frames": 1},
    ]
    assert [one["frame"] for one in read["frames"]] == [0, 1, 2]
    assert read["frames"][0]["objects"][0] == {"phrase": "cat", "score": 0.8125, "box": BOX, "id": 3}
    assert read["frames"][1]["objects"] == []


def test_json_of_no_frames_is_json():
    file = io.StringIO()
    write_json(file, list, INFO, "clip.mp4", "")
    assert json.loads(file.getvalue())["frames"] == []


def test_mot_counts_frames_from_one():
    file = io.StringIO()
    write_mot(file, frames())
    assert file.getvalue().splitlines() == [
        "1,3,10.25,20.50,30.50,39.50,0.8125,-1,-1,-1",
        "1,7,0.00,0.00,5.00,5.00,0.8125,-1,-1,-1",
        "3,3,0.00,0.00,5.00,5.00,0.8125,-1,-1,-1",
    ]


@pytest.mark.parametrize("masks", [False, True])
def test_youtube_vis_has_a_list_for_each_track(masks):
    file = io.StringIO()
    write_youtube_vis(file, frames(masks), INFO, "clip.mp4", ["cat", "dog", "red apple"])
    read = json.loads(file.getvalue())
    assert read["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "red apple"}]
    (video,) = read["videos"]
    assert (video["length"], video["file_names"][2]) == (3, "clip/00002.jpg")
    cat, apple = read["annotations"]
    assert (cat["id"], cat["category_id"], apple["category_id"]) == (3, 1, 3)
    assert cat["bboxes"] == [[10.25, 20.5, 30.5, 39.5], None, [0, 0, 5, 5]]
    assert cat["areas"] == [1204.75, None, 25]
    assert apple["bboxes"] == [[0, 0, 5, 5], None, None]
    if masks:
        shape = coco_mask.decode(cat["segmentations"][0])
        np.testing.assert_array_equal(shape, np.array(frames(True)()[0].objects.mask)[0])
        assert cat["segmentations"][1] is None
    else:
        assert cat["segmentations"] == [None] * 3


def test_masks_are_pictures_of_ids(tmp_path):
    path = tmp_path / "masks.zip"
    write_masks(path, frames(masks=True), INFO)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["000001.png", "000002.png", "000003.png", "tracks.json"]
        first, second = (np.asarray(Image.open(io.BytesIO(archive.read(f"00000{n}.png")))) for n in (1, 2))
        assert json.loads(archive.read("tracks.json")) == [{"id": 3, "phrase": "cat"}, {"id": 7, "phrase": "red apple"}]
    assert set(np.unique(first)) == {0, 3, 7}
    np.testing.assert_array_equal(first == 3, np.array(frames(True)()[0].objects.mask)[0])
    assert not second.any()
    assert isinstance(frames(True)()[0].objects.mask, sv.CompactMask)


def test_without_masks_none_are_written(tmp_path):
    with pytest.raises(ValueError, match=r"The tracks have no masks: follow with masks first\."):
        write_masks(tmp_path / "masks.zip", frames(), INFO)
