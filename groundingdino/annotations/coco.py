"""COCO's layout, and LVIS', which is the same.

A decision is {"attributes": {"review": "accepted"}} of an annotation, where CVAT has an annotation's attributes, too; a
picture that somebody went through has {"review": {"checked": true}} and what was rejected in it under "rejected".
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from groundingdino.annotations.document import (
    REJECTED,
    Box,
    Document,
    Marked,
    as_box,
    known_state,
    rounded,
    score_of,
    without,
)

_LISTS = ("images", "annotations", "categories")
_FAULTS = (KeyError, TypeError, ValueError, AttributeError)


class Coco(Document):
    """A file in COCO's layout.

    Args:
        stored: What is in it.

    Raises:
        ValueError: one sentence: it is in another layout.
    """

    format = "COCO"

    def __init__(self, path: Path, stored: Any):
        self.path = path
        try:
            lists = {name: stored[name] for name in _LISTS}
            if not all(isinstance(value, list) for value in lists.values()):
                raise TypeError("images, annotations and categories should be lists")
        except (KeyError, TypeError) as error:
            raise not_coco(path, error) from error
        self._stored: dict[str, Any] = stored
        self._of: dict[Any, list[dict[str, Any]]] | None = None  # annotations by their image
        self._last_id: int | None = None

    @property
    def names(self) -> list[str]:  # type: ignore[override]
        return [str(one["name"]) for one in self._stored["categories"]]

    @property
    def files(self) -> list[str]:  # type: ignore[override]
        try:
            return [file_name(image) for image in self._stored["images"]]
        except _FAULTS as error:
            raise not_coco(self.path, error) from error

    def coco(self) -> dict[str, Any]:
        return {name: self._stored[name] for name in _LISTS}

    def size(self, index: int) -> tuple[int, int] | None:
        return size_of(self._stored["images"][index])

    def objects(self, index: int) -> list[Marked]:
        image = self._stored["images"][index]
        try:
            categories = {one["id"]: str(one["name"]) for one in self._stored["categories"]}
            # What has no box, or marks a crowd, is no single object to decide on.
            found = [self._marked(one, categories, "") for one in self._annotations(image["id"]) if _is_single(one)]
            rejected = (image.get("review") or {}).get("rejected") or ()
            return found + [self._marked(one, categories, REJECTED) for one in rejected]
        except _FAULTS as error:
            raise not_coco(self.path, error) from error

    def is_checked(self, index: int) -> bool:
        return bool((self._stored["images"][index].get("review") or {}).get("checked"))

    def change(self, index: int, objects: Sequence[Marked], checked: bool) -> None:
        image = self._stored["images"][index]
        of_image = self._annotations(image["id"])
        kept = [one for one in of_image if not _is_single(one)]
        kept += [self._native(one, image["id"]) for one in objects if one.state != REJECTED]
        rejected = [self._native(one, image["id"]) for one in objects if one.state == REJECTED]
        everything = self._stored["annotations"]
        old = {id(one) for one in of_image}
        place = next((number for number, one in enumerate(everything) if id(one) in old), len(everything))
        others = [one for one in everything if id(one) not in old]
        # As many others are before it: annotations of a picture stay together where they were.
        self._stored["annotations"] = others[:place] + kept + others[place:]
        assert self._of is not None
        self._of[image["id"]] = kept
        review = {**({"checked": True} if checked else {}), **({"rejected": rejected} if rejected else {})}
        image.pop("review", None)
        if review:
            image["review"] = review

    def contents(self, _: int) -> Iterable[tuple[Path, bytes]]:
        yield self.path, json.dumps(self._stored, ensure_ascii=False).encode()

    def _annotations(self, image_id: Any) -> list[dict[str, Any]]:
        if self._of is None:
            self._of = {}
            for one in self._stored["annotations"]:
                self._of.setdefault(one["image_id"], []).append(one)
        return self._of.get(image_id, [])

    def _marked(self, one: Mapping[str, Any], categories: Mapping[Any, str], state: str) -> Marked:
        if one["category_id"] not in categories:
            raise ValueError(f"no category has the id {one['category_id']!r}")
        attributes = one.get("attributes")
        said = known_state(attributes.get("review")) if isinstance(attributes, Mapping) else ""
        outline = one.get("segmentation") or None
        name, score = categories[one["category_id"]], score_of(one.get("score"))
        return Marked(name, _edges(one["bbox"]), score, outline, state or said, one)

    def _native(self, one: Marked, image_id: Any) -> dict[str, Any]:
        native = one.native
        categories = {one["id"]: str(one["name"]) for one in self._stored["categories"]}
        if native is None:
            native = {"id": self._new_id(), "image_id": image_id, "iscrowd": 0}
            if one.score is not None:
                native["score"] = round(one.score, 4)
        if categories.get(native.get("category_id")) != one.name:
            native = {**native, "category_id": self._category(one.name)}
        if not native.get("bbox") or _edges(native["bbox"]) != one.box:
            x0, y0, x1, y1 = rounded(one.box)
            size = [round(x1 - x0, 2), round(y1 - y0, 2)]
            native = {**native, "bbox": [x0, y0, *size], "area": size[0] * size[1], "segmentation": []}
        attributes = without(native.get("attributes") or {}, "review")
        if one.state not in ("", REJECTED):
            attributes["review"] = one.state
        native = without(native, "attributes")
        return {**native, "attributes": attributes} if attributes else native

    def _category(self, name: str) -> Any:
        categories = self._stored["categories"]
        found = next((one["id"] for one in categories if str(one["name"]) == name), None)
        if found is None:
            found = 1 + max((one["id"] for one in categories if isinstance(one["id"], int)), default=0)
            categories.append({"id": found, "name": name, "supercategory": ""})
        return found

    def _new_id(self) -> int:
        if self._last_id is None:
            rejected = (
                one for image in self._stored["images"] for one in (image.get("review") or {}).get("rejected") or ()
            )
            ids = (one.get("id") for some in (self._stored["annotations"], rejected) for one in some)
            self._last_id = max((one for one in ids if isinstance(one, int)), default=0)
        self._last_id += 1
        return self._last_id


def _edges(bbox: Sequence[Any]) -> Box:
    x, y, width, height = as_box(bbox)
    return x, y, x + width, y + height


def _is_single(annotation: Mapping[str, Any]) -> bool:
    return "bbox" in annotation and not annotation.get("iscrowd")


def file_name(image: Mapping[str, Any]) -> str:
    """LVIS has addresses of COCO's pictures instead of names: their folder and name."""
    return str(image["file_name"]) if "file_name" in image else "/".join(str(image["coco_url"]).split("/")[-2:])


def size_of(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """(width, height) as a file says, None where it does not."""
    return (int(image["width"]), int(image["height"])) if "width" in image and "height" in image else None


def not_coco(path: Path, error: Exception) -> ValueError:
    """A sentence on a file that seemed to be in this layout."""
    return ValueError(f"'{path}' is not in COCO's layout ({type(error).__name__}: {error}).")
