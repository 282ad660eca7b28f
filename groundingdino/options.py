"""The options of the command line, and how each is read."""

import argparse
import math
from pathlib import Path
from typing import NoReturn

BAD_INPUT = 2  # the exit status


class Parser(argparse.ArgumentParser):
    """Answers a mistake with one line rather than with the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see --help)\n")


def build_parser() -> Parser:
    """The commands and their options."""
    parser = Parser(prog="groundingdino", description="Find what a line of text names in a picture.")
    commands = parser.add_subparsers(dest="command", required=True)
    detect = commands.add_parser("detect", help="boxes around what the prompt names")
    _add_options(detect, "boxes")
    segment = commands.add_parser("segment", help="masks of what the prompt names, and of what you point at")
    _add_options(segment, "masks")
    segment.add_argument(
        "--segmenter", default="embedded", metavar="NAME", help="a name that `models` lists, or a path"
    )
    segment.add_argument(
        "--point",
        type=_point,
        action="append",
        default=[],
        metavar="X,Y,1|0",
        help="a pixel in (1) or outside (0) an object; all points together mean one object",
    )
    segment.add_argument(
        "--box", type=_box, action="append", default=[], metavar="X0,Y0,X1,Y1", help="a box around one object"
    )
    segment.add_argument("--everything", action="store_true", help="also all other objects the segmenter sees")
    segment.add_argument(
        "--fill",
        type=_area,
        default=0.0,
        metavar="AREA",
        help="remove holes and specks of fewer pixels; below 1: of a smaller share of the picture",
    )
    commands.add_parser("models", help="the models there are, and which of them are on this machine")
    return parser


def _add_options(command: argparse.ArgumentParser, what: str) -> None:
    """The options that `detect` and `segment` share."""
    command.add_argument("image", metavar="IMAGE", help="path of a picture, or - to read it from standard input")
    command.add_argument("prompt", metavar="PROMPT", help="phrases such as 'cat . remote control', or a sentence")
    command.add_argument("--model", default="embedded", metavar="NAME", help="a name that `models` lists, or a path")
    command.add_argument("--output", type=Path, metavar="OUT.png", help=f"save the picture with its {what}")
    command.add_argument("--json", metavar="OUT.json|-", help="write the record as JSON, - to standard output")
    for name, type, meaning in (
        ("box", _fraction, "keep boxes whose best score is greater"),
        ("text", _fraction, "of a sentence: keep words whose score is greater"),
        ("nms", _fraction_or_off, "of two boxes of one phrase that overlap more keep the better; 'off' keeps both"),
    ):
        # Without the option the model's own threshold holds, so it must not be passed on.
        command.add_argument(f"--{name}-threshold", type=type, default=argparse.SUPPRESS, metavar="0..1", help=meaning)
    command.add_argument("--device", metavar="DEVICE", help="cpu, cuda, ...; by default the GPU if there is one")
    command.add_argument("--local-files-only", action="store_true", help="never download anything")


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, not '{text}'")
    return value


def _fraction_or_off(text: str) -> float | None:
    return None if text == "off" else _fraction(text)


def _point(text: str) -> tuple[float, float, int]:
    x, y, label = _numbers(text, 3, "X,Y,1 or X,Y,0")
    if label not in (0, 1):
        raise argparse.ArgumentTypeError(f"expected X,Y,1 or X,Y,0, not '{text}'")
    return x, y, int(label)


def _box(text: str) -> tuple[float, ...]:
    x0, y0, x1, y1 = _numbers(text, 4, "X0,Y0,X1,Y1")
    if x1 <= x0 or y1 <= y0:
        raise argparse.ArgumentTypeError(f"expected a box with X0 < X1 and Y0 < Y1, not '{text}'")
    return x0, y0, x1, y1


def _numbers(text: str, count: int, form: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise argparse.ArgumentTypeError(f"expected {form}, not '{text}'")
    return numbers


def _area(text: str) -> float:
    (area,) = _numbers(text, 1, "an area of 0 or more")
    if area < 0:
        raise argparse.ArgumentTypeError(f"expected an area of 0 or more, not '{text}'")
    return area
