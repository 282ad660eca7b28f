"""Tracks on disk: what comes back, what a killed run leaves, and what is refused."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from groundingdino.tracking.track_file import Track, TrackFile, follow, tracks_of
from groundingdino.tracking.tracker import EmbeddedTracker, TrackerSettings
from groundingdino.tracking.video import Frame
from tests.tracking.moving import BOX, SIZE, detections, frame, objects, paint

ASKED = {"prompt": "cat", "thresholds": (0.3, None)}


@pytest.mark.parametrize("masks", [False, True])
def test_what_is_written_comes_back(tmp_path, masks):
    look = detections([("dog", (1, 2, 30, 40), 0.123456789)])
    look.xyxy += np.float32(1 / 3)
    written = [
        replace(frame(0, [BOX, [0, 0, 5, 5]], [3, 7], masks=masks), look=look, begun={3: (0, (1 / 3, 2.0, 3.0, 4.0))}),
        replace(frame(1), ignored=objects([BOX], [9], masks=masks), before={0: objects([BOX], [7], masks=masks)}),
    ]
    with TrackFile(tmp_path / "t.jsonl", ASKED, SIZE) as file:
        for one in written:
            file.add(one)
        read = list(file.read())
    assert [(one.index, one.seconds, one.begun) for one in read] == [
        (0, 0.0, {3: (0, (1 / 3, 2.0, 3.0, 4.0))}),
        (1, 0.1, {}),
    ]
    np.testing.assert_array_equal(read[0].look.xyxy, look.xyxy)  # to the last digit
    assert read[0].ignored is None
    assert read[0].before == {}
    assert read[1].before.keys() == {0}
    assert read[1].before[0].tracker_id.tolist() == [7]
    assert read[1].before[0].xyxy.tolist() == [BOX]
    assert read[1].ignored.tracker_id.tolist() == [9]
    assert read[1].ignored.xyxy.tolist() == [BOX]
    np.testing.assert_array_equal(read[0].look.confidence, look.confidence)
    assert read[0].look.class_id.tolist() == look.class_id.tolist()
    assert read[1].look is None
    np.testing.assert_allclose(read[0].objects.xyxy, [BOX, [0, 0, 5, 5]])
    assert read[0].objects.tracker_id.tolist() == [3, 7]
    assert read[0].objects.class_id.tolist() == [0, 1]
    assert len(read[1].objects) == 0
    if masks:
        np.testing.assert_array_equal(np.array(read[0].objects.mask), np.array(written[0].objects.mask))


class Killed(BaseException):
    pass


def run(path, frames, stop=None):
    """Follows a cat and a dog over frames; `stop` kills it at that look."""
    looks = itertools.count()

    def look(pixels):
        if next(looks) == stop:
            raise Killed
        return detections(things[int(pixels[0, 0, 0])])

    things = [
        [("cat", (3 * n, 30, 3 * n + 30, 60), 0.9), ("dog", (110 - 2 * n, 70, 140 - 2 * n, 100), 0.8)]
        for n in range(20)
    ]
    pixels = [paint(one) for one in things]
    for number, one in enumerate(pixels):
        one[0, 0, 0] = number
    shown = []
    with TrackFile(path, ASKED, SIZE) as file:
        given = (Frame(number, number / 10, one) for number, one in enumerate(pixels[:frames]))
        tracker = EmbeddedTracker(look, TrackerSettings(every=3))
        for _, tracked in follow(given, tracker, file):
            shown.append(tracked)
    return shown, next(looks)


def test_a_killed_run_goes_on_without_loss_or_doubles(tmp_path):
    whole, looks = run(tmp_path / "whole.jsonl", 20)
    assert looks == 7
    for stop in (0, 1, 3, 6):
        path = tmp_path / f"{stop}.jsonl"
        with pytest.raises(Killed):
            run(path, 20, stop)
        with path.open("ab") as file:
            file.write(b'{"frame": 99, "sec')  # what was being written
        again, left = run(path, 20)
        assert left == looks - stop
        assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
        assert [one.objects.tracker_id.tolist() for one in again] == [one.objects.tracker_id.tolist() for one in whole]
    assert run(tmp_path / "whole.jsonl", 20)[1] == 0


def test_it_knows_whether_it_is_finished(tmp_path):
    path = tmp_path / "t.jsonl"
    with TrackFile(path, ASKED, SIZE) as file:
        file.add(frame(0))
        assert (file.frames, file.finished) == (1, False)
    with TrackFile(path, ASKED, SIZE) as file:
        assert (file.frames, file.finished) == (1, False)
        file.end()
        file.end()
    with TrackFile(path, ASKED, SIZE) as file:
        assert (file.frames, file.finished) == (1, True)
        assert len(list(file.read())) == 1
    assert path.read_text().count("end") == 1


def test_another_question_is_refused_until_restarted(tmp_path):
    path = tmp_path / "t.jsonl"
    with TrackFile(path, ASKED, SIZE) as file:
        file.add(frame(0))
    with pytest.raises(ValueError, match=r"holds what was found with prompt \"cat\": give another --output, or --rest"):
        TrackFile(path, {**ASKED, "prompt": "dog"}, SIZE)
    with pytest.raises(ValueError, match=r"holds what was found with size \[160, 120\]"):
        TrackFile(path, ASKED, (1, 1))
    with TrackFile(path, {**ASKED, "prompt": "dog"}, SIZE, restart=True) as file:
        assert (file.frames, list(file.read())) == (0, [])


@pytest.mark.parametrize("text", ["words\n", '{"asked": 1}\n', "[1]\n", '{"else": {}}\n'])
def test_what_is_no_such_file_is_refused(tmp_path, text):
    path = tmp_path / "t.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"is damaged, or no journal|holds no tracks"):
        TrackFile(path, ASKED, SIZE)
    assert path.read_text() == text


def test_tracks_have_the_phrase_they_had_most():
    frames = [
        frame(0, [BOX], [4]),
        frame(1, [BOX, BOX], [4, 9], phrases=["dog", "fox"]),
        frame(2),
        frame(3, [BOX], [4]),
    ]
    assert tracks_of(frames) == [
        Track(4, "cat", 0, 3, 0.0, pytest.approx(0.3), 3, 0.8125),
        Track(9, "fox", 1, 1, 0.1, 0.1, 1, 0.8125),
    ]
    assert tracks_of([]) == []


def test_what_a_backward_pass_found_is_read_in_its_place(tmp_path):
    with TrackFile(tmp_path / "t.jsonl", {**ASKED, "backward": 2}, SIZE) as file:
        file.add(frame(0, [BOX], [1]))
        file.add(frame(1))
        assert [one.objects.tracker_id.tolist() for one in file.read()] == [[1], []]
        found = objects([[1, 2, 3, 4]], [2])
        file.add(replace(frame(2, [BOX], [2]), before={1: found, 0: found}))
        assert [one.objects.tracker_id.tolist() for one in file.read()] == [[1, 2], [2], [2]]
        assert [(one.id, one.first, one.frames) for one in tracks_of(file.read())] == [(1, 0, 1), (2, 0, 3)]
        assert file.path.read_text().count('"before"') == 1
