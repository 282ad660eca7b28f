import numpy as np
import pytest
from PIL import Image

from groundingdino.training.scenes.canvas import Canvas, Shadow


def square(side, colour=(200, 10, 10), alpha=255):
    return Image.new("RGBA", (side, side), (*colour, alpha))


@pytest.fixture
def canvas():
    return Canvas(Image.new("RGB", (40, 30), (255, 255, 255)))


def test_boxes_are_of_the_visible_part(canvas):
    canvas.put(square(10), 5, 5)
    canvas.put(square(10), 11, 2)
    assert canvas.boxes().tolist() == [[5, 5, 15, 15], [11, 2, 21, 12]]
    canvas.put(square(12), 4, 3)  # covers the first from above
    assert canvas.boxes().tolist()[0] == [0, 0, 0, 0]
    assert canvas.boxes().dtype == np.float32


def test_an_object_over_the_edge_is_cut(canvas):
    canvas.put(square(10), -4, 25)
    canvas.put(square(10), 100, 100)
    assert canvas.boxes().tolist() == [[0, 25, 6, 30], [0, 0, 0, 0]]


def test_faint_pixels_belong_to_nobody(canvas):
    canvas.put(square(10, alpha=127), 0, 0)
    assert canvas.owners.max() == 0
    assert canvas.pixels[0, 0].tolist() == [228, 133, 133]


def test_room_leaves_everything_visible(canvas):
    assert canvas.has_room(square(10), 10, 10)
    canvas.put(square(10), 10, 10)
    assert canvas.has_room(square(10), 16, 10)  # 4 of 10 columns covered
    assert not canvas.has_room(square(10), 15, 10)
    assert canvas.has_room(square(10), 32, 0)  # 2 of 10 columns outside
    assert not canvas.has_room(square(10), 33, 0)
    assert not canvas.has_room(square(10, alpha=0), 0, 0)


def test_room_counts_what_was_covered_before(canvas):
    canvas.put(square(10), 10, 10)
    canvas.put(square(10), 17, 10)  # 3 columns of the first
    assert canvas.has_room(square(10), 1, 10)  # one more
    assert not canvas.has_room(square(10), 2, 10)


def test_a_shadow_darkens_around_the_object_only(canvas):
    canvas.put(square(10), 10, 10, Shadow(blur=0.1, right=0.0, down=0.2, strength=0.5))
    assert canvas.pixels[10, 10].tolist() == [200, 10, 10]
    assert canvas.pixels[21, 15].max() < 200
    assert canvas.pixels[0, 0].tolist() == [255, 255, 255]
    assert (canvas.owners > 0).sum() == 100
