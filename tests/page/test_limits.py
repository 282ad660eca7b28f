"""Bounds of one request."""

from time import sleep

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from groundingdino.editing.edits import Edit, Sampling
from groundingdino.editing.tasks import Replace
from groundingdino.page.limits import Limits
from groundingdino.page.model_cache import ModelCache
from groundingdino.page.studio import Studio
from groundingdino.runtime.interruption import StopCheck, Stopped, raise_if
from tests.dauber import INPAINTER, Dauber
from tests.oracle import CARD, Oracle
from tests.scissors import SEGMENTER, Scissors


@pytest.mark.parametrize(
    ("sampling", "steps"),
    [(Sampling(), 8), (Sampling(8), 8), (Sampling(3), 3), (Sampling(few_steps="lcm-sd15"), None)],
)
def test_a_model_takes_no_more_steps_than_it_may(sampling, steps):
    assert Limits(steps=8).heeded(sampling, suited=30).steps == steps


def test_a_model_that_takes_few_steps_takes_its_own():
    assert Limits(steps=8).heeded(Sampling(), suited=4) == Sampling()


@pytest.mark.parametrize(
    ("sampling", "message"),
    [(Sampling(9), "at most 8 steps: ask for fewer"), (Sampling(candidates=3), "at most 2 candidates: ask for fewer")],
)
def test_what_is_too_much_is_refused(sampling, message):
    with pytest.raises(ValueError, match=message):
        Limits(steps=8, candidates=2).heeded(sampling, suited=30)


def wait(limits: Limits, stop: StopCheck | None) -> None:
    with limits.in_time(stop) as given_up:
        for _ in range(1000):
            raise_if(given_up)
            sleep(0.01)


def test_what_takes_too_long_is_given_up():
    with pytest.raises(ValueError, match="longer than 0 seconds and was given up"):
        wait(Limits(seconds=0.05), None)


def test_who_gives_up_is_not_told_that_it_took_too_long():
    with pytest.raises(Stopped):
        wait(Limits(seconds=60), lambda: True)


def studio_with(limits: Limits) -> tuple[Studio, Dauber]:
    painter = Dauber()
    return Studio(
        ModelCache({"embedded": CARD}, lambda *_, **__: Oracle({}), lambda _: True),
        ModelCache({"embedded": SEGMENTER}, lambda *_, **__: Scissors(), lambda _: True),
        ModelCache({"embedded": INPAINTER}, lambda *_, **__: painter, lambda _: True),
        limits=limits,
    ), painter


def test_a_studio_paints_within_its_limits():
    studio, _ = studio_with(Limits(steps=2))
    image = Image.new("RGB", (64, 64), "teal")
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 20:40, 20:40] = True
    objects = sv.Detections(
        np.array([[20, 20, 40, 40]], np.float32),
        mask,
        np.array([1.0]),
        np.array([0]),
        data={"class_name": np.array(["cat"])},
    )
    edited = studio.edit(image, objects, Edit(Replace("red")))
    assert edited.recipe_of(0)["steps"] == min(2, INPAINTER.steps)
    with pytest.raises(ValueError, match="at most 2 steps"):
        studio.edit(image, objects, Edit(Replace("red"), sampling=Sampling(3)))


def test_a_studio_opens_no_larger_pictures(picture):
    studio, _ = studio_with(Limits(pixels=320 * 240 - 1))
    for read in (studio.image, studio.editable):
        with pytest.raises(ValueError, match=r"320 x 240 pixels, more than 0.076799 megapixels; scale it down first"):
            read(picture)
    studio, _ = studio_with(Limits(pixels=320 * 240))
    assert studio.image(picture).size == (320, 240)
