"""Pascal VOC's layout: `Annotations/NAME.xml` for each picture, and masks as pictures of numbers.

A decision is <review>accepted</review> in an <object>; what was rejected is a <rejected> in its place, and a picture
that somebody went through has <checked>1</checked>.
"""

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from groundingdino.annotations.document import (
    REJECTED,
    Document,
    Marked,
    as_box,
    box_of_mask,
    known_state,
    runs_of,
)
from groundingdino.results.datasets import PICTURES_IN

FOLDER = "Annotations"
_FAULTS = (TypeError, ValueError, AttributeError)


class Voc(Document):
    """A folder with `Annotations`, or another folder of such files.

    Corners are whole pixels from 1 on, both inside the box, as the challenge's are.

    Raises:
        ValueError: one sentence: a file is not as it should be.
    """

    format = "Pascal VOC"

    def __init__(self, folder: Path):
        self.path = folder
        self._root = folder / FOLDER if (folder / FOLDER).is_dir() else folder
        above = self._root.parent if self._root.name == FOLDER else self._root
        pictures = above / PICTURES_IN["voc"]
        self.pictures_in = pictures if pictures.is_dir() else None
        self._masks = above / "SegmentationObject"
        self._paths = sorted(path for path in self._root.rglob("*.xml") if path.is_file())
        if not self._paths:
            raise ValueError(
                f"There are no annotations in '{folder}': expected {FOLDER} with an .xml for each picture."
            )
        self._trees = [read_xml(path) for path in self._paths]
        for path, root in zip(self._paths, self._trees, strict=True):
            if root.tag != "annotation":
                raise ValueError(f"'{path}' is not in Pascal VOC's layout: it begins with <{root.tag}>.")
        listed = above / "classes.txt"
        self.names = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
        self._classes, self._listed = listed, len(self.names)
        for index in range(len(self._trees)):
            for one in self._trees[index].iter("object"):
                name = (one.findtext("name") or "").strip()
                if name and name not in self.names:
                    self.names.append(name)

    @property
    def files(self) -> list[str]:  # type: ignore[override]
        return [self._file(path, root) for path, root in zip(self._paths, self._trees, strict=True)]

    def size(self, index: int) -> tuple[int, int] | None:
        size = self._trees[index].find("size")
        if size is None:
            return None
        try:
            return int(size.findtext("width") or ""), int(size.findtext("height") or "")
        except ValueError as error:
            raise self._fault(index, error) from error

    def objects(self, index: int) -> list[Marked]:
        try:
            natives = self._trees[index].findall("object")
            masks = self._numbers(index)
            found = [
                self._marked(one, "", None if masks is None else masks == number)
                for number, one in enumerate(natives, 1)
            ]
            return found + [self._marked(one, REJECTED, None) for one in self._trees[index].findall("rejected")]
        except _FAULTS as error:
            raise self._fault(index, error) from error

    def is_checked(self, index: int) -> bool:
        return self._trees[index].findtext("checked") == "1"

    def change(self, index: int, objects: Sequence[Marked], checked: bool) -> None:
        if self._numbers(index) is not None:
            raise ValueError(
                "Pascal VOC numbers its masks by their place in the file, so objects with masks cannot be corrected "
                "there: label with --format coco, which runs no model again, and review that."
            )
        root = copy.copy(self._trees[index])
        for tag in ("object", "rejected", "checked"):
            for one in root.findall(tag):
                root.remove(one)
        natives = [self._native(one) for one in objects]
        # Those who read the objects by their order read the rest no more.
        for tag in ("object", "rejected"):
            root.extend(one for one in natives if one.tag == tag)
        if checked:
            ElementTree.SubElement(root, "checked").text = "1"
        self._trees[index] = root

    def contents(self, index: int) -> Iterable[tuple[Path, bytes]]:
        if self._listed and len(self.names) > self._listed:
            yield self._classes, "".join(f"{name}\n" for name in self.names).encode()
            self._listed = len(self.names)
        yield self._paths[index], write_xml(self._trees[index])

    def _file(self, path: Path, root: ElementTree.Element) -> str:
        # Names that are paths of another machine, as LabelImg writes them, end with what is here.
        name = (root.findtext("filename") or "").replace("\\", "/").rpartition("/")[2] or f"{path.stem}.jpg"
        return path.relative_to(self._root).with_name(name).as_posix()

    def _numbers(self, index: int) -> np.ndarray | None:
        path = self._masks / self._paths[index].relative_to(self._root).with_suffix(".png")
        if not path.is_file():
            return None
        try:
            with Image.open(path) as image:
                return np.asarray(image)
        except (OSError, SyntaxError) as error:
            raise ValueError(f"its masks '{path}' cannot be read") from error

    def _marked(self, native: ElementTree.Element, state: str, mask: np.ndarray | None) -> Marked:
        name = (native.findtext("name") or "").strip()
        box = native.find("bndbox")
        if not name or box is None:
            raise ValueError("an object has no name or no bndbox")
        x0, y0, x1, y1 = as_box(box.findtext(edge) or "none" for edge in ("xmin", "ymin", "xmax", "ymax"))
        outline, edges = None, (max(x0 - 1, 0.0), max(y0 - 1, 0.0), x1, y1)
        if mask is not None and mask.any():
            outline, edges = runs_of(mask), box_of_mask(mask)
        return Marked(name, edges, None, outline, state or known_state(native.findtext("review")), native)

    def _native(self, one: Marked) -> ElementTree.Element:
        native = ElementTree.Element("object") if one.native is None else copy.deepcopy(one.native)
        before = None if one.native is None else self._marked(one.native, "", None)
        if before is None:
            for tag, text in {"name": "", "pose": "Unspecified", "truncated": "0", "difficult": "0"}.items():
                ElementTree.SubElement(native, tag).text = text
            ElementTree.SubElement(native, "bndbox")
        if before is None or before.name != one.name:
            _set(native, "name", one.name)
            if one.name not in self.names:
                self.names.append(one.name)
        if before is None or before.box != one.box:
            box: Any = native.find("bndbox")
            low = [max(1, round(edge) + 1) for edge in one.box[:2]]
            high = [max(edge, round(last)) for edge, last in zip(low, one.box[2:], strict=True)]
            for tag, edge in zip(("xmin", "ymin", "xmax", "ymax"), (*low, *high), strict=True):
                _set(box, tag, str(edge))
        native.tag = "rejected" if one.state == REJECTED else "object"
        for old in native.findall("review"):
            native.remove(old)
        if one.state not in ("", REJECTED):
            ElementTree.SubElement(native, "review").text = one.state
        return native

    def _fault(self, index: int, error: Exception) -> ValueError:
        return ValueError(f"'{self._paths[index]}' is not in Pascal VOC's layout: {error}.")


def read_xml(path: Path) -> ElementTree.Element:
    """The root of a file of XML.

    Raises:
        ValueError: one sentence: it is none.
    """
    try:
        return ElementTree.fromstring(path.read_bytes())
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"'{path}' is not XML ({error}).") from error


def write_xml(root: ElementTree.Element) -> bytes:
    """A file of XML, a line for each element."""
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _set(parent: Any, tag: str, text: str) -> None:
    child = parent.find(tag)
    (ElementTree.SubElement(parent, tag) if child is None else child).text = text
