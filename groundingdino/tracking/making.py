"""What is made of tracks: the video or its pictures, with what is followed drawn or edited, and lists of it."""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import numpy as np

from groundingdino.detection.objects import select
from groundingdino.editing.tasks import Task
from groundingdino.tracking.drawing import FrameDrawing
from groundingdino.tracking.edits import edit_frame
from groundingdino.tracking.exports import Frames, write_json, write_masks, write_mot, write_youtube_vis
from groundingdino.tracking.filling import filled
from groundingdino.tracking.sound import sound_of
from groundingdino.tracking.track_file import Size, TrackFile
from groundingdino.tracking.tracker import TrackedFrame
from groundingdino.tracking.video import Frame, Video, VideoInfo
from groundingdino.tracking.writing import PictureWriter, VideoWriter

VIDEO, PICTURES = "video", "frames"  # formats that show frames
JSON, MOT, YOUTUBE_VIS, MASKS = "json", "mot", "youtube-vis", "masks"  # and lists


def frames_of(
    file: TrackFile, every: int, masks: bool, edited: bool = False, hidden: Collection[int] = ()
) -> Iterator[TrackedFrame]:
    """The frames of a file as they are shown, listed or edited: each track from where it was first seen on.

    Args:
        every: The tracker looked at one frame of so many.
        masks: Whether what is followed was cut out.
        edited: Whether this is for an edit.
        hidden: Ids of tracks that are left out.
    """
    # A box that nobody cut out is no mask to show or list, but it hides what is to be hidden.
    frames = shown_frames(file.read(), file.size, every, masks and not edited)
    return (_without(frame, hidden) for frame in frames)


def shown_frames(frames: Iterator[TrackedFrame], size: Size, every: int, masks: bool) -> Iterator[TrackedFrame]:
    """Frames of a file, of a video of that (width, height), as they are shown: with what is filled in between looks.

    Args:
        every: The tracker looked at one frame of so many.
        masks: Whether nothing but outlines is shown, into which no box is filled.
    """
    return frames if masks else filled(frames, size, 2 * every)


def write_list(
    path: Path, format: str, frames: Frames, info: VideoInfo, name: str, about: str, phrases: Sequence[str]
) -> None:
    """A file of `JSON`, `MOT`, `YOUTUBE_VIS` or `MASKS`, which has its name once it is whole.

    Args:
        name: Of the video's file.
        about: How it was made, in words.
        phrases: Of the prompt, found or not.

    Raises:
        ValueError: masks are wanted, and there are none.
        OSError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        if format == MASKS:
            write_masks(partial, frames, info)
        else:
            text: TextIO
            with partial.open("w", encoding="utf-8") as text:
                if format == JSON:
                    write_json(text, frames, info, name, about)
                elif format == MOT:
                    write_mot(text, frames)
                else:
                    write_youtube_vis(text, frames, info, name, phrases)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_frames(
    path: Path, format: str, pairs: Iterable[tuple[Frame, TrackedFrame]], video: Video, task: Task | None = None
) -> None:
    """A file of `VIDEO` or `PICTURES`: the frames with what is followed drawn on them, or after an edit.

    Args:
        video: Of which they are frames: its sound goes along in a `VIDEO`.
        task: As `check_task` wants it; None: boxes or masks with names are drawn.
    """
    rate = video.info.rate
    drawing = FrameDrawing(rate)
    with ExitStack() as opened, VideoWriter(path, rate) if format == VIDEO else PictureWriter(path) as writer:
        first = None
        for frame, what in pairs:
            if first is None:
                first = frame.seconds
                sound = opened.enter_context(sound_of(video, first)) if isinstance(writer, VideoWriter) else None
                if sound is not None and isinstance(writer, VideoWriter):
                    writer.add_sound(sound)
            changed = drawing.draw(frame.pixels, what) if task is None else edit_frame(frame.pixels, what.objects, task)
            writer.add(changed, frame.seconds - first)


def _without(frame: TrackedFrame, hidden: Collection[int]) -> TrackedFrame:
    if not hidden or frame.objects.tracker_id is None:
        return frame
    kept = np.flatnonzero(~np.isin(frame.objects.tracker_id, [*hidden]))
    return replace(frame, objects=select(frame.objects, kept))
