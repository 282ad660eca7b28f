"""What a model finds in the pictures of a set, as records for the journal of `results.labelling`."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import supervision as sv
from PIL import Image

from groundingdino.detection.detector import Detector, PreparedImage
from groundingdino.detection.objects import scores_of
from groundingdino.detection.phrases import Grounding
from groundingdino.evaluation.sets import LabelledPicture, LabelledSet, open_picture
from groundingdino.inputs.prompt import Prompt
from groundingdino.results.labelling import BatchFinder
from groundingdino.segmentation.cutting import SegmenterLike

LEAST_SCORE = 0.02  # of what is found "as shown": precision at full recall needs boxes far below any useful threshold
_IN_BRACKETS = re.compile(r"\([^)]*\)")


def spoken(name: str) -> str:
    """A category's name as it is asked for: without LVIS' underscores and explanations, "bow_(weapon)" is "bow"."""
    plain = " ".join(_IN_BRACKETS.sub(" ", name).replace("_", " ").split())
    return plain or name


def prompt_of(texts: Sequence[str], as_shown: bool) -> Prompt:
    """A prompt that asks for names; more of them than fit into one pass become several."""
    return Prompt.from_phrases(texts) if as_shown else Prompt.from_names(texts)


def counted(grounding: Grounding, as_shown: bool) -> sv.Detections:
    """What of a grounding counts.

    As published (the authors' `demo/test_ap_on_coco.py`) the best 300 pairs of a box and a name. `as_shown`, boxes as
    `detect` shows them, each with its best name and without its doubles, down to `LEAST_SCORE`.
    """
    return grounding.detections(box_threshold=LEAST_SCORE) if as_shown else grounding.pairs()


class Readied(NamedTuple):
    """A picture that the model can be given."""

    picture: LabelledPicture
    image: PreparedImage


@dataclass(frozen=True)
class SetFinder(BatchFinder[Readied]):
    """Asks for all names of a set in its pictures, or in a picture for its own phrases.

    Args:
        as_shown: see `counted`.
        segmenter: cuts what is found out; without one there are boxes alone.
        told: called with sentences about the prompt.
        each: look for one name after the other, as `Detector.ground_each`.
        tiles: look at tiles of large pictures, too, as those of `Detector.encode_image`.
    """

    detector: Detector
    labelled: LabelledSet
    as_shown: bool = False
    segmenter: SegmenterLike | None = None
    told: Callable[[tuple[str, ...]], None] = lambda _: None
    each: bool = False
    tiles: bool = False

    def read(self, path: Path) -> Readied | str:
        picture = self.labelled.by_path[path]
        try:
            return Readied(picture, self.detector.prepare(open_picture(picture)))
        except ValueError as error:
            return str(error)

    def find(self, images: Sequence[Readied]) -> list[dict[str, Any]]:
        """A record of each picture.

        Returns:
            `{"box_threshold": the model's own, "found": [[category, score, x0, y0, x1, y1], ...]}`, best first, the
            category by its place in the set and boxes in xyxy pixels; with a segmenter also `"masks"`, COCO's run
            lengths of each.

        Raises:
            ValueError: a name is longer than is read.
        """
        of_prompt: dict[tuple[tuple[str, Any], ...], list[int]] = {}
        for index, readied in enumerate(images):
            of_prompt.setdefault(readied.picture.phrases or self._all, []).append(index)
        records: dict[int, dict[str, Any]] = {}
        for phrases, indices in of_prompt.items():
            prompt = prompt_of([text for text, _ in phrases], self.as_shown)
            prepared = [images[index].image for index in indices]
            groundings = self.detector.ground_batch(prepared, prompt, self.each, self.tiles)
            self.told(groundings[0].notes)
            categories = [self._places[category] for _, category in phrases]
            for index, grounding in zip(indices, groundings, strict=True):
                found = counted(grounding, self.as_shown)
                masks = self._cut_out(images[index].image.image, found)
                records[index] = {"box_threshold": grounding.box_threshold, **_record(found, categories, masks)}
        return [records[index] for index in range(len(images))]

    @property
    def _all(self) -> tuple[tuple[str, Any], ...]:
        return tuple((spoken(category["name"]), category["id"]) for category in self.labelled.categories)

    @property
    def _places(self) -> dict[Any, int]:
        return {category["id"]: place for place, category in enumerate(self.labelled.categories)}

    def _cut_out(self, image: Image.Image, found: sv.Detections) -> list[str] | None:
        if self.segmenter is None:
            return None
        if len(found) == 0:
            return []
        masks = self.segmenter.segment_boxes(self.segmenter.encode_image(image), found).mask
        assert masks is not None
        return [str(sv.mask_to_rle(mask, compressed=True)) for mask in masks]


def _record(found: sv.Detections, categories: Sequence[int], masks: Sequence[str] | None) -> dict[str, Any]:
    assert found.class_id is not None
    rows = zip(found.class_id, scores_of(found), found.xyxy, strict=True)
    # Nine digits tell every float32 from every other.
    record: dict[str, Any] = {
        "found": [[categories[name], *(float(f"{value:.9g}") for value in (score, *box))] for name, score, box in rows]
    }
    return record if masks is None else {**record, "masks": list(masks)}
