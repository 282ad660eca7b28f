"""The pictures that a visitor made one from another by "use as input"."""


class History:
    """Paths of pictures, to go back and forth between.

    It belongs to the picture that it gave last: whoever chose another one since has left it.
    """

    def __init__(self) -> None:
        self._paths: list[str] = []
        self._position = 0

    def add(self, before: str, after: str) -> None:
        """The picture `after` was made from `before`; what had been undone is forgotten."""
        self._paths = [*self._paths[: self._position + 1], after] if self._is_at(before) else [before, after]
        self._position = len(self._paths) - 1

    def move(self, now: str, steps: int) -> str | None:
        """The picture before (-1) or behind (1) the one shown `now`; None if there is none, or `now` is not ours."""
        position = self._position + steps
        if not self._is_at(now) or not 0 <= position < len(self._paths):
            return None
        self._position = position
        return self._paths[position]

    def view(self) -> dict[str, object]:
        """For the browser: whose history it is, and whether the two buttons lead anywhere."""
        current = self._paths[self._position] if self._paths else ""
        return {"picture": current, "undo": self._position > 0, "redo": self._position + 1 < len(self._paths)}

    def _is_at(self, path: str) -> bool:
        return bool(self._paths) and self._paths[self._position] == path
