"""The components of the page."""

from typing import Any

import pytest

from groundingdino.page.layout import slider


@pytest.mark.parametrize(("sent", "means"), [(0.2, 0.2), (0, 0), (None, 0.7)])
def test_an_empty_number_means_the_slider_as_it_began(sent: Any, means: float):
    assert slider(0, 1, 0.7).preprocess(sent) == means


@pytest.mark.parametrize(("sent", "means"), [(0, 0.1), (0.5, 0.5), (35, 1), (-3, 0.1)])
def test_a_number_that_is_being_typed_means_the_nearest_there_is(sent: float, means: float):
    """On the way to 0.5 it is 0, and on that to 0.35 it may be 35."""
    assert slider(0.1, 1, 0.7).preprocess(sent) == means
