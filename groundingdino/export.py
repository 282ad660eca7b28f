"""What was found, as files: the JSON record, the annotated picture, and COCO and YOLO data sets by supervision."""

import io
import json
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import supervision as sv
from PIL import Image

from groundingdino.drawing import annotate, labels_of, scores_of, vocabulary


def record(detections: sv.Detections, size: tuple[int, int], model: str) -> dict:
    """The JSON record of the command line and the web API.

    Args:
        detections: N objects in pixels of the picture, best first.
        size: (width, height) of the picture.
        model: Name of the model that found them.

    Returns:
        `{"width", "height", "model", "objects": [{"phrase", "score", "box": [x0, y0, x1, y1]}]}`, plain Python
        numbers; scores to four digits, boxes to a hundredth of a pixel.
    """
    width, height = size
    rows = zip(labels_of(detections), scores_of(detections), detections.xyxy, strict=True)
    return {
        "width": width,
        "height": height,
        "model": model,
        "objects": [
            {"phrase": phrase, "score": round(float(score), 4), "box": [round(float(edge), 2) for edge in box]}
            for phrase, score, box in rows
        ],
    }


def json_file(detections: sv.Detections, size: tuple[int, int], model: str) -> bytes:
    """The record as a readable UTF-8 JSON file."""
    return json.dumps(record(detections, size, model), indent=2, ensure_ascii=False).encode()


def annotated_png(
    image: Image.Image, detections: sv.Detections, phrases: Sequence[str] = (), marked: Collection[int] = ()
) -> bytes:
    """The picture at its own resolution with boxes and labels drawn on it, see `drawing.annotate`."""
    return _png(annotate(image, detections, phrases, marked))


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
            annotation["score"] = round(float(score), 4)
        path.write_text(json.dumps(coco, indent=2))
        return _zip(root, "images", "annotations")


def yolo_zip(image: Image.Image, name: str, detections: sv.Detections, phrases: Sequence[str] = ()) -> bytes:
    """A YOLO data set of one picture: `images/NAME.png`, `labels/NAME.txt` and `data.yaml` with the phrases."""
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

    They differ in a sentence, where a label is several words and the phrases are single ones.
    """
    categories = vocabulary(detections, phrases)
    path = root / "images" / f"{name}.png"
    path.parent.mkdir()
    path.write_bytes(_png(image))
    class_id = np.array([categories.index(label) for label in labels_of(detections)], dtype=int)
    objects = sv.Detections(detections.xyxy, class_id=class_id)
    return sv.DetectionDataset(categories, [str(path)], {str(path): objects})


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)  # a third of the default's time for a tenth more bytes
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
