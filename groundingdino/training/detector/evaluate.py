"""How well a detector finds and names what a prompt names, on labelled pictures; COCO's metrics by pycocotools.

    python -m groundingdino.training.detector.evaluate embedded

prints the figures of docs/training.md for the held-out scenes, and

    python -m groundingdino.training.detector.evaluate embedded --data FOLDER

those for photographs in COCO's layout, each asked for all names of the folder, with the precision of every name.
"""

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from groundingdino.detection.detector import Detector
from groundingdino.detection.objects import scores_of, select
from groundingdino.evaluation.comparison import AtThreshold
from groundingdino.evaluation.figures import figures_of
from groundingdino.evaluation.finding import SetFinder, counted
from groundingdino.evaluation.sets import LabelledSet, find_sets
from groundingdino.runtime.allocation import keep_freed_memory
from groundingdino.training.detector.coco_folder import CocoFolder
from groundingdino.training.detector.coco_metrics import Annotations
from groundingdino.training.detector.targets import Asked
from groundingdino.training.scenes.scenes import EVALUATION_SCENES, EVALUATIONS, evaluation_scenes


def phrase_text(example: Asked, phrase: int) -> str:
    """A category of its own for each phrase."""
    return example.prompt[phrase]


@dataclass(frozen=True)
class Figures:
    """What `evaluate` measured.

    Args:
        overall: `AP`, `AP50`, `AP75` in [0, 1], over all categories that occur, with the detector's usual NMS;
            `named_right`, of the objects found at the threshold the share with the right phrase; `found`, the share
            found and named right; `false_boxes`, boxes per picture at that threshold whose phrase is true of nothing
            in it.
        of_each: of each category that occurs, see `metrics.Measured`.
    """

    overall: dict[str, float]
    of_each: dict[str, dict[str, float]]


def evaluate(
    detector: Detector,
    examples: Iterable[Asked],
    category: Callable[[Any, int], str] = phrase_text,
    box_threshold: float | None = None,
) -> Figures:
    """Ground each picture's own prompt and compare.

    Args:
        examples: Labelled pictures.
        category: What a phrase of an example counts as, so that synonyms can share one average precision.
        box_threshold: From which score on a box is shown, in [0, 1]; by default the model's own.
    """
    annotations, at_threshold = Annotations(), AtThreshold()
    for example in examples:
        annotations.add_picture(example.image.shape[:2])
        names = [category(example, phrase) for phrase in range(len(example.prompt))]
        asked = [
            (box, phrase) for box, phrase in zip(example.boxes, example.positives, strict=True) if phrase is not None
        ]
        for box, phrase in asked:
            annotations.add_object(names[phrase], box)
        grounding = detector.ground(detector.encode_image(example.image), example.prompt)
        found = counted(grounding, as_shown=True)
        assert found.class_id is not None
        for box, phrase, score in zip(found.xyxy, found.class_id, scores_of(found), strict=True):
            annotations.add_result(names[phrase], box, float(score))
        shown = select(found, scores_of(found) > (grounding.box_threshold if box_threshold is None else box_threshold))
        assert shown.class_id is not None
        phrases = [phrase for _, phrase in asked]
        boxes = np.array([box for box, _ in asked]).reshape(-1, 4)
        at_threshold.add(boxes, phrases, set(phrases), shown.xyxy, shown.class_id.tolist())
    measured = annotations.measured()
    return Figures({**annotations.precision(), **at_threshold.shares()}, measured.of_each)


def evaluate_set(
    detector: Detector, labelled: LabelledSet, box_threshold: float | None = None, description: str | None = None
) -> Figures:
    """Ask for all names of a set in each of its pictures, as `groundingdino evaluate --as-shown` does, and compare.

    Raises:
        ValueError: a picture cannot be read.
    """
    finder = SetFinder(detector, labelled, as_shown=True)
    records = {}
    for picture in tqdm(labelled.pictures, desc=description, leave=False):
        (records[picture.file.name],) = finder.find_readable([finder.read(picture.file.path)])
        if error := records[picture.file.name].get("error"):
            raise ValueError(f"'{picture.file.path}' cannot be measured: {error}")
    threshold = detector.card.box_threshold if box_threshold is None else box_threshold
    figures = figures_of(labelled, records, as_shown=True, with_masks=False, box_threshold=threshold)
    overall = {name: figures.boxes.overall[name] or 0.0 for name in ("AP", "AP50", "AP75")}
    return Figures({**overall, **(figures.shares or {})}, figures.boxes.of_each)


def main() -> None:
    """Print the figures of a model on the held-out scenes as JSON lines."""
    parser = argparse.ArgumentParser(description="Evaluate a detector on the held-out scenes.")
    parser.add_argument("model", nargs="?", default="embedded", help="name or path of a model")
    parser.add_argument(
        "--scenes", nargs="+", choices=EVALUATIONS, default=EVALUATIONS, help="which of the evaluations"
    )
    parser.add_argument("--data", type=Path, nargs="+", help="folders in COCO's layout, instead of the scenes")
    parser.add_argument("--all", action="store_true", help="all pictures of the folders, not only the held-out fifth")
    parser.add_argument("--count", type=int, default=EVALUATION_SCENES, help="how many pictures of each, at most")
    parser.add_argument("--box-threshold", type=float, help="for what is found; by default the model's own")
    arguments = parser.parse_args()
    if arguments.count < 1:
        parser.error(f"--count should be 1 or more, but is {arguments.count}.")
    try:
        detector = Detector.from_pretrained(arguments.model)
        folders = [_pictures(folder, arguments.all, arguments.count) for folder in arguments.data or ()]
    except ValueError as error:
        parser.error(str(error))
    keep_freed_memory()
    for name in () if folders else arguments.scenes:
        scenes = tqdm(evaluation_scenes(name, arguments.count), total=arguments.count, desc=name, leave=False)
        figures = evaluate(detector, scenes, lambda scene, phrase: scene.category(phrase), arguments.box_threshold)
        _print("scenes", name, figures.overall)
    for folder in folders:
        figures = evaluate_set(detector, folder, arguments.box_threshold, folder.name)
        _print("data", folder.name, figures.overall)
        for name, precision in figures.of_each.items():
            _print("name", name, precision)


def _pictures(folder: Path, all_of_them: bool, count: int) -> LabelledSet:
    """At most `count` pictures of a folder, of the fifth that no training sees unless all are wanted."""
    held_out = {picture.path for picture in CocoFolder(folder).split()[1]}
    (labelled,) = find_sets(folder)
    return labelled.only(lambda picture: all_of_them or picture.file.path in held_out).first(count)


def _print(kind: str, name: str, figures: dict[str, float]) -> None:
    print(json.dumps({kind: name, **{key: round(value, 4) for key, value in figures.items()}}), flush=True)


if __name__ == "__main__":
    main()
