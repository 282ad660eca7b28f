"""Many labelled pictures as one data set: COCO, YOLO, Pascal VOC, ODVG, and what CVAT and Label Studio import.

supervision's `DetectionDataset` writes the first three, too, but without scores, with simplified masks (of several
parts each an object of its own in VOC) and from pictures in memory; its VOC lacks the `difficult` that readers ask for.
"""

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from groundingdino.detection.objects import labels_of, scores_of
from groundingdino.results.annotation_tools import cvat, label_studio, label_studio_config
from groundingdino.results.export import coco_text, yolo_lines, yolo_yaml
from groundingdino.results.labelled_picture import Files, LabelledPicture, Pictures

_VOID = 255  # of VOC's masks: pixels that do not count
_MOST_IN_MASK = 254


def coco(output: Path, categories: Sequence[str], pictures: Pictures, about: str) -> Files:
    """One file for all, see `export.coco_zip`; names of pictures are those in their folder."""
    rows = ((picture.file, picture.size, picture.objects) for picture in pictures)
    yield output, coco_text(categories, rows, about).encode()


def odvg(output: Path, categories: Sequence[str], pictures: Pictures, _: str) -> Files:
    """A line of JSON for each picture, and `NAME_label_map.json` with the classes, as MMDetection and others read."""
    ids = {name: number for number, name in enumerate(categories)}
    lines = []
    for picture in pictures:
        objects = picture.objects
        rows = zip(labels_of(objects), scores_of(objects), objects.xyxy.tolist(), strict=True)
        instances = [
            {"bbox": box, "label": ids[name], "category": name, "score": round(float(score), 4)}
            for name, score, box in rows
        ]
        width, height = picture.size
        line = {"filename": picture.file, "height": height, "width": width, "detection": {"instances": instances}}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    names = {str(number): name for name, number in ids.items()}
    yield label_map(output), json.dumps(names, ensure_ascii=False).encode()
    yield output, "".join(lines).encode()


def label_map(output: Path) -> Path:
    """Where an ODVG file has its classes."""
    return output.with_name(f"{output.stem}_label_map.json")


def yolo(output: Path, categories: Sequence[str], pictures: Pictures, _: str) -> Files:
    """A folder with `labels/NAME.txt` for each picture and `data.yaml`, see `export.yolo_zip`."""
    for picture in pictures:
        lines = yolo_lines(picture.objects, categories, picture.size)
        yield output / "labels" / PurePosixPath(picture.file).with_suffix(".txt"), lines.encode()
    yield output / "data.yaml", yolo_yaml(categories)


def voc(output: Path, categories: Sequence[str], pictures: Pictures, _: str) -> Files:
    """A folder as of the VOC challenge: `Annotations/NAME.xml` for each picture, of masks also pictures of them.

    Corners are whole pixels from 1 on, both inside the box. In `SegmentationClass/NAME.png` a pixel has the number of
    its class in `classes.txt`, in `SegmentationObject/NAME.png` that of its object in the file; 0 is neither. Where
    objects overlap the better one is seen. Behind the 254th they are 255, which does not count.
    """
    ids = {name: number for number, name in enumerate(categories, 1)}
    for picture in pictures:
        path = PurePosixPath(picture.file)
        yield output / "Annotations" / path.with_suffix(".xml"), _voc_xml(picture)
        masks = picture.objects.mask
        if masks is not None:
            numbers = list(range(1, len(masks) + 1))
            kinds = [ids[name] for name in labels_of(picture.objects)]
            for folder, values in (("SegmentationObject", numbers), ("SegmentationClass", kinds)):
                yield output / folder / path.with_suffix(".png"), _index_png(masks, values, picture.size)
    yield output / "classes.txt", "".join(f"{name}\n" for name in categories).encode()


# How a data set is written, by name: what becomes which file, one after the other. Of two also where its pictures are.
FORMATS: Mapping[str, Callable[[Path, Sequence[str], Pictures, str], Files]] = {
    "coco": coco,
    "odvg": odvg,
    "yolo": yolo,
    "voc": voc,
    "cvat": cvat,
    "label-studio": label_studio,
}
PICTURES_IN = {"yolo": "images", "voc": "JPEGImages"}
_PARTS = {
    "yolo": ("labels", "data.yaml"),
    "voc": ("Annotations", "SegmentationClass", "SegmentationObject", "classes.txt"),
}


def parts(format: str, output: Path) -> list[Path]:
    """Files and folders that belong to a data set, but for its pictures."""
    if format in _PARTS:
        return [output / name for name in _PARTS[format]]
    beside = {"odvg": label_map, "label-studio": label_studio_config}
    return [output, *([beside[format](output)] if format in beside else [])]


def same_labels(files: Iterable[str]) -> list[str]:
    """The first pictures that would have the same label file, as `a.jpg` and `a.png`; none if all differ."""

    def stem(file: str) -> str:
        return PurePosixPath(file).with_suffix("").as_posix().casefold()  # some disks see no difference

    groups = (list(group) for _, group in groupby(sorted(files, key=stem), stem))
    return next((group for group in groups if len(group) > 1), [])


def _voc_xml(picture: LabelledPicture) -> bytes:
    path = PurePosixPath(picture.file)
    root = ElementTree.Element("annotation")
    folder = PurePosixPath(PICTURES_IN["voc"], path.parent).as_posix()
    _children(root, folder=folder, filename=path.name)
    width, height = picture.size
    _children(ElementTree.SubElement(root, "size"), width=width, height=height, depth=3)
    _children(root, segmented=int(picture.objects.mask is not None))
    low, high = np.array([1, 1]), np.array([width, height])
    for name, box in zip(labels_of(picture.objects), picture.objects.xyxy, strict=True):
        one = ElementTree.SubElement(root, "object")
        # Readers ask for these; 0 and "Unspecified" say that nobody looked.
        _children(one, name=name, pose="Unspecified", truncated=0, difficult=0)
        first = np.clip(np.rint(box[:2]) + 1, low, high)
        last = np.clip(np.rint(box[2:]), first, high)
        x, y, right, bottom = map(int, (*first, *last))
        _children(ElementTree.SubElement(one, "bndbox"), xmin=x, ymin=y, xmax=right, ymax=bottom)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8")


def _children(parent: ElementTree.Element, **texts: object) -> None:
    for tag, text in texts.items():
        ElementTree.SubElement(parent, tag).text = str(text)


def _index_png(masks: Iterable[np.ndarray], values: Sequence[int], size: tuple[int, int]) -> bytes:
    """A picture of numbers; where masks overlap the first is seen."""
    numbers = np.zeros(size[::-1], np.uint8)
    for mask, value in zip(masks, values, strict=True):
        numbers[mask & (numbers == 0)] = value if value <= _MOST_IN_MASK else _VOID
    image = Image.fromarray(numbers).convert("P")
    image.putpalette(_voc_palette())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _voc_palette() -> list[int]:
    """The challenge's colours: bits of a number, taken in threes, are the highest bits of red, green and blue."""
    return [
        sum((number >> (3 * place + channel) & 1) << (7 - place) for place in range(3))
        for number in range(256)
        for channel in range(3)
    ]
