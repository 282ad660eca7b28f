"""Where the pictures of annotations are, and one of them in the pixels that its boxes are of."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from groundingdino.inputs.image import decoded, load_image


def find_pictures(path: Path, files: Iterable[str], folder: Path | None = None) -> dict[str, Path]:
    """Where each picture is.

    Args:
        path: of the annotations.
        files: names of the pictures, as the annotations have them.
        folder: where they are; by default where people keep them: beside the annotations, in `images` there, in the one
            folder there that has them all, or above.

    Raises:
        ValueError: one sentence: some are not there.
    """
    files = list(dict.fromkeys(files))
    places = [folder] if folder is not None else _places(path)
    found = _found(places, files)
    absent = [file for file in files if file not in found]
    if absent and folder is None:
        whole = [place for place in _folders_beside(path) if len(_found([place], files)) == len(files)]
        if len(whole) == 1:
            return _found(whole, files)
    if absent:
        raise ValueError(
            f"{len(absent)} of {len(files)} pictures of '{path}' are not there, as '{absent[0]}': expected them "
            + (f"in '{folder}'." if folder else "beside it, in a folder 'images' there, or where --pictures says.")
        )
    return found


def open_marked(path: Path, size: tuple[int, int] | None) -> Image.Image:
    """A picture of the (width, height) that boxes are of, upright RGB or, if they are annotated so, as it is stored.

    Raises:
        ValueError: one sentence: it cannot be read, or has another size than annotated.
    """
    image = load_image(path)
    if size in (None, image.size):
        return image
    with decoded(path) as stored:
        if stored.size == size:  # EXIF says to turn it, and whoever marked it did not
            return load_image(np.asarray(stored.convert("RGB")))
    there, said = (" x ".join(map(str, each)) for each in (image.size, size or ()))
    raise ValueError(f"It has {there} pixels, but its annotations are of {said}.")


def _found(places: Sequence[Path], files: Sequence[str]) -> dict[str, Path]:
    places, found = list(places), {}
    for name in files:
        tried = (place / part for place in places for part in (name, Path(name).name))
        if file := next((one for one in tried if one.is_file()), None):
            found[name] = file
            places.sort(key=lambda place: place not in file.parents)  # the others are likely there, too
    return found


def _places(path: Path) -> list[Path]:
    beside = path if path.is_dir() else path.parent
    above = beside.parent
    # COCO has `annotations/instances_val2017.json` beside the folder `val2017`.
    words = path.stem.split("_")
    named = [*(above / word for word in words), *(above / "images" / word for word in words)]
    return [beside / "images", beside, above, above / "images", *named]


def _folders_beside(path: Path) -> list[Path]:
    beside = path if path.is_dir() else path.parent
    return sorted(one for one in beside.iterdir() if one.is_dir() and one.name[0] != ".")
