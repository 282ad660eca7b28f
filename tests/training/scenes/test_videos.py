"""Synthetic clips: the same each time, and true."""

import hashlib

import numpy as np
import pytest

from groundingdino.training.scenes.videos import KINDS, make_clip

SMALL = {"size": (320, 180), "seconds": 4.0, "rate": 8.0}


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_is_the_same_each_time_and_its_boxes_hold_what_is_seen(kind):
    digests = []
    for _ in range(2):
        clip = make_clip(3, 1, kind, **SMALL)
        frames = [clip.frame(at) for at in (0.0, 1.3, 3.9)]
        digests.append(hashlib.sha256(b"".join(frame.pixels.tobytes() for frame in frames)).hexdigest())
        for frame in frames:
            assert frame.pixels.shape == (180, 320, 3)
            assert len(frame.ids) == len(frame.boxes) == len(frame.counts) == len(frame.phrases) == len(set(frame.ids))
            assert (frame.boxes[:, 2:] > frame.boxes[:, :2]).all()
            assert set(frame.phrases) <= set(clip.phrases)
    assert digests[0] == digests[1]
    assert clip.absent not in clip.phrases
    assert len(list(clip.frames())) == 32


def ids(clip, at: float) -> set[int]:
    frame = clip.frame(at)
    return set(frame.ids[frame.counts].tolist())


def test_things_leave_and_come_back_with_their_ids():
    clip = make_clip(3, 0, "leaving", **SMALL)
    assert ids(clip, 0.2) == {1, 2, 3, 4, 5}
    assert ids(clip, 2.2) == {2, 4}
    assert ids(clip, 3.6) == {1, 2, 3, 4, 5}


def test_new_things_come_in_the_middle():
    clip = make_clip(3, 0, "new", **SMALL)
    assert [ids(clip, at) for at in (1.3, 1.5, 2.3)] == [{1, 3, 5}, {1, 2, 3, 5}, {1, 2, 3, 4, 5}]


def test_behind_a_cut_is_another_scene():
    clip = make_clip(3, 0, "cut", **SMALL)
    assert ids(clip, 1.9) == {1, 2, 3, 4, 5}
    assert ids(clip, 2.1) == {6, 7, 8, 9, 10}
    assert np.abs(clip.frame(1.9).pixels.astype(int) - clip.frame(2.1).pixels).mean() > 20


def test_things_cross_as_often_as_it_says():
    clip = make_clip(3, 0, "crossing", **SMALL)
    middles = np.array([[actor.path(at)[0] for actor in clip.actors[:4]] for at in np.linspace(0, 3.9, 40)])
    passed = sum(int((np.diff(np.sign(middles[:, one] - middles[:, one + 1])) != 0).sum()) for one in (0, 2))
    assert passed == clip.crossings == 4
    assert clip.actors[0].phrase == clip.actors[1].phrase


def test_a_shaking_camera_moves_all():
    clip = make_clip(3, 0, "shake", **SMALL)
    assert clip.shake is not None
    ways = np.array([clip.shake(at) for at in np.linspace(0, 4, 60)])
    assert 4 < np.abs(ways).max() < 20
    assert make_clip(3, 0, "moving", **SMALL).shake is None


def test_there_is_no_other_kind():
    with pytest.raises(ValueError, match="should be one of moving, crossing, leaving, new, cut, shake, but is 'still'"):
        make_clip(1, 0, "still")
