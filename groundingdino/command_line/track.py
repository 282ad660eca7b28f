"""`track VIDEO PROMPT --output OUT`: what the prompt names is followed through a video, and shown, listed or edited."""

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundingdino.command_line.inpaint import read_effect
from groundingdino.command_line.options import refuse_unread
from groundingdino.command_line.output import Notes, check_folder, reporting_errors_of, say, tell_counts
from groundingdino.command_line.search import (
    check_models,
    identity,
    load_model,
    read_phrases,
    read_thresholds,
    suited_models,
)
from groundingdino.tracking.available_trackers import EMBEDDED, FORWARD_ONLY

if TYPE_CHECKING:
    from groundingdino.editing.tasks import Task
    from groundingdino.tracking.corrections import Correction
    from groundingdino.tracking.track_file import Earlier, TrackFile
    from groundingdino.tracking.video import Video

_SUFFIXES = {".mp4": ("video",), ".zip": ("frames", "masks"), ".json": ("json", "youtube-vis"), ".txt": ("mot",)}


def track(options: argparse.Namespace) -> None:
    """Follow what is not followed yet, and write the output; what another run followed must be of the same question."""
    phrases = read_phrases(options.prompt)
    by_memory = options.tracker != EMBEDDED
    if options.backward and not by_memory:
        raise ValueError(FORWARD_ONLY)
    options.masks = options.masks or by_memory
    format = _format(options)
    task = _task(options, format)
    if not options.masks:
        refuse_unread(options, "Tracking without --masks", ("segmenter",))
    corrections = () if options.corrections is None else _corrections(options.corrections)
    options.segmenter_is_chosen = options.segmenter is not None
    options.segmenter = options.segmenter or options.tracker  # of one name; the embedded one is of the segmenter's
    check_models(options, "model", "tracker", *(["segmenter"] if options.masks else []))

    from PIL import Image

    from groundingdino.tracking.corrected_runs import forget_earlier, is_known, open_corrected
    from groundingdino.tracking.corrections import heeded, unheeded_in_words
    from groundingdino.tracking.tracker import looks_each_second, looks_every
    from groundingdino.tracking.video import Video

    video = Video(options.video)
    kinds = ("model", *(["segmenter"] if options.masks else []))
    frames = (Image.fromarray(frame.pixels) for frame in islice(_frames(options, video), 1))
    models = suited_models(options, frames, "its frames look like photographs", *kinds)
    vars(options).update(zip(kinds, models, strict=True))
    options.every = options.every or (looks_each_second if by_memory else looks_every)(video.info.rate)
    path = options.output.with_name(f"{options.output.stem}.tracks.jsonl")
    if os.path.exists(options.output) and not (options.restart or is_known(path)):
        raise ValueError(
            f"'{options.output}' is there, and not by `track`: give another --output, or --restart to write over it."
        )
    length = video.info.seconds
    if told := unheeded_in_words(corrections, options.start, min(options.end or length, length)):
        say(told)
    corrections = heeded(corrections, options.start, options.end)
    with reporting_errors_of(path):
        asked = _asked(options, corrections)
        file, earlier = open_corrected(path, asked, video.info.size, options.restart, joins=by_memory)
    with file:
        if not file.finished:
            _follow(options, video, file, corrections, earlier)
        forget_earlier(path)
        with reporting_errors_of(options.output):
            _write(options, format, task, video, file, phrases)
        _tell(options.output, phrases, file)
    if video.damaged:
        say(f"'{options.video}' is damaged: what could not be read of it is left out.")
    if video.sound_lost:
        say(f"The sound of '{options.video}' cannot be read and is left out.")


def _follow(
    options: argparse.Namespace,
    video: "Video",
    file: "TrackFile",
    corrections: "Sequence[Correction]",
    earlier: "Earlier",
) -> None:
    from groundingdino.detection.detector import Detector
    from groundingdino.segmentation.segmenter import Segmenter
    from groundingdino.tracking.looks import cut_out, look_by, start_score
    from groundingdino.tracking.mask_tracker import MaskTracker
    from groundingdino.tracking.track_file import follow
    from groundingdino.tracking.tracker import EmbeddedTracker, Tracker, TrackerSettings
    from groundingdino.tracking.video_models import load_video_model

    detector = load_model(Detector.from_pretrained, options.model, options)
    thresholds = read_thresholds(options)
    notes = Notes()
    look = look_by(detector, options.prompt, thresholds, options.each, notes, options.tiles)
    settings = TrackerSettings(options.every, start_score(detector, thresholds))
    segmenter = load_model(Segmenter.from_pretrained, options.segmenter, options) if options.masks else None
    tracker: Tracker = EmbeddedTracker(look, settings)
    if options.tracker != EMBEDDED:
        assert segmenter is not None
        model = load_model(load_video_model, options.tracker, options)
        tracker = MaskTracker(look, segmenter, model, settings, notes, options.backward)
    followed = partial(follow, _frames(options, video), tracker, file, corrections=corrections, earlier=earlier)
    if segmenter is not None and options.tracker == EMBEDDED:
        followed = partial(followed, partial(cut_out, segmenter))
    with reporting_errors_of(file.path), closing(followed()) as frames:
        each = (next(steps) for _, steps in groupby(frames, lambda pair: pair[0].index))  # a backward pass has many
        for _ in _with_bar("tracking", each, video):
            pass


def _write(
    options: argparse.Namespace,
    format: str,
    task: "Task | None",
    video: "Video",
    file: "TrackFile",
    phrases: tuple[str, ...],
) -> None:
    from groundingdino.tracking.making import frames_of, write_frames, write_list

    frames = partial(frames_of, file, options.every, options.masks, task is not None)
    if format in ("video", "frames"):
        pairs = zip(_frames(options, video), frames(), strict=False)  # both end with the video
        write_frames(options.output, format, _with_bar("writing", pairs, video), video, task)
        return
    about = f"Tracked by Grounding DINO, {options.model}: {options.prompt}"
    write_list(options.output, format, frames, video.info, Path(options.video).name, about, phrases)


def _frames(options: argparse.Namespace, video: "Video") -> Iterator[Any]:
    return video.frames(options.start, options.end)


def _with_bar(what: str, frames: Iterable[Any], video: "Video") -> Iterator[Any]:
    """The same frames with a bar on a terminal."""
    from tqdm import tqdm

    yield from tqdm(frames, what, video.info.frames, unit="frame", smoothing=0.05, disable=None)


def _tell(output: Path, phrases: tuple[str, ...], file: "TrackFile") -> None:
    """How many of each phrase there were."""
    from groundingdino.tracking.track_file import tracks_of

    counts = Counter(dict.fromkeys(phrases, 0))
    counts.update(track.phrase for track in tracks_of(file.read()))
    tell_counts(counts, f"tracks over {file.frames} frames in {output}")


def _format(options: argparse.Namespace) -> str:
    """What is written; checks that it can be."""
    output = options.output
    formats = _SUFFIXES.get(output.suffix.lower())
    if formats is None:
        raise ValueError(
            f"'{output}' does not say what to write: expected a name such as out.mp4, out.json, out.txt or out.zip."
        )
    format = options.format or formats[0]
    if format not in formats:
        right = next(suffix for suffix, found in _SUFFIXES.items() if format in found)
        raise ValueError(f"'{output}' does not fit --format {format}: name the file out{right}.")
    check_folder(output)
    if os.path.exists(output) and os.path.exists(options.video) and os.path.samefile(output, options.video):
        raise ValueError(f"'{output}' is the video itself: give another --output.")
    if format == "masks" and not options.masks:
        raise ValueError("There are no masks to write: give --masks, too.")
    if options.end is not None and options.end <= options.start:
        raise ValueError(f"--end {options.end:g} is not after --start {options.start:g}: expected a later one.")
    return format


def _task(options: argparse.Namespace, format: str) -> "Task | None":
    from groundingdino.tracking.edits import WITH_ALPHA, check_task

    task = read_effect(options)
    if task is None:
        return None
    check_task(task)
    if format not in ("video", "frames"):
        raise ValueError("An edit makes a video: name the output out.mp4, or out.zip for pictures.")
    if isinstance(task, WITH_ALPHA) and format == "video":
        raise ValueError("MP4 has no transparency: name the output out.zip for PNG pictures, or give --color.")
    return task


def _corrections(path: Path) -> "tuple[Correction, ...]":
    """What somebody said of single frames, in the words of the endpoint `/track`."""
    from groundingdino.tracking.corrections import parse_corrections

    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' is no JSON: expected a list of corrections, as /track takes it.") from error
    try:
        return parse_corrections(values)
    except ValueError as error:
        told = str(error)
        raise ValueError(f"'{path}' has none: {told[0].lower()}{told[1:]}") from error


def _asked(options: argparse.Namespace, corrections: "Sequence[Correction]") -> dict[str, Any]:
    """What decides what is followed. The output and edits do not: for another one no model runs."""
    from groundingdino.tracking.corrected_runs import CORRECTIONS
    from groundingdino.tracking.look_back import frames_back

    return {
        "video": identity(options.video),
        "prompt": options.prompt,
        "model": identity(options.model),
        "segmenter": identity(options.segmenter) if options.masks else None,
        **({"tracker": identity(options.tracker)} if options.tracker != EMBEDDED else {}),
        **({"backward": frames_back(options.every)} if options.backward else {}),
        **read_thresholds(options),
        "each": options.each,
        "tiles": options.tiles,
        "every": options.every,
        "start": options.start,
        "end": options.end,
        **({CORRECTIONS: [one.written() for one in corrections]} if corrections else {}),
    }
