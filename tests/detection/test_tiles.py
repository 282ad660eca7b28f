from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from groundingdino.detection.tiles import CUT, OVERLAP, Tile, tiles_of, with_tiles
from groundingdino.model.config import EMBEDDED, SWIN_T
from tests.detection.test_phrases import make

SIZE = (200, 100)
LEFT, RIGHT = Tile(0, 0, 115, 100), Tile(85, 0, 200, 100)


@pytest.mark.parametrize(
    ("size", "columns", "rows"),
    [
        ((640, 480), 1, 1),
        ((1333, 800), 1, 1),
        ((1600, 1000), 1, 1),  # the model sees 4 pixels for 5
        ((1600, 1200), 2, 1),
        ((4000, 1000), 3, 1),
        ((1000, 4000), 1, 3),
        ((4000, 3000), 2, 3),  # the model takes 5 : 3, so a third column would show no more
        ((5000, 3000), 3, 3),
        ((20_000, 12_000), 3, 3),  # never more
    ],
)
def test_there_are_as_many_tiles_as_show_a_picture_as_large_as_it_is(size, columns, rows):
    tiles = tiles_of(size, SWIN_T)
    assert len(tiles) == (columns * rows if columns * rows > 1 else 0)
    assert len({tile.left for tile in tiles}) <= columns
    assert len({tile.top for tile in tiles}) <= rows
    smaller = replace(SWIN_T, short_side=400, long_side=666)
    assert len(tiles_of(size, smaller)) >= len(tiles)


@pytest.mark.parametrize("size", [(3000, 2000), (1201, 2403), (5000, 700), (901, 907), (1, 5000)])
def test_tiles_cover_the_picture_and_overlap(size):
    covered = np.zeros(size[::-1], int)
    tiles = tiles_of(size, EMBEDDED)
    for tile in tiles:
        covered[tile.top : tile.bottom, tile.left : tile.right] += 1
        assert tile.size == tiles[0].size, "so that they can share a pass"
    assert covered.min() >= 1
    rows = [tile for tile in tiles if tile.top == 0]
    for one, next in pairwise(rows):
        assert (one.right - next.left) / one.size[0] == pytest.approx(OVERLAP, abs=2 / one.size[0])


def test_boxes_of_tiles_come_out_in_the_pictures_pixels_and_cut_ones_not_at_all():
    beside = CUT * 115
    whole = make("cat", [[0.4]], [[10, 10, 190, 90]])
    left = make("cat", [[0.9], [0.8], [0.7]], [[0, 0, 50, 100], [60, 5, 115 - beside / 2, 50], [60, 5, 112, 50]])
    right = make("cat", [[0.95], [0.6], [0.5]], [[0, 0, 115, 100], [20, 0, 115, 90], [beside * 2, 5, 40, 50]])
    joined = with_tiles(whole, [(LEFT, left), (RIGHT, right)], SIZE)
    expected = [[10, 10, 190, 90], [0, 0, 50, 100], [60, 5, 112, 50], [105, 0, 200, 90], [85 + 2 * beside, 5, 125, 50]]
    np.testing.assert_allclose(joined.boxes, expected, atol=1e-5)
    np.testing.assert_allclose(joined.scores[:, 0], [0.4, 0.9, 0.7, 0.6, 0.5])
    assert joined.sources.tolist() == [0, 1, 1, 2, 2]
    assert joined.passes == 3
    assert joined.notes == ("The whole picture and 2 x 1 tiles of it were looked at.",)
    for array in (joined.boxes, joined.scores, joined.sources):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_what_two_passes_see_is_one_object_at_every_threshold():
    whole = make("cat . dog", [[0.5, 0], [0.45, 0]], [[90, 10, 110, 30], [90, 10, 110, 27]])
    left = make("cat . dog", [[0.8, 0], [0, 0.9]], [[90, 10, 110, 28], [90, 10, 110, 30]])
    right = make("cat . dog", [[0.7, 0], [0.6, 0]], [[5, 10, 25, 29], [50, 10, 70, 30]])
    joined = with_tiles(whole, [(LEFT, left), (RIGHT, right)], SIZE)

    def found(**options):
        detections = joined.detections(**options)
        return [(name, *map(round, box)) for name, box in zip(detections["class_name"], detections.xyxy, strict=True)]

    dog, cat, other = ("dog", 90, 10, 110, 30), ("cat", 90, 10, 110, 28), ("cat", 135, 10, 155, 30)
    assert found(box_threshold=0) == [dog, cat, other]
    assert found(box_threshold=0, nms_threshold=None) == [dog, cat, other]
    assert found(box_threshold=0.65) == [dog, cat]
    assert found(box_threshold=0, best_only=True) == [dog, cat]
    assert found(box_threshold=0, max_detections=2) == [dog, cat]


def test_a_sentence_keeps_the_scores_of_its_nouns():
    whole = replace(make("cat", [[0.5]]), noun_scores=np.array([[0.1]], np.float32))
    left = replace(make("cat", [[0.6]], [[20, 20, 40, 40]]), noun_scores=np.array([[0.3]], np.float32))
    joined = with_tiles(whole, [(LEFT, left)], SIZE)
    np.testing.assert_allclose(joined.noun_scores, [[0.1], [0.3]])
    assert joined.detections(text_threshold=0.2).xyxy.tolist() == [[20, 20, 40, 40]]
