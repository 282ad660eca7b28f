import threading
from pathlib import Path

import pytest
from PIL import Image

from groundingdino.results.journal import Journal, PictureFile
from groundingdino.results.labelling import list_pictures, read_ahead, unfinished


@pytest.fixture
def pictures(tmp_path) -> list[PictureFile]:
    """Five that can be read."""
    for name in "abcde":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    return list_pictures(tmp_path, tmp_path / "out")


def test_pictures_are_listed_by_name_with_slashes(tmp_path):
    for name in ("b/a.JPG", "a.tiff", "b.png", "out/x.png", ".trash/y.png", "notes.md", "z.heic", "._a.tiff"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    (tmp_path / "folder.png").mkdir()
    listed = list_pictures(tmp_path, tmp_path / "b" / ".." / "out")
    assert [one.name for one in listed] == ["a.tiff", "b.png", "b/a.JPG", "z.heic"]
    assert listed[2].path == tmp_path / "b" / "a.JPG"
    assert listed[2].stamp == (5, listed[2].path.stat().st_mtime_ns)


def test_batches_are_the_same_whatever_is_done(pictures, tmp_path):
    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        assert unfinished(pictures, journal, 2) == [pictures[:2], pictures[2:4], pictures[4:]]
        journal.add((picture, {}) for picture in pictures[:3])
        assert unfinished(pictures, journal, 2) == [pictures[2:4], pictures[4:]]
        journal.add((picture, {}) for picture in pictures[3:])
        assert unfinished(pictures, journal, 2) == []


def test_what_could_not_be_read_is_left_as_soon_as_it_can(pictures, tmp_path):
    content = pictures[1].path.read_bytes()
    pictures[1].path.write_bytes(b"no picture")
    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        journal.add((picture, {"error": "no"} if picture is pictures[1] else {}) for picture in pictures)
        assert unfinished(pictures, journal, 1) == []
        pictures[1].path.write_bytes(content)  # of the same stamp, as after a change of rights
        assert unfinished(pictures, journal, 1) == [[pictures[1]]]


def test_batches_come_in_order_while_the_next_are_read():
    both = threading.Barrier(2, timeout=30)

    def read(item: int) -> int:
        if item < 2:
            both.wait()  # passes only if two are read at once
        return item * 10

    batches = [[0], [1], [2, 3], [], [4]]
    assert list(read_ahead(batches, read, readers=2)) == [(one, [item * 10 for item in one]) for one in batches]


def test_no_more_is_read_ahead_than_fits():
    started: list[int] = []
    batches = read_ahead(([item] for item in range(100)), started.append)
    next(batches)
    batches.close()
    assert len(started) <= 3


def test_an_error_while_reading_ends_it():
    def refuse(_: Path) -> None:
        raise RuntimeError("of us")

    with pytest.raises(RuntimeError, match="of us"):
        list(read_ahead([[Path("a")], [Path("b")]], refuse))
