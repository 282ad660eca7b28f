"""MOTA, IDF1 and HOTA: worked out by hand, and as TrackEval 1.3 has them."""

import numpy as np
import pytest

from groundingdino.training.tracker.metrics import Moment, Scores, joined, moment, score


def still(frames: int, ids: list[list[int]], overlap: float = 1.0) -> list[Moment]:
    """One thing that stands still, followed by these ids in turn."""
    return [
        Moment(np.array([5]), np.array(found), np.full((1, len(found)), overlap))
        for found in (ids * frames)[:frames]
    ]  # fmt: skip


def test_what_is_followed_all_the_time_is_right():
    assert score(still(4, [[9]])) == Scores(mota=1, idf1=1, hota=pytest.approx(1), switches=0)


def test_of_less_overlap_hota_counts_less():
    scores = score(still(4, [[9]], 0.6))
    assert scores == Scores(1, 1, pytest.approx(12 / 19), 0)  # right at 0.05 to 0.6


def test_another_id_is_a_switch():
    scores = score([*still(4, [[1]]), *still(4, [[2]])])
    assert scores.switches == 1
    assert scores.mota == pytest.approx(1 - 1 / 8)
    assert scores.idf1 == pytest.approx(0.5)
    assert scores.hota == pytest.approx(np.sqrt(0.5))


def test_what_is_missed_and_what_is_invented():
    scores = score([*still(4, [[1]]), *still(4, [[]])])
    assert (scores.mota, scores.idf1) == (0.5, pytest.approx(2 / 3))
    invented = [Moment(np.empty(0, int), np.array([1]), np.empty((0, 1)))] * 4
    assert score([*still(4, [[1]]), *invented]).mota == 0


def test_nothing_at_all():
    assert score([]) == Scores(1.0, 0.0, 0.0, 0)
    assert score(still(3, [[]])).hota == 0


def test_what_hardly_shows_is_neither_missed_nor_wrong():
    boxes = np.array([[0, 0, 10, 10], [50, 0, 60, 10]], float)
    one = moment(
        np.array([1, 2]), boxes, np.array([True, False]), np.array([7, 8, 9]), boxes[[0, 1, 1]] + [[0], [0], [40]]
    )
    assert one.true_ids.tolist() == [1]
    assert one.found_ids.tolist() == [7, 9]
    np.testing.assert_allclose(one.overlap, [[1, 0]])


def test_videos_share_no_ids():
    both = joined([still(2, [[5]]), still(2, [[5]])])
    assert [(int(one.true_ids[0]), int(one.found_ids[0])) for one in both] == [(5, 5), (5, 5), (10, 10), (10, 10)]
    assert score(both).idf1 == 1


def noisy(seed: int) -> list[Moment]:
    """Four things that five ids follow badly; from the middle on each has another."""
    rng, moments = np.random.default_rng(seed), []
    for number in range(60):
        true, found = np.flatnonzero(rng.random(4) < 0.9), np.flatnonzero(rng.random(5) < 0.85)
        overlap = rng.uniform(0, 0.4, (len(true), len(found)))
        for row, thing in enumerate(true):
            for column, id in enumerate(found):
                if (thing + (number > 35)) % 5 == id:
                    overlap[row, column] = rng.uniform(0.45, 1)
        moments.append(Moment(true, found, overlap))
    return moments


@pytest.mark.parametrize(
    ("seed", "hota", "mota", "idf1", "switches"),
    [
        (0, 0.32445802065654733, 0.3333333333333333, 0.45493562231759654, 4),
        (1, 0.3220123655074789, 0.37850467289719625, 0.42643923240938164, 4),
    ],
)
def test_the_numbers_are_those_of_trackeval(seed, hota, mota, idf1, switches):
    assert score(noisy(seed)) == Scores(
        pytest.approx(mota, abs=1e-9), pytest.approx(idf1, abs=1e-9), pytest.approx(hota, abs=1e-9), switches
    )
