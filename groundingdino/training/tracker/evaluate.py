"""Follow what is in synthetic clips and compare with their truth."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import supervision as sv

from groundingdino.detection.objects import labels_of
from groundingdino.tracking.tracker import Tracker
from groundingdino.tracking.video import Frame
from groundingdino.training.scenes.videos import Clip, TrueFrame
from groundingdino.training.tracker.metrics import Moment, Scores, joined, moment, score

FOUND = 0.5  # overlap from which a thing is found


@dataclass(frozen=True, eq=False)
class Followed:
    """What came of one clip.

    Attributes:
        delays: Seconds until each thing that is there was followed; inf where it never was.
        absent: Boxes of the name that is not there.
        seconds: That the tracker took.
    """

    moments: list[Moment] = field(repr=False)
    crossings: int
    delays: list[float]
    absent: int
    frames: int
    seconds: float


def prompt_of(clip: Clip) -> list[str]:
    """What is looked for in a clip: what is in it, and a name that is not."""
    return [*clip.phrases, clip.absent]


def follow_clip(clip: Clip, tracker: Tracker) -> Followed:
    """A clip from its first frame to its last."""
    moments, since, found, absent, took = [], dict[int, float](), dict[int, float](), 0, 0.0
    for index, frame in enumerate(clip.frames()):
        start = time.perf_counter()
        objects = tracker.follow(Frame(index, frame.seconds, frame.pixels)).objects
        took += time.perf_counter() - start
        assert objects.tracker_id is not None
        absent += labels_of(objects).count(clip.absent)
        one = moment(frame.ids, frame.boxes, frame.counts, objects.tracker_id, objects.xyxy)
        moments.append(one)
        for row, thing in enumerate(one.true_ids.tolist()):
            since.setdefault(thing, frame.seconds)
            if one.overlap[row].max(initial=0) >= FOUND:
                found.setdefault(thing, frame.seconds)
    delays = [found.get(thing, np.inf) - begun for thing, begun in since.items()]
    return Followed(moments, clip.crossings, delays, absent, len(moments), took)


def scores_of(clips: Iterable[Followed]) -> Scores:
    """The scores of several clips together."""
    return score(joined(clip.moments for clip in clips))


def noisy_looks(
    current: Callable[[], TrueFrame],
    phrases: Sequence[str],
    rng: np.random.Generator,
    missed: float = 0.1,
    noise: float = 0.03,
    invented: float = 0.05,
) -> Callable[[np.ndarray], sv.Detections]:
    """A detector that knows the truth and makes mistakes, for tests of a tracker without a model.

    Args:
        current: Gives the frame that is looked at.
        phrases: What is looked for; class ids are the indices.
        missed: Share of things that it overlooks.
        noise: Standard deviation of its edges, as a share of a box's longer side.
        invented: Share of looks with a box where nothing is.
    """

    def look(pixels: np.ndarray) -> sv.Detections:
        frame = current()
        rows = []
        for box, phrase in zip(frame.boxes[frame.counts], np.array(frame.phrases)[frame.counts], strict=True):
            if rng.random() >= missed:
                errors = rng.normal(0, noise * max(box[2:] - box[:2]), 4)
                rows.append((box + errors, float(rng.uniform(0.6, 1)), phrases.index(str(phrase))))
        if rng.random() < invented:
            height, width = pixels.shape[:2]
            corner = rng.uniform(0, (width * 0.8, height * 0.7))
            box = np.concatenate([corner, corner + 0.2 * np.array([width, height])])
            rows.append((box, 0.7, int(rng.integers(len(phrases)))))
        return sv.Detections(
            np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
            confidence=np.array([row[1] for row in rows], np.float32),
            class_id=np.array([row[2] for row in rows], int),
            data={"class_name": np.array([phrases[row[2]] for row in rows], dtype=str)},
        )

    return look
