"""The components of the page."""

import pytest

from groundingdino.page.layout import slider


@pytest.mark.parametrize(("sent", "means"), [(0.2, 0.2), (0, 0), (None, 0.7)])
def test_an_empty_number_means_the_slider_as_it_began(sent: float | None, means: float):
    assert slider(0, 1, 0.7).preprocess(sent) == means
