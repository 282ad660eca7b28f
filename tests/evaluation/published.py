"""Small sets in the published layouts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (160, 120)
BOXES = ([20, 20, 60, 50], [90, 40, 50, 60])  # x, y, width, height


def picture(path: Path, seed: int, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 2, size[0] // 2, 3), np.uint8)
    Image.fromarray(pixels).resize(size).save(path)


def coco(count: int, names: tuple[str, ...] = ("cat", "dog"), masks: bool = False) -> dict[str, Any]:
    """`count` pictures with an object or two each."""
    categories = [{"id": 7 * number + 3, "name": name} for number, name in enumerate(names)]
    images = [{"id": 100 - i, "file_name": f"{i:03}.png", "width": SIZE[0], "height": SIZE[1]} for i in range(count)]
    annotations: list[dict[str, Any]] = []
    for index, image in enumerate(images):
        for number in range(1 + index % 2):
            x, y, width, height = BOXES[number]
            one = {
                "id": len(annotations),  # from 0 on, as some write it
                "image_id": image["id"],
                "category_id": categories[(index + number) % len(names)]["id"],
                "bbox": BOXES[number],
                "area": width * height,
                "iscrowd": 0,
            }
            if masks:
                one["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
            annotations.append(one)
    return {"images": images, "annotations": annotations, "categories": categories}


def lvis(count: int) -> dict[str, Any]:
    """The same as LVIS has it: addresses for names, what is known of each picture, frequencies."""
    stored = coco(count, ("bow_(weapon)", "hot_dog", "zebra"))
    for category, frequency in zip(stored["categories"], "rcf", strict=True):
        category["frequency"] = frequency
    for image in stored["images"]:
        image["coco_url"] = f"http://images.cocodataset.org/val2017/{image.pop('file_name')}"
        image["neg_category_ids"], image["not_exhaustive_category_ids"] = [17], [3]
    return stored


def write(folder: Path, stored: dict[str, Any], file: str = "annotations.json", pictures: str = "images") -> Path:
    """Annotations and their pictures; the path of the annotations."""
    for seed, image in enumerate(stored["images"]):
        picture(folder / pictures / image.get("file_name", Path(image.get("coco_url", "")).name), seed)
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(stored))
    return path
