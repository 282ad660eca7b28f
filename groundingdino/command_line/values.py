"""How what is given to an option is read; what it cannot mean is one sentence, an `argparse.ArgumentTypeError`."""

import argparse
import math

from groundingdino.editing.margins import Margins


def parts(text: str) -> tuple[str, ...]:
    """Parts of a model, as backbone,text; or names."""
    parts = tuple(dict.fromkeys(text.split(",")))
    if parts != ("names",) and not set(parts) <= {"backbone", "text"}:
        raise argparse.ArgumentTypeError(f"expected names, backbone, text or backbone,text, not '{text}'")
    return parts


def rate(text: str) -> float:
    """A learning rate."""
    (rate,) = _numbers(text, 1, "a learning rate such as 1e-4")
    if rate <= 0:
        raise argparse.ArgumentTypeError(f"expected a learning rate above 0, such as 1e-4, not '{text}'")
    return rate


def margins(text: str) -> Margins:
    """Margins of a picture that grows."""
    try:
        return Margins.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def fraction(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, not '{text}'")
    return value


def fraction_or_off(text: str) -> float | None:
    """The same, or None for "off"."""
    return None if text == "off" else fraction(text)


def point(text: str) -> tuple[float, float, int]:
    """X,Y,1 or X,Y,0."""
    x, y, label = _numbers(text, 3, "X,Y,1 or X,Y,0")
    if label not in (0, 1):
        raise argparse.ArgumentTypeError(f"expected X,Y,1 or X,Y,0, not '{text}'")
    return x, y, int(label)


def box(text: str) -> tuple[float, ...]:
    """X0,Y0,X1,Y1."""
    x0, y0, x1, y1 = _numbers(text, 4, "X0,Y0,X1,Y1")
    if x1 <= x0 or y1 <= y0:
        raise argparse.ArgumentTypeError(f"expected a box with X0 < X1 and Y0 < Y1, not '{text}'")
    return x0, y0, x1, y1


def region(text: str) -> list[float | str]:
    """X0,Y0,X1,Y1,TEXT."""
    *edges, words = text.split(",", 4)
    if len(edges) != 4:
        raise argparse.ArgumentTypeError(f"expected X0,Y0,X1,Y1,TEXT, not '{text}'")
    return [*box(",".join(edges)), words]


def _numbers(text: str, count: int, form: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise argparse.ArgumentTypeError(f"expected {form}, not '{text}'")
    return numbers


def class_of(text: str) -> tuple[tuple[str, ...], str]:
    """Phrases and the name of their class, as dog,puppy=animal."""
    phrases, _, name = text.rpartition("=")
    read = tuple(phrase.strip() for phrase in phrases.split(","))
    if not (all(read) and name.strip()):
        raise argparse.ArgumentTypeError(f"expected phrases and a name such as dog,puppy=animal, not '{text}'")
    return read, name.strip()


def count(text: str) -> int:
    """A whole number of 1 or more."""
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, not '{text}'")
    return count


def size(text: str) -> tuple[int, int]:
    """Width and height in pixels."""
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and len(side) < 6 for side in sides):
        raise argparse.ArgumentTypeError(f"expected width and height such as 1200x800, not '{text}'")
    return int(sides[0]), int(sides[1])


def seconds(text: str) -> float:
    """Seconds of 0 or more."""
    (seconds,) = _numbers(text, 1, "seconds of 0 or more")
    if seconds < 0:
        raise argparse.ArgumentTypeError(f"expected seconds of 0 or more, not '{text}'")
    return seconds


def whole(text: str) -> int:
    """A whole number of 0 or more."""
    return 0 if text == "0" else count(text)


def area(text: str) -> float:
    """An area of 0 or more."""
    (area,) = _numbers(text, 1, "an area of 0 or more")
    if area < 0:
        raise argparse.ArgumentTypeError(f"expected an area of 0 or more, not '{text}'")
    return area
