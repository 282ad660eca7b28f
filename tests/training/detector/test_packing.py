"""Photographs in one small file, for a GPU that is elsewhere."""

import json
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from groundingdino.training.detector.coco_folder import CocoFolder
from groundingdino.training.detector.packing import main, pack
from tests.training.labelled import write_folder

SQUARE = [10, 10, 90, 10, 90, 50, 10, 50]  # a polygon
OBJECTS = [
    {"category_id": 6, "bbox": [10, 10, 80, 40], "segmentation": [SQUARE]},
    {"category_id": 5, "image_id": 11, "bbox": [0, 0, 200, 100], "iscrowd": 1},
    {"category_id": 5, "image_id": 11},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two sets of forty pictures; what is learned from is not in all of them."""
    for name in ("first", "second"):
        write_folder(tmp_path / "data" / name, OBJECTS, count=40, size=(200, 100))
        rng = np.random.default_rng(0)
        for path in sorted((tmp_path / "data" / name / "images").iterdir()):
            Image.fromarray(rng.integers(0, 256, (100, 200, 3), np.uint8)).save(path)
    return tmp_path / "data"


def unpacked(file: Path) -> Path:
    with ZipFile(file) as archive:
        archive.extractall(file.parent / "unpacked")
    return file.parent / "unpacked"


def test_what_is_learned_from_is_packed_smaller_with_its_boxes_and_outlines(tmp_path: Path, data: Path):
    counts = pack(data, ["first", "second"], tmp_path / "small.zip", 1e9, short_side=50)
    folder = unpacked(tmp_path / "small.zip")
    for name, count in counts.items():
        learned, held_out = CocoFolder(data / name).split()
        packed = CocoFolder(folder / name)
        assert [one.path.name for one in packed] == [one.path.name for one in learned]
        assert count == len(learned) < len(learned) + len(held_out)
        assert packed.split() == ([*packed], []), "the same are held out"
        assert packed.names == ("cat", "dog")
        for before, after in zip(learned, packed, strict=True):
            assert after.read().size == (100, 50)
            assert after.names == before.names
            np.testing.assert_allclose(after.boxes, before.boxes / 2)
            assert after.crowds.tolist() == before.crowds.tolist()
            for index in range(len(before.names)):
                mask, small = before.mask(index), after.mask(index)
                assert (small is None) == (mask is None)
                if mask is not None:
                    np.testing.assert_array_equal(small, mask[::2, ::2])
    assert any(one.names for one in packed)


def test_what_does_not_fit_is_left_out_of_each_set_alike(tmp_path: Path, data: Path):
    whole = pack(data, ["first", "second"], tmp_path / "whole.zip", 1e9)
    limit = (tmp_path / "whole.zip").stat().st_size / 2
    half = pack(data, ["first", "second"], tmp_path / "half.zip", limit)
    assert half["first"] == half["second"]
    assert whole["first"] / 3 < half["first"] < whole["first"]
    assert (tmp_path / "half.zip").stat().st_size < limit * 1.1
    assert not list(tmp_path.glob("*.partial"))


def test_no_more_is_taken_where_sets_have_pictures_of_the_same_names(tmp_path: Path, data: Path):
    whole = pack(data, ["first", "second"], tmp_path / "whole.zip", 1e9)
    with ZipFile(tmp_path / "whole.zip") as archive:
        sizes = [info.file_size for info in archive.infolist() if "/images/" in info.filename]
    assert sum(whole.values()) == len(sizes)
    for count in range(2, 8):
        limit = sum(sizes) * (count + 0.5) / len(sizes)
        pack(data, ["first", "second"], tmp_path / "part.zip", limit)
        with ZipFile(tmp_path / "part.zip") as archive:
            taken = [info.file_size for info in archive.infolist() if "/images/" in info.filename]
        assert 0 < sum(taken) <= limit


@pytest.mark.filterwarnings("error")
def test_pictures_of_one_name_in_several_folders_stay_apart(tmp_path: Path):
    folder = tmp_path / "set"
    for place, colour in (("x", "red"), ("y", "blue")):
        (folder / "images" / place).mkdir(parents=True)
        Image.new("RGB", (40, 20), colour).save(folder / "images" / place / "1.png")
    stored = {
        "images": [{"id": n, "file_name": f"{place}/1.png", "width": 40, "height": 20} for n, place in enumerate("xy")],
        "annotations": [],
        "categories": [],
    }
    (folder / "annotations.json").write_text(json.dumps(stored))
    learned = CocoFolder(folder).split()[0]
    assert len(learned) == 2
    assert pack(tmp_path, ["set"], tmp_path / "small.zip", 1e9) == {"set": 2}
    colours = [
        np.asarray(one.read().convert("RGB"))[10, 20].argmax()
        for one in CocoFolder(unpacked(tmp_path / "small.zip") / "set")
    ]
    assert colours == [0, 2]


def test_nothing_is_read_for_a_file_that_cannot_be_written_and_no_part_of_one_stays(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(ValueError, match=r"none/a.zip' cannot be written: expected a file name in a folder"):
        pack(tmp_path / "no data", ["first"], tmp_path / "none" / "a.zip", 1e9)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ZipFile, "writestr", full)
    with pytest.raises(OSError, match="No space left"):
        pack(data, ["first"], tmp_path / "a.zip", 1e9)
    assert not [*tmp_path.glob("a.zip*")]


def test_pictures_are_never_enlarged(tmp_path: Path, data: Path):
    pack(data, ["first"], tmp_path / "same.zip", 1e9, short_side=500)
    assert CocoFolder(unpacked(tmp_path / "same.zip") / "first")[0].read().size == (200, 100)


def run(data: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> Path:
    settings, output = data / "settings.json", data / "out.zip"
    settings.write_text(json.dumps({"sets": {"second": {}}}))
    monkeypatch.setattr(sys, "argv", ["packing", str(data), str(output), "--settings", str(settings), *options])
    main()
    return output


def test_the_command_says_how_many_and_how_large(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    output = run(data, monkeypatch)
    told = json.loads(capsys.readouterr().out)
    assert told["bytes"] == output.stat().st_size
    assert told["pictures"] == {"second": len(CocoFolder(data / "second").split()[0])}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--megabytes", "0"], "No picture fits into 0 MB: give more."),
        (["--settings", "none.json"], "does not hold settings"),
    ],
)
def test_what_cannot_be_packed_is_told(
    options: list[str], said: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        run(data, monkeypatch, *options)
    assert said in capsys.readouterr().err
    assert not (data / "out.zip").exists()
