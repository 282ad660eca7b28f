import numpy as np

from groundingdino.editing.blending import blend


def test_blending_keeps_to_the_bit_what_is_not_covered():
    generator = np.random.default_rng(0)
    below, above = (generator.integers(0, 256, (30, 40, 3), np.uint8) for _ in range(2))
    alpha = generator.choice(np.array([0, 1, 128, 254, 255], np.uint8), (30, 40))
    mixed = blend(below, above, alpha)
    np.testing.assert_array_equal(mixed[alpha == 0], below[alpha == 0])
    np.testing.assert_array_equal(mixed[alpha == 255], above[alpha == 255])
    expected = (below.astype(float) * 127 + above.astype(float) * 128) / 255
    assert np.abs(mixed - expected)[alpha == 128].max() <= 0.5
