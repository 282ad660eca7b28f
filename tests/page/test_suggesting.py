"""What is suggested for a picture that nobody has described."""

from pathlib import Path

import gradio as gr
import pytest
from PIL import Image

from groundingdino.artwork.names import load_names
from groundingdino.detection.available_models import ModelCard
from groundingdino.detection.florence2 import NAMERS
from groundingdino.page.jobs import Jobs
from groundingdino.page.model_cache import ModelCache, NotDownloaded
from groundingdino.page.picker import Row, SecondPicker
from groundingdino.page.session import Session
from groundingdino.page.studio import DetectorLike, Studio
from groundingdino.page.suggesting import MOST, Suggestions, everyday_names, suggest
from tests.oracle import Objects, Oracle
from tests.page.test_handlers import CARDS
from tests.scissors import Scissors

SIZE = (320, 240)
LEFT, RIGHT = (10, 20, 110, 120), (200, 20, 300, 120)


@pytest.fixture
def picture(tmp_path: Path) -> str:
    Image.new("RGB", SIZE, "navy").save(tmp_path / "picture.png")
    return str(tmp_path / "picture.png")


def studio_of(objects: Objects, device: str | None = "cpu", **others: Oracle) -> Studio:
    models = {"embedded": Oracle({SIZE: objects})} | others
    detectors: ModelCache[DetectorLike, ModelCard] = ModelCache(
        CARDS, lambda name, **_: models[name], lambda _: True, device
    )
    return Studio(detectors, ModelCache({}, lambda *_, **__: Scissors({}), lambda _: True))


def test_names_come_by_how_sure_they_are_each_once(picture: str):
    objects: Objects = {"cat": [(0.6, LEFT)], "dog": [(0.5, RIGHT), (0.9, (0, 130, 90, 230))], "sofa": [(0.1, RIGHT)]}
    assert suggest(studio_of(objects), picture, "embedded") == ["dog", "cat"]


def test_two_names_of_one_object_are_one_suggestion(picture: str):
    objects: Objects = {"cat": [(0.6, LEFT)], "dog": [(0.7, (12, 22, 112, 122))]}
    assert suggest(studio_of(objects), picture, "embedded") == ["dog"]


def test_there_are_only_so_many(picture: str):
    names = everyday_names(of_photographs=True)[: MOST + 3]
    objects: Objects = {name: [(0.9, (25 * index, 0, 25 * index + 20, 20))] for index, name in enumerate(names)}
    assert len(suggest(studio_of(objects), picture, "embedded")) == MOST


class Florence:
    """Stands in for Florence-2."""

    def names(self, image: Image.Image, *, stop: object = None) -> list[str]:
        assert image.size == SIZE
        assert stop is None or callable(stop)
        return [f"thing {number}" for number in range(MOST + 2)]


def test_a_namer_that_is_chosen_is_asked(picture: str):
    here: list[str] = []
    studio = studio_of({"cat": [(0.6, LEFT)]})

    def load(name: str, **_: object) -> Florence:
        here.append(name)
        return Florence()

    studio.namers = ModelCache(NAMERS, load, lambda _: bool(here))
    picker = SecondPicker(studio.namers, "The detector")
    assert [name for _, name in picker.choices()] == ["none", "florence-2"]
    assert picker.choices()[0][0] == "The detector"
    assert picker.first() == "none"
    assert suggest(studio, picture, "embedded") == ["cat"]
    told = "^Florence-2 is not on this machine yet: choose it in the page and press Download"
    with pytest.raises(NotDownloaded, match=told):
        suggest(studio, picture, "embedded", namer="florence-2")
    *_, (about, button, _, ready) = picker.download(Row(), "florence-2", 0)
    assert ("MIT" in about, button["visible"], ready) == (True, False, 2)
    assert picker.first() == "florence-2"
    assert suggest(studio, picture, "embedded", namer="florence-2") == [f"thing {number}" for number in range(MOST)]
    *_, (chips, _) = Suggestions(studio, Jobs(1), {}).on_request(Session(), picture, "embedded", "florence-2")
    assert chips["samples"][0] == ["thing 0"]


def test_on_a_processor_the_quick_model_is_asked(picture: str):
    large = Oracle({SIZE: {"dog": [(0.9, LEFT)]}})
    assert suggest(studio_of({"cat": [(0.6, LEFT)]}, large=large), picture, "large") == ["cat"]
    assert suggest(studio_of({"cat": [(0.6, LEFT)]}, device="cuda", large=large), picture, "large") == ["dog"]


def test_names_are_those_that_a_model_knows():
    assert len(everyday_names(of_photographs=True)) == 80
    assert {"person", "traffic light", "toothbrush"} <= {*everyday_names(of_photographs=True)}
    assert everyday_names(of_photographs=False) == tuple(name.name for name in load_names())


def test_an_example_has_its_own_phrases_and_another_picture_a_button_that_looks(picture: str):
    suggestions = Suggestions(studio_of({"cat": [(0.6, LEFT)]}), Jobs(1), {"example.png": "car . bus"})
    session = Session()
    chips, button = suggestions.at_once(session, "example.png")
    assert (chips["samples"], chips["visible"], button["visible"]) == ([["car"], ["bus"]], True, False)
    chips, button = suggestions.at_once(session, picture)
    assert (chips["samples"], chips["visible"], button["visible"]) == ([], False, True)
    chips, button = suggestions.at_once(session, None)
    assert (chips["visible"], button["visible"]) == (True, False), "its place is kept"
    *_, (chips, button) = suggestions.on_request(session, picture, "embedded")
    assert (chips["samples"], chips["visible"], button["visible"]) == ([["cat"]], True, False)


def test_that_nothing_is_found_is_told(picture: str):
    *_, (chips, button) = Suggestions(studio_of({}), Jobs(1), {}).on_request(Session(), picture, "embedded")
    assert (chips["visible"], button["visible"]) == (False, True)
    assert button["value"] == "Nothing that the model knows"


def test_what_is_no_picture_is_told(tmp_path: Path):
    (tmp_path / "text.png").write_text("no picture")
    *_, (_, button) = Suggestions(studio_of({}), Jobs(1), {}).on_request(
        Session(), str(tmp_path / "text.png"), "embedded"
    )
    assert "picture" in button["value"]


def test_whoever_leaves_stops_the_look(picture: str):
    studio = studio_of({}, embedded=(oracle := Oracle({}, seconds=30)))
    looking = Suggestions(studio, jobs := Jobs(1), {}).on_request(Session(), picture, "embedded")
    next(looking)
    next(looking)
    looking.close()
    jobs.run(lambda: None)
    assert oracle._groundings == set()


def test_a_look_at_another_picture_is_given_up_and_one_at_the_same_goes_on(picture: str):
    studio = studio_of({}, embedded=(oracle := Oracle({}, seconds=30)))
    suggestions, session = Suggestions(studio, jobs := Jobs(1), {}), Session()
    looking = suggestions.on_request(session, picture, "embedded")
    next(looking)
    next(looking)
    chips, button = suggestions.at_once(session, picture)
    assert (chips, button) == (gr.skip(), gr.skip()), "the button says that it looks, still"
    next(looking)
    suggestions.at_once(session, "another.png")
    assert list(looking) == []
    jobs.run(lambda: None)
    assert oracle._groundings == set()
