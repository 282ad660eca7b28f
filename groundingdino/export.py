"""What was found, as files: the JSON record, the annotated picture, cut-outs, masks, COCO and YOLO by supervision."""

import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import supervision as sv
from PIL import Image
from scipy.ndimage import binary_fill_holes

from groundingdino.drawing import DEFAULT_MASK_STYLE, MaskStyle, annotate, labels_of, scores_of, vocabulary
from groundingdino.masks import compact, join, union


def record(detections: sv.Detections, size: tuple[int, int], model: str) -> dict:
    """The JSON record of the command line and the web API.

    Args:
        detections: N objects in pixels of the picture, best first.
        size: (width, height) of the picture.
        model: Name of the model that found them.

    Returns:
        `{"width", "height", "model", "objects": [{"phrase", "score", "box": [x0, y0, x1, y1]}]}`, plain Python
        numbers; scores to four digits, boxes to a hundredth of a pixel. Objects with masks have a "mask" too, COCO's
        run lengths as `{"size": [height, width], "counts": str}`.
    """
    width, height = size
    rows = zip(labels_of(detections), scores_of(detections), detections.xyxy, strict=True)
    objects: list[dict] = [
        {"phrase": phrase, "score": round(float(score), 4), "box": [round(float(edge), 2) for edge in box]}
        for phrase, score, box in rows
    ]
    if detections.mask is not None:
        for entry, mask in zip(objects, detections.mask, strict=True):
            entry["mask"] = {"size": [height, width], "counts": sv.mask_to_rle(mask, compressed=True)}
    return {"width": width, "height": height, "model": model, "objects": objects}


def json_file(detections: sv.Detections, size: tuple[int, int], model: str) -> bytes:
    """The record as a readable UTF-8 JSON file."""
    return json.dumps(record(detections, size, model), indent=2, ensure_ascii=False).encode()


def annotated_png(
    image: Image.Image,
    detections: sv.Detections,
    phrases: Sequence[str] = (),
    marked: Collection[int] = (),
    mask_style: MaskStyle = DEFAULT_MASK_STYLE,
) -> bytes:
    """The picture at its own resolution with what was found drawn on it, see `drawing.annotate`."""
    return png(annotate(image, detections, phrases, marked, mask_style=mask_style))


def cut_out(image: Image.Image, mask: np.ndarray) -> Image.Image:
    """The picture where the mask (H, W) bool is, RGBA of the same size; elsewhere it is transparent black.

    The pixels beside the object are gone, not only hidden.
    """
    if mask.shape != image.size[::-1]:
        raise ValueError(f"Expected a mask of shape {image.size[::-1]}, got {mask.shape}.")
    pixels = np.dstack([np.asarray(image), np.full(mask.shape, 255, np.uint8)])
    pixels[~mask] = 0
    return Image.fromarray(pixels)


def cut_out_png(image: Image.Image, detections: sv.Detections) -> bytes:
    """All objects together, cut out, at the size of the picture."""
    return png(cut_out(image, union(_masks(detections), image.size)))


def masks_zip(detections: sv.Detections) -> bytes:
    """Each object's mask in a PNG of its own, grey at the size of the picture: 255 in the object, 0 elsewhere."""
    names = file_names(labels_of(detections))
    return _zip_of(
        {
            f"{name}.png": png(Image.fromarray(mask.astype(np.uint8) * 255))
            for name, mask in zip(names, _masks(detections), strict=True)
        }
    )


def file_names(labels: Sequence[str]) -> list[str]:
    """A name without extension for each object: its number, so that names sort and differ, and its phrase.

    Phrases become letters and digits of any script joined by hyphens, at most 40: `01_red-apple`.
    """
    digits = max(2, len(str(len(labels))))
    names = []
    for number, label in enumerate(labels, 1):
        words = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", label).casefold())[:40].strip("-")
        names.append(f"{number:0{digits}d}_{words or 'object'}")
    return names


def coco_zip(image: Image.Image, name: str, detections: sv.Detections, phrases: Sequence[str] = ()) -> bytes:
    """A COCO data set of one picture: `images/NAME.png` and `annotations/instances_default.json`.

    Every phrase of the prompt is a category, found or not, in the prompt's order from id 1. Each annotation has its
    `score` beside what COCO asks for; readers of COCO files ignore it.
    """
    with TemporaryDirectory() as folder:
        root = Path(folder)
        path = root / "annotations" / "instances_default.json"
        _dataset(root, image, name, detections, phrases).as_coco(str(root / "images"), str(path))
        coco = json.loads(path.read_text())
        # supervision declares every picture CC BY 4.0; the user's picture has whatever licence it has.
        coco["licenses"] = []
        for picture in coco["images"]:
            del picture["license"]
        for annotation, score in zip(coco["annotations"], scores_of(detections), strict=True):
            # supervision calls a mask with a hole or of several parts a crowd, which training code leaves out.
            annotation["iscrowd"] = 0
            annotation["score"] = round(float(score), 4)
        path.write_text(json.dumps(coco, indent=2))
        return _zip(root, "images", "annotations")


def yolo_zip(image: Image.Image, name: str, detections: sv.Detections, phrases: Sequence[str] = ()) -> bytes:
    """A YOLO data set of one picture: `images/NAME.png`, `labels/NAME.txt` and `data.yaml` with the phrases.

    Objects with masks are polygons, one line for each part; a hole hangs on the outline by a cut of no width. Where a
    mask is too ragged for such cuts, all holes are filled.
    """
    try:
        return _yolo_zip(image, name, detections, phrases)
    except ValueError:  # "No foreground-contained seam found": the format has no other way to say hole
        masks = join((compact(binary_fill_holes(mask)) for mask in _masks(detections)), image.size)
        return _yolo_zip(image, name, replace(detections, mask=masks), phrases)


def _yolo_zip(image: Image.Image, name: str, detections: sv.Detections, phrases: Sequence[str]) -> bytes:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        _dataset(root, image, name, detections, phrases).as_yolo(
            str(root / "images"), str(root / "labels"), str(root / "data.yaml")
        )
        return _zip(root, "images", "labels", "data.yaml")


def _dataset(
    root: Path, image: Image.Image, name: str, detections: sv.Detections, phrases: Sequence[str]
) -> sv.DetectionDataset:
    """supervision's data set of one picture; class ids are made to count categories instead of phrases.

    They differ in a list that has a phrase twice, and where an object has a label that is no phrase.
    """
    categories = vocabulary(detections, phrases)
    path = root / "images" / f"{name}.png"
    path.parent.mkdir()
    path.write_bytes(png(image))
    class_id = np.array([categories.index(label) for label in labels_of(detections)], dtype=int)
    objects = sv.Detections(detections.xyxy, detections.mask, class_id=class_id)
    return sv.DetectionDataset(categories, [str(path)], {str(path): objects})


def png(image: Image.Image) -> bytes:
    """A picture as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)  # a third of the default's time for a tenth more bytes
    return buffer.getvalue()


def _masks(detections: sv.Detections) -> sv.CompactMask | np.ndarray:
    if detections.mask is None:
        raise ValueError("Expected detections with masks, got boxes alone: segment them first.")
    return detections.mask


def _zip_of(files: dict[str, bytes]) -> bytes:
    """Files by name, stored as they are: PNG is compressed already."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _zip(root: Path, *entries: str) -> bytes:
    """The named files and folders below `root`, in order."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in entries:
            path = root / entry
            for file in sorted(path.iterdir()) if path.is_dir() else [path]:
                archive.write(file, file.relative_to(root).as_posix())
    return buffer.getvalue()
