"""What CVAT exports and imports as "CVAT for images 1.1".

A decision is <attribute name="review">accepted</attribute> of a shape; what was rejected is an element `rejected` with
the shape in it as text, which CVAT passes over, and a picture that somebody went through has checked="1".
"""

import copy
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from groundingdino.annotations.document import (
    REJECTED,
    Box,
    Document,
    Marked,
    around,
    as_box,
    known_state,
    rounded,
    runs_of,
    score_of,
)
from groundingdino.annotations.voc import write_xml

_SHAPES = ("box", "polygon", "mask")  # CVAT's others, as points and lines, have no area: they stay as they are
_EDGES = ("xtl", "ytl", "xbr", "ybr")
_FAULTS = (KeyError, TypeError, ValueError, AttributeError, ElementTree.ParseError)


class Cvat(Document):
    """A file of XML.

    Args:
        root: What is in it.

    Raises:
        ValueError: one sentence: it is in another layout.
    """

    format = "CVAT"

    def __init__(self, path: Path, root: ElementTree.Element):
        self.path, self._root = path, root
        if root.find("track") is not None:
            raise ValueError(f"'{path}' has tracks of a video: export it from CVAT as “CVAT for images 1.1”.")
        self._images = root.findall("image")
        self.names = [text for label in root.iterfind("meta//label/name") if (text := (label.text or "").strip())]
        self._known = set(self.names)
        for index in range(len(self._images)):
            for one in self.objects(index):
                if one.name not in self.names:
                    self.names.append(one.name)

    @property
    def files(self) -> list[str]:  # type: ignore[override]
        found = [image.get("name") for image in self._images]
        if not all(found):
            raise ValueError(f"Picture {found.index(None) + 1} of '{self.path}' has no name: export it again.")
        return [str(name) for name in found]

    def size(self, index: int) -> tuple[int, int] | None:
        image = self._images[index]
        try:
            return int(image.attrib["width"]), int(image.attrib["height"])
        except KeyError:
            return None
        except ValueError as error:
            raise self._fault(index, error) from error

    def objects(self, index: int) -> list[Marked]:
        try:
            image = self._images[index]
            found = [self._marked(index, one, "") for one in image if one.tag in _SHAPES]
            rejected = (ElementTree.fromstring(one.text or "") for one in image.findall("rejected"))
            return found + [self._marked(index, one, REJECTED) for one in rejected]
        except _FAULTS as error:
            raise self._fault(index, error) from error

    def is_checked(self, index: int) -> bool:
        return self._images[index].get("checked") == "1"

    def change(self, index: int, objects: Sequence[Marked], checked: bool) -> None:
        image = self._images[index]
        natives = [(one.state, self._native(index, one)) for one in objects]
        for one in [one for one in image if one.tag in (*_SHAPES, "rejected")]:
            image.remove(one)
        image.extend(native for state, native in natives if state != REJECTED)
        for state, native in natives:
            if state == REJECTED:
                ElementTree.SubElement(image, "rejected").text = ElementTree.tostring(native, encoding="unicode")
        image.attrib.pop("checked", None)
        if checked:
            image.set("checked", "1")

    def contents(self, _: int) -> Iterable[tuple[Path, bytes]]:
        yield self.path, write_xml(self._root)

    def _marked(self, index: int, native: ElementTree.Element, state: str) -> Marked:
        outline: Any = None
        if native.tag == "box":
            box = _turned(as_box(native.attrib[edge] for edge in _EDGES), float(native.get("rotation") or 0))
        elif native.tag == "polygon":
            points = [tuple(map(float, pair.split(","))) for pair in native.attrib["points"].split(";")]
            if len(points) < 3 or any(len(point) != 2 for point in points):
                raise ValueError(f"{native.attrib['points'][:40]!r} are no corners")
            box, outline = around(points), [[edge for point in points for edge in point]]
        else:
            box, outline = self._mask(index, native)
        said = {one.get("name"): one.text for one in native.findall("attribute")}
        decided = state or known_state(said.get("review"))
        return Marked(native.attrib["label"], box, score_of(said.get("score")), outline, decided, native)

    def _mask(self, index: int, native: ElementTree.Element) -> tuple[Box, Any]:
        left, top, width, height = (int(float(native.attrib[name])) for name in ("left", "top", "width", "height"))
        runs = list(map(int, native.attrib["rle"].split(",")))
        if min([*runs, left, top]) < 0 or sum(runs) != width * height:
            raise ValueError("the run lengths of a mask do not fill its box")
        pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
        size = self.size(index)
        if size is None or left + width > size[0] or top + height > size[1]:
            raise ValueError("a mask is not within its picture")
        mask = np.zeros(size[::-1], bool)
        mask[top : top + height, left : left + width] = pixels
        return (float(left), float(top), float(left + width), float(top + height)), runs_of(mask)

    def _native(self, index: int, one: Marked) -> ElementTree.Element:
        native = one.native
        before = None if native is None else self._marked(index, native, "")
        if before is not None and before.box == one.box:
            native = copy.deepcopy(native)
        else:
            about = {"label": one.name, "source": "manual", "occluded": "0"}
            about |= dict(zip(_EDGES, map(str, rounded(one.box)), strict=True))
            of_before = [] if native is None else copy.deepcopy(native.findall("attribute"))
            native = ElementTree.Element("box", {**about, "z_order": "0"})
            native.extend(of_before)
            if before is None and one.score is not None:
                ElementTree.SubElement(native, "attribute", name="score").text = str(round(one.score, 4))
        native.set("label", one.name)
        if one.name not in self.names:
            self.names.append(one.name)
        self._tell(one.name)
        for old in [old for old in native.findall("attribute") if old.get("name") == "review"]:
            native.remove(old)
        if one.state not in ("", REJECTED):
            ElementTree.SubElement(native, "attribute", name="review").text = one.state
        return native

    def _tell(self, name: str) -> None:
        """Adds a label to those of the task, without which CVAT would refuse the file."""
        labels = self._root.find("meta//labels")
        if labels is None or name in self._known:
            return
        self._known.add(name)
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = name
        ElementTree.SubElement(label, "attributes")

    def _fault(self, index: int, error: Exception) -> ValueError:
        name = self._images[index].get("name") or f"number {index + 1}"
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        return ValueError(f"'{self.path}' is not in CVAT's layout at the picture {name}: {why}.")


def _turned(box: Box, degrees: float) -> Box:
    """The box around a box that is turned about its centre."""
    if not degrees:
        return box
    x0, y0, x1, y1 = box
    angle = math.radians(degrees)
    center = np.array([x0 + x1, y0 + y1]) / 2
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) - center
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return around(corners @ turn + center)
