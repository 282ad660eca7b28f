"""How well a segmenter cuts out what it is pointed at, on the held-out scenes, and what text gives with a detector.

    python -m groundingdino.training.segmenter.evaluate embedded

prints the figures of docs/training.md, and

    python -m groundingdino.training.segmenter.evaluate embedded --data FOLDER

those for what is outlined in photographs in COCO's layout, on the fifth of them that no training sees.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import supervision as sv
from tqdm import tqdm

from groundingdino.detection.detector import Detector
from groundingdino.evaluation.finding import counted
from groundingdino.inputs.image import load_image
from groundingdino.runtime.allocation import keep_freed_memory
from groundingdino.segmentation.candidates import ImageEmbedding
from groundingdino.segmentation.mask_prompts import MaskPrompt
from groundingdino.segmentation.segmenter import Segmenter
from groundingdino.training.detector.coco_folder import CocoFolder, Labelled
from groundingdino.training.detector.coco_metrics import Annotations
from groundingdino.training.detector.photographs import without_doubles
from groundingdino.training.scenes.scenes import EVALUATION_SCENES, Scene, evaluation_scenes
from groundingdino.training.segmenter.mask_batches import Masked
from groundingdino.training.segmenter.photographs import MaskedPhotograph
from groundingdino.training.segmenter.pointing import click, correction

CORRECTIONS = 3
FOUND_IOU = 0.75  # from which `everything` has found an object
WHOLE = 0.999  # of an object is seen: nothing covers it, the picture does not end in it
LEAST_SIDE = 32  # pixels: the root of a box's area, from which an object of a photograph counts


def pointing_figures(segmenter: Segmenter, scenes: Iterable[Masked], seed: int = 0) -> dict[str, float]:
    """Point at each object in turn, without looking at the answer, then with three corrective clicks.

    Returns:
        `box`, `click` and `corrected`: mean IoU from the true box, from one click inside, and from that click and three
        more on what was still wrong.
    """
    overlaps: dict[str, list[float]] = {"box": [], "click": [], "corrected": []}
    for index, scene in enumerate(scenes):
        rng = np.random.default_rng([seed, index])
        encoded = segmenter.encode_image(scene.image)
        for box, mask in zip(scene.boxes, scene.masks, strict=True):
            if not mask.any():
                continue
            overlaps["box"].append(_iou(_mask(segmenter, encoded, MaskPrompt(box=tuple(box))), mask))
            points = [(*click(mask, rng), 1)]
            predicted = _mask(segmenter, encoded, MaskPrompt(points=tuple(points)))
            overlaps["click"].append(_iou(predicted, mask))
            for _ in range(CORRECTIONS):
                place, label = correction(predicted, mask, rng)
                points.append((*place, label))
                predicted = _mask(segmenter, encoded, MaskPrompt(points=tuple(points)))
            overlaps["corrected"].append(_iou(predicted, mask))
    return {name: float(np.mean(values)) for name, values in overlaps.items()}


def everything_figures(segmenter: Segmenter, scenes: Iterable[Scene]) -> dict[str, float]:
    """Ask for everything there is, with the segmenter's own settings.

    Returns:
        `everything`: the share of the objects that nothing covers which are found; `everything_false`: how many of the
            masks of a picture are no object of it, covered or not.
    """
    whole = found = false = pictures = 0
    for scene in scenes:
        masks = np.asarray(segmenter.everything(segmenter.encode_image(scene.image)).mask)
        overlaps = np.array([[_iou(candidate, mask) for mask in scene.masks] for candidate in masks])
        overlaps = overlaps.reshape(len(masks), len(scene.masks))
        uncovered = scene.visible >= WHOLE
        pictures += 1
        whole += int(uncovered.sum())
        found += int((overlaps.max(0, initial=0) >= FOUND_IOU)[uncovered].sum())
        false += int((overlaps.max(1, initial=0) < FOUND_IOU).sum())
    return {"everything": found / max(whole, 1), "everything_false": false / max(pictures, 1)}


def text_figures(detector: Detector, segmenter: Segmenter, scenes: Iterable[Scene]) -> dict[str, float]:
    """Ground each scene's own prompt and cut out what it finds: mask AP and AP50 over all names."""
    annotations = Annotations("segm")
    for scene in scenes:
        names = [scene.category(phrase) for phrase in range(len(scene.phrases))]
        annotations.add_picture(scene.image.shape[:2])
        for box, mask, phrase in zip(scene.boxes, scene.masks, scene.positives, strict=True):
            if phrase is not None:
                annotations.add_object(names[phrase], box, mask)
        grounding = detector.ground(detector.encode_image(scene.image), scene.prompt)
        encoded = segmenter.encode_image(scene.image)
        found = segmenter.segment_boxes(encoded, counted(grounding, as_shown=True))
        assert found.class_id is not None
        assert found.confidence is not None
        assert isinstance(found.mask, sv.CompactMask)
        for box, mask, phrase, score in zip(found.xyxy, found.mask, found.class_id, found.confidence, strict=True):
            annotations.add_result(names[phrase], box, float(score), mask)
    return annotations.precision()


def held_out(folder: Path) -> list[Labelled]:
    """What is outlined, and large enough, in the pictures of a folder that no training sees.

    Raises:
        ValueError: the folder is not in COCO's layout, or nothing in those pictures has an outline.
    """
    pictures = []
    for picture in map(without_doubles, CocoFolder(folder).split()[1]):
        picture = picture.outlined()
        sides = np.sqrt((picture.boxes[:, 2:] - picture.boxes[:, :2]).prod(1))
        kept = np.flatnonzero(sides >= LEAST_SIDE)
        pictures += [picture.keep(kept.tolist())] if len(kept) else []
    if not pictures:
        raise ValueError(f"Nothing is outlined in the held-out pictures of '{folder}': there is nothing to measure.")
    return pictures


def _whole(picture: Labelled) -> MaskedPhotograph:
    masks = [picture.mask(number) for number in range(len(picture.names))]
    return MaskedPhotograph(np.asarray(load_image(picture.path)), np.array(masks, bool))


def _mask(segmenter: Segmenter, encoded: ImageEmbedding, prompt: MaskPrompt) -> np.ndarray:
    masks = segmenter.segment(encoded, [prompt]).mask
    assert masks is not None
    return np.asarray(masks[0]).reshape(encoded.size[::-1])


def _iou(predicted: np.ndarray, mask: np.ndarray) -> float:
    return float((predicted & mask).sum() / max((predicted | mask).sum(), 1))


def main() -> None:
    """Print the figures of a segmenter on the held-out scenes as JSON lines."""
    parser = argparse.ArgumentParser(description="Evaluate a segmenter on the held-out scenes.")
    parser.add_argument("segmenter", nargs="?", default="embedded", help="name or path of a segmenter")
    parser.add_argument("--detector", default="embedded", help="name or path of the detector that text goes through")
    parser.add_argument("--count", type=int, default=EVALUATION_SCENES, help="how many pictures")
    parser.add_argument("--data", type=Path, nargs="+", help="folders in COCO's layout, instead of the scenes")
    arguments = parser.parse_args()
    keep_freed_memory()
    try:
        segmenter = Segmenter.from_pretrained(arguments.segmenter)
        folders = {folder.name: held_out(folder)[: arguments.count] for folder in arguments.data or ()}
    except ValueError as error:
        parser.error(str(error))

    def scenes(what: str) -> Iterable[Scene]:
        return tqdm(evaluation_scenes("noto", arguments.count), total=arguments.count, desc=what, leave=False)

    def show(figures: dict[str, float]) -> None:
        print(json.dumps({name: round(value, 4) for name, value in figures.items()}), flush=True)

    for name, pictures in folders.items():
        print(json.dumps({"data": name, "pictures": len(pictures)}), flush=True)
        show(pointing_figures(segmenter, map(_whole, tqdm(pictures, desc=name, leave=False))))
    if folders:
        return
    show(pointing_figures(segmenter, scenes("pointing")))
    text = text_figures(Detector.from_pretrained(arguments.detector), segmenter, scenes("text"))
    show({f"text_mask_{name}": value for name, value in text.items()})
    show(everything_figures(segmenter, scenes("everything")))


if __name__ == "__main__":
    main()
