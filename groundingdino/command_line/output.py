"""What a command says and writes: results, records, tables, and one sentence where a file cannot be written."""

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import supervision as sv
    from PIL import Image

    from groundingdino.editing.perform import Edited
    from groundingdino.results.journal import Journal, PictureFile

SOME_UNREADABLE = 1  # the exit status


class Found(NamedTuple):
    """What was found in a picture."""

    objects: "sv.Detections"
    phrases: tuple[str, ...]  # of the prompt
    models: list[str]  # by which it was found
    thresholds: dict[str, Any]  # as used, as `Grounding.detections` takes them; empty if there was no prompt


def say(message: object) -> None:
    """Print a message on stderr; stdout has the results alone, for programs."""
    print(f"groundingdino: {message}", file=sys.stderr)


class Notes:
    """Says each sentence once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, notes: Sequence[str]) -> None:
        for note in notes:
            if note not in self._said:
                say(note)
        self._said.update(notes)


def tell_counts(counts: Mapping[str, int], what: str) -> None:
    """A line on standard output for each name, and one for all of them: so many of `what`."""
    with reporting_errors_of("standard output"):
        for name, count in counts.items():
            print(f"{count:7}  {name}")
        print(f"{sum(counts.values()):7}  {what}")


def tell_unreadable(pictures: Sequence["PictureFile"], journal: "Journal") -> int | None:
    """Lists the pictures of which the journal has an error; the exit status."""
    errors = [(picture, entry["error"]) for picture in pictures if "error" in (entry := journal.entry(picture) or {})]
    if not errors:
        return None
    say(f"{len(errors)} of {len(pictures)} pictures could not be read and are left out:")
    for picture, error in errors:
        say(error if str(picture.path) in error else f"'{picture.path}': {error}")
    return SOME_UNREADABLE


def show_progress(done: int, total: int | None, what: str) -> None:
    """One line on a terminal that is written over; nothing in a log file."""
    if not sys.stderr.isatty():
        return
    size = f"{done / 1e6:.0f} MB" if total is None else f"{done / 1e6:.0f} of {total / 1e6:.0f} MB"
    print(f"\r{what}: {size}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def write_results(options: argparse.Namespace, image: "Image.Image", found: Found) -> None:
    from groundingdino.results.drawing import annotate
    from groundingdino.results.export import record

    if options.output:
        with reporting_errors_of(options.output):
            annotate(image, found.objects, found.phrases).save(options.output)
    with reporting_errors_of("standard output"):
        if not _write_record(options, record(found.objects, image.size, " + ".join(found.models))):
            print_table(found)


def write_edit(options: argparse.Namespace, edited: "Edited", found: Found) -> None:
    from groundingdino.command_line.inpaint import save_candidates
    from groundingdino.editing.recipe import search_of
    from groundingdino.results.export import record

    search = search_of(options.prompt, found.models, found.thresholds) if found.models else {}
    with reporting_errors_of(options.output):
        save_candidates(edited, search, options.output)
    painters = [edited.recipe["inpainter"]] if edited.seeds else []
    entry = record(found.objects, edited.images[0].size, " + ".join([*found.models, *painters]))
    if edited.recipe:
        entry["edit"] = {**search, **edited.recipe}
    with reporting_errors_of("standard output"):
        if not _write_record(options, entry):
            if found.models:
                print_table(found)
            for seed in edited.seeds:
                print(f"painted with --seed {seed}")


def _write_record(options: argparse.Namespace, record: dict[str, Any]) -> bool:
    """Writes the record if `--json` is given; returns whether it is."""
    text = json.dumps(record, indent=2)
    if options.json == "-":
        print(text)
    elif options.json:
        with reporting_errors_of(options.json):
            Path(options.json).write_text(text + "\n", encoding="utf-8")
    return bool(options.json)


def print_table(found: Found) -> None:
    """One line per object: score, box in pixels, phrase."""
    from groundingdino.detection.objects import labels_of, scores_of

    detections = found.objects
    if len(detections) == 0:
        print("Nothing found; a lower --box-threshold shows weaker boxes." if found.thresholds else "Nothing found.")
        return
    print(f"{'score':>5}  {'x0':>7} {'y0':>7} {'x1':>7} {'y1':>7}  phrase")
    for score, box, phrase in zip(scores_of(detections), detections.xyxy, labels_of(detections), strict=True):
        print(f"{score:5.2f}  {' '.join(f'{edge:7.1f}' for edge in box)}  {phrase}")


def check_output(path: Path | None, mode: str = "RGB") -> None:
    """That a picture of that mode, of Pillow's, can become such a file; tried on a small one."""
    from PIL import Image

    if path is None:
        return
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise ValueError(f"'{path}' does not name a kind of picture: expected a name such as out.png or out.jpg.")
    check_folder(path)
    try:
        Image.new(mode, (64, 64)).save(io.BytesIO(), kind)
    except (OSError, ValueError) as error:
        raise ValueError(f"'{path}' cannot be written: {error}; expected a name such as out.png.") from error


def check_folder(path: Path | None) -> None:
    # Where `Path.is_dir` raises, as for a name that is too long, these say no.
    if path is not None and (os.path.isdir(path) or not os.path.isdir(path.parent)):
        raise ValueError(f"'{path}' cannot be written: expected a file name in a folder that exists.")


@contextmanager
def reporting_errors_of(path: str | Path) -> Iterator[None]:
    """A ValueError instead of what goes wrong while a file is written."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ValueError(f"'{error.filename or path}' cannot be written: {error.strerror or error}.") from error
