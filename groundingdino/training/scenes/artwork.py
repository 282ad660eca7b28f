"""Cut the drawings of `assets/artwork` from npm packages; nothing has to be fetched to draw, train or evaluate.

When `names.tsv` gains a drawing,

    python -m groundingdino.training.scenes.artwork                 # fetches the packages with npm
    python -m groundingdino.training.scenes.artwork --from FOLDER   # or reads *.tgz that `npm pack` left there

writes the files anew.
"""

import argparse
import json
import lzma
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from groundingdino.artwork.drawings import FOLDER, STYLES
from groundingdino.artwork.names import load_names

# Older drawings of something else: a cricket bat for the insect, a pistol for the water gun, wind for the leaf, a
# desktop computer for the laptop, a pink book for the red one.
MISLEADING = {
    "noto-v1": ("1f997", "1f52b", "1f343", "1f4bb", "1f4d5"),
    "emojione": ("1f997", "1f52b", "1f343"),
}


def cut(packages: dict[str, Path]) -> None:
    """Write the files of `FOLDER` from packages (style -> *.tgz): only the drawings of `names.tsv`."""
    icons = {style: _member(path, "icons.json") for style, path in packages.items()}
    slugs = _slugs(packages, icons)
    wanted = [drawing.codepoints for name in load_names() for drawing in name.drawings]
    FOLDER.mkdir(parents=True, exist_ok=True)
    for style, pack in icons.items():
        found = {}
        for codepoints in wanted:
            icon = _find(pack, slugs[codepoints])
            if icon is not None and codepoints not in MISLEADING.get(style, ()):
                found[codepoints] = {
                    "body": icon["body"],
                    "left": icon.get("left", 0),
                    "top": icon.get("top", 0),
                    "width": icon.get("width", pack.get("width", 16)),
                    "height": icon.get("height", pack.get("height", 16)),
                }
        text = json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
        (FOLDER / f"{style}.json.xz").write_bytes(lzma.compress(text, preset=9))
        print(f"{style}: {len(found)} of {len(wanted)} drawings")


def _slugs(packages: dict[str, Path], icons: dict[str, dict]) -> dict[str, list[str]]:
    """Every name under which a character appears in any package: older packages lack the list of characters."""
    slugs: dict[str, list[str]] = {}
    for path in packages.values():
        for codepoints, slug in _member(path, "chars.json").items():
            bare = "-".join(part for part in codepoints.split("-") if part != "fe0f")
            slugs.setdefault(bare, []).append(slug)
    aliases: dict[str, list[str]] = {}
    for pack in icons.values():
        for alias, target in pack.get("aliases", {}).items():
            aliases.setdefault(target["parent"], []).append(alias)
            aliases.setdefault(alias, []).append(target["parent"])
    return {
        key: list(dict.fromkeys(s for v in values for s in (v, *aliases.get(v, ())))) for key, values in slugs.items()
    }


def _find(pack: dict, slugs: list[str]) -> dict | None:
    aliases = pack.get("aliases", {})
    for slug in slugs:
        icon = pack["icons"].get(slug) or pack["icons"].get(aliases.get(slug, {}).get("parent"))
        if icon is not None:
            return icon
    return None


def _member(path: Path, name: str) -> dict:
    with tarfile.open(path) as archive:
        file = archive.extractfile(f"package/{name}")
        assert file is not None
        return json.load(file)


def _packages(folder: Path) -> dict[str, Path]:
    packages = {style.name: folder / f"iconify-json-{style.name}-{style.version}.tgz" for style in STYLES}
    missing = [path.name for path in packages.values() if not path.is_file()]
    if missing:
        raise ValueError(f"{folder} lacks {', '.join(missing)}; `npm pack @iconify-json/NAME@VERSION` fetches one.")
    return packages


def _fetch(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError("npm is needed to fetch the artwork; install Node.js, or give packages with --from FOLDER.")
    for style in STYLES:
        subprocess.run([npm, "pack", f"@iconify-json/{style.name}@{style.version}"], cwd=folder, check=True)


def main() -> None:
    """Command line, see the top of the file."""
    parser = argparse.ArgumentParser(
        prog="python -m groundingdino.training.scenes.artwork", description="Cut the artwork anew."
    )
    parser.add_argument("--from", dest="folder", type=Path, help="folder with *.tgz of `npm pack`, instead of fetching")
    folder = parser.parse_args().folder
    try:
        if folder is not None:
            cut(_packages(folder))
            return
        with tempfile.TemporaryDirectory() as scratch:
            _fetch(Path(scratch))
            cut(_packages(Path(scratch)))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
