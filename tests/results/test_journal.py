import json
from pathlib import Path

import pytest

from groundingdino.results.journal import Journal, PictureFile

ASKED = {"prompt": "cat", "box_threshold": None}


def picture(name: str, stamp: tuple[int, int] = (10, 20)) -> PictureFile:
    return PictureFile(name, Path(name), stamp)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "out.json.journal.jsonl"


@pytest.fixture
def begun(path) -> Path:
    """A journal of one picture."""
    with Journal(path, ASKED) as journal:
        journal.add([(picture("a.png"), {"objects": [1]})])
    return path


def test_what_was_added_is_there_again(begun):
    with Journal(begun, ASKED) as journal:
        assert journal.entry(picture("a.png")) == {"file": "a.png", "stamp": [10, 20], "objects": [1]}
        assert journal.entry(picture("a.png", (10, 21))) is None
        assert journal.entry(picture("b.png")) is None


def test_a_line_that_is_not_whole_is_cut_off(begun):
    whole = begun.read_bytes()
    begun.write_bytes(whole + b'{"file": "b.png", "sta')
    with Journal(begun, ASKED) as journal:
        assert list(journal.pictures) == ["a.png"]
        journal.add([(picture("b.png"), {"objects": []})])
    assert begun.read_bytes().startswith(whole)
    with Journal(begun, ASKED) as journal:
        assert list(journal.pictures) == ["a.png", "b.png"]


def test_another_question_is_refused_until_the_first_is_forgotten(begun):
    before = begun.read_bytes()
    with pytest.raises(ValueError, match=r'holds what was found with prompt "cat": give another --output'):
        Journal(begun, {**ASKED, "prompt": "dog"})
    assert begun.read_bytes() == before
    with Journal(begun, {**ASKED, "prompt": "dog"}, restart=True) as journal:
        assert journal.pictures == {}
        journal.add([(picture("a.png"), {"objects": []})])
    with pytest.raises(ValueError, match="--restart"):
        Journal(begun, ASKED)


def test_a_journal_without_pictures_binds_nobody(path):
    Journal(path, ASKED).__exit__()
    with Journal(path, {**ASKED, "prompt": "dog"}) as journal:
        journal.add([(picture("a.png"), {})])
    assert json.loads(path.read_text().splitlines()[0]) == {"asked": {**ASKED, "prompt": "dog"}}


@pytest.mark.parametrize("content", ["no json\n", "[1]\n", '{"images": []}\n'])
def test_another_file_is_not_written_over(path, content):
    path.write_text(content)
    with pytest.raises(ValueError, match="journal"):
        Journal(path, ASKED)
    assert path.read_text() == content


def test_what_somebody_else_wrote_is_known(begun, tmp_path):
    output = tmp_path / "out.json"
    with Journal(begun, ASKED) as journal:
        journal.write(output, b"one")
        journal.write(output, b"two")
        assert journal.changed() is None
        output.write_bytes(b"one")  # of a run that was killed before it wrote the second
        assert journal.changed() is None
        output.write_bytes(b"three")
        assert journal.changed() == output
    with Journal(begun, ASKED, restart=True) as journal:
        assert journal.changed() == output
        output.unlink()
        assert journal.changed() is None


def test_a_picture_is_placed_and_removed_with_what_it_belonged_to(begun, tmp_path):
    source, label, copy = tmp_path / "a.png", tmp_path / "out/labels/a.txt", tmp_path / "out/images/a.png"
    source.write_bytes(b"pixels")
    own = tmp_path / "out" / "images" / "own.png"
    with Journal(begun, ASKED) as journal:
        journal.write(label, b"0 1 1 1 1\n")
        journal.place(source, copy)
        own.write_bytes(b"somebody's")
        assert copy.read_bytes() == b"pixels"
        journal.remove_others([label, copy])
        assert label.exists()
    with Journal(begun, ASKED) as journal:
        journal.remove_others([])
    assert not label.exists()
    assert not copy.exists()
    assert own.exists()
    assert source.exists()


def test_where_no_second_name_is_possible_a_picture_is_copied(begun, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    (tmp_path / "a.png").write_bytes(b"pixels")
    with Journal(begun, ASKED) as journal:
        journal.place(tmp_path / "a.png", tmp_path / "out" / "a.png")
    assert (tmp_path / "out" / "a.png").read_bytes() == b"pixels"
