"""Labelled pictures as CVAT and Label Studio import them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import cv2
import numpy as np

from groundingdino.detection.objects import labels_of, scores_of
from groundingdino.results.export import masks_or_none
from groundingdino.results.labelled_picture import Files, LabelledPicture, Pictures
from groundingdino.results.polygons import polygon

LOCAL_FILES = "/data/local-files/?d="  # as Label Studio serves pictures that lie in its folder of local files
# Of its interface the control that shapes of a kind belong to.
LABEL_STUDIO_CONTROLS = {"rectanglelabels": "box", "polygonlabels": "outline"}


def cvat(output: Path, categories: Sequence[str], pictures: Pictures, about: str) -> Files:
    """One file of XML, "CVAT for images 1.1". Masks are run lengths along rows, exact to the pixel.

    CVAT gives annotations to the pictures of a task by their names, and leaves out attributes that its labels lack.
    """
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    job = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "job")
    ElementTree.SubElement(job, "name").text = about
    labels = ElementTree.SubElement(job, "labels")
    for name in categories:
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = name
        ElementTree.SubElement(label, "attributes")
    for number, picture in enumerate(pictures):
        width, height = picture.size
        about_it = {"id": number, "name": picture.file, "width": width, "height": height}
        image = ElementTree.SubElement(root, "image", _texts(about_it))
        for name, score, box, mask in _rows(picture):
            known = {"label": name, "source": "auto", "occluded": 0}
            if mask is not None and mask.any():
                shape = ElementTree.SubElement(image, "mask", _texts(known | cvat_mask(mask)))
            else:
                edges = zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)
                shape = ElementTree.SubElement(image, "box", _texts(known | dict(edges)))
            shape.set("z_order", "0")
            ElementTree.SubElement(shape, "attribute", name="score").text = str(score)
    ElementTree.indent(root)
    yield output, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def label_studio(output: Path, categories: Sequence[str], pictures: Pictures, about: str) -> Files:
    """Tasks for Label Studio with what was found as predictions, and `NAME_config.xml`, its labelling interface.

    Sizes are in per cent, as there. Masks are polygons, see `polygons.polygon`. Pictures have their names in Label
    Studio's folder of local files.
    """
    tasks: list[dict[str, object]] = []
    for picture in pictures:
        width, height = picture.size
        results: list[dict[str, object]] = []
        for name, score, box, mask in _rows(picture):
            points = None if mask is None else polygon(mask)
            value: dict[str, object]
            if points is None:
                x0, y0, x1, y1 = (100 * np.reshape(box, (2, 2)) / picture.size).ravel().tolist()
                kind = "rectanglelabels"
                value = {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "rotation": 0}
            else:
                kind, value = "polygonlabels", {"points": (100 * points / picture.size).tolist(), "closed": True}
            result = {"id": f"{len(tasks) + 1}-{len(results) + 1}", "type": kind, "score": score}
            result |= {"from_name": LABEL_STUDIO_CONTROLS[kind], "to_name": "image"}
            result |= {"original_width": width, "original_height": height, "image_rotation": 0}
            results.append({**result, "value": {**value, kind: [name]}})
        tasks.append(
            {
                "data": {"image": LOCAL_FILES + quote(picture.file)},
                "meta": {"width": width, "height": height},  # of those without objects nothing else would tell
                "predictions": [{"model_version": about, "result": results}],
            }
        )
    yield label_studio_config(output), _interface(categories)
    yield output, json.dumps(tasks, ensure_ascii=False).encode()


def label_studio_config(output: Path) -> Path:
    """Where a file of tasks has its labelling interface."""
    return output.with_name(f"{output.stem}_config.xml")


def _interface(categories: Sequence[str]) -> bytes:
    root = ElementTree.Element("View")
    ElementTree.SubElement(root, "Image", name="image", value="$image")
    for tag, name in (("RectangleLabels", "box"), ("PolygonLabels", "outline")):
        control = ElementTree.SubElement(root, tag, name=name, toName="image")
        for category in categories:
            ElementTree.SubElement(control, "Label", value=category)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8")


def _rows(picture: LabelledPicture) -> Iterator[tuple[str, float, list[float], np.ndarray | None]]:
    """Name, score, box and mask of each object; the box of one with a mask is as it was found."""
    objects = picture.objects
    masks = masks_or_none(objects, picture.size)
    for name, score, box, mask in zip(labels_of(objects), scores_of(objects), objects.xyxy, masks, strict=True):
        yield name, round(float(score), 4), box.tolist(), mask


def cvat_mask(mask: np.ndarray) -> dict[str, object]:
    """Attributes of CVAT's element of a mask (H, W) bool that is not empty."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    pixels = mask[y : y + height, x : x + width].ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], pixels])))  # where runs begin; the first is outside
    runs = np.diff(np.concatenate([[0], edges, [pixels.size]])).tolist()
    return {"rle": ", ".join(map(str, runs)), "left": x, "top": y, "width": width, "height": height}


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}
