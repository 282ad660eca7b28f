"""Figures of random results: pycocotools' own, and those of LVIS' reference package where it is installed."""

import contextlib
import io
import logging
import sys
import types
from copy import deepcopy

import numpy as np
import pytest
from pycocotools import mask as mask_codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from groundingdino.evaluation.metrics import measure

STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR", "ARs", "ARm", "ARl")
# What lvis 0.5.3 gives for `random_set(federated=True)`.
LVIS_BOXES = {
    "AP": 0.2717501255,
    "AP50": 0.4565707049,
    "AP75": 0.2901460345,
    "APs": 0.2642794279,
    "APm": 0.2970460584,
    "APl": 0.1166666667,
    "APr": 0.2070131656,
    "APc": 0.2636670058,
    "APf": 0.3809802448,
    "AR": 0.4339664502,
    "ARs": 0.2794444444,
    "ARm": 0.4809672619,
    "ARl": 0.35,
}
LVIS_MASKS = {
    "AP": 0.2340245202,
    "AP50": 0.4220271647,
    "AP75": 0.2039579121,
    "APs": 0.0661028603,
    "APm": 0.3037433936,
    "APl": 0.1166666667,
    "APr": 0.1648620429,
    "APc": 0.2424186498,
    "APf": 0.325177042,
    "AR": 0.3731777597,
    "ARs": 0.0988888889,
    "ARm": 0.450952381,
    "ARl": 0.35,
}


def code(box: list[float], round_corner: bool) -> dict:
    """The mask of a box in a picture of 200 x 200, or of its lower left half."""
    x, y, width, height = (int(edge) for edge in box)
    mask = np.zeros((200, 200), np.uint8, order="F")
    mask[y : y + height, x : x + width] = 1
    if round_corner:
        mask = np.asfortranarray(np.tril(mask, k=x - y))
    encoded = mask_codec.encode(mask)
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def random_set(federated: bool, seed: int = 0) -> tuple[dict, list[dict], list[dict]]:
    """What is there in 12 pictures, results as boxes and as masks: right ones, shifted ones, and more than count."""
    rng = np.random.default_rng(seed)
    ids = [3 * i + 2 for i in range(9)]
    categories = [{"id": one, "name": f"name {i}", "frequency": "rcf"[i % 3]} for i, one in enumerate(ids)]
    images: list[dict] = []
    objects: list[dict] = []
    boxes: list[dict] = []
    masks: list[dict] = []
    for picture in range(1, 13):
        image: dict = {"id": picture, "height": 200, "width": 200}
        present = rng.choice(ids[:-1], 4, replace=False).tolist()  # of the last nothing is there
        for _ in range(rng.integers(2, 9)):
            size, place = rng.integers(8, 120, 2), rng.integers(0, 80, 2)
            box = [float(value) for value in (*place, *size)]
            round_corner = bool(rng.random() < 0.5)
            category = int(rng.choice(present))
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": picture,
                    "category_id": category,
                    "bbox": box,
                    "area": float(mask_codec.area(code(box, round_corner))),
                    "segmentation": code(box, round_corner),
                    "iscrowd": 0 if federated else int(rng.random() < 0.1),
                }
            )
            for _ in range(rng.integers(0, 3)):
                moved = [float(value) for value in np.maximum(np.array(box) + rng.integers(-6, 7, 4), 1)]
                moved[:2] = np.minimum(moved[:2], 79).tolist()
                score = round(float(rng.random()), 2)  # some are the same
                guess = category if rng.random() < 0.8 else int(rng.choice(ids))
                about = {"image_id": picture, "category_id": guess, "score": score}
                boxes.append({**about, "bbox": moved})
                masks.append({**about, "segmentation": code(moved, round_corner)})
        others = [one for one in ids if one not in {o["category_id"] for o in objects if o["image_id"] == picture}]
        image["neg_category_ids"] = rng.choice(others, 2, replace=False).tolist()
        image["not_exhaustive_category_ids"] = rng.choice(present, 1).tolist()
        images.append(image)
    objects[3]["area"] = 0.0 if federated else objects[3]["area"]  # LVIS leaves such objects and results out
    about = {"image_id": 2, "category_id": images[1]["neg_category_ids"][0], "score": 0.99}
    boxes.append({**about, "bbox": [5.0, 5.0, 0.0, 10.0]})
    masks.append({**about, "segmentation": code([5, 5, 0, 10], False)})
    for _ in range(330):  # one picture has more results than LVIS counts
        box = [float(value) for value in (*rng.integers(0, 80, 2), *rng.integers(8, 120, 2))]
        about = {"image_id": 1, "category_id": int(rng.choice(ids)), "score": float(rng.random())}
        boxes.append({**about, "bbox": box})
        masks.append({**about, "segmentation": code(box, False)})
    return {"images": images, "annotations": objects, "categories": categories}, boxes, masks


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_figures_are_those_of_pycocotools(kind):
    truth, boxes, masks = random_set(federated=False)
    results = boxes if kind == "bbox" else masks
    before = deepcopy((truth, results))
    measured = measure(truth, results, kind)
    assert (truth, results) == before
    with contextlib.redirect_stdout(io.StringIO()):
        there = COCO()
        there.dataset = deepcopy(truth)
        there.createIndex()
        reference = COCOeval(there, there.loadRes(deepcopy(results)), kind)
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    assert list(measured.overall) == list(STATS)
    assert measured.overall == pytest.approx(dict(zip(STATS, reference.stats, strict=True)), abs=1e-12)
    assert 0.02 < measured.overall["AP"] < 0.9
    assert "name 8" not in measured.of_each
    assert np.mean([one["AP"] for one in measured.of_each.values()]) == pytest.approx(measured.overall["AP"])
    assert sum(one["objects"] for one in measured.of_each.values()) == sum(
        not one["iscrowd"] for one in truth["annotations"]
    )


@pytest.mark.parametrize(("kind", "expected"), [("bbox", LVIS_BOXES), ("segm", LVIS_MASKS)])
def test_federated_figures_are_those_that_lvis_gave(kind, expected):
    truth, boxes, masks = random_set(federated=True)
    measured = measure(truth, boxes if kind == "bbox" else masks, kind, federated=True)
    assert measured.overall == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_federated_figures_are_those_of_lvis(kind, seed, monkeypatch):
    monkeypatch.setitem(sys.modules, "lvis.vis", types.SimpleNamespace(LVISVis=None))  # which opens windows
    monkeypatch.setattr(np, "float", float, raising=False)  # which it asks of NumPy
    lvis = pytest.importorskip("lvis", reason="pip install --no-deps lvis, whose OpenCV would replace ours")
    truth, boxes, masks = random_set(federated=True, seed=seed)
    results = boxes if kind == "bbox" else masks
    there = lvis.LVIS.__new__(lvis.LVIS)
    there.dataset = deepcopy(truth)
    there.logger = logging.getLogger()
    there._create_index()
    reference = lvis.LVISEval(there, lvis.LVISResults(there, deepcopy(results)), kind)
    reference.run()
    expected = {name.partition("@")[0]: value for name, value in reference.get_results().items()}
    measured = measure(truth, results, kind, federated=True)
    assert measured.overall == pytest.approx(expected, abs=1e-12)


def test_what_is_not_known_is_no_mistake_in_a_federated_set():
    box = [10.0, 10.0, 50.0, 50.0]
    images = [
        {"id": 1, "height": 99, "width": 99, "neg_category_ids": [], "not_exhaustive_category_ids": []},
        {"id": 2, "height": 99, "width": 99, "neg_category_ids": [], "not_exhaustive_category_ids": []},
    ]
    truth = {
        "images": images,
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "area": 2500.0, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "cat", "frequency": "r"}],
    }
    good = {"image_id": 1, "category_id": 1, "bbox": box, "score": 0.5}

    def precision(false: dict) -> float | None:
        return measure(truth, [good, {**good, "score": 0.9, **false}], federated=True).overall["AP"]

    assert precision({"image_id": 2}) == pytest.approx(1)  # nobody says whether a cat is there
    images[1]["neg_category_ids"] = [1]
    assert precision({"image_id": 2}) == pytest.approx(0.5)
    elsewhere = {"bbox": [60.0, 60.0, 20.0, 20.0]}
    assert precision(elsewhere) == pytest.approx(0.5)
    images[0]["not_exhaustive_category_ids"] = [1]
    assert precision(elsewhere) == pytest.approx(1)
    overall = measure(truth, [good], federated=True).overall
    assert overall["APr"] == pytest.approx(1)
    assert (overall["APc"], overall["APs"]) == (None, None)


@pytest.mark.parametrize("federated", [False, True])
def test_nothing_found_is_zero_and_nothing_there_is_none(federated):
    truth, *_ = random_set(federated)
    overall = measure(truth, [], federated=federated).overall
    assert (overall["AP"], overall["AR"]) == (0, 0)
    overall = measure({**truth, "annotations": []}, [], federated=federated).overall
    assert (overall["AP"], overall["AR"]) == (None, None)
