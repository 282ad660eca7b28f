"""ODVG's layout: a line of JSON for each picture.

{"filename": "a.jpg", "height": 480, "width": 640, "detection": {"instances": [{"bbox": [x0, y0, x1, y1],
    "label": 0, "category": "cat"}]}}
{"filename": "b.jpg", "height": 480, "width": 640, "grounding": {"caption": "a cat on a mat",
    "regions": [{"bbox": [x0, y0, x1, y1], "phrase": "a cat"}]}}

A decision is {"review": "accepted"} of an instance or region; a line of a picture that somebody went through has
{"review": {"checked": true}} and what was rejected in it under "rejected".
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from groundingdino.annotations.document import (
    REJECTED,
    Document,
    Marked,
    as_box,
    known_state,
    rounded,
    score_of,
    without,
)
from groundingdino.results.datasets import label_map

_FAULTS = (KeyError, TypeError, ValueError, AttributeError, IndexError)


class Odvg(Document):
    """A file in ODVG's layout; of a picture with a caption its phrases are the prompt.

    Raises:
        ValueError: one sentence: it is not in this layout.
    """

    format = "ODVG"

    def __init__(self, path: Path, text: str):
        self.path = path
        self.names = _listed(path)
        self._listed = len(self.names)
        self._lines: list[dict[str, Any]] = []
        self._numbers: list[int] = []  # of lines, for people
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            try:
                picture = json.loads(line)
                str(picture["filename"])
            except _FAULTS as error:
                raise self._fault(number, error) from error
            self._lines.append(picture)
            self._numbers.append(number)
        for index in range(len(self._lines)):
            for one in self.objects(index):
                if one.name not in self.names:
                    self.names.append(one.name)

    @property
    def files(self) -> list[str]:  # type: ignore[override]
        return [str(picture["filename"]) for picture in self._lines]

    def size(self, index: int) -> tuple[int, int] | None:
        picture = self._lines[index]
        try:
            return (int(picture["width"]), int(picture["height"])) if {"width", "height"} <= picture.keys() else None
        except (TypeError, ValueError) as error:
            raise self._fault(self._numbers[index], error) from error

    def objects(self, index: int) -> list[Marked]:
        picture = self._lines[index]
        try:
            rejected = (picture.get("review") or {}).get("rejected") or ()
            return [*self._marked(picture), *(self._read(one, one["bbox"], REJECTED) for one in rejected)]
        except _FAULTS as error:
            raise self._fault(self._numbers[index], error) from error

    def phrases(self, index: int) -> list[str] | None:
        if "grounding" not in self._lines[index]:
            return None
        return list(dict.fromkeys(one.name for one in self.objects(index) if one.state != REJECTED))

    def is_checked(self, index: int) -> bool:
        return bool((self._lines[index].get("review") or {}).get("checked"))

    def change(self, index: int, objects: Sequence[Marked], checked: bool) -> None:
        picture = without(self._lines[index], "review")
        natives = [(one.state, self._native(one, "grounding" in picture)) for one in objects]
        kept = [native for state, native in natives if state != REJECTED]
        rejected = [native for state, native in natives if state == REJECTED]
        if "grounding" in picture:
            picture["grounding"] = {**picture["grounding"], "regions": kept}
        else:
            picture["detection"] = {**(picture.get("detection") or {}), "instances": kept}
        review = {**({"checked": True} if checked else {}), **({"rejected": rejected} if rejected else {})}
        self._lines[index] = {**picture, "review": review} if review else picture

    def contents(self, _: int) -> Iterable[tuple[Path, bytes]]:
        if len(self.names) > self._listed and any("detection" in line for line in self._lines):
            names = {str(number): name for number, name in enumerate(self.names)}
            yield label_map(self.path), json.dumps(names, ensure_ascii=False).encode()
            self._listed = len(self.names)
        yield self.path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self._lines).encode()

    def _marked(self, picture: Mapping[str, Any]) -> Iterator[Marked]:
        for one in (picture.get("detection") or {}).get("instances", ()):
            yield self._read(one, one["bbox"], "")
        for region in (picture.get("grounding") or {}).get("regions", ()):
            boxes = region["bbox"]
            for box in boxes if boxes and isinstance(boxes[0], list) else [boxes]:
                yield self._read({**region, "bbox": box}, box, "")

    def _read(self, native: Mapping[str, Any], box: Any, state: str) -> Marked:
        if "phrase" in native:
            phrase = native["phrase"]
            name = str(phrase if isinstance(phrase, str) else phrase[0]).strip().rstrip(".")
            if not name:
                raise ValueError("a region has no phrase")
        else:
            name = str(native["category"] if "category" in native else self.names[native["label"]])
        return Marked(
            name, as_box(box), score_of(native.get("score")), None, state or known_state(native.get("review")), native
        )

    def _native(self, one: Marked, is_grounding: bool) -> dict[str, Any]:
        native = dict(one.native or {})
        before = self._read(native, native["bbox"], "") if native else None
        if before is None or before.box != one.box:
            native["bbox"] = rounded(one.box)
        if before is None or before.name != one.name:
            if one.name not in self.names:
                self.names.append(one.name)
            if is_grounding:
                native["phrase"] = one.name
            else:
                native |= {"label": self.names.index(one.name), "category": one.name}
        if before is None and one.score is not None:
            native["score"] = round(one.score, 4)
        native.pop("review", None)
        return {**native, "review": one.state} if one.state not in ("", REJECTED) else native

    def _fault(self, number: int, error: Exception) -> ValueError:
        return ValueError(f"Line {number} of '{self.path}' is not in ODVG's layout ({type(error).__name__}: {error}).")


def _listed(path: Path) -> list[str]:
    """The classes of the file beside it, in the order of their numbers; none where there is no such file."""
    beside = label_map(path)
    if not beside.is_file():
        return []
    try:
        names = {int(number): str(name) for number, name in json.loads(beside.read_text(encoding="utf-8")).items()}
        return [names[number] for number in range(len(names))]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"'{beside}' does not list classes by their numbers from 0 on ({error}).") from error
