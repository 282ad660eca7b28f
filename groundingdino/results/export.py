"""What was found, as files: the JSON record, the annotated picture, cut-outs, masks, COCO and YOLO data sets."""

import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
import supervision as sv
import yaml
from PIL import Image

from groundingdino.detection.objects import labels_of, scores_of, vocabulary
from groundingdino.results.drawing import DEFAULT_MASK_STYLE, MaskStyle, annotate
from groundingdino.results.polygons import polygon, polygons
from groundingdino.segmentation.masks import check_size, union


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
        check_size(detections.mask, size)
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
    mask_style: MaskStyle = DEFAULT_MASK_STYLE,
) -> bytes:
    """The picture at its own resolution with what was found drawn on it, see `drawing.annotate`; nothing is marked."""
    return png(annotate(image, detections, phrases, mask_style=mask_style))


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

    Every phrase of the prompt is a category, found or not, in the prompt's order from id 1. Masks are polygons that
    pycocotools reads as they were, see `polygons`; an empty one, which no polygon can be, is run lengths. The box of an
    object with a mask is that around the mask. Each annotation has its `score` beside what COCO asks for; readers of
    COCO files ignore it.
    """
    text = coco_text(vocabulary(detections, phrases), [(f"{name}.png", image.size, detections)])
    return _zip_of({f"images/{name}.png": png(image), "annotations/instances_default.json": text.encode()})


def coco_text(
    categories: Sequence[str], pictures: Iterable[tuple[str, tuple[int, int], sv.Detections]], info: str = ""
) -> str:
    """A COCO file of pictures, each its file's name, (width, height) and objects, as `coco_zip` describes it."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    ids = {label: number for number, label in enumerate(categories, 1)}
    for file_name, size, objects in pictures:
        width, height = size
        images.append({"id": len(images) + 1, "file_name": file_name, "width": width, "height": height})
        rows = zip(labels_of(objects), scores_of(objects), objects.xyxy, masks_or_none(objects, size), strict=True)
        for label, score, box, mask in rows:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": ids[label],
                    **_coco_shape(box, mask),
                    "iscrowd": 0,  # which training code leaves out
                    "score": round(float(score), 4),
                }
            )
    coco = {
        "info": {"description": info} if info else {},
        "licenses": [],  # nobody declares one for the user's pictures
        "categories": [{"id": number, "name": label, "supercategory": ""} for label, number in ids.items()],
        "images": images,
        "annotations": annotations,
    }
    return json.dumps(coco, ensure_ascii=False)


def yolo_zip(image: Image.Image, name: str, detections: sv.Detections, phrases: Sequence[str] = ()) -> bytes:
    """A YOLO data set of one picture: `images/NAME.png`, `labels/NAME.txt` and `data.yaml` with the phrases.

    Objects with masks are polygons, one line each, see `polygons.polygon`; those without are boxes. The format has no
    word for an invisible object: an empty mask has no line.
    """
    categories = vocabulary(detections, phrases)
    lines = yolo_lines(detections, categories, image.size)
    return _zip_of(
        {
            f"images/{name}.png": png(image),
            f"labels/{name}.txt": lines.encode(),
            "data.yaml": yolo_yaml(categories),
        }
    )


def yolo_lines(detections: sv.Detections, categories: Sequence[str], size: tuple[int, int]) -> str:
    """The label file of a picture of that (width, height), see `yolo_zip`."""
    lines = []
    masks = masks_or_none(detections, size)
    for label, box, mask in zip(labels_of(detections), detections.xyxy, masks, strict=True):
        shape = _yolo_box(box, size) if mask is None else polygon(mask)
        if shape is not None:
            numbers = (f"{number:.9g}" for number in (shape / size).ravel())
            lines.append(" ".join([str(categories.index(label)), *numbers]) + "\n")
    return "".join(lines)


def yolo_yaml(categories: Sequence[str]) -> bytes:
    """What a YOLO data set says of itself."""
    # The pictures are for both: trainers ask for both, and look for labels where "images" in a path is "labels".
    about = {"train": "images", "val": "images", "nc": len(categories), "names": list(map(str, categories))}
    return yaml.safe_dump(about, sort_keys=False, allow_unicode=True).encode()


def _coco_shape(box: np.ndarray, mask: np.ndarray | None) -> dict[str, Any]:
    """An object's outline in COCO's terms: its "segmentation", "bbox" as x, y, width, height, and "area"."""
    x0, y0, x1, y1 = map(float, box)
    if mask is None:
        return {"segmentation": [], "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
    parts = polygons(mask)
    if not parts:
        runs = {"size": list(mask.shape), "counts": sv.mask_to_rle(mask)}
        return {"segmentation": runs, "bbox": [x0, y0, x1 - x0, y1 - y0], "area": 0}
    return {
        "segmentation": [part.ravel().tolist() for part in parts],
        "bbox": list(cv2.boundingRect(mask.view(np.uint8))),
        "area": int(mask.sum()),
    }


def _yolo_box(box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Centre and extent, (2, 2) in pixels, of the part of a box in a picture of that (width, height)."""
    low, high = np.clip(np.asarray(box, float).reshape(2, 2), 0, size)
    return np.array([(low + high) / 2, high - low])


def masks_or_none(detections: sv.Detections, size: tuple[int, int]) -> Iterable[np.ndarray | None]:
    """Each object's mask, (H, W) bool, one at a time; None where objects have boxes alone."""
    check_size(detections.mask, size)
    return [None] * len(detections) if detections.mask is None else detections.mask


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
    """Files by name; pictures stored as they are, for PNG is compressed already."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content, zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
