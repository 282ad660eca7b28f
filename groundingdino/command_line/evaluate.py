"""`evaluate DATA --model M`: how well a model finds what is marked in a data set."""

import argparse
import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zlib import crc32

from groundingdino.command_line.options import refuse_unread
from groundingdino.command_line.output import Notes, check_folder, reporting_errors_of, tell_unreadable
from groundingdino.command_line.search import check_models, identity, load_model
from groundingdino.runtime.extras import missing

if TYPE_CHECKING:
    from groundingdino.evaluation.sets import LabelledSet
    from groundingdino.results.journal import Journal

_ON_A_GPU = 8  # pictures at once


def evaluate(options: argparse.Namespace) -> int | None:
    """Look at the pictures that were not looked at yet, and tell what was found in all is worth."""
    if sentence := missing("Evaluation", "evaluate"):
        raise ValueError(sentence)
    if options.tiles and not options.as_shown:
        raise ValueError(
            "--tiles finds an object in several tiles, which the published way counts several times: add --as-shown."
        )
    output, record = _outputs(options)
    check_models(options, "model", *(["segmenter"] if options.segmenter else []))

    from groundingdino.evaluation.sets import find_sets
    from groundingdino.results.journal import Journal

    sets = find_sets(options.data, options.pictures)
    if record is not None and os.path.realpath(record) in {os.path.realpath(one.path) for one in sets}:
        raise ValueError(f"'{record}' has the annotations: name another file for the figures.")
    if options.segmenter:
        _check_masks(sets)
    if options.count:
        sets = [one.first(options.count) for one in sets]
    with ExitStack() as stack:
        kept = output or record
        if kept is None:  # nothing is written, so nothing is kept
            kept = Path(stack.enter_context(TemporaryDirectory()), "evaluation")
        path = kept.with_name(f"{kept.name}.journal.jsonl")
        with reporting_errors_of(path):
            journal = stack.enter_context(Journal(path, _asked(options, sets), options.restart))
        _look(options, sets, journal)
        return _tell(options, output, record, sets, journal)


def _look(options: argparse.Namespace, sets: Sequence["LabelledSet"], journal: "Journal") -> None:
    from tqdm import tqdm

    from groundingdino.evaluation.finding import SetFinder
    from groundingdino.results.labelling import label, unfinished
    from groundingdino.runtime.devices import is_cpu

    on_cpu = is_cpu(options.device)
    size = options.batch_size or (1 if on_cpu else _ON_A_GPU)
    files = [[picture.file for picture in one.pictures] for one in sets]
    batches = [unfinished(of_set, journal, size) for of_set in files]
    if not any(batches):
        return

    from groundingdino.detection.detector import Detector
    from groundingdino.segmentation.segmenter import Segmenter

    detector = load_model(Detector.from_pretrained, options.model, options)
    segmenter = load_model(Segmenter.from_pretrained, options.segmenter, options) if options.segmenter else None
    done = sum(journal.entry(file) is not None for of_set in files for file in of_set)
    told = Notes()
    with (
        tqdm(total=sum(map(len, files)), initial=done, unit="picture", smoothing=0.05, disable=None) as bar,
        reporting_errors_of(journal.path),
    ):
        for one, of_set in zip(sets, batches, strict=True):
            bar.set_description(one.name)
            how = options.each, options.tiles
            label(of_set, SetFinder(detector, one, options.as_shown, segmenter, told, *how), journal, bar.update)


def _tell(
    options: argparse.Namespace,
    output: Path | None,
    record: Path | None,
    sets: Sequence["LabelledSet"],
    journal: "Journal",
) -> int | None:
    """Prints and writes the figures; the exit status."""
    from groundingdino.evaluation.figures import figures_of
    from groundingdino.evaluation.report import as_json, as_page, as_text
    from groundingdino.results.journal import replace_file

    figures, threshold = [], options.box_threshold
    for one in sets:
        entries = {picture.file.name: journal.entry(picture.file) or {"error": ""} for picture in one.pictures}
        unread = {name for name, entry in entries.items() if "error" in entry}
        readable = one.only(lambda picture: picture.file.name not in unread)  # noqa: B023
        if not readable.objects:
            tell_unreadable([picture.file for picture in one.pictures], journal)
            raise ValueError(f"No picture of '{one.path}' that can be read has something marked in it.")
        if threshold is None:
            threshold = entries[readable.pictures[0].file.name]["box_threshold"]
        figures.append(figures_of(readable, entries, options.as_shown, bool(options.segmenter), threshold))
    about = {
        "model": options.model,
        "segmenter": options.segmenter,
        "data": str(options.data),
        "as_shown": options.as_shown,
        "each": options.each,
        "tiles": options.tiles,
        "box_threshold": threshold,
    }
    report = as_json(about, figures)
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    if output is not None:
        with reporting_errors_of(output):
            replace_file(output, as_page(report, figures).encode())
    if record is not None:
        with reporting_errors_of(record):
            replace_file(record, text.encode())
    with reporting_errors_of("standard output"):
        print(text if options.json == "-" else as_text(report), end="" if options.json == "-" else "\n")
    return tell_unreadable([picture.file for one in sets for picture in one.pictures], journal)


def _outputs(options: argparse.Namespace) -> tuple[Path | None, Path | None]:
    """Where page and JSON go: JSON is beside the page unless it is told where."""
    output: Path | None = options.output
    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"'{output}' does not name a page: expected a name such as report.html.")
    beside = output.with_suffix(".json") if output is not None else None
    record = beside if options.json in (None, "-") else Path(options.json)
    for path in (output, record):
        check_folder(path)
    if output is None and record is None:
        refuse_unread(options, "An evaluation that keeps nothing", ("restart",))
    return output, record


def _asked(options: argparse.Namespace, sets: Sequence["LabelledSet"]) -> dict[str, Any]:
    """What decides what is found. The count of pictures does not: it may change from run to run."""
    return {
        "model": identity(options.model),
        "segmenter": identity(options.segmenter) if options.segmenter else None,
        "as_shown": options.as_shown,
        "each": options.each,
        "tiles": options.tiles,
        "names": {one.name: f"{len(one.names)} ({crc32(json.dumps(one.names).encode()):08x})" for one in sets},
    }


def _check_masks(sets: Sequence["LabelledSet"]) -> None:
    for one in sets:
        if not any(entry.get("segmentation") for entry in one.objects):
            raise ValueError(f"'{one.path}' has no masks: measure boxes, without --segmenter.")
        if any(picture.size is None for picture in one.pictures):
            raise ValueError(f"'{one.path}' does not give width and height of its images, which masks need.")
