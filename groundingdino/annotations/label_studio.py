"""Tasks of Label Studio as JSON, with annotations or predictions.

A decision is "review" of a result; what was rejected is under "rejected" of the task's "meta", where a picture that
somebody went through has "checked".
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from groundingdino.annotations.document import (
    REJECTED,
    Box,
    Document,
    Marked,
    around,
    as_box,
    box_of_mask,
    known_state,
    runs_of,
    score_of,
    without,
)
from groundingdino.annotations.voc import read_xml
from groundingdino.results.annotation_tools import LABEL_STUDIO_CONTROLS, label_studio_config
from groundingdino.results.labelling import SUFFIXES

_KINDS = ("rectanglelabels", "polygonlabels", "brushlabels")  # others, as key points, stay as they are
_FAULTS = (KeyError, TypeError, ValueError, AttributeError, IndexError)
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # before the name of a picture that was uploaded


class LabelStudio(Document):
    """A file of tasks. Of a task with annotations the last one counts that was not cancelled, else its predictions.

    Raises:
        ValueError: one sentence: it is in another layout.
    """

    format = "Label Studio"

    def __init__(self, path: Path, tasks: list[Any]):
        self.path, self._tasks = path, tasks
        if not tasks:
            raise ValueError(f"'{path}' is an empty list: expected tasks of Label Studio, or COCO's lists.")
        for index, task in enumerate(tasks):
            if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
                raise self._fault(index, "it has no “data”: export it from Label Studio as JSON, not as JSON-MIN")
        self.files = [self._file(index) for index in range(len(tasks))]
        self.names = _listed(label_studio_config(path))
        for index in range(len(tasks)):
            for one in self.objects(index):
                if one.name not in self.names:
                    self.names.append(one.name)

    def size(self, index: int) -> tuple[int, int] | None:
        task = self._tasks[index]
        try:
            for result in [*self._results(index), *_meta(task).get("rejected", ())]:
                if "original_width" in result:
                    return int(result["original_width"]), int(result["original_height"])
            meta = _meta(task)
            return (int(meta["width"]), int(meta["height"])) if {"width", "height"} <= meta.keys() else None
        except _FAULTS as error:
            raise self._fault(index, error) from error

    def objects(self, index: int) -> list[Marked]:
        try:
            found = [self._marked(one, "") for one in self._results(index) if one.get("type") in _KINDS]
            return found + [self._marked(one, REJECTED) for one in _meta(self._tasks[index]).get("rejected", ())]
        except _FAULTS as error:
            raise self._fault(index, error) from error

    def is_checked(self, index: int) -> bool:
        return bool(_meta(self._tasks[index]).get("checked"))

    def change(self, index: int, objects: Sequence[Marked], checked: bool) -> None:
        task, size = self._tasks[index], self.size(index)
        results = [one for one in self._results(index) if one.get("type") not in _KINDS]
        natives = [(one.state, self._native(index, one, size)) for one in objects]
        results += [native for state, native in natives if state != REJECTED]
        source = self._source(index)
        if source is None:
            task["predictions"] = [{"result": results}]
        else:
            source["result"] = results
        meta = without(_meta(task), "checked", "rejected")
        rejected = [native for state, native in natives if state == REJECTED]
        meta |= {**({"checked": True} if checked else {}), **({"rejected": rejected} if rejected else {})}
        if size:
            meta |= {"width": size[0], "height": size[1]}
        task["meta"] = meta

    def contents(self, _: int) -> Iterable[tuple[Path, bytes]]:
        yield self.path, json.dumps(self._tasks, ensure_ascii=False).encode()

    def _file(self, index: int) -> str:
        data = self._tasks[index]["data"]
        for value in data.values():
            if isinstance(value, str) and (name := _picture_of(value)):
                return name
        raise self._fault(index, "it names no picture")

    def _source(self, index: int) -> dict[str, Any] | None:
        """What has the results: an annotation, or a prediction."""
        task = self._tasks[index]
        annotations = task.get("annotations") or task.get("completions") or ()
        done = [one for one in annotations if not one.get("was_cancelled")]
        predictions = task.get("predictions") or ()
        return done[-1] if done else predictions[-1] if predictions else None

    def _results(self, index: int) -> list[dict[str, Any]]:
        source = self._source(index)
        return [] if source is None else source["result"]

    def _marked(self, native: Mapping[str, Any], state: str) -> Marked:
        kind, value = native["type"], native["value"]
        size = int(native["original_width"]), int(native["original_height"])
        scale = np.array(size) / 100
        outline: Any = None
        box: Box
        if kind == "rectanglelabels":
            corner, extent = np.array([[value["x"], value["y"]], [value["width"], value["height"]]], float) * scale
            angle = np.radians(float(value.get("rotation") or 0))  # about the first corner
            across = np.array([np.cos(angle), np.sin(angle)]) * extent[0]
            down = np.array([-np.sin(angle), np.cos(angle)]) * extent[1]
            box = around([corner, corner + across, corner + down, corner + across + down])
        elif kind == "polygonlabels":
            points = np.array(value["points"], float).reshape(-1, 2) * scale
            box, outline = around(points), [points.ravel().tolist()]
        else:
            mask = brushed(value["rle"], size)
            box, outline = box_of_mask(mask) if mask.any() else (0.0, 0.0, 0.0, 0.0), runs_of(mask)
        score = score_of(native.get("score"))
        return Marked(value[kind][0], box, score, outline, state or known_state(native.get("review")), native)

    def _native(self, index: int, one: Marked, size: tuple[int, int] | None) -> dict[str, Any]:
        native = without(one.native or {}, "review")
        before = self._marked(native, "") if native else None
        if before is None or before.box != one.box:
            if size is None:
                raise ValueError("Label Studio's boxes are in per cent, and nothing tells the size of the picture.")
            x0, y0, x1, y1 = (100 * np.reshape(as_box(one.box), (2, 2)) / size).ravel().tolist()
            kind = "rectanglelabels"
            new = {"id": self._new_id(index), "from_name": LABEL_STUDIO_CONTROLS[kind], "to_name": "image"}
            if native.get("type") != kind:
                native |= {"type": kind, "from_name": LABEL_STUDIO_CONTROLS[kind]}
            native = {**new, **native, "original_width": size[0], "original_height": size[1], "image_rotation": 0}
            value = {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "rotation": 0}
            native["value"] = {**value, kind: [one.name]}
            if before is None and one.score is not None:
                native["score"] = round(one.score, 4)
        elif before.name != one.name:
            native["value"] = {**native["value"], native["type"]: [one.name]}
        if one.name not in self.names:
            self.names.append(one.name)
        return {**native, "review": one.state} if one.state not in ("", REJECTED) else native

    def _new_id(self, index: int) -> str:
        known = {one.get("id") for one in [*self._results(index), *_meta(self._tasks[index]).get("rejected", ())]}
        self._number = max(getattr(self, "_number", 0), len(known)) + 1
        return f"{index + 1}-new-{self._number}"

    def _fault(self, index: int, error: object) -> ValueError:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        return ValueError(f"Task {index + 1} of '{self.path}' is not in Label Studio's layout: {why}.")


def _meta(task: Mapping[str, Any]) -> dict[str, Any]:
    meta = task.get("meta")
    return meta if isinstance(meta, dict) else {}


def _picture_of(text: str) -> str | None:
    """The picture's name in an address as Label Studio has them: of a local file, of an upload, or of another place."""
    address = urlsplit(text)
    local = parse_qs(address.query).get("d")
    path = local[0] if local else unquote(address.path)
    if Path(path).suffix.lower() not in SUFFIXES:
        return None
    if "/upload/" in address.path:
        return _UPLOADED.sub("", path.rpartition("/")[2])
    return (
        path.lstrip("/") if local or not (address.scheme or address.path.startswith("/")) else path.rpartition("/")[2]
    )


def _listed(config: Path) -> list[str]:
    """The classes of the labelling interface beside the file; none where there is none."""
    if not config.is_file():
        return []
    labels = (one.get("value") for one in read_xml(config).iter("Label"))
    return list(dict.fromkeys(label for label in labels if label))


def brushed(numbers: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """A brush's mask, (H, W) bool, from the bits that Label Studio packs it into.

    They are those of the npm package @thi.ng/rle-pack: how many numbers there are, 32 bits; how many bits a number
    takes, 5; how many the length of a run takes, in four classes of 4 each; then runs, and numbers that do not repeat.
    The numbers are red, green, blue and alpha of each pixel; alpha is the mask.
    """
    bits = np.unpackbits(np.array(numbers, np.uint8)).tolist()
    place = 0

    def read(count: int) -> int:
        nonlocal place
        if place + count > len(bits):
            raise ValueError("the run lengths of a brush end too soon")
        found = int("".join(map(str, bits[place : place + count])), 2)
        place += count
        return found

    total, word = read(32), read(5) + 1
    classes = [read(4) + 1 for _ in range(4)]
    width, height = size
    if total != 4 * width * height:
        raise ValueError(f"a brush has {total // 4} pixels, but its picture {width * height}")
    values = np.zeros(total, np.uint8)
    start = 0
    while start < total:
        repeats = read(1)
        end = start + 1 + read(classes[read(2)])
        if repeats:
            values[start:end] = read(word)
        else:
            values[start:end] = [read(word) for _ in range(end - start)][: total - start]
        start = end
    return values.reshape(height, width, 4)[:, :, 3] > 0
