"""The command line: `python -m groundingdino detect IMAGE PROMPT`, `segment`, `inpaint` and `models`.

What the commands need is imported when they run, so that help and mistakes are answered at once.
"""

import argparse
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from groundingdino.options import BAD_INPUT, BY_TEXT, build_parser, refuse_unread

if TYPE_CHECKING:
    import supervision as sv
    from PIL import Image

    from groundingdino.editing.perform import Edited
    from groundingdino.mask_prompts import MaskPrompt

OK, INTERRUPTED = 0, 130
M = TypeVar("M")


class Search(NamedTuple):
    """What is to be found in a picture."""

    pointed: "list[MaskPrompt]"
    named: bool  # by the prompt
    everything: bool
    with_masks: bool  # or with boxes alone


class Found(NamedTuple):
    """What was looked for in a picture."""

    objects: "sv.Detections"
    phrases: tuple[str, ...]  # of the prompt
    models: list[str]  # by which it was found
    thresholds: dict[str, Any]  # as used, as `Grounding.detections` takes them; none where nothing was looked for


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0, also where nothing was found; 2 for bad input, with one line on standard error.
    """
    options = build_parser().parse_args(arguments)

    from groundingdino.downloads import DownloadsOff

    commands = {"models": list_models, "segment": segment, "inpaint": inpaint, "detect": detect}
    try:
        commands[options.command](options)
        with _told_about("standard output"):
            sys.stdout.flush()
    except BrokenPipeError:  # who read the results has seen enough
        _silence()
    except ValueError as error:
        # Of two places where downloads are switched off this is one.
        _say(error.on_the_command_line() if isinstance(error, DownloadsOff) else error)
        _silence()
        return BAD_INPUT
    except OSError as error:  # of a file that is read: those of written ones are told by `_told_about`
        _say(f"'{error.filename or 'a file'}' cannot be read: {error.strerror or error}.")
        _silence()
        return BAD_INPUT
    except KeyboardInterrupt:
        print(file=sys.stderr)  # after the terminal's ^C
        _say("stopped; a download continues next time where it stopped")
        return INTERRUPTED
    return OK


def _say(message: object) -> None:
    """A line for who sits at the terminal; results alone go to stdout, where programs read them."""
    print(f"groundingdino: {message}", file=sys.stderr)


def _silence() -> None:
    """What could not be written to stdout is not written at the end, either, which would end with a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def detect(options: argparse.Namespace) -> None:
    """Find the prompt's phrases and write what was asked for."""
    image = _load_picture(options)

    from groundingdino.prompt import Prompt

    if not Prompt.parse(options.prompt).phrases:
        raise ValueError("The prompt names nothing: expected phrases such as 'cat . remote control'.")
    _check_models(options, "model")
    _write_results(options, image, _ground(options, image))


def segment(options: argparse.Namespace) -> None:
    """Cut out what the prompt names and what is pointed at, and write what was asked for."""
    image = _load_picture(options)
    found = _cut_out(options, image, _read_search(options, image.size, options.everything))

    from groundingdino.masks import SPECKS, smooth_masks

    least = SPECKS if options.fill is None else options.fill
    _write_results(options, image, found._replace(objects=smooth_masks(found.objects, least)))


def inpaint(options: argparse.Namespace) -> None:
    """Edit what the prompt names and what is pointed at, or the regions, and write what was asked for."""
    from groundingdino.editing.edits import Regions
    from groundingdino.image import load_image
    from groundingdino.inpaint_command import candidate_path, read_edit, result_mode, show_steps

    edit = read_edit(options)
    if options.output is None:
        raise ValueError("There is nowhere to put the picture: give --output, as in --output out.png.")
    picture = _load_picture(options, with_alpha=True)
    _check_output(options.output, result_mode(edit.task, picture))
    for number in range(2, options.candidates + 1):
        _check_folder(candidate_path(options.output, number))
    mask = load_image(options.mask) if options.mask else None
    search = None
    if not isinstance(edit.task, Regions) and mask is None:
        search = _read_search(options, picture.size, with_masks=not edit.mask.boxes)
    if edit.task.needs_model:
        _check_models(options, "inpainter")

    import supervision as sv

    from groundingdino.editing.perform import edit_picture, unchanged
    from groundingdino.masks import smooth_masks

    found = Found(sv.Detections.empty(), (), [], {})
    own = None
    if mask is not None:
        from groundingdino.editing.mask import own_mask

        own = own_mask(mask, picture.size)
    elif search is not None:
        found = _cut_out(options, load_image(picture), search)
        if len(found.objects) == 0:
            _say("nothing was found, so the picture stays as it is")
            return _write_edit(options, unchanged(picture), found)
        if found.objects.mask is not None:
            found = found._replace(objects=smooth_masks(found.objects))

    from groundingdino.inpainter import Inpainter

    painter = None
    if edit.task.needs_model:
        painter = _load(Inpainter.from_pretrained, options.inpainter, options)
    edited = edit_picture(picture, found.objects if own is None else own, edit, painter, show_steps)
    for note in edited.notes:
        _say(note)
    return _write_edit(options, edited, found)


def _read_search(
    options: argparse.Namespace, size: tuple[int, int], everything: bool = False, with_masks: bool = True
) -> Search:
    """What the prompt names and what is pointed at in a picture of that size, looked at before any model is loaded.

    Without `with_masks` what the prompt names has boxes alone, if nothing is pointed at.
    """
    from groundingdino.mask_prompts import MaskPrompt, check_gestures
    from groundingdino.prompt import Prompt

    check_gestures(len(options.point) + len(options.box))
    prompts = [MaskPrompt(points=options.point)] if options.point else []
    prompts += [MaskPrompt(box=box) for box in options.box]
    for prompt in prompts:
        prompt.check_inside(size)
    has_text = bool(Prompt.parse(options.prompt).phrases)
    if not (has_text or prompts or everything):
        ways = "--point, --box or --everything" if options.command == "segment" else "--point or --box"
        raise ValueError(f"Nothing is asked for: expected a prompt that names something, {ways}.")
    if not has_text:
        refuse_unread(options, "An empty prompt", BY_TEXT)
    with_masks = with_masks or bool(prompts)
    if not with_masks:
        refuse_unread(options, "Painting whole boxes", ("segmenter",))
    _check_models(options, *(["model"] if has_text else []), *(["segmenter"] if with_masks else []))
    return Search(prompts, has_text, everything, with_masks)


def _cut_out(options: argparse.Namespace, image: "Image.Image", search: Search) -> Found:
    """What is looked for, found."""
    if not search.with_masks:
        return _ground(options, image)

    from groundingdino.drawing import select
    from groundingdino.masks import is_new, merge_objects
    from groundingdino.segmenter import Segmenter

    segmenter = _load(Segmenter.from_pretrained, options.segmenter, options)
    encoded = segmenter.encode_image(image)
    parts, models = [segmenter.segment(encoded, search.pointed)], [segmenter.card.name]
    named = _ground(options, image) if search.named else None
    if named:
        parts.insert(0, segmenter.segment_boxes(encoded, named.objects))
        models = [*named.models, *models]
    if search.everything:
        others = segmenter.everything(encoded)
        parts.append(select(others, is_new(others, parts)))
    objects = merge_objects(*parts)
    return Found(objects, named.phrases if named else (), models, named.thresholds if named else {})


def _load_picture(options: argparse.Namespace, with_alpha: bool = False) -> "Image.Image":
    """The picture, after a look at what else can be wrong, from the cheapest to the dearest."""
    from groundingdino.image import load_editable, load_image

    _check_output(options.output)
    record = None if options.json in (None, "-") else Path(options.json)
    _check_folder(record)
    if record is not None and record == options.output:
        raise ValueError(f"The picture and its record cannot both become '{record}': name two files.")
    source = sys.stdin.buffer.read() if options.image == "-" else options.image
    return load_editable(source) if with_alpha else load_image(source)


def _check_models(options: argparse.Namespace, *kinds: str) -> None:
    """What can be said of the models asked for before PyTorch is imported, which takes seconds."""
    from groundingdino.downloads import DownloadsOff, is_offline_mode
    from groundingdino.model_files import find_detector, find_inpainter, find_segmenter

    find = {"model": find_detector, "segmenter": find_segmenter, "inpainter": find_inpainter}
    for kind in kinds:
        try:
            find[kind](getattr(options, kind), local_files_only=True)
        except DownloadsOff:
            if options.local_files_only or is_offline_mode():
                raise


def _load(load: Callable[..., M], name: str, options: argparse.Namespace) -> M:
    """A model by name or path, in a process that keeps its memory where the model runs on the CPU."""
    from groundingdino.allocation import keep_freed_memory
    from groundingdino.weight_files import find_device

    device = options.device or find_device()
    if str(device).startswith("cpu"):
        keep_freed_memory()
    return load(name, device, options.local_files_only, show_progress)


def _ground(options: argparse.Namespace, image: "Image.Image") -> Found:
    """What the prompt names in the picture."""
    from groundingdino.detector import Detector
    from groundingdino.phrases import NMS_THRESHOLD

    detector = _load(Detector.from_pretrained, options.model, options)
    grounding = detector.ground(detector.encode_image(image), options.prompt)
    for note in grounding.notes:
        _say(note)
    thresholds = {
        "box_threshold": grounding.box_threshold,
        "text_threshold": grounding.text_threshold,
        "nms_threshold": NMS_THRESHOLD,
        **{name: value for name, value in vars(options).items() if name.endswith("_threshold")},
    }
    return Found(grounding.detections(**thresholds), grounding.phrases, [detector.card.name], thresholds)


def _write_results(options: argparse.Namespace, image: "Image.Image", found: Found) -> None:
    from groundingdino.drawing import annotate
    from groundingdino.export import record

    if options.output:
        with _told_about(options.output):
            annotate(image, found.objects, found.phrases).save(options.output)
    with _told_about("standard output"):
        if not _write_record(options, record(found.objects, image.size, " + ".join(found.models))):
            print_table(found)


def _write_edit(options: argparse.Namespace, edited: "Edited", found: Found) -> None:
    from groundingdino.editing.recipe import search_of
    from groundingdino.export import record
    from groundingdino.inpaint_command import save_candidates

    search = search_of(options.prompt, found.models, found.thresholds) if found.models else {}
    with _told_about(options.output):
        save_candidates(edited, search, options.output)
    painters = [edited.recipe["inpainter"]] if edited.seeds else []
    entry = record(found.objects, edited.images[0].size, " + ".join([*found.models, *painters]))
    if edited.recipe:
        entry["edit"] = {**search, **edited.recipe}
    with _told_about("standard output"):
        if not _write_record(options, entry):
            if found.models:
                print_table(found)
            for seed in edited.seeds:
                print(f"painted with --seed {seed}")


def _write_record(options: argparse.Namespace, record: dict[str, Any]) -> bool:
    """Writes the record where it was asked for, and says whether it was."""
    text = json.dumps(record, indent=2)
    if options.json == "-":
        print(text)
    elif options.json:
        with _told_about(options.json):
            Path(options.json).write_text(text + "\n", encoding="utf-8")
    return bool(options.json)


def print_table(found: Found) -> None:
    """One line per object: score, box in pixels, phrase."""
    from groundingdino.drawing import labels_of, scores_of

    detections = found.objects
    if len(detections) == 0:
        print("Nothing found; a lower --box-threshold shows weaker boxes." if found.thresholds else "Nothing found.")
        return
    print(f"{'score':>5}  {'x0':>7} {'y0':>7} {'x1':>7} {'y1':>7}  phrase")
    for score, box, phrase in zip(scores_of(detections), detections.xyxy, labels_of(detections), strict=True):
        print(f"{score:5.2f}  {' '.join(f'{edge:7.1f}' for edge in box)}  {phrase}")


def list_models(_: argparse.Namespace) -> None:
    """One line per model: its size, whether it is here, its thresholds, what it knows."""
    from groundingdino.model_cards import (
        INPAINTERS,
        MODELS,
        SEGMENTERS,
        has_inpainter,
        has_segmenter,
        is_cached,
    )

    print(f"{'name':<10} {'size':>7}  {'here':<4} {'box':>4} {'text':>4}  what it knows")
    for card in MODELS.values():
        here = "yes" if is_cached(card.name) else "no"
        size = f"{card.size_bytes / 1e6:.0f} MB"
        thresholds = f"{card.box_threshold:4.2f} {card.text_threshold:4.2f}"
        print(f"{card.name:<10} {size:>7}  {here:<4} {thresholds}  {card.description}")
    others = (("segmenter", SEGMENTERS, has_segmenter), ("inpainter", INPAINTERS, has_inpainter))
    for task, cards, is_here in others:
        print(f"\n{task:<10} {'size':>7}  {'here':<4}")
        for name, other in cards.items():
            here = "yes" if is_here(name) else "no"
            print(f"{name:<10} {f'{other.size_bytes / 1e6:.0f} MB':>7}  {here:<4} {'':9}  {other.description}")
    print("\nA model that is not here is downloaded when `--model`, `--segmenter` or `--inpainter` first asks for it.")


def show_progress(done: int, total: int | None, what: str) -> None:
    """One line on a terminal that is written over; nothing in a log file."""
    if not sys.stderr.isatty():
        return
    size = f"{done / 1e6:.0f} MB" if total is None else f"{done / 1e6:.0f} of {total / 1e6:.0f} MB"
    print(f"\r{what}: {size}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _check_output(path: Path | None, mode: str = "RGB") -> None:
    """That a picture of that mode, of Pillow's, can become such a file; tried on a small one."""
    from PIL import Image

    if path is None:
        return
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise ValueError(f"'{path}' does not name a kind of picture: expected a name such as out.png or out.jpg.")
    _check_folder(path)
    try:
        Image.new(mode, (64, 64)).save(io.BytesIO(), kind)
    except (OSError, ValueError) as error:
        raise ValueError(f"'{path}' cannot be written: {error}; expected a name such as out.png.") from error


def _check_folder(path: Path | None) -> None:
    # Where `Path.is_dir` raises, as for a name that is too long, these say no.
    if path is not None and (os.path.isdir(path) or not os.path.isdir(path.parent)):
        raise ValueError(f"'{path}' cannot be written: expected a file name in a folder that exists.")


@contextmanager
def _told_about(path: str | Path) -> Iterator[None]:
    """A ValueError instead of what goes wrong while a file is written."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ValueError(f"'{error.filename or path}' cannot be written: {error.strerror or error}.") from error


if __name__ == "__main__":
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' advice to programmers; python -W default shows it
    sys.exit(main())
