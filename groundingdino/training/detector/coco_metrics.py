"""Labelled pictures that are made one by one, what was found in them, and COCO's figures of both."""

from typing import Any

import numpy as np
from pycocotools import mask as mask_codec

from groundingdino.evaluation.metrics import Kind, Measured, measure


class Annotations:
    """What is in some pictures and what was found in them, picture by picture.

    Args:
        kind: "bbox" compares boxes, "segm" masks.
    """

    def __init__(self, kind: Kind = "bbox"):
        self.kind = kind
        self.images: list[dict[str, Any]] = []
        self.truths: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []
        self.categories: dict[str, int] = {}

    def add_picture(self, size: tuple[int, int]) -> None:
        """Begin with the next picture, of (height, width)."""
        self.images.append({"id": len(self.images), "height": size[0], "width": size[1]})

    def add_object(self, category: str, box: np.ndarray, mask: np.ndarray | None = None, crowd: bool = False) -> None:
        """What is there: a box in xyxy pixels, and for "segm" a mask (H, W) bool; a crowd counts for nothing."""
        annotation = self._annotation(category, box, mask)
        self.truths.append({**annotation, "id": len(self.truths) + 1, "iscrowd": int(crowd)})

    def add_result(self, category: str, box: np.ndarray, score: float, mask: np.ndarray | None = None) -> None:
        """What was found."""
        self.results.append({**self._annotation(category, box, mask), "score": score})

    def measured(self) -> Measured:
        """All figures."""
        categories = [{"id": number, "name": name} for name, number in self.categories.items()]
        truth = {"images": self.images, "annotations": self.truths, "categories": categories}
        return measure(truth, self.results, self.kind)

    def precision(self) -> dict[str, float]:
        """`AP`, `AP50`, `AP75` in [0, 1], over all categories that something is there of."""
        overall = self.measured().overall
        return {name: overall[name] or 0.0 for name in ("AP", "AP50", "AP75")}

    def _annotation(self, category: str, box: np.ndarray, mask: np.ndarray | None) -> dict[str, Any]:
        x0, y0, x1, y1 = map(float, box)
        annotation = {
            "image_id": len(self.images) - 1,
            "category_id": self.categories.setdefault(category, len(self.categories) + 1),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0),
        }
        if self.kind == "segm":
            assert mask is not None
            code = mask_codec.encode(np.asfortranarray(mask.astype(np.uint8)))
            annotation |= {"segmentation": code, "area": float(mask.sum())}
        return annotation
