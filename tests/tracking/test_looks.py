"""Looks by the detector that comes along, and masks of what is followed."""

import numpy as np
import pytest

from groundingdino.detection.detector import Detector
from groundingdino.tracking.looks import CONTINUES, cut_out, look_by, start_score
from groundingdino.tracking.tracker import EmbeddedTracker, TrackerSettings
from groundingdino.training.scenes.videos import HELD_OUT_SEED, make_clip
from groundingdino.training.tracker.evaluate import follow_clip, prompt_of, scores_of
from tests.scissors import Scissors
from tests.tiny_models import save_detector
from tests.tracking.test_track_file import frame

NOISE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Detector:
    return Detector.from_pretrained(save_detector(tmp_path_factory.mktemp("model") / "tiny.safetensors"), "cpu")


def test_a_look_finds_what_the_detector_finds_and_what_is_weaker(tiny):
    scores = np.sort(tiny(NOISE, "cat . dog", box_threshold=0, nms_threshold=None).confidence)
    threshold = float(scores[-1]) * 0.999
    thresholds = {"box_threshold": threshold, "nms_threshold": None}
    seen = look_by(tiny, "cat . dog", thresholds)(NOISE)
    assert len(seen) == (scores > CONTINUES * threshold).sum() > 1
    assert start_score(tiny, thresholds) == threshold
    assert start_score(tiny) == tiny.card.box_threshold


def test_each_phrase_has_a_pass_of_its_own_and_notes_are_told(tiny):
    told = []
    thresholds = {"box_threshold": 0, "nms_threshold": None}
    seen = look_by(tiny, "cat . кошка", thresholds, each=True, told=told.append)(NOISE)
    assert len(seen) == 2 * len(look_by(tiny, "cat", thresholds)(NOISE))
    large = np.tile(NOISE, (4, 4, 1))
    whole, tiled = look_by(tiny, "cat", thresholds), look_by(tiny, "cat", thresholds, told=told.append, tiles=True)
    assert len(tiled(large)) > len(whole(large))
    assert "tiles of it were looked at" in told[-1][0]
    assert any("кошка" in note for notes in told for note in notes)


def test_what_is_followed_is_cut_out_in_its_box():
    followed = frame(0, [[20, 40, 60, 90], [0, 0, 10, 10]], [3, 9])
    cut = cut_out(Scissors(), np.zeros((120, 160, 3), np.uint8), followed)
    assert cut.objects.tracker_id.tolist() == [3, 9]
    np.testing.assert_array_equal(cut.objects.xyxy, followed.objects.xyxy)
    masks = np.array(cut.objects.mask)
    assert masks.shape == (2, 120, 160)
    assert masks[0, 65, 40]
    assert not masks[0, :38].any()
    assert cut_out(Scissors(), NOISE, frame(1)).objects.mask is None


def test_the_detector_that_comes_along_follows_what_is_new_and_nothing_that_is_not_there():
    detector = Detector.from_pretrained("embedded", "cpu")
    clip = make_clip(HELD_OUT_SEED, 0, "new", (320, 180), seconds=1.5, rate=12, actors=3)
    look = look_by(detector, " . ".join(prompt_of(clip)))
    followed = follow_clip(clip, EmbeddedTracker(look, TrackerSettings(3, start_score(detector))))
    assert followed.absent == 0
    assert max(followed.delays) <= 1
    assert scores_of([followed]).idf1 > 0.7
