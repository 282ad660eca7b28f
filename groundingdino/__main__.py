"""The command line: `python -m groundingdino detect IMAGE PROMPT`, `segment IMAGE PROMPT` and `models`.

What the commands need is imported when they run, so that help and mistakes are answered at once.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from groundingdino.options import BAD_INPUT, build_parser

if TYPE_CHECKING:
    import supervision as sv
    from PIL import Image

OK, INTERRUPTED = 0, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0, also where nothing was found; 2 for bad input, with one line on standard error.
    """
    options = build_parser().parse_args(arguments)
    try:
        if options.command == "models":
            list_models()
        elif options.command == "segment":
            segment(options)
        else:
            detect(options)
    except ValueError as error:
        print(f"groundingdino: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("\ngroundingdino: stopped; a download continues next time where it stopped", file=sys.stderr)
        return INTERRUPTED
    return OK


def detect(options: argparse.Namespace) -> None:
    """Find the prompt's phrases and write what was asked for."""
    image = _load_picture(options)

    from groundingdino.prompt import Prompt

    if not Prompt.parse(options.prompt).phrases:
        raise ValueError("The prompt names nothing: expected phrases such as 'cat . remote control'.")
    detections, phrases, model = _ground(options, image)
    _write_results(options, image, detections, phrases, model)


def segment(options: argparse.Namespace) -> None:
    """Cut out what the prompt names and what is pointed at, and write what was asked for."""
    image = _load_picture(options)

    from groundingdino.mask_prompts import MaskPrompt
    from groundingdino.prompt import Prompt

    prompts = [MaskPrompt(points=tuple(options.point))] if options.point else []
    prompts += [MaskPrompt(box=box) for box in options.box]
    for prompt in prompts:
        prompt.check_inside(image.size)
    has_text = bool(Prompt.parse(options.prompt).phrases)
    if not (has_text or prompts or options.everything):
        raise ValueError(
            "Nothing is asked for: expected a prompt that names something, --point, --box or --everything."
        )

    from groundingdino.masks import merge_objects, smooth_masks
    from groundingdino.segmenter import Segmenter

    segmenter = Segmenter.from_pretrained(options.segmenter, options.device, options.local_files_only, show_progress)
    encoded = segmenter.encode_image(image)
    parts, model = [segmenter.segment(encoded, prompts)], segmenter.card.name
    phrases: tuple[str, ...] = ()
    if has_text:
        detections, phrases, detector = _ground(options, image)
        parts.insert(0, segmenter.segment_boxes(encoded, detections))
        model = f"{detector} + {model}"
    if options.everything:
        parts.append(segmenter.everything(encoded))
    _write_results(options, image, smooth_masks(merge_objects(*parts), options.fill), phrases, model)


def _load_picture(options: argparse.Namespace) -> "Image.Image":
    """The picture, after a look at what else can be wrong, from the cheapest to the dearest."""
    from groundingdino.image import load_image

    _check_output(options.output)
    _check_folder(None if options.json in (None, "-") else Path(options.json))
    return load_image(sys.stdin.buffer.read() if options.image == "-" else options.image)


def _ground(options: argparse.Namespace, image: "Image.Image") -> "tuple[sv.Detections, tuple[str, ...], str]":
    """What the prompt names in the picture, its phrases, and the detector's name."""
    from groundingdino.detector import Detector

    detector = Detector.from_pretrained(options.model, options.device, options.local_files_only, show_progress)
    grounding = detector.ground(detector.encode_image(image), options.prompt)
    thresholds = {name: value for name, value in vars(options).items() if name.endswith("_threshold")}
    for note in grounding.notes:
        print(f"groundingdino: {note}", file=sys.stderr)
    return grounding.detections(**thresholds), grounding.phrases, detector.card.name


def _write_results(
    options: argparse.Namespace,
    image: "Image.Image",
    detections: "sv.Detections",
    phrases: Sequence[str],
    model: str,
) -> None:
    from groundingdino.export import record

    text = json.dumps(record(detections, image.size, model), indent=2)
    if options.output:
        _save_picture(image, detections, phrases, options.output)
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
    from groundingdino.model_cards import MODELS, SEGMENTERS, has_segmenter, is_cached

    print(f"{'name':<10} {'size':>7}  {'here':<4} {'box':>4} {'text':>4}  what it knows")
    for card in MODELS.values():
        here = "yes" if is_cached(card.name) else "no"
        size = f"{card.size_bytes / 1e6:.0f} MB"
        thresholds = f"{card.box_threshold:4.2f} {card.text_threshold:4.2f}"
        print(f"{card.name:<10} {size:>7}  {here:<4} {thresholds}  {card.description}")
    print(f"\n{'segmenter':<10} {'size':>7}  {'here':<4}")
    for segmenter in SEGMENTERS.values():
        here = "yes" if has_segmenter(segmenter.name) else "no"
        size = f"{segmenter.size_bytes / 1e6:.0f} MB"
        print(f"{segmenter.name:<10} {size:>7}  {here:<4} {'':9}  {segmenter.description}")
    print("\nA model that is not here is downloaded when `--model NAME` or `--segmenter NAME` first asks for it.")


def show_progress(done: int, total: int | None, what: str) -> None:
    """One line on a terminal that is written over; nothing in a log file."""
    if not sys.stderr.isatty():
        return
    size = f"{done / 1e6:.0f} MB" if total is None else f"{done / 1e6:.0f} of {total / 1e6:.0f} MB"
    print(f"\r{what}: {size}", end="\n" if done == total else "", file=sys.stderr, flush=True)


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
