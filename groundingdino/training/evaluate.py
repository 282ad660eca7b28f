"""How well a detector finds and names what a prompt names, on labelled pictures; COCO's metrics by pycocotools.

    python -m groundingdino.training.evaluate embedded

prints the figures of the README for the held-out scenes.
"""

import argparse
import json
from collections.abc import Callable, Iterable
from typing import Any

import supervision as sv
from tqdm import tqdm

from groundingdino.allocation import keep_freed_memory
from groundingdino.detector import Detector
from groundingdino.training.coco_metrics import Annotations
from groundingdino.training.scenes import EVALUATION_SCENES, EVALUATIONS, evaluation_scenes
from groundingdino.training.targets import Example

LEAST_SCORE = 0.02  # precision at full recall needs boxes far below any useful threshold


def phrase_text(example: Example, phrase: int) -> str:
    """A category of its own for each phrase."""
    return example.prompt[phrase]


def evaluate(
    detector: Detector,
    examples: Iterable[Example],
    category: Callable[[Any, int], str] = phrase_text,
    box_threshold: float | None = None,
) -> dict[str, float]:
    """Ground each picture's own prompt and compare.

    Args:
        examples: Labelled pictures.
        category: What a phrase of an example counts as, so that synonyms can share one average precision.
        box_threshold: From which score on a box is shown, in [0, 1]; by default the model's own.

    Returns:
        `AP`, `AP50`, `AP75` in [0, 1], over all categories that occur, with the detector's usual NMS; `named_right`, of
        the objects found at the threshold the share with the right phrase; `found`, the share found and named
        right; `false_boxes`, boxes per picture at that threshold whose phrase is true of nothing in it.
    """
    annotations = Annotations()
    found = right = objects = false_boxes = pictures = 0
    for example in examples:
        pictures += 1
        annotations.add_picture(example.image.shape[:2])
        names = [category(example, phrase) for phrase in range(len(example.prompt))]
        pairs = zip(example.boxes, example.positives, strict=True)
        named = [(box, phrase) for box, phrase in pairs if phrase is not None]
        present = {phrase for _, phrase in named}
        for box, phrase in named:
            annotations.add_object(names[phrase], box)

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
    return {
        **annotations.precision(),
        "named_right": right / max(found, 1),
        "found": right / max(objects, 1),
        "false_boxes": false_boxes / max(pictures, 1),
    }


def main() -> None:
    """Print the figures of a model on the held-out scenes as JSON lines."""
    parser = argparse.ArgumentParser(description="Evaluate a detector on the held-out scenes.")
    parser.add_argument("model", nargs="?", default="embedded", help="name or path of a model")
    parser.add_argument(
        "--scenes", nargs="+", choices=EVALUATIONS, default=EVALUATIONS, help="which of the evaluations"
    )
    parser.add_argument("--count", type=int, default=EVALUATION_SCENES, help="how many pictures of each")
    parser.add_argument("--box-threshold", type=float, help="for what is found; by default the model's own")
    arguments = parser.parse_args()
    if arguments.count < 1:
        parser.error(f"--count should be 1 or more, but is {arguments.count}.")
    try:
        detector = Detector.from_pretrained(arguments.model)
    except ValueError as error:
        parser.error(str(error))
    keep_freed_memory()
    for name in arguments.scenes:
        scenes = tqdm(evaluation_scenes(name, arguments.count), total=arguments.count, desc=name, leave=False)
        figures = evaluate(detector, scenes, lambda scene, phrase: scene.category(phrase), arguments.box_threshold)
        print(json.dumps({"scenes": name, **{key: round(value, 4) for key, value in figures.items()}}), flush=True)


if __name__ == "__main__":
    main()
