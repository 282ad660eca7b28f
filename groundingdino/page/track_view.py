"""What the page shows of tracks, as plain data for the browser."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import supervision as sv
from PIL import Image

from groundingdino.page.following import DRAWN, Followed
from groundingdino.page.limits import Limits
from groundingdino.page.status_line import sentence
from groundingdino.page.view import jpeg_url
from groundingdino.results.drawing import PALETTE
from groundingdino.tracking.drawing import FrameDrawing
from groundingdino.tracking.track_file import Track, rows_of
from groundingdino.tracking.tracker import TrackedFrame
from groundingdino.tracking.video import Frame, VideoInfo

# `run` names the request it is of, `frame` is what was followed in last.
NO_TRACK: dict[str, Any] = {"run": 0.0, "working": False, "share": 0.0, "frame": "", "status": sentence("")}
# `key` names what they are of: what was ticked belongs to it.
NO_TRACKS: dict[str, Any] = {"key": "", "start": 0.0, "end": 0.0, "tracks": [], "corrections": []}
# What is followed in the paused frame, `picture`.
NO_PAUSED: dict[str, Any] = {"picture": "", "tracks": []}
NO_STRIP: dict[str, Any] = {"length": 0.0, "frames": []}  # thumbnails of a video, and its seconds

# What is made of what is followed, by the names in the page.
EFFECTS = {"Boxes": DRAWN, "Blur": "blur", "Pixelate": "pixelate", "Recolour": "recolor", "Cut-out": "cut-out"}


def limits_in_words(limits: Limits) -> str:
    """What may be sent."""
    pixels, upload = f"{limits.video_pixels / 1e6:.1f} megapixels a frame", f"{limits.upload / 1e6:.0f} MB"
    return f"Up to {limits.video_seconds:g} seconds, {pixels} and {upload}: MP4, MOV, WebM, MKV, AVI, GIF."


def video_in_words(info: VideoInfo) -> str:
    """What was sent."""
    return f"{info.width} x {info.height} pixels, {info.rate:.3g} frames a second, {info.seconds:.1f} seconds."


def tracks_view(followed: Followed, tracks: Iterable[Track]) -> dict[str, Any]:
    """The timeline: an entry for each track, and the seconds at both ends."""
    start, end = followed.stretch
    rows = [
        {
            "id": track.id,
            "phrase": track.phrase,
            "color": _color(track.id),
            "since": round(track.since, 2),
            "until": round(track.until, 2),
        }
        for track in tracks
    ]
    # Also those of frames that are not followed: what is told of can be taken back.
    corrections = [round(one.seconds, 3) for one in followed.question.corrections]
    return {"key": followed.ticks, "start": start, "end": end, "tracks": rows, "corrections": corrections}


def paused_view(picture: str, frame: TrackedFrame | None) -> dict[str, Any]:
    """What is followed in the frame that is the picture."""
    if frame is None:
        return NO_PAUSED
    boxes = frame.objects.xyxy.round().astype(int).tolist()
    rows = [
        {"name": f"{phrase} {id}", "color": _color(id), "box": box}
        for (id, phrase, _), box in zip(rows_of(frame.objects), boxes, strict=True)
    ]
    return {"picture": picture, "tracks": rows}


def _color(id: int) -> str:
    """Of a track, as `FrameDrawing` draws it."""
    return sv.ColorPalette.from_hex(list(PALETTE)).by_idx(id).as_hex()


def strip_view(length: float, frames: Iterable[Frame]) -> dict[str, Any]:
    """The strip of thumbnails of a video of so many seconds."""
    thumbnails = [
        {"seconds": round(frame.seconds, 3), "url": jpeg_url(Image.fromarray(frame.pixels))} for frame in frames
    ]
    return {"length": length, "frames": thumbnails}


def frame_url(drawing: FrameDrawing, frame: Frame, tracked: TrackedFrame, most: tuple[int, int]) -> str:
    """A frame with what is followed in it, small enough for the canvas, as a data URL."""
    image = Image.fromarray(np.ascontiguousarray(drawing.draw(frame.pixels, tracked)))
    image.thumbnail(most, Image.Resampling.BILINEAR)
    return jpeg_url(image)


def in_words(tracks: list[Track]) -> str:
    """How many were followed."""
    return "1 thing was followed" if len(tracks) == 1 else f"{len(tracks)} things were followed"
