import errno
import os
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from groundingdino.page.files import write_file


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))


def test_the_same_content_is_one_file_that_is_never_written_again():
    path = Path(write_file(b"content", "cat.png"))
    assert (path.name, path.read_bytes()) == ("cat.png", b"content")
    before = path.stat().st_ino
    assert write_file(b"content", "cat.png") == str(path)
    assert path.stat().st_ino == before
    assert write_file(b"content", "dog.png") != str(path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["cat.png", "dog.png"], "nothing is left behind"


def test_who_reads_a_file_while_it_is_asked_for_again_reads_all_of_it():
    content, done, seen = bytes(2**22), Event(), set()
    path = Path(write_file(content, "cat.png"))

    def read() -> None:
        while not done.is_set():
            seen.add(len(path.read_bytes()))

    reader = Thread(target=read)
    reader.start()
    for _ in range(50):
        write_file(content, "cat.png")
    done.set()
    reader.join()
    assert seen == {2**22}


@pytest.mark.parametrize("letter", ["a", "猫", "é"])
def test_a_long_name_loses_its_middle(letter):
    path = Path(write_file(b"content", f"picture{letter * 300}-boxes.png"))
    assert path.read_bytes() == b"content"
    assert (path.name[:8], path.name[-11:]) == (f"picture{letter}", f"{letter}-boxes.png")
    assert set(path.name) == set(f"picture{letter}-boxes.png")
    exact = "a" * 236 + ".png"
    assert Path(write_file(b"content", exact)).name == exact


@pytest.mark.parametrize(
    ("number", "message"), [(errno.ENOSPC, "The server's disk is full"), (errno.EROFS, "The server cannot write files")]
)
def test_a_disk_that_takes_nothing_is_told(number, message, monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ValueError, match=message):
        write_file(b"a picture", "picture.png")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [], "nothing of it stays"
