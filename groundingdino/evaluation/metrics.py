"""Average precision and recall of boxes and masks: COCO's by pycocotools, LVIS' by the same code, category by category.

LVIS is federated (arXiv 1908.03195, section 2.3): of a picture only some names are known to be in it or not. A category
counts in the pictures where it is marked or listed as absent (`neg_category_ids`), and what is found of one that is not
marked exhaustively there (`not_exhaustive_category_ids`) may be right: it is no mistake. The reference `lvis` package
needs a NumPy of before 2019; `tests/evaluation/test_metrics.py` compares with it.
"""

import contextlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Kind = Literal["bbox", "segm"]

MOST_OF_LVIS = 300  # results of a picture, over all categories
_SIZES = {"": 0, "s": 1, "m": 2, "l": 3}  # places of pycocotools' `areaRng`
_FREQUENCIES = {"r": "APr", "c": "APc", "f": "APf"}  # rare, common and frequent categories


@dataclass(frozen=True)
class Measured:
    """What results are worth.

    Args:
        overall: `AP`, `AP50`, `AP75`, `APs`, `APm`, `APl` and the recalls `AR`, `ARs`, `ARm`, `ARl` (of COCO at 100
            results a category and picture, of LVIS at 300 a picture), for COCO also `AR1` and `AR10`, for LVIS also
            `APr`, `APc`, `APf`. In [0, 1], means over the categories that something is there of; None where there is
            nothing of the kind.
        of_each: by the name of each category that something is there of `AP`, `AP50`, `AR`, and how many `objects`
            there are.
    """

    overall: dict[str, float | None]
    of_each: dict[str, dict[str, float]]


def measure(
    truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], kind: Kind = "bbox", federated: bool = False
) -> Measured:
    """Compare results with what is there.

    Args:
        truth: a data set in COCO's layout, ids of annotations from 1 on; of a `federated` one every picture has LVIS'
            two lists.
        results: each with `image_id`, `category_id`, `score`, and `bbox` or `segmentation` (run lengths) as COCO has
            them. Of a mask that has both, the box would decide whether it is small.
        kind: what is compared: "bbox" boxes, "segm" masks.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress
        there = _index(truth)
        if federated:
            there, found = map(_with_areas, (there, _index(truth, _best(results))))
            precision, recall = _federated(there, found, kind)
        else:
            evaluation = _evaluated(COCOeval(there, _index(truth, results), kind))
            precision, recall = evaluation.eval["precision"][..., -1], evaluation.eval["recall"]
    thresholds = COCOeval(iouType=kind).params.iouThrs
    # precision (IoU thresholds, recalls, categories, sizes), recall (IoU thresholds, categories, sizes, limits)
    overall = {f"AP{size}": _mean(precision[..., place]) for size, place in _SIZES.items()}
    for percent in (50, 75):
        overall[f"AP{percent}"] = _mean(precision[np.isclose(thresholds, percent / 100)][..., 0])
    if federated:
        frequencies = np.array([category.get("frequency", "") for category in _categories(there)])
        overall |= {name: _mean(precision[:, :, frequencies == one, 0]) for one, name in _FREQUENCIES.items()}
    else:
        overall |= {"AR1": _mean(recall[:, :, 0, 0]), "AR10": _mean(recall[:, :, 0, 1])}
    overall |= {f"AR{size}": _mean(recall[:, :, place, -1]) for size, place in _SIZES.items()}
    counts = Counter(one["category_id"] for one in truth["annotations"] if not one.get("iscrowd"))
    of_each = {
        category["name"]: {
            "objects": counts[category["id"]],
            "AP": _mean(precision[:, :, place, 0]) or 0.0,
            "AP50": _mean(precision[0, :, place, 0]) or 0.0,
            "AR": _mean(recall[:, place, 0, -1]) or 0.0,
        }
        for place, category in enumerate(_categories(there))
        if counts[category["id"]]
    }
    return Measured(dict(sorted(overall.items(), key=lambda item: _ORDER.index(item[0]))), of_each)


_ORDER = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf", "AR1", "AR10", "AR", "ARs", "ARm", "ARl")


def _index(truth: Mapping[str, Any], results: Iterable[Mapping[str, Any]] | None = None) -> COCO:
    """pycocotools' index of what is there, or of results."""
    index = COCO()
    # Copies, as pycocotools writes into annotations and results.
    index.dataset = {**truth, "annotations": [dict(one) for one in truth["annotations"]] if results is None else []}
    index.createIndex()
    found = [dict(result) for result in results or ()]
    return index.loadRes(found) if found else index


def _categories(index: COCO) -> list[dict[str, Any]]:
    return index.loadCats(sorted(index.getCatIds()))


def _evaluated(evaluation: COCOeval) -> COCOeval:
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def _best(results: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The best results of each picture."""
    of_picture: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for result in results:
        of_picture[result["image_id"]].append(result)
    best = (sorted(some, key=lambda one: one["score"], reverse=True)[:MOST_OF_LVIS] for some in of_picture.values())
    return [result for some in best for result in some]


def _with_areas(index: COCO) -> COCO:
    """Without what takes no space, which the reference leaves out."""
    index.dataset["annotations"] = [one for one in index.dataset["annotations"] if one["area"] > 0]
    index.createIndex()
    return index


def _federated(there: COCO, found: COCO, kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall as pycocotools has them, each category in the pictures that say something of it."""
    pictures: dict[Any, set[Any]] = defaultdict(set)  # by category
    for annotation in there.dataset["annotations"]:
        pictures[annotation["category_id"]].add(annotation["image_id"])
    present = set(pictures)
    open_ended = set()  # pictures and categories of which not everything is marked
    for image in there.dataset["images"]:
        for category in image["neg_category_ids"]:
            pictures[category].add(image["id"])
        open_ended |= {(image["id"], category) for category in image["not_exhaustive_category_ids"]}
    params = COCOeval(iouType=kind).params
    categories, sizes = _categories(there), len(params.areaRng)
    precision = -np.ones((len(params.iouThrs), len(params.recThrs), len(categories), sizes))
    recall = -np.ones((len(params.iouThrs), len(categories), sizes, 1))
    for place, category in enumerate(categories):
        if category["id"] not in present:
            continue
        evaluation = COCOeval(there, found, kind)
        evaluation.params.catIds = [category["id"]]
        evaluation.params.imgIds = sorted(pictures[category["id"]])
        evaluation.params.maxDets = [MOST_OF_LVIS]
        evaluation.evaluate()
        for one in filter(None, evaluation.evalImgs):
            if (one["image_id"], one["category_id"]) in open_ended:
                one["dtIgnore"] = np.logical_or(one["dtIgnore"], one["dtMatches"] == 0)
        evaluation.accumulate()
        precision[:, :, place] = evaluation.eval["precision"][:, :, 0, :, 0]
        recall[:, place] = evaluation.eval["recall"][:, 0]
    return precision, recall


def _mean(values: np.ndarray) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if known.size else None
