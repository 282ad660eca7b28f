import json
import lzma
import sys
import tarfile

import pytest

from groundingdino.artwork.names import load_names
from groundingdino.training.scenes import artwork as artwork_module
from groundingdino.training.scenes.artwork import cut


@pytest.fixture
def packages(tmp_path):
    """Two tiny packages: one with a list of characters, an older one that knows the cat under another name."""
    icons = {
        "new": {"icons": {"cat-face": {"body": "<a/>"}, "flag": {"body": "<b/>"}}, "width": 32, "height": 32},
        "old": {
            "icons": {"kitty": {"body": "<c/>", "width": 8, "height": 9}},
            "aliases": {"cat-face": {"parent": "kitty"}},
        },
    }
    characters = {"new": {"1f431-fe0f": "cat-face", "1f6a9": "flag"}, "old": {}}
    paths = {}
    for style, pack in icons.items():
        paths[style] = tmp_path / f"{style}.tgz"
        with tarfile.open(paths[style], "w:gz") as archive:
            for name, content in (("icons.json", pack), ("chars.json", characters[style])):
                file = tmp_path / name
                file.write_text(json.dumps(content))
                archive.add(file, f"package/{name}")
    return paths


def test_cut_takes_the_drawings_of_the_list_only(packages, tmp_path, monkeypatch):
    cats = [name for name in load_names() if name.name == "cat"]
    monkeypatch.setattr(artwork_module, "FOLDER", tmp_path / "cut")
    monkeypatch.setattr(artwork_module, "load_names", lambda: cats)
    monkeypatch.setattr(
        artwork_module, "_slugs", lambda *_: {key: ["cat-face"] for key in ("1f431", "1f408")} | {"1f408-200d-2b1b": []}
    )
    cut(packages)
    new = json.loads(lzma.decompress((tmp_path / "cut" / "new.json.xz").read_bytes()))
    old = json.loads(lzma.decompress((tmp_path / "cut" / "old.json.xz").read_bytes()))
    assert new["1f431"] == {"body": "<a/>", "left": 0, "top": 0, "width": 32, "height": 32}
    assert old["1f431"] == {"body": "<c/>", "left": 0, "top": 0, "width": 8, "height": 9}
    assert set(new) == {"1f431", "1f408"}


def test_packages_that_are_missing_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["artwork", "--from", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        artwork_module.main()
    assert "iconify-json-noto-1.2.9.tgz" in capsys.readouterr().err


def test_npm_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(artwork_module.shutil, "which", lambda _: None)
    with pytest.raises(ValueError, match="npm is needed"):
        artwork_module._fetch(tmp_path)
