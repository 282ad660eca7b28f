"""Data sets in ODVG's layout, read as what COCO's file would say: a line of JSON for each picture.

{"filename": "a.jpg", "height": 480, "width": 640, "detection": {"instances": [{"bbox": [x0, y0, x1, y1],
    "label": 0, "category": "cat"}]}}
{"filename": "b.jpg", "height": 480, "width": 640, "grounding": {"caption": "a cat on a mat",
    "regions": [{"bbox": [x0, y0, x1, y1], "phrase": "a cat"}]}}
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from groundingdino.results.datasets import label_map


def read_odvg(path: Path) -> dict[str, Any]:
    """A file as COCO's lists; of a picture with a caption its phrases are the prompt.

    Raises:
        ValueError: one sentence: it is not in this layout.
    """
    ids: dict[str, int] = {name: number for number, name in enumerate(_listed(path))}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            picture = json.loads(line)
            image = {"id": number, "file_name": str(picture["filename"])}
            if "height" in picture and "width" in picture:
                image |= {"width": int(picture["width"]), "height": int(picture["height"])}
            found = list(_objects(picture, list(ids)))
            for name, box in found:
                category = ids.setdefault(name, len(ids))
                x0, y0, x1, y1 = map(float, box)
                annotation = {"image_id": number, "category_id": category, "bbox": [x0, y0, x1 - x0, y1 - y0]}
                annotations.append(annotation)
            if "grounding" in picture:
                image["phrases"] = [[name, ids[name]] for name in dict.fromkeys(name for name, _ in found)]
            images.append(image)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ValueError(
                f"Line {number} of '{path}' is not in ODVG's layout ({type(error).__name__}: {error})."
            ) from error
    categories = [{"id": one, "name": name} for name, one in ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def _listed(path: Path) -> list[str]:
    """The classes of the file beside it, in the order of their numbers; none where there is no such file."""
    beside = label_map(path)
    if not beside.is_file():
        return []
    try:
        names = {int(number): str(name) for number, name in json.loads(beside.read_text(encoding="utf-8")).items()}
        return [names[number] for number in range(len(names))]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"'{beside}' does not list classes by their numbers from 0 on ({error}).") from error


def _objects(picture: Mapping[str, Any], listed: list[str]) -> Iterator[tuple[str, list[float]]]:
    """Names and boxes, xyxy in pixels."""
    for one in (picture.get("detection") or {}).get("instances", ()):
        yield str(one["category"] if "category" in one else listed[one["label"]]), one["bbox"]
    for region in (picture.get("grounding") or {}).get("regions", ()):
        phrase = region["phrase"]
        name = str(phrase if isinstance(phrase, str) else phrase[0]).strip().rstrip(".")
        if not name:
            raise ValueError("a region has no phrase")
        boxes = region["bbox"]
        for box in boxes if boxes and isinstance(boxes[0], list) else [boxes]:
            yield name, box
