"""The photographs of a training in one small file, for a GPU that is elsewhere.

    python -m groundingdino.training.detector.packing DATA photographs.zip --megabytes 60

takes from each set the pictures to learn from, makes them smaller and, if that is not enough, leaves out the same share
of each. Unpacked, the file is a folder for `--photographs`, in which the same pictures are held out.
"""

import argparse
import io
import json
import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZIP_DEFLATED, ZipFile
from zlib import crc32

import numpy as np
from pycocotools import mask as mask_codec
from tqdm import tqdm

from groundingdino.training.detector.coco_folder import CocoFolder, Labelled
from groundingdino.training.detector.mixture import SETTINGS, read_settings

SHORT_SIDE = 256  # pixels, at most: what the plan of the detector shows
QUALITY = 65  # of WebP
MEGABYTES = 60


class Packed(NamedTuple):
    """A picture as it is packed.

    Args:
        name: of its file, in the folder of the set's pictures.
        chance: in [0, 1), the same for pictures whose files are called the same.
        data: its file.
        size: (width, height) in pixels.
        objects: COCO's annotations of it, but for the ids.
    """

    name: str
    chance: float
    data: bytes
    size: tuple[int, int]
    objects: list[dict[str, Any]]


def pack(
    folder: Path, sets: Sequence[str], output: Path, limit: float, short_side: int = SHORT_SIDE, seed: int = 0
) -> dict[str, int]:
    """Writes a zip file of at most `limit` bytes of pictures, their annotations beside them.

    Args:
        folder: of the sets, which are folders in COCO's layout.
        sets: their names.
        short_side: pixels, at most.
        seed: of what is held out.

    Returns:
        How many pictures of each set are in it.

    Raises:
        ValueError: a set is not there or not in COCO's layout; a picture cannot be read; nothing fits; the file's
            folder is not there.
    """
    if not output.parent.is_dir():
        raise ValueError(f"'{output}' cannot be written: expected a file name in a folder that exists.")
    folders = {name: CocoFolder(folder / name) for name in sets}
    packed = {name: [*_packed(name, of, short_side, seed)] for name, of in folders.items()}
    sizes = Counter[float]()  # by chance: pictures of one chance fit together or not at all
    for one in chain.from_iterable(packed.values()):
        sizes[one.chance] += len(one.data)
    chances = sorted(sizes)
    fit = bisect_right([*accumulate(sizes[chance] for chance in chances)], limit)
    taken = {*chances[:fit]}
    chosen = {name: [one for one in pictures if one.chance in taken] for name, pictures in packed.items()}
    if not any(chosen.values()):
        raise ValueError(f"No picture fits into {limit / 1e6:g} MB: give more.")
    partial = output.with_name(f"{output.name}.partial")
    try:
        with ZipFile(partial, "w", ZIP_DEFLATED) as archive:
            for name, pictures in chosen.items():
                for one in pictures:
                    archive.writestr(f"{name}/images/{one.name}", one.data)
                archive.writestr(f"{name}/annotations.json", json.dumps(_annotations(pictures, folders[name].names)))
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)
    return {name: len(pictures) for name, pictures in chosen.items()}


def _packed(name: str, folder: CocoFolder, short_side: int, seed: int) -> Iterator[Packed]:
    called = Counter[str]()
    for picture in tqdm(folder.split(seed)[0], desc=name):
        scale = min(1.0, short_side / min(picture.width, picture.height))
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        written = io.BytesIO()
        picture.read().convert("RGB").resize(size, reducing_gap=2).save(written, "WEBP", quality=QUALITY)
        # Names stay whole, whatever they end in: by them pictures are held out. Some may be the same.
        file = picture.path.name
        again, called[file] = called[file], called[file] + 1
        place = f"{again}/{file}" if again else file
        yield Packed(place, crc32(file.encode()) / 2**32, written.getvalue(), size, [*_objects(picture, size)])


def _objects(picture: Labelled, size: tuple[int, int]) -> Iterator[dict[str, Any]]:
    scale = np.tile(np.divide(size, (picture.width, picture.height)), 2)
    for index, (name, box) in enumerate(zip(picture.names, picture.boxes, strict=True)):
        told: dict[str, Any] = {"name": name, "iscrowd": int(picture.crowds[index])}
        if not np.isnan(box).any():
            x0, y0, x1, y1 = (box * scale).round(2).tolist()
            told["bbox"] = [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)]
        if (mask := picture.mask(index)) is not None:
            rows, columns = ((np.arange(of) * old) // of for of, old in zip(size[::-1], mask.shape, strict=True))
            small = mask_codec.encode(np.asfortranarray(mask[np.ix_(rows, columns)].astype(np.uint8)))
            told["segmentation"] = {**small, "counts": small["counts"].decode()}
        yield told


def _annotations(pictures: Sequence[Packed], names: Sequence[str]) -> Mapping[str, Any]:
    numbers = {name: number for number, name in enumerate(names, 1)}
    objects = [(number, told) for number, one in enumerate(pictures, 1) for told in one.objects]
    return {
        "images": [
            {"id": number, "file_name": one.name, "width": one.size[0], "height": one.size[1]}
            for number, one in enumerate(pictures, 1)
        ],
        "annotations": [
            {
                **{key: value for key, value in told.items() if key != "name"},
                "id": number,
                "image_id": image,
                "category_id": numbers[told["name"]],
            }
            for number, (image, told) in enumerate(objects, 1)
        ],
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
    }


def main() -> None:
    """Pack the photographs of a training."""
    parser = argparse.ArgumentParser(
        prog="python -m groundingdino.training.detector.packing",
        description="Pack the photographs of a training into one small file.",
    )
    parser.add_argument("photographs", type=Path, metavar="DATA", help="folder of the sets in the settings")
    parser.add_argument("output", type=Path, help="the zip file to write")
    parser.add_argument("--megabytes", type=float, default=MEGABYTES, help="of pictures, at most (%(default)s)")
    parser.add_argument("--short-side", type=int, default=SHORT_SIDE, help="pixels, at most (%(default)s)")
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="names the sets: %(default)s")
    arguments = parser.parse_args()
    try:
        sets = [*read_settings(arguments.settings)["sets"]]
        counts = pack(arguments.photographs, sets, arguments.output, arguments.megabytes * 1e6, arguments.short_side)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(json.dumps({"bytes": arguments.output.stat().st_size, "pictures": counts}))


if __name__ == "__main__":
    main()
