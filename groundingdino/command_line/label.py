"""`label FOLDER PROMPT --output OUT`: all pictures of a folder become a data set."""

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundingdino.command_line.options import refuse_unread
from groundingdino.command_line.output import Notes, check_folder, reporting_errors_of, tell_counts, tell_unreadable
from groundingdino.command_line.search import (
    check_models,
    identity,
    load_model,
    nms_threshold,
    read_phrases,
    read_thresholds,
    suited_models,
)
from groundingdino.runtime.extras import missing

if TYPE_CHECKING:
    from PIL import Image

    from groundingdino.results.journal import Journal, PictureFile
    from groundingdino.results.labelled_picture import LabelledPicture
    from groundingdino.results.labelling import Labeller

_SUFFIXES = {".json": "coco", ".jsonl": "odvg", ".xml": "cvat"}
_FOLDERS = ("yolo", "voc")
_LOOKED_AT = 9  # pictures by which a model is chosen
_ON_A_GPU = 8  # pictures at once


def label(options: argparse.Namespace) -> int | None:
    """Label what is not labelled yet, and write the data set; what another run found must be of the same question."""
    phrases = read_phrases(options.prompt)
    names = _names(options.map, phrases)
    format = _format(options)
    if not options.masks:
        refuse_unread(options, "Labelling without --masks", ("segmenter",))
    if options.engine == "local":
        refuse_unread(options, "Labelling without --engine ray", ("workers",))
    elif sentence := missing("--engine ray", "ray"):
        raise ValueError(sentence)
    # Before these imports, which take seconds, all that can be said without them.
    if not os.path.isdir(options.folder):
        raise ValueError(f"There is no folder '{options.folder}': expected one with pictures.")
    check_models(options, "model", *(["segmenter"] if options.masks else []))

    from groundingdino.results.datasets import PICTURES_IN, same_labels
    from groundingdino.results.journal import Journal
    from groundingdino.results.labelling import list_pictures

    pictures = list_pictures(options.folder, options.output)
    if format in PICTURES_IN and (same := same_labels(picture.name for picture in pictures)):
        raise ValueError(
            f"'{same[0]}' and '{same[1]}' would have one label file in {format.upper()}: rename one, or write COCO."
        )
    kinds = ("model", *(["segmenter"] if options.masks else []))
    models = suited_models(options, _some_of(pictures), "they look like photographs", *kinds)
    vars(options).update(zip(kinds, models, strict=True))
    path = options.output.with_name(f"{options.output.name}.journal.jsonl")
    with reporting_errors_of(path):
        journal = Journal(path, _asked(options), options.restart)
    with journal:
        if not options.restart:
            _check_untouched(options.output, format, journal)
        _label(options, pictures, journal)
        counts = _write(options, format, pictures, journal, phrases, names)
    tell_counts(counts, f"objects in {options.output}")
    return tell_unreadable(pictures, journal)


def _label(options: argparse.Namespace, pictures: Sequence["PictureFile"], journal: "Journal") -> None:
    from tqdm import tqdm

    from groundingdino.results.labelling import label, unfinished
    from groundingdino.runtime.devices import find_device

    device = str(options.device or find_device())
    on_cpu = device.startswith("cpu")
    batches = unfinished(pictures, journal, options.batch_size or (1 if on_cpu else _ON_A_GPU))
    if not batches:
        return
    make = partial(
        _labeller,
        _absolute(options.model),
        _absolute(options.segmenter) if options.masks else None,
        argparse.Namespace(device=options.device, local_files_only=options.local_files_only),
        options.prompt,
        read_thresholds(options),
        options.each,
        options.tiles,
    )
    labeller = make() if options.engine == "local" else None
    done = sum(journal.entry(picture) is not None for picture in pictures)
    with (
        tqdm(total=len(pictures), initial=done, unit="picture", smoothing=0.05, disable=None) as bar,
        reporting_errors_of(journal.path),
    ):
        if labeller is not None:
            label(batches, labeller, journal, bar.update)
        else:
            from groundingdino.command_line.ray_workers import label_on_ray

            label_on_ray(batches, make, options.workers or 1, float(device.startswith("cuda")), journal, bar.update)


def _labeller(
    model: str,
    segmenter: str | None,
    machine: argparse.Namespace,
    prompt: str,
    thresholds: Mapping[str, Any],
    each: bool,
    tiles: bool,
) -> "Labeller":
    """A labeller with models of its own, in whichever process is to have it."""
    from groundingdino.detection.detector import Detector
    from groundingdino.results.labelling import Labeller
    from groundingdino.segmentation.available_models import gives_way
    from groundingdino.segmentation.segmenter import Segmenter

    detector = load_model(Detector.from_pretrained, model, machine)
    cutter = None if segmenter is None else load_model(Segmenter.from_pretrained, segmenter, machine)
    own_masks = segmenter is not None and gives_way(segmenter)
    return Labeller(detector, prompt, thresholds, each, tiles, cutter, Notes(), own_masks)


def _some_of(pictures: Sequence["PictureFile"]) -> Iterator["Image.Image"]:
    """A few of the pictures that can be read, from the whole folder, the same ones each time."""
    from groundingdino.inputs.image import load_image

    for picture in pictures[:: -(-len(pictures) // _LOOKED_AT)]:
        with suppress(ValueError):
            yield load_image(picture.path)


def _absolute(model: str) -> str:
    """A model's name, or its path as other processes find it."""
    return os.path.abspath(model) if os.path.exists(model) else model


def _write(
    options: argparse.Namespace,
    format: str,
    pictures: Sequence["PictureFile"],
    journal: "Journal",
    phrases: Sequence[str],
    names: Mapping[str, str],
) -> Counter[str]:
    """Writes the data set; how many objects of each class it has."""
    from groundingdino.detection.objects import labels_of
    from groundingdino.results.datasets import FORMATS, PICTURES_IN
    from groundingdino.results.labelled_picture import named, picture_of

    output = options.output
    about = f"Labelled by Grounding DINO, {options.model}: {options.prompt}"
    categories = list(dict.fromkeys(names.get(phrase, phrase) for phrase in phrases))
    counts = Counter(dict.fromkeys(categories, 0))

    def labelled() -> Iterator["LabelledPicture"]:
        for picture in pictures:
            entry = journal.entry(picture)
            if entry is not None and "error" not in entry:
                found = named(picture_of(picture.name, entry), names, nms_threshold(options))
                counts.update(labels_of(found.objects))
                yield found

    kept = []
    with reporting_errors_of(output):
        for path, content in FORMATS[format](output, categories, labelled(), about):
            journal.write(path, content)
            kept.append(path)
        if format in PICTURES_IN:
            for picture in pictures:
                if "error" not in (journal.entry(picture) or {"error": ""}):
                    kept.append(output / PICTURES_IN[format] / picture.name)
                    journal.place(picture.path, kept[-1])
        journal.remove_others(kept)
    return counts


def _names(maps: Sequence[tuple[Sequence[str], str]], phrases: Sequence[str]) -> dict[str, str]:
    """The class of each phrase that `--map` gives another name."""
    from groundingdino.inputs.prompt import Prompt, shorten

    names: dict[str, str] = {}
    for words, name in maps:
        for phrase in Prompt.from_phrases(words).phrases:
            if phrase not in phrases:
                raise ValueError(f"--map names “{shorten(phrase)}”, but the prompt names {', '.join(phrases)}.")
            if names.setdefault(phrase, name) != name:
                raise ValueError(f"--map makes “{shorten(phrase)}” both {names[phrase]} and {name}: choose one.")
    return names


def _format(options: argparse.Namespace) -> str:
    """What is written; checks that it can be."""
    if options.output.name in ("", ".."):  # the journal is beside the folder
        options.output = Path(os.path.abspath(options.output))
    output = options.output
    by_name = _SUFFIXES.get(output.suffix.lower())
    format = options.format or by_name
    if format is None:
        raise ValueError(
            f"'{output}' does not say what to write: expected a name such as coco.json (COCO), odvg.jsonl (ODVG) or "
            "cvat.xml (CVAT), or --format yolo or --format voc for a folder."
        )
    if format not in _FOLDERS:
        check_folder(output)
    elif os.path.realpath(output) == os.path.realpath(options.folder):
        raise ValueError(f"'{output}' has the pictures: give another folder as --output, as its name with -{format}.")
    elif by_name or os.path.isfile(output) or not os.path.isdir(output.parent):
        raise ValueError(f"'{output}' cannot become a folder: {format.upper()} is one, in a folder that exists.")
    if format == "odvg" and options.masks:
        raise ValueError("ODVG has no masks: leave --masks out, or write COCO.")
    return format


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    """What decides what is found. The classes and the format do not: they may change from run to run."""
    return {
        "prompt": options.prompt,
        "model": identity(options.model),
        "segmenter": identity(options.segmenter) if options.masks else None,
        **read_thresholds(options),
        "each": options.each,
        "tiles": options.tiles,
    }


def _check_untouched(output: Path, format: str, journal: "Journal") -> None:
    """That what is there is what a run wrote: corrected labels are not written over."""
    from groundingdino.results.datasets import parts

    changed = journal.changed()
    if changed is None and not journal.written:
        changed = next(filter(os.path.exists, parts(format, output)), None)
    if changed is not None:
        raise ValueError(
            f"'{changed}' is not as `label` wrote it: give another --output, or --restart to write over it."
        )
