"""Decisions on the objects of a document: each is on the disk when `act` returns, is counted, and can be taken back.

One process reviews a document at a time; in it several pages may, each of which is told what another one decided.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import Any

from filelock import FileLock, Timeout
from typing_extensions import Self

from groundingdino.annotations.document import (
    ACCEPTED,
    ADDED,
    CORRECTED,
    REJECTED,
    STATES,
    Box,
    Document,
    Marked,
    as_box,
)
from groundingdino.annotations.pictures import find_pictures, open_marked

LONGEST_NAME = 200  # letters
MOST_ACTIONS = 10_000  # at once: more than anybody decides by hand
_MOST_STEPS = 1000  # that can be taken back


class Overtaken(ValueError):
    """A decision on what another page changed since."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """A picture and what is marked in it now.

    Args:
        size: (width, height) of the picture in whose pixels boxes are.
        objects: by ids that last as long as the review.
        checked: whether somebody has gone through it.
        version: grows with each change.
    """

    size: tuple[int, int]
    objects: Mapping[str, Marked]
    checked: bool
    version: int = 0


class Review:
    """A document under review.

    Args:
        pictures: folder of the pictures, see `find_pictures`.

    Raises:
        ValueError: one sentence: another process reviews it, it is damaged, or its pictures are not there.
        OSError: it cannot be written beside it.
    """

    def __init__(self, document: Document, pictures: Path | None = None):
        self.document = document
        if not document.files:
            raise ValueError(f"'{document.path}' has no pictures: there is nothing to review.")
        self._paths = find_pictures(document.path, document.files, pictures or document.pictures_in)
        self._files = document.files
        self._sheets: dict[int, Sheet] = {}
        self._steps: list[tuple[int, Sheet]] = []
        self._turn = RLock()
        self._tallies = [self._tally(index) for index in range(len(self._files))]
        path = document.path.resolve()
        self._lock = FileLock(path.with_name(f".{path.name}.review.lock"), timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise ValueError(f"'{document.path}' is being reviewed already: use that page, or end it first.") from None
        self._stamp = self._stamp_now()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets others review the document."""
        self._lock.release()

    def __len__(self) -> int:
        return len(self._files)

    def file(self, index: int) -> str:
        """A picture's name in the annotations."""
        return self._files[self._known(index)]

    def image(self, index: int) -> Any:
        """A picture, RGB, in whose pixels the boxes are; errors are those of `open_marked`."""
        return open_marked(self._paths[self.file(index)], self.document.size(index))

    def sheet(self, index: int) -> Sheet:
        """What is marked in a picture.

        Raises:
            ValueError: the picture cannot be read, or the file is damaged there.
        """
        with self._turn:
            if self._known(index) not in self._sheets:
                size = self.document.size(index) or self.image(index).size
                objects = {str(number): one for number, one in enumerate(self.document.objects(index))}
                self._sheets[index] = Sheet(size, objects, self.document.is_checked(index))
            return self._sheets[index]

    def counts(self) -> dict[str, int]:
        """Of pictures all and the checked ones, of objects those of each state, and those that are left."""
        with self._turn:
            states: Counter[str] = Counter()
            for _, of_picture in self._tallies:
                states.update(of_picture)
            checked = sum(checked for checked, _ in self._tallies)
        return {
            "pictures": len(self),
            "checked": checked,
            **{state: states[state] for state in STATES},
            "left": states[""],
        }

    def first(self) -> int:
        """The first picture that nobody has gone through."""
        return next((index for index, (checked, _) in enumerate(self._tallies) if not checked), 0)

    def act(self, index: int, version: int, actions: Iterable[Mapping[str, Any]]) -> None:
        """Decides on a picture's objects, and writes that.

        Args:
            version: of the sheet that was decided on.
            actions: {"do": "accept", "reject", "move" (with "box"), "rename" (with "name") or "add" (with both, and
                a "score" if a model found it and nobody has looked at it yet), "id"}, or {"do": "check"}, which
                accepts all that is left.

        Raises:
            Overtaken: it was changed since.
            ValueError: one sentence: an action cannot be read, or the file cannot be written; nothing is decided then.
        """
        with self._turn:
            sheet = self.sheet(index)
            if sheet.version != version:
                raise Overtaken("Another page changed this picture meanwhile: look at it again.")
            steps = [sheet]
            for action in _listed(actions):
                steps.append(_after(steps[-1], action))
            self._write(index, replace(steps[-1], version=sheet.version + 1))
            self._steps += [(index, step) for step in steps[:-1]]
            del self._steps[:-_MOST_STEPS]

    def undo(self) -> int | None:
        """Takes the last decision back; the picture that it was on, None if there is none."""
        with self._turn:
            if not self._steps:
                return None
            index, before = self._steps[-1]
            self._write(index, replace(before, version=self.sheet(index).version + 1))
            self._steps.pop()
            return index

    @property
    def can_undo(self) -> bool:
        """Whether there is a decision to take back."""
        return bool(self._steps)

    def _write(self, index: int, sheet: Sheet) -> None:
        before = self.sheet(index)
        if self._stamp_now() != self._stamp:
            raise ValueError(
                f"Another program changed '{self.document.path}' meanwhile: end this review and begin it again."
            )
        try:
            self.document.change(index, list(sheet.objects.values()), sheet.checked)
            self.document.save(index)
        except OSError as error:
            self.document.change(index, list(before.objects.values()), before.checked)
            why = error.strerror or error
            raise ValueError(f"'{error.filename or self.document.path}' cannot be written: {why}.") from error
        self._stamp = self._stamp_now()
        self._sheets[index] = sheet
        self._tallies[index] = _tally_of(sheet.objects.values(), sheet.checked)

    def _tally(self, index: int) -> tuple[bool, Counter[str]]:
        return _tally_of(self.document.objects(index), self.document.is_checked(index))

    def _known(self, index: int) -> int:
        if not 0 <= index < len(self._files):
            raise ValueError(f"There is no picture {index + 1}: there are {len(self._files)}.")
        return index

    def _stamp_now(self) -> tuple[int, int] | None:
        """Tells whether the file is still the one that was written last; of a folder's many files nothing does."""
        try:
            about = os.stat(self.document.path)
        except OSError:
            return None
        return (about.st_mtime_ns, about.st_size) if self.document.path.is_file() else None


def _tally_of(objects: Iterable[Marked], checked: bool) -> tuple[bool, Counter[str]]:
    return checked, Counter(one.state for one in objects)


def _listed(actions: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(actions, list | tuple) or not 0 < len(actions) <= MOST_ACTIONS:
        raise ValueError("What was decided could not be read: load the page again.")
    return actions


def _after(sheet: Sheet, action: Mapping[str, Any]) -> Sheet:
    """The sheet after a decision."""
    try:
        what, name = str(action["do"]), str(action.get("id", ""))
        objects, checked = dict(sheet.objects), sheet.checked
        if what == "check":
            objects = {key: one if one.state else replace(one, state=ACCEPTED) for key, one in objects.items()}
            checked = True
        elif what == "add":
            if not name or name in objects:
                raise ValueError("it has no id of its own")
            score = action.get("score")
            state, said = (ADDED, None) if score is None else ("", float(score))
            objects[name] = Marked(_name(action["name"]), _box(action["box"], sheet.size), said, state=state)
        elif what == "reject" and objects[name].state == ADDED:
            del objects[name]
        else:
            objects[name] = _decided(objects[name], what, action, sheet.size)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"A decision could not be read ({error}): load the page again.") from error
    if objects:
        checked = all(one.state for one in objects.values())
    return replace(sheet, objects=objects, checked=checked)


def _decided(one: Marked, what: str, action: Mapping[str, Any], size: tuple[int, int]) -> Marked:
    corrected = ADDED if one.state == ADDED else CORRECTED
    if what == "accept":
        return one if one.state in (ACCEPTED, CORRECTED, ADDED) else replace(one, state=ACCEPTED)
    if what == "reject":  # once more: it is to be decided again
        return replace(one, state="" if one.state == REJECTED else REJECTED)
    if what == "rename":
        name = _name(action["name"])
        return one if name == one.name else replace(one, name=name, state=corrected)
    if what == "move":
        # A mask does not follow the box.
        return replace(one, box=_box(action["box"], size), outline=None, state=corrected)
    raise ValueError(f"nothing is called {what!r}")


def _name(value: Any) -> str:
    name = " ".join("".join(letter if letter.isprintable() else " " for letter in str(value)).split())[:LONGEST_NAME]
    if not name:
        raise ValueError("a name is empty")
    return name


def _box(value: Any, size: tuple[int, int]) -> Box:
    """A box of the part that is in the picture, to a hundredth of a pixel."""
    width, height = size
    x0, y0, x1, y1 = as_box(value)
    box = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    if box[2] - box[0] < 1 or box[3] - box[1] < 1:
        raise ValueError("a box is not in the picture, or smaller than a pixel")
    return as_box(round(edge, 2) for edge in box)
