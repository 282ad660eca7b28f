"""The tracker on clips whose truth is known, by a detector that knows it and errs."""

import numpy as np
import pytest

from groundingdino.detection.objects import no_objects
from groundingdino.tracking.tracker import EmbeddedTracker, TrackerSettings
from groundingdino.training.scenes.videos import KINDS, TrueFrame, make_clip
from groundingdino.training.tracker.evaluate import follow_clip, noisy_looks, prompt_of, scores_of


def follow(kind: str, settings: TrackerSettings, **errors: float):
    clip = make_clip(11, 0, kind, (320, 180), seconds=5, rate=12, actors=4)
    current: list[TrueFrame] = []

    class Told(EmbeddedTracker):
        def follow(self, frame, look=None):
            current[:] = [clip.frame(frame.seconds)]
            return super().follow(frame, look)

    looks = noisy_looks(lambda: current[0], prompt_of(clip), np.random.default_rng(0), **errors)
    return follow_clip(clip, Told(looks, settings))


@pytest.mark.parametrize("kind", KINDS)
def test_who_sees_well_follows_well(kind):
    followed = follow(kind, TrackerSettings(every=2), missed=0.05, noise=0.02, invented=0)
    scores = scores_of([followed])
    assert scores.idf1 > 0.85
    assert max(followed.delays) < 1
    assert followed.frames == 60
    assert followed.absent == 0
    assert scores.switches <= (1 if followed.crossings else 0)


def test_who_sees_nothing_follows_nothing():
    followed = follow("moving", TrackerSettings(every=2), missed=1, invented=0)
    assert scores_of([followed]).idf1 == 0
    assert set(followed.delays) == {np.inf}


def test_what_is_invented_is_counted():
    clip = make_clip(11, 0, "moving", (320, 180), seconds=1, rate=12, actors=2)
    always = np.array([[5, 5, 60, 60]], np.float32)

    def look(_):
        found = no_objects()
        found.xyxy, found.confidence, found.class_id = always, np.ones(1, np.float32), np.zeros(1, int)
        found.data["class_name"] = np.array([clip.absent])
        return found

    assert follow_clip(clip, EmbeddedTracker(look, TrackerSettings(every=1))).absent == 11
