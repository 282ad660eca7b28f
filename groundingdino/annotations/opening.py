"""Annotations of any format, told apart by what is in the file rather than by its name."""

import json
from pathlib import Path
from typing import Any

from groundingdino.annotations.coco import Coco
from groundingdino.annotations.cvat import Cvat
from groundingdino.annotations.document import Document
from groundingdino.annotations.label_studio import LabelStudio
from groundingdino.annotations.odvg import Odvg
from groundingdino.annotations.voc import FOLDER, Voc, read_xml
from groundingdino.annotations.yolo import Yolo, yaml_in

KNOWN = "COCO's, LVIS', ODVG's, YOLO's, Pascal VOC's, CVAT's or Label Studio's"
YAML = (".yaml", ".yml")


def open_annotations(path: Path, part: str | None = None) -> Document:
    """The document of a file, or of a folder that is one: YOLO's, with data.yaml, or Pascal VOC's, with Annotations.

    Args:
        part: Of YOLO's train, val and test the one to read; None: all.

    Raises:
        ValueError: one sentence: it is none, or damaged, and where.
        OSError: it cannot be read.
    """
    if path.is_dir():
        if described := yaml_in(path):
            return Yolo(described, part)
        if is_voc(path):
            return Voc(path)
        raise ValueError(
            f"'{path}' is no data set: expected data.yaml (YOLO) or {FOLDER} (Pascal VOC) in it, or a file."
        )
    if not path.exists():
        raise ValueError(f"There is no '{path}': expected a file in {KNOWN} layout.")
    if path.suffix.lower() in YAML:
        return Yolo(path, part)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unknown(path) from error
    begin = text.lstrip()[:1]
    if begin == "<":
        return _of_xml(path)
    if begin in ("{", "["):
        return _of_json(path, text)
    raise _unknown(path)


def is_voc(folder: Path) -> bool:
    """Whether a folder is in Pascal VOC's layout."""
    return next((folder / FOLDER).rglob("*.xml"), None) is not None


def _of_xml(path: Path) -> Document:
    root = read_xml(path)
    if root.tag == "annotations":
        return Cvat(path, root)
    if root.tag == "annotation":
        raise ValueError(f"'{path}' is of one picture of a Pascal VOC set: give the folder that has {FOLDER}.")
    raise ValueError(f"'{path}' begins with <{root.tag}>: expected <annotations>, as CVAT exports it.")


def _of_json(path: Path, text: str) -> Document:
    first = text.lstrip().partition("\n")[0]
    if _is_line(first):
        return Odvg(path, text)
    try:
        stored = json.loads(text)
    except ValueError as error:
        if path.suffix.lower() == ".jsonl":
            return Odvg(path, text)  # which says what is wrong with its first line
        raise ValueError(f"'{path}' is damaged, or no JSON ({error}).") from error
    if isinstance(stored, list):
        return LabelStudio(path, stored)
    if path.suffix.lower() == ".jsonl":
        return Odvg(path, text)
    return Coco(path, stored)


def _is_line(text: str) -> bool:
    try:
        line: Any = json.loads(text)
    except ValueError:
        return False
    return isinstance(line, dict) and "filename" in line


def _unknown(path: Path) -> ValueError:
    return ValueError(f"'{path}' is in no layout that is known: expected a file in {KNOWN}.")
