"""The command line: `python -m groundingdino detect IMAGE PROMPT` and `python -m groundingdino models`.

What the commands need is imported when they run, so that help and mistakes are answered at once.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import supervision as sv
    from PIL import Image

OK, BAD_INPUT, INTERRUPTED = 0, 2, 130


class Parser(argparse.ArgumentParser):
    """Answers a mistake with one line rather than with the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0, also where nothing was found; 2 for bad input, with one line on standard error.
    """
    options = build_parser().parse_args(arguments)
    try:
        if options.command == "models":
            list_models()
        else:
            detect(options)
    except ValueError as error:
        print(f"groundingdino: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("\ngroundingdino: stopped; a download continues next time where it stopped", file=sys.stderr)
        return INTERRUPTED
    return OK


def build_parser() -> Parser:
    """The commands and their options."""
    parser = Parser(prog="groundingdino", description="Find what a line of text names in a picture.")
    commands = parser.add_subparsers(dest="command", required=True)
    detect = commands.add_parser("detect", help="boxes around what the prompt names")
    detect.add_argument("image", metavar="IMAGE", help="path of a picture, or - to read it from standard input")
    detect.add_argument("prompt", metavar="PROMPT", help="phrases such as 'cat . remote control', or a sentence")
    detect.add_argument("--model", default="embedded", metavar="NAME", help="a name that `models` lists, or a path")
    detect.add_argument("--output", type=Path, metavar="OUT.png", help="save the picture with its boxes")
    detect.add_argument("--json", metavar="OUT.json|-", help="write the record as JSON, - to standard output")
    for name, type, meaning in (
        ("box", _fraction, "keep boxes whose best score is greater"),
        ("text", _fraction, "of a sentence: keep words whose score is greater"),
        ("nms", _fraction_or_off, "of two boxes of one phrase that overlap more keep the better; 'off' keeps both"),
    ):
        # Without the option the model's own threshold holds, so it must not be passed on.
        detect.add_argument(f"--{name}-threshold", type=type, default=argparse.SUPPRESS, metavar="0..1", help=meaning)
    detect.add_argument("--device", metavar="DEVICE", help="cpu, cuda, ...; by default the GPU if there is one")
    detect.add_argument("--local-files-only", action="store_true", help="never download anything")
    commands.add_parser("models", help="the models there are, and which of them are on this machine")
    return parser


def detect(options: argparse.Namespace) -> None:
    """Find the prompt's phrases and write what was asked for."""
    from groundingdino.image import load_image

    # What can be wrong is looked at first, from the cheapest to the dearest; loading a model is the dearest.
    _check_output(options.output)
    _check_folder(None if options.json in (None, "-") else Path(options.json))
    image = load_image(sys.stdin.buffer.read() if options.image == "-" else options.image)

    from groundingdino.detector import Detector
    from groundingdino.export import record
    from groundingdino.prompt import Prompt

    if not Prompt.parse(options.prompt).phrases:
        raise ValueError("The prompt names nothing: expected phrases such as 'cat . remote control'.")
    detector = Detector.from_pretrained(options.model, options.device, options.local_files_only, show_progress)
    grounding = detector.ground(detector.encode_image(image), options.prompt)
    thresholds = {name: value for name, value in vars(options).items() if name.endswith("_threshold")}
    detections = grounding.detections(**thresholds)
    for note in grounding.notes:
        print(f"groundingdino: {note}", file=sys.stderr)
    text = json.dumps(record(detections, image.size, detector.card.name), indent=2)
    if options.output:
        _save_picture(image, detections, grounding.phrases, options.output)
    if options.json == "-":
        print(text)
    elif options.json:
        _write(Path(options.json), text + "\n")
    else:
        print_table(detections)


def print_table(detections: "sv.Detections") -> None:
    """One line per object: score, box in pixels, phrase."""
    from groundingdino.drawing import labels_of, scores_of

    if len(detections) == 0:
        print("Nothing found; a lower --box-threshold shows weaker boxes.")
        return
    print(f"{'score':>5}  {'x0':>7} {'y0':>7} {'x1':>7} {'y1':>7}  phrase")
    for score, box, phrase in zip(scores_of(detections), detections.xyxy, labels_of(detections), strict=True):
        print(f"{score:5.2f}  {' '.join(f'{edge:7.1f}' for edge in box)}  {phrase}")


def list_models() -> None:
    """One line per model: its size, whether it is here, its thresholds, what it knows."""
    from groundingdino.model_cards import MODELS, is_cached

    print(f"{'name':<10} {'size':>7}  {'here':<4} {'box':>4} {'text':>4}  what it knows")
    for card in MODELS.values():
        here = "yes" if is_cached(card.name) else "no"
        size = f"{card.size_bytes / 1e6:.0f} MB"
        thresholds = f"{card.box_threshold:4.2f} {card.text_threshold:4.2f}"
        print(f"{card.name:<10} {size:>7}  {here:<4} {thresholds}  {card.description}")
    print("A model that is not here is downloaded when `detect --model NAME` first asks for it.")


def show_progress(done: int, total: int | None, what: str) -> None:
    """One line on a terminal that is written over; nothing in a log file."""
    if not sys.stderr.isatty():
        return
    size = f"{done / 1e6:.0f} MB" if total is None else f"{done / 1e6:.0f} of {total / 1e6:.0f} MB"
    print(f"\r{what}: {size}", end="\n" if done == total else "", file=sys.stderr, flush=True)


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


def _check_output(path: Path | None) -> None:
    from PIL import Image

    if path is None:
        return
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise ValueError(f"'{path}' does not name a kind of picture: expected a name such as out.png or out.jpg.")
    _check_folder(path)


def _check_folder(path: Path | None) -> None:
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise ValueError(f"'{path}' cannot be written: expected a file name in a folder that exists.")


def _save_picture(image: "Image.Image", detections: "sv.Detections", phrases: Sequence[str], path: Path) -> None:
    from groundingdino.drawing import annotate

    try:
        annotate(image, detections, phrases).save(path)
    except OSError as error:
        raise ValueError(f"'{path}' cannot be written: {error.strerror or error}.") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"'{path}' cannot be written: {error.strerror}.") from error


if __name__ == "__main__":
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' advice to programmers; python -W default shows it
    sys.exit(main())
