import numpy as np
import pytest

from groundingdino.tracking.motion import Camera, Motion

BOX = np.array([100.0, 50, 140, 80])
RIGHT = np.array([1, 0, 1, 0])


def test_what_moves_steadily_is_where_it_will_be():
    motion = Motion(BOX)
    for step in range(1, 7):
        motion.predict(0.2)
        motion.update(BOX + 20 * step * RIGHT)
    motion.predict(0.5)
    np.testing.assert_allclose(motion.box, BOX + 170 * RIGHT, atol=3)


def test_what_stands_still_stays_whatever_the_noise():
    motion, rng = Motion(BOX), np.random.default_rng(0)
    for _ in range(20):
        motion.predict(0.2)
        motion.update(BOX + rng.normal(0, 1, 4))
    np.testing.assert_allclose(motion.box, BOX, atol=2.5)


def test_what_was_seen_once_stays_there_and_keeps_its_size():
    motion = Motion(BOX)
    motion.predict(1)
    np.testing.assert_allclose(motion.box, BOX)


def test_what_is_missed_slows_down():
    motion = Motion(BOX)
    motion.predict(0.1)
    motion.update(BOX + 10 * RIGHT)
    speed = motion._mean[0, 1]
    motion.slow_down()
    assert speed > 0
    assert motion._mean[0, 1] == pytest.approx(0.8 * speed)


def test_a_box_never_turns_inside_out():
    motion = Motion(np.array([0, 0, 2.0, 2]))
    for step in range(5):
        motion.predict(1)
        motion.update(np.array([0, 0, 2 - step * 0.5, 2 - step * 0.5]))
    motion.predict(100)
    x0, y0, x1, y1 = motion.box
    assert x1 > x0
    assert y1 > y0


@pytest.fixture
def scene() -> np.ndarray:
    """(260, 460, 3): soft shapes."""
    grid = np.random.default_rng(5).integers(0, 256, (14, 24, 3), np.uint8)
    return np.kron(grid, np.ones((20, 20, 1), np.uint8))[:260, :460]


def test_a_shake_of_the_camera_is_measured(scene):
    camera = Camera()
    assert camera.see(scene[20:200, 40:360]) == ((0.0, 0.0), False)
    (right, down), cut = camera.see(scene[26:206, 30:350])
    assert (right, down) == pytest.approx((10, -6), abs=1)
    assert not cut


def test_another_scene_is_a_cut_and_a_lamp_is_none(scene):
    camera = Camera()
    camera.see(scene)
    moved, cut = camera.see(np.clip(scene.astype(int) + 15, 0, 255).astype(np.uint8))
    assert moved == pytest.approx((0, 0), abs=0.1)
    assert not cut
    assert camera.see(np.full_like(scene, 240)) == ((0.0, 0.0), True)
    assert not camera.see(np.full_like(scene, 240))[1]


def test_what_moves_by_itself_is_not_taken_for_the_camera():
    """A large thing of many edges before a plain wall, and before one of little contrast: only it moves."""
    rng = np.random.default_rng(5)
    thing = np.kron(rng.integers(0, 256, (9, 9, 3), np.uint8), np.ones((12, 12, 1), np.uint8))
    wall = np.kron(rng.integers(120, 136, (20, 36, 3), np.uint8), np.ones((10, 10, 1), np.uint8))
    for behind, known in ((np.full_like(wall, 128), True), (wall, True), (wall, False)):
        camera, shifts = Camera(), []
        for step in range(6):
            x = 60 + 9 * step
            picture = behind.copy()
            picture[40:148, x : x + 108] = thing
            shifts.append(camera.see(picture, np.array([[x, 40, x + 108, 148]]) if known else None)[0])
        np.testing.assert_allclose(shifts, 0, atol=0.5)


def test_a_shake_is_measured_beside_what_moves_by_itself(scene):
    camera = Camera()
    things = np.array([[100, 60, 180, 140]])
    one, other = scene[20:200, 40:360].copy(), scene[26:206, 30:350].copy()
    one[60:140, 100:180] = other[60:140, 110:190] = 250
    camera.see(one, things)
    assert camera.see(other, things)[0] == pytest.approx((10, -6), abs=1)
