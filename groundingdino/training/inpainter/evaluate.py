"""How well edits do what they are asked to, on the held-out scenes, judged by a detector.

    python -m groundingdino.training.inpainter.evaluate embedded

prints the figures of docs/editing.md. In each scene one object is edited: it becomes something else, and it goes away.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import supervision as sv
from PIL import Image
from tqdm import tqdm

from groundingdino.artwork.names import load_names
from groundingdino.detection.detector import Detector
from groundingdino.editing.edits import Edit, Sampling
from groundingdino.editing.inpainter import Inpainter
from groundingdino.editing.lama import LaMa
from groundingdino.editing.perform import edit_picture
from groundingdino.editing.stickers import Stickers
from groundingdino.editing.tasks import Remove, Replace, Task
from groundingdino.runtime.allocation import keep_freed_memory
from groundingdino.segmentation.segmenter import Segmenter
from groundingdino.training.scenes.scenes import Scene, evaluation_scenes

SCENES = 200
FOUND_IOU = 0.5
FOUND_SCORE = 0.65  # of a judge, who shows nothing to anybody: below what the page shows by default


@dataclass(frozen=True, eq=False)
class Target:
    """What is edited in a scene.

    Args:
        objects: the object as the detector found it.
        phrase: what the scene's prompt calls it.
        other: the name of something else, which is nowhere in the scene.
    """

    objects: sv.Detections
    phrase: str
    other: str

    @property
    def box(self) -> np.ndarray:
        """(4,) xyxy pixels."""
        return self.objects.xyxy[0]

    @property
    def tasks(self) -> tuple[Replace, Remove]:
        """What becomes of it, one after the other."""
        return Replace(self.other), Remove()

    def prompt_after(self, task: Task) -> list[str]:
        """What the detector is asked after a task: the object itself comes first."""
        return [self.phrase, self.other] if isinstance(task, Replace) else [self.phrase]


def evaluate(
    inpainter: Inpainter | Stickers | LaMa,
    detector: Detector,
    segmenter: Segmenter,
    scenes: Iterable[Scene],
    seed: int = 0,
) -> dict[str, float]:
    """Edit one object of each scene in two ways, with the settings that suit the inpainter, and look for it again.

    Returns:
        Shares of the scenes with a target, see `choose_target`: `replaced`, what was asked for is found in the object's
        place (IoU of at least `FOUND_IOU`, score of `FOUND_SCORE`); `replaced_gone`, the object itself is not found
        there any more; `removed`, the same after it was removed; `nothing_new`, nor is anything else found there that
        the scene's prompt names and that was not found before; `untouched`, no pixel outside the mask changed in either
        edit. `seconds`: mean of an edit.
    """
    passed: dict[str, list[bool]] = {}
    seconds = []
    for index, scene in enumerate(scenes):
        if not len(scene.boxes):
            continue
        rng = np.random.default_rng([seed, index])
        target = choose_target(scene, detector, rng)
        if target is None:
            continue
        untouched = True
        before = find(detector, scene.image, scene.prompt)
        for task in target.tasks:
            objects = target.objects
            settings = inpainter.card.mask_for(task)
            if not settings.boxes:
                objects = segmenter.segment_boxes(segmenter.encode_image(scene.image), objects)
            edit = Edit(task, settings, sampling=Sampling(seed=index))
            edited = edit_picture(Image.fromarray(scene.image), objects, edit, inpainter)
            pixels = np.asarray(edited.images[0])
            untouched &= bool((pixels == scene.image)[edited.mask == 0].all())
            seconds.append(edited.milliseconds / 1000)
            for name, result in judge(task, pixels, scene, target, before, detector).items():
                passed.setdefault(name, []).append(result)
        passed.setdefault("untouched", []).append(untouched)
    return {**{name: float(np.mean(results)) for name, results in passed.items()}, "seconds": float(np.mean(seconds))}


def choose_target(scene: Scene, detector: Detector, rng: np.random.Generator) -> Target | None:
    """One of the objects that the detector finds by the scene's prompt, and by each prompt that is asked later.

    That another one is not found after an edit would say nothing of the edit. None if there is no such object.
    """
    other = _absent_name(scene, rng)
    found = find(detector, scene.image, scene.prompt)
    assert found.class_id is not None
    for index in rng.permutation(len(scene.boxes)).tolist():
        phrase = scene.positives[index]
        overlap = sv.box_iou_batch(scene.boxes[index][None], found.xyxy)[0] * (found.class_id == phrase)
        if phrase is not None and overlap.max(initial=0) >= FOUND_IOU:
            chosen = found[[int(overlap.argmax())]]
            assert isinstance(chosen, sv.Detections)
            target = Target(chosen, scene.prompt[phrase], other)
            prompts = [target.prompt_after(task) for task in target.tasks]
            if all(_is_there(find(detector, scene.image, prompt), 0, target.box) for prompt in prompts):
                return target
    return None


def judge(
    task: Task, pixels: np.ndarray, scene: Scene, target: Target, before: sv.Detections, detector: Detector
) -> dict[str, bool]:
    """Whether an edit, (H, W, 3) uint8, did what its task says."""
    found = find(detector, pixels, target.prompt_after(task))
    if isinstance(task, Replace):
        return {"replaced": _is_there(found, 1, target.box), "replaced_gone": not _is_there(found, 0, target.box)}
    after = find(detector, pixels, scene.prompt)
    return {"removed": not _is_there(found, 0, target.box), "nothing_new": not any(_new(after, before, target))}


def find(detector: Detector, pixels: np.ndarray, prompt: list[str]) -> sv.Detections:
    """What the judge takes to be in a picture."""
    return detector.ground(detector.encode_image(Image.fromarray(pixels)), prompt).detections(FOUND_SCORE)


def _absent_name(scene: Scene, rng: np.random.Generator) -> str:
    names = load_names()
    present = set(scene.labels.tolist())
    return next(names[label].name for label in rng.permutation(len(names)).tolist() if label not in present)


def _is_there(found: sv.Detections, phrase: int, box: np.ndarray) -> bool:
    assert found.class_id is not None
    mine = found.xyxy[found.class_id == phrase]
    return bool((sv.box_iou_batch(box[None], mine) >= FOUND_IOU).any())


def _new(after: sv.Detections, before: sv.Detections, target: Target) -> Iterator[bool]:
    """For each thing found in the object's place, whether it was not found before."""
    assert after.class_id is not None
    assert before.class_id is not None
    x0, y0, x1, y1 = target.box
    for box, phrase in zip(after.xyxy, after.class_id, strict=True):
        x, y = (box[:2] + box[2:]) / 2
        if x0 <= x <= x1 and y0 <= y <= y1:
            yield not (sv.box_iou_batch(box[None], before.xyxy[before.class_id == phrase]) >= FOUND_IOU).any()


def main() -> None:
    """Print the figures of an inpainter on the held-out scenes as JSON."""
    parser = argparse.ArgumentParser(description="Evaluate an inpainter on the held-out scenes.")
    parser.add_argument("inpainter", nargs="?", default="embedded", help="name or path of an inpainter")
    parser.add_argument("--detector", default="embedded", help="name or path of the detector that finds and judges")
    parser.add_argument("--segmenter", default="embedded", help="name or path of the segmenter that cuts out")
    parser.add_argument("--count", type=int, default=SCENES, help="how many scenes")
    arguments = parser.parse_args()
    keep_freed_memory()
    figures = evaluate(
        Inpainter.from_pretrained(arguments.inpainter),
        Detector.from_pretrained(arguments.detector),
        Segmenter.from_pretrained(arguments.segmenter),
        tqdm(evaluation_scenes("noto", arguments.count), total=arguments.count),
    )
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
