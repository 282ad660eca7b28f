"""How well things are followed through videos: clips of drawings that move, cross, leave and come back.

    python -m benchmarks.tracking [--clips 3] [--model embedded] [--every 4] [--seed N] [--kinds crossing cut]

Five things in 640 x 360 at 24 frames a second, and among the names looked for one that is not there. "switches"
are ids that a thing changed to; "late" are things that were not followed within a second of their first appearance; the
frames a second are those of the tracker with its detector, and those from a file to an annotated file.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.table import machine, print_table
from groundingdino.detection.detector import Detector
from groundingdino.tracking.drawing import FrameDrawing
from groundingdino.tracking.looks import look_by, start_score
from groundingdino.tracking.tracker import EmbeddedTracker, TrackerSettings
from groundingdino.tracking.video import Video
from groundingdino.tracking.writing import VideoWriter
from groundingdino.training.scenes.videos import HELD_OUT_SEED, KINDS, Clip, make_clip
from groundingdino.training.tracker.evaluate import Followed, follow_clip, prompt_of, scores_of

HEADER = ("clips", "IDF1", "MOTA", "HOTA", "switches", "crossings", "late", "median delay", "absent", "frames/s")


def row(name: str, clips: list[Followed]) -> tuple[str, ...]:
    """One line of the table."""
    scores = scores_of(clips)
    delays = [delay for clip in clips for delay in clip.delays]
    return (
        name,
        f"{scores.idf1:.3f}",
        f"{scores.mota:.3f}",
        f"{scores.hota:.3f}",
        f"{scores.switches}",
        f"{sum(clip.crossings for clip in clips)}",
        f"{sum(delay > 1 for delay in delays)} of {len(delays)}",
        f"{np.median(delays):.2f} s",
        f"{sum(clip.absent for clip in clips)}",
        f"{sum(clip.frames for clip in clips) / sum(clip.seconds for clip in clips):.1f}",
    )


def tracker_for(detector: Detector, clip: Clip, every: int) -> EmbeddedTracker:
    look = look_by(detector, " . ".join(prompt_of(clip)))
    return EmbeddedTracker(look, TrackerSettings(every, start_score(detector)))


def end_to_end(detector: Detector, clip: Clip, every: int) -> float:
    """Frames a second from a video's file to one with what is followed drawn on it."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "clip.mp4"), Path(folder, "out.mp4")
        with VideoWriter(source, clip.rate) as writer:
            for true in clip.frames():
                writer.add(true.pixels, true.seconds)
        video, tracker, count = Video(source), tracker_for(detector, clip, every), 0
        drawing = FrameDrawing(video.info.rate)
        start = time.perf_counter()
        with VideoWriter(target, video.info.rate) as writer:
            for frame in video.frames():
                writer.add(drawing.draw(frame.pixels, tracker.follow(frame)), frame.seconds)
                count += 1
        return count / (time.perf_counter() - start)


def main() -> None:
    """Command line, see the top of the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracking", description="Measure the tracker.")
    parser.add_argument("--clips", type=int, default=3, help="of each kind (%(default)s)")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--every", type=int, default=4, help="it looks at one frame of so many (%(default)s)")
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options = parser.parse_args()
    detector = Detector.from_pretrained(options.model)
    print(machine())
    rows, every = [], []
    for kind in options.kinds:
        clips = [make_clip(options.seed, index, kind) for index in range(options.clips)]
        followed = [follow_clip(clip, tracker_for(detector, clip, options.every)) for clip in clips]
        every += followed
        rows.append(row(kind, followed))
        print(*rows[-1], flush=True)
    rows.append(row("all", every))
    print_table("Tracking", HEADER, rows)
    speed = end_to_end(detector, make_clip(options.seed, 0, options.kinds[0]), options.every)
    print(f"\nFrom a file to an annotated file: {speed:.1f} frames a second.")


if __name__ == "__main__":
    main()
