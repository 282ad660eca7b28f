"""COCO's average precision of found objects, by pycocotools."""

import contextlib
import io
from typing import Any, Literal

import numpy as np
from pycocotools import mask as mask_codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


class Annotations:
    """What is in some pictures and what was found in them, picture by picture.

    Args:
        kind: "bbox" compares boxes, "segm" masks.
    """

    def __init__(self, kind: Literal["bbox", "segm"] = "bbox"):
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

    def precision(self) -> dict[str, float]:
        """`AP`, `AP50`, `AP75` in [0, 1], over all categories that something is there of."""
        if not self.truths or not self.results:  # pycocotools fails at nothing
            return dict.fromkeys(("AP", "AP50", "AP75"), 0.0)
        evaluation = self._evaluated()
        return dict(zip(("AP", "AP50", "AP75"), map(float, evaluation.stats[:3]), strict=True))

    def precision_of_each(self) -> dict[str, dict[str, float]]:
        """`AP` and `AP50` of each category that something is there of, in the order in which they came."""
        present = {annotation["category_id"] for annotation in self.truths if not annotation["iscrowd"]}
        names = {name: number for name, number in self.categories.items() if number in present}
        if not self.results:
            return {name: {"AP": 0.0, "AP50": 0.0} for name in names}
        evaluation = self._evaluated()
        # (IoU thresholds, recalls, categories, sizes, most detections): all sizes, a hundred detections
        precision = evaluation.eval["precision"][:, :, :, 0, -1]
        places = {number: place for place, number in enumerate(evaluation.params.catIds)}
        return {
            name: {
                "AP": float(precision[:, :, places[number]].mean()),
                "AP50": float(precision[0, :, places[number]].mean()),
            }
            for name, number in names.items()
        }

    def _evaluated(self) -> COCOeval:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress
            truth = COCO()
            categories = [{"id": number, "name": name} for name, number in self.categories.items()]
            truth.dataset = {"images": self.images, "annotations": self.truths, "categories": categories}
            truth.createIndex()
            evaluation = COCOeval(truth, truth.loadRes(self.results), self.kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return evaluation

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
