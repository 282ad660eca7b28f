"""How well a detector finds and names what a prompt names, on labelled pictures; COCO's metrics by pycocotools.

    python -m groundingdino.training.detector.evaluate embedded

prints the figures of docs/training.md for the held-out scenes, and

    python -m groundingdino.training.detector.evaluate embedded --data FOLDER

those for photographs in COCO's layout, each asked for all names of the folder, with the precision of every name.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv
from tqdm import tqdm

from groundingdino.detection.detector import Detector
from groundingdino.inputs.image import load_image
from groundingdino.runtime.allocation import keep_freed_memory
from groundingdino.training.detector.coco_folder import CocoFolder, Labelled
from groundingdino.training.detector.coco_metrics import Annotations
from groundingdino.training.detector.targets import Asked
from groundingdino.training.scenes.scenes import EVALUATION_SCENES, EVALUATIONS, evaluation_scenes

LEAST_SCORE = 0.02  # precision at full recall needs boxes far below any useful threshold


def phrase_text(example: Asked, phrase: int) -> str:
    """A category of its own for each phrase."""
    return example.prompt[phrase]


@dataclass(frozen=True)
class Question:
    """A labelled picture that is asked for all names of its folder, see `targets.Asked`."""

    image: np.ndarray
    boxes: np.ndarray
    prompt: tuple[str, ...]
    positives: tuple[int | None, ...]
    crowds: np.ndarray  # (N,) bool


def ask_all(picture: Labelled, names: Sequence[str]) -> Question:
    """The question for all names; what a picture shows, nobody knows where, is left out."""
    placed = [index for index, box in enumerate(picture.boxes) if not np.isnan(box).any()]
    picture = picture.keep(placed)
    return Question(
        image=np.asarray(load_image(picture.path)),
        boxes=picture.boxes,
        prompt=tuple(names),
        positives=tuple(names.index(name) for name in picture.names),
        crowds=picture.crowds,
    )


@dataclass(frozen=True)
class Figures:
    """What `evaluate` measured.

    Args:
        overall: `AP`, `AP50`, `AP75` in [0, 1], over all categories that occur, with the detector's usual NMS;
            `named_right`, of the objects found at the threshold the share with the right phrase; `found`, the share
            found and named right; `false_boxes`, boxes per picture at that threshold whose phrase is true of nothing
            in it.
        of_each: `AP` and `AP50` of each category.
    """

    overall: dict[str, float]
    of_each: dict[str, dict[str, float]]


def evaluate(
    detector: Detector,
    examples: Iterable[Asked],
    category: Callable[[Any, int], str] = phrase_text,
    box_threshold: float | None = None,
    is_crowd: Callable[[Any, int], bool] = lambda *_: False,
) -> Figures:
    """Ground each picture's own prompt and compare.

    Args:
        examples: Labelled pictures.
        category: What a phrase of an example counts as, so that synonyms can share one average precision.
        box_threshold: From which score on a box is shown, in [0, 1]; by default the model's own.
        is_crowd: Whether a box of an example holds many objects at once, which nothing need be found of.
    """
    annotations = Annotations()
    found = right = objects = false_boxes = pictures = 0
    for example in examples:
        pictures += 1
        annotations.add_picture(example.image.shape[:2])
        names = [category(example, phrase) for phrase in range(len(example.prompt))]
        asked = [
            (box, phrase, is_crowd(example, index))
            for index, (box, phrase) in enumerate(zip(example.boxes, example.positives, strict=True))
            if phrase is not None
        ]
        present = {phrase for _, phrase, _ in asked}
        for box, phrase, crowd in asked:
            annotations.add_object(names[phrase], box, crowd=crowd)
        named = [(box, phrase) for box, phrase, crowd in asked if not crowd]

        grounding = detector.ground(detector.encode_image(example.image), example.prompt)
        everything = grounding.detections(box_threshold=LEAST_SCORE)
        assert everything.class_id is not None
        assert everything.confidence is not None
        for box, phrase, score in zip(everything.xyxy, everything.class_id, everything.confidence, strict=True):
            annotations.add_result(names[phrase], box, float(score))

        shown = grounding.detections(box_threshold)
        assert shown.class_id is not None
        false_boxes += sum(int(phrase) not in present for phrase in shown.class_id)
        objects += len(named)
        for box, phrase in named:
            overlap = sv.box_iou_batch(box[None], shown.xyxy)[0]
            if len(overlap) and overlap.max() >= 0.5:
                found += 1
                right += int(shown.class_id[overlap.argmax()]) == phrase
    overall = {
        **annotations.precision(),
        "named_right": right / max(found, 1),
        "found": right / max(objects, 1),
        "false_boxes": false_boxes / max(pictures, 1),
    }
    return Figures(overall, annotations.precision_of_each())


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
        folders = [CocoFolder(folder) for folder in arguments.data or ()]
    except ValueError as error:
        parser.error(str(error))
    keep_freed_memory()
    for name in () if folders else arguments.scenes:
        scenes = tqdm(evaluation_scenes(name, arguments.count), total=arguments.count, desc=name, leave=False)
        figures = evaluate(detector, scenes, lambda scene, phrase: scene.category(phrase), arguments.box_threshold)
        _print("scenes", name, figures.overall)
    for folder in folders:
        pictures = (list(folder) if arguments.all else folder.split()[1])[: arguments.count]
        questions = (ask_all(picture, folder.names) for picture in tqdm(pictures, desc=folder.folder.name, leave=False))
        figures = evaluate(
            detector, questions, phrase_text, arguments.box_threshold, lambda q, box: bool(q.crowds[box])
        )
        _print("data", folder.folder.name, figures.overall)
        for name, precision in figures.of_each.items():
            _print("name", name, precision)


def _print(kind: str, name: str, figures: dict[str, float]) -> None:
    print(json.dumps({kind: name, **{key: round(value, 4) for key, value in figures.items()}}), flush=True)


if __name__ == "__main__":
    main()
