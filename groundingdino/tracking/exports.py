"""Tracks as files: JSON with ids, MOTChallenge's text, YouTube-VIS, and masks as numbered pictures.

Frames come from a file and are written one at a time; of YouTube-VIS, which lists frames within tracks, run lengths are
in memory.
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image

from groundingdino.results.export import record
from groundingdino.tracking.track_file import Track, rows_of, tracks_of
from groundingdino.tracking.tracker import TrackedFrame
from groundingdino.tracking.video import VideoInfo

Frames = Callable[[], Iterable[TrackedFrame]]  # all of them, from the first, each time it is called


def write_json(file: TextIO, frames: Frames, info: VideoInfo, name: str, about: str) -> None:
    """`{"video", "about", "width", "height", "rate", "tracks": [...], "frames": [...]}`: see docs/tracking.md."""
    head = {"video": name, "about": about, "width": info.width, "height": info.height, "rate": round(info.rate, 4)}
    tracks = [
        {
            "id": track.id,
            "phrase": track.phrase,
            "score": round(track.score, 4),
            "first": track.first,
            "last": track.last,
            "seconds": [round(track.since, 4), round(track.until, 4)],
            "frames": track.frames,
        }
        for track in tracks_of(frames())
    ]
    file.write(json.dumps({**head, "tracks": tracks}, ensure_ascii=False)[:-1] + ', "frames": [')
    for number, frame in enumerate(frames()):
        objects = record(frame.objects, info.size, "")["objects"]
        for entry, (id, *_) in zip(objects, rows_of(frame.objects), strict=True):
            entry["id"] = id
        entry = {"frame": frame.index, "seconds": round(frame.seconds, 6), "objects": objects}
        file.write((",\n" if number else "\n") + json.dumps(entry, ensure_ascii=False))
    file.write("\n]}\n")


def write_mot(file: TextIO, frames: Frames) -> None:
    """A line for each box: frame from 1, id, left, top, width, height, score, and -1 thrice: what is not known."""
    for frame in frames():
        for (id, _, score), (x0, y0, x1, y1) in zip(rows_of(frame.objects), frame.objects.xyxy, strict=True):
            file.write(f"{frame.index + 1},{id},{x0:.2f},{y0:.2f},{x1 - x0:.2f},{y1 - y0:.2f},{score:.4f},-1,-1,-1\n")


def write_youtube_vis(file: TextIO, frames: Frames, info: VideoInfo, name: str, phrases: Sequence[str]) -> None:
    """COCO's file with an annotation for each track: lists of `bboxes` and `segmentations`, null where it is away."""
    tracks = tracks_of(frames())
    length, boxes, masks = 0, _lists(tracks), _lists(tracks)
    for frame in frames():
        length += 1
        for (id, *_), entry in zip(
            rows_of(frame.objects), record(frame.objects, info.size, "")["objects"], strict=True
        ):
            boxes[id][frame.index] = entry["box"]
            masks[id][frame.index] = entry.get("mask")
    categories = list(dict.fromkeys([*phrases, *(track.phrase for track in tracks)]))
    stem = Path(name).stem
    annotations = []
    for track in tracks:
        edges = [boxes[track.id].get(index) for index in range(length)]
        shapes = [masks[track.id].get(index) for index in range(length)]
        annotations.append(
            {
                "id": track.id,
                "video_id": 1,
                "category_id": categories.index(track.phrase) + 1,
                "iscrowd": 0,
                "score": round(track.score, 4),
                "width": info.width,
                "height": info.height,
                "length": length,
                "bboxes": [edge and [edge[0], edge[1], *_sides(edge)] for edge in edges],
                "areas": [edge and round(float(np.prod(_sides(edge))), 2) for edge in edges],
                "segmentations": shapes,
            }
        )
    videos = {
        "id": 1,
        "width": info.width,
        "height": info.height,
        "length": length,
        "file_names": [f"{stem}/{index:05}.jpg" for index in range(length)],
    }
    named = [{"id": number, "name": phrase} for number, phrase in enumerate(categories, 1)]
    json.dump({"info": {}, "videos": [videos], "categories": named, "annotations": annotations}, file)


def write_masks(path: Path, frames: Frames, info: VideoInfo) -> None:
    """A zip of a PNG for each frame, `000001.png` and so on, whose pixels are ids, 0 for nothing, with `tracks.json`.

    Raises:
        ValueError: there are no masks.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for frame in frames():
            numbers = np.zeros((info.height, info.width), np.uint16)
            objects = frame.objects
            if len(objects) and objects.mask is None:
                raise ValueError("The tracks have no masks: follow with masks first.")
            for index in reversed(range(len(objects))):
                assert objects.mask is not None
                assert objects.tracker_id is not None
                numbers[objects.mask[index]] = objects.tracker_id[index]
            buffer = io.BytesIO()
            Image.fromarray(numbers).save(buffer, "PNG")
            archive.writestr(f"{frame.index + 1:06}.png", buffer.getvalue())
        names = [{"id": track.id, "phrase": track.phrase} for track in tracks_of(frames())]
        archive.writestr("tracks.json", json.dumps(names, ensure_ascii=False, indent=2))


def _lists(tracks: Iterable[Track]) -> dict[int, dict[int, Any]]:
    return {track.id: {} for track in tracks}


def _sides(box: Sequence[float]) -> tuple[float, float]:
    return round(box[2] - box[0], 2), round(box[3] - box[1], 2)
