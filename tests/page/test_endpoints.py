"""The endpoints, above all `/inpaint`, called without a server; `test_app` calls them over one."""

import inspect
import io
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks

from groundingdino.editing.few_steps import FEW_STEPS
from groundingdino.files.assets import ASSETS
from groundingdino.page import endpoints as answering
from groundingdino.page import jobs
from groundingdino.page.endpoints import Endpoints
from groundingdino.page.model_cache import ModelCache
from groundingdino.page.studio import OFF, NoFewSteps, Studio
from groundingdino.runtime.interruption import StopCheck
from groundingdino.segmentation.available_models import EMBEDDED_SEGMENTER, SEGMENTERS
from tests.dauber import INPAINTER, Dauber
from tests.oracle import CARD, Oracle
from tests.scissors import SEGMENTER, Scissors

SIZE = (320, 240)
CAT, OTHER_CAT = (10, 20, 110, 120), (200, 20, 300, 120)
TEAL = (0, 128, 128)
DEAF = ("strength", "negative_prompt")


@pytest.fixture
def dauber() -> Dauber:
    return Dauber()


@pytest.fixture
def oracle() -> Oracle:
    return Oracle({SIZE: {"cat": [(0.9, CAT), (0.6, OTHER_CAT)]}})


@pytest.fixture
def segmenters() -> list[str]:
    """Names of those that were loaded."""
    return []


@pytest.fixture
def endpoints(dauber: Dauber, oracle: Oracle, segmenters: list[str], monkeypatch: pytest.MonkeyPatch) -> Endpoints:
    """They hand out pictures, not files of them."""
    monkeypatch.setattr(answering, "write_file", lambda data, _: Image.open(io.BytesIO(data)))

    def load_segmenter(name: str, **_: object) -> Scissors:
        segmenters.append(name)
        return Scissors()

    one_by_one = replace(INPAINTER, name="boxes", one_by_one=True, boxes=True)
    return Endpoints(
        Studio(
            ModelCache({"embedded": CARD}, lambda *_, **__: oracle, lambda _: True),
            ModelCache({"embedded": SEGMENTER}, load_segmenter, lambda _: True),
            ModelCache(
                {
                    "embedded": INPAINTER,
                    "boxes": one_by_one,
                    "absent": INPAINTER,
                    "deaf": replace(INPAINTER, ignores=DEAF),
                },
                lambda *_, **__: dauber,
                lambda name: name != "absent",
            ),
            ModelCache({OFF: NoFewSteps(), **FEW_STEPS}, lambda *_, **__: Path(), lambda name: name == OFF),
        )
    )


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "cats.png"
    Image.new("RGB", SIZE, TEAL).save(path)
    return str(path)


def test_what_was_found_is_replaced_and_the_record_says_how(endpoints, picture):
    image, record = endpoints.inpaint(picture, "cat", text="red", seed=7, boxes=False, one_by_one=False)
    assert image.getpixel((60, 70)) == (255, 0, 7)
    assert image.getpixel((150, 200)) == TEAL
    assert record["model"] == "embedded + embedded + embedded"
    assert [found["phrase"] for found in record["objects"]] == ["cat", "cat"]
    edit = record["edit"]
    assert (edit["find"], edit["mode"], edit["text"], edit["seed"]) == ("cat", "replace", "red", 7)
    assert edit["box_threshold"] == CARD.box_threshold
    assert record["notes"] == []


@pytest.mark.parametrize(
    ("options", "inside", "outside"),
    [
        ({"mode": "remove", "seed": 0}, (128, 128, 0), TEAL),
        ({"mode": "background", "text": "red", "seed": 0}, TEAL, (255, 0, 0)),
        ({"mode": "color", "text": "#010203"}, TEAL, (1, 2, 3)),
        ({"mode": "transparent"}, (*TEAL, 255), (0, 0, 0, 0)),
        ({"mode": "recolor", "text": "red"}, (255, 0, 0), TEAL),
        ({"mode": "spotlight", "text": "dark"}, TEAL, (0, 45, 45)),
        ({"mode": "sticker"}, (*TEAL, 255), (0, 0, 0, 0)),
    ],
)
def test_each_mode_edits_what_it_says(endpoints, picture, options, inside, outside):
    image, _ = endpoints.inpaint(picture, "cat", **options)
    assert image.getpixel((60, 70)) == inside
    assert image.getpixel((150, 200)) == outside


def test_an_own_mask_takes_the_place_of_what_is_found(endpoints, picture, tmp_path):
    mask = Image.new("L", SIZE)
    mask.paste(255, (200, 100, 240, 140))
    mask.save(tmp_path / "mask.png")
    image, record = endpoints.inpaint(picture, mode="recolor", text="red", mask=str(tmp_path / "mask.png"))
    assert image.getpixel((220, 120)) == (255, 0, 0)
    assert image.getpixel((190, 120)) == image.getpixel((60, 70)) == TEAL
    assert "find" not in record["edit"]
    assert record["objects"] == []


def test_a_quick_fill_continues_what_is_around(endpoints, picture):
    with Image.open(picture) as image:
        image.paste("white", (40, 50, 80, 90))  # a cat
        image.save(picture)
    image, _ = endpoints.inpaint(picture, "cat", mode="fill")
    assert (np.asarray(image) == TEAL).all()


def test_without_a_name_the_model_that_knows_such_pictures_is_asked(endpoints, oracle):
    photographic = replace(CARD, name="embedded-photos")
    cards, loaded = {"embedded": CARD, "embedded-photos": photographic}, []

    def load(name: str, **_: object) -> Oracle:
        loaded.append(name)
        return oracle

    endpoints.studio.detectors = ModelCache(cards, load, lambda _: True)
    for name, asked, expected in (
        ("cat", {}, "embedded-photos"),
        ("picnic", {}, "embedded"),
        ("cat", {"model": "embedded"}, "embedded"),
    ):
        for endpoint in (endpoints.detect, endpoints.segment, endpoints.inpaint):
            loaded.clear()
            endpoints.studio.detectors = ModelCache(cards, load, lambda _: True)
            options = {"mode": "blur"} if endpoint == endpoints.inpaint else {}
            endpoint(str(ASSETS / "examples" / f"{name}.webp"), "cat", **asked, **options)
            assert loaded == [expected]


def test_without_a_name_the_segmenter_that_knows_such_pictures_cuts_out(endpoints):
    cutter = endpoints.studio.segmenters.get(endpoints.first.segmenter)
    cards = {name: SEGMENTERS[name] for name in ("embedded", "embedded-photos")}
    endpoints.studio.segmenters = ModelCache(cards, lambda *_, **__: cutter, lambda _: True)
    endpoints.first = endpoints.first._replace(segmenter="embedded")
    for name, asked, expected in (
        ("cat", {}, "embedded-photos"),
        ("picnic", {}, "embedded"),
        ("cat", {"segmenter": "embedded"}, "embedded"),
    ):
        picture = str(ASSETS / "examples" / f"{name}.webp")
        assert endpoints.segment(picture, boxes=[[20, 20, 90, 90]], **asked)[1]["model"] == expected


def test_tiles_are_looked_at_if_asked_for(endpoints, picture, oracle):
    oracle.small = {"cat": [(0.5, (5, 5, 9, 9))]}
    for ask in (endpoints.detect, endpoints.segment):
        assert len(ask(picture, "cat")[1]["objects"]) + 1 == len(ask(picture, "cat", tiles=True)[1]["objects"])
        with pytest.raises(gr.Error, match="Expected true or false as tiles"):
            ask(picture, "cat", tiles="yes")
    _, record = endpoints.inpaint(picture, "cat", text="red", tiles=True)
    assert (record["objects"][-1]["box"], record["edit"]["tiles"]) == ([5, 5, 9, 9], True)


def test_each_phrase_has_a_pass_of_its_own_if_asked_for(endpoints, picture, oracle):
    endpoints.detect(picture, "cat")
    assert oracle.each == 0
    for ask in (endpoints.detect, endpoints.segment):
        ask(picture, "cat", each=True)
    _, record = endpoints.inpaint(picture, "cat", text="red", each=True)
    assert (oracle.each, record["edit"]["each"]) == (3, True)


def test_only_the_best_box_of_a_phrase_counts_if_asked_for(endpoints, picture):
    for ask in (endpoints.detect, endpoints.segment):
        assert [one["box"] for one in ask(picture, "cat", best_only=True)[1]["objects"]] == [[*CAT]]
    _, record = endpoints.inpaint(picture, "cat", text="red", best_only=True)
    assert len(record["objects"]) == 1
    assert record["edit"]["best_only"] is True
    _, record = endpoints.inpaint(picture, "cat", text="red")
    assert "best_only" not in record["edit"]


@pytest.mark.parametrize("value", ["false", "nonsense", 1, [1]])
def test_what_is_neither_true_nor_false_is_refused(endpoints, picture, value):
    for name in ("boxes", "one_by_one"):
        with pytest.raises(gr.Error, match=f"Expected true or false as {name}"):
            endpoints.inpaint(picture, "cat", text="red", **{name: value})
    for ask in (endpoints.detect, endpoints.segment):
        with pytest.raises(gr.Error, match="Expected true or false as best_only"):
            ask(picture, "cat", best_only=value)
        with pytest.raises(gr.Error, match="Expected true or false as each"):
            ask(picture, "cat", each=value)
    with pytest.raises(gr.Error, match="Expected true or false as everything"):
        endpoints.segment(picture, everything=value)
    with pytest.raises(gr.Error, match="Expected points as"):
        endpoints.segment(picture, points=[[50, 50, 0.5]])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"boxes": ["1234"]}, "Expected points as"),
        ({"boxes": "1234"}, "Expected points as"),
        ({"boxes": [None]}, "Expected points as"),
        ({"boxes": [[0, 0, True, 9]]}, "Expected points as"),
        ({"points": [[1, 2]]}, "Expected points as"),
        ({"points": [["1", "2", 1]]}, "Expected points as"),
        ({"points": [[float("nan"), 2, 1]]}, "Expected points as"),
        ({"points": 5}, "Expected points as"),
        ({"strokes": [[[1, 2, 3]]]}, "Expected points as"),
        ({"strokes": [[]]}, "Expected points as"),
        ({"boxes": [[5, 5, 5, 9]]}, "has no area"),
        ({"boxes": [[500, 5, 900, 9]]}, "lies outside the picture of 320 x 240"),
        ({"points": [[1, 1, 0]]}, "needs a box, or a point or stroke with label 1"),
        ({"points": [[50, 50, 1]] * 150}, "at most 100 points and strokes, but it has 150"),
        (
            {"points": [[50, 50, 1]] * 5000},
            "At most 200 points, boxes and strokes can be given at once, but there are 50",
        ),
        ({"boxes": [[10, 10, 50, 50]] * 5000}, "At most 200 points, boxes and strokes"),
        ({"strokes": [[[10, 10]]] * 5000}, "At most 200 points, boxes and strokes"),
        ({"boxes": [[10, 10, 50, 50]] * 100, "strokes": [[[10, 10]]] * 101}, "but there are 201"),
        ({"strokes": [[[10, 10]] * 10_001]}, "Expected points as"),
    ],
)
def test_what_cannot_be_pointed_at_is_told_before_anything_runs(endpoints, picture, oracle, segmenters, asked, message):
    with pytest.raises(gr.Error, match=message):
        endpoints.segment(picture, "cat", **asked)
    assert oracle.grounded == 0
    assert segmenters == []


def test_specks_go_unless_told_otherwise(endpoints, picture):
    endpoints.studio.segmenters.get("embedded").slips = True
    areas = []
    for options in ({}, {"fill": 0}):
        _, record = endpoints.segment(picture, "cat", **options)
        areas.append(coco_masks.area([found["mask"] for found in record["objects"]]))
    assert (areas[1] - areas[0]).tolist() == [16, 16]
    image, _ = endpoints.inpaint(picture, "cat", mode="color", text="white")
    assert image.getpixel((1, 1)) == (255, 255, 255), "the corner is background"


def test_as_much_as_may_be_pointed_at_is_cut_out(endpoints, picture):
    _, record = endpoints.segment(picture, points=[[50, 50, 1]] * 100, boxes=[[10, 10, 50, 50]] * 100)
    assert len(record["objects"]) == 101


def test_a_picture_lies_behind(endpoints, picture, tmp_path):
    Image.new("RGB", (9, 9), "red").save(tmp_path / "red.png")
    with pytest.raises(gr.Error, match="The mode 'background' makes no use of a background picture"):
        endpoints.inpaint(picture, "cat", mode="background", text="red", background=str(tmp_path / "red.png"))
    image, _ = endpoints.inpaint(picture, "cat", mode="picture", background=str(tmp_path / "red.png"))
    assert image.getpixel((150, 200)) == (255, 0, 0)


def test_regions_need_no_prompt_and_no_model_that_finds(endpoints, picture, dauber, segmenters):
    _, record = endpoints.inpaint(
        picture, mode="regions", regions=[[0, 0, 50, 50, "red"], [100, 100, 150, 150, "lime"]]
    )
    assert [text for text, _ in dauber.painted] == ["red", "lime"]
    assert record["objects"] == []
    assert record["model"] == "embedded"
    assert segmenters == []


def test_a_picture_grows_without_a_prompt_and_a_model_that_finds(endpoints, picture, dauber, segmenters):
    image, record = endpoints.inpaint(picture, mode="outpaint", text="red", margins=[0, 0, "25%", 10], seed=7)
    assert image.size == (record["width"], record["height"]) == (400, 250)
    assert image.getpixel((399, 5)) == (255, 0, 7)
    assert record["edit"]["margins"] == [0, 0, "25%", 10]
    assert (record["model"], record["objects"], segmenters) == ("embedded", [], [])
    assert [text for text, _ in dauber.painted] == ["red"]


def test_boxes_are_painted_without_a_segmenter(endpoints, picture, segmenters):
    image, record = endpoints.inpaint(picture, "cat", text="red", seed=0, boxes=True, grow=0, feather=0)
    pixels = np.asarray(image)
    assert (pixels[20:120, 10:110] == (255, 0, 0)).all()
    assert (pixels[120:] == TEAL).all()
    assert segmenters == []
    assert record["model"] == "embedded + embedded"


def test_settings_reach_the_model(endpoints, picture, dauber):
    settings = {"steps": 9, "guidance": 3.5, "strength": 0.5, "seed": 2, "negative_prompt": "dog", "scheduler": "ddim"}
    endpoints.inpaint(picture, "cat", text="red", one_by_one=True, **settings)
    assert len(dauber.painted) == 2
    sampling = dauber.painted[0][1]
    assert {name: getattr(sampling, name) for name in settings} == settings


def test_few_steps_reach_the_model_once_they_are_here(endpoints, picture, dauber, monkeypatch):
    with pytest.raises(gr.Error, match=r"LCM for Stable Diffusion XL is not on this machine yet: .* press Download"):
        endpoints.inpaint(picture, "cat", text="red", few_steps="lcm-sdxl")
    monkeypatch.setattr(endpoints.studio.few_steps, "_has_files", lambda _: True)
    endpoints.inpaint(picture, "cat", text="red", few_steps="lcm-sdxl", one_by_one=False)
    assert [sampling.few_steps for _, sampling in dauber.painted] == ["lcm-sdxl"]
    listed = [model for model in endpoints.models() if model["task"] == "few steps"]
    assert [model["name"] for model in listed] == [*FEW_STEPS]
    assert listed[0]["size_bytes"] == 135_000_000


def test_where_nothing_is_found_the_picture_stays(endpoints, picture, dauber):
    image, record = endpoints.inpaint(picture, "dog", text="red")
    assert image.getpixel((60, 70)) == TEAL
    assert record["objects"] == []
    assert "edit" not in record
    assert dauber.painted == []


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("detect", {"prompt": "cat"}),
        ("segment", {"prompt": "cat"}),
        ("segment", {"boxes": [[10, 130, 90, 230]]}),
        ("inpaint", {"prompt": "cat", "text": "red", "seed": 7}),
        ("inpaint", {"prompt": "cat", "mode": "fill"}),
    ],
)
def test_null_means_the_default(endpoints, picture, name, asked):
    endpoint = getattr(endpoints, name)
    image, record = endpoint(picture, **asked)
    nulls = dict.fromkeys(name for name in inspect.signature(endpoint).parameters if name not in {"image", *asked})
    same_image, same_record = endpoint(picture, **nulls, **asked)
    assert same_record == record
    assert same_image.tobytes() == image.tobytes()


@pytest.mark.parametrize("prompt", [None, "", " . "])
def test_a_prompt_that_names_nothing_is_refused(endpoints, picture, oracle, prompt):
    with pytest.raises(gr.Error, match="The prompt names nothing: pass phrases such as"):
        endpoints.detect(picture, prompt)
    assert oracle.encoded == 0


@pytest.mark.parametrize("asked", [{"boxes": [[10, 130, 90, 230]]}, {"points": [[60, 70, 1]]}, {"everything": True}])
def test_without_a_prompt_no_detector_is_needed(picture, asked):
    detectors = ModelCache({"embedded": CARD}, lambda *_, **__: pytest.fail("It was loaded."), lambda _: False)
    segmenters = ModelCache({"scissors": SEGMENTER}, lambda *_, **__: Scissors({SIZE: [CAT]}), lambda _: True)
    _, record = Endpoints(Studio(detectors, segmenters)).segment(picture, segmenter="scissors", **asked)
    assert [found["phrase"] for found in record["objects"]] == ["object 1"]
    assert record["model"] == "scissors"


def test_notes_are_told_in_each_record(endpoints, picture, oracle, monkeypatch):
    ground, note = oracle.ground, "The model reads English only."
    monkeypatch.setattr(oracle, "ground", lambda *given, **more: replace(ground(*given, **more), notes=(note,)))
    for endpoint, options in (
        (endpoints.detect, {}),
        (endpoints.segment, {}),
        (endpoints.inpaint, {"mode": "fill"}),
        (endpoints.inpaint, {"mode": "fill", "prompt": "dog"}),
    ):
        _, record = endpoint(picture, **{"prompt": "cat", **options})
        assert record["notes"] == [note]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inpainter": "huge"}, "There is no model 'huge'"),
        ({"inpainter": 5000 * "huge"}, "There is no model '(huge){15}…(huge){15}'"),
        ({"inpainter": "absent"}, "is not on this machine yet"),
        ({"segmenter": "huge", "boxes": False}, "There is no model 'huge'"),
        ({"steps": 0}, "steps from 1 to 150"),
        ({"scheduler": "nonsense"}, "There is no scheduler 'nonsense'"),
    ],
)
def test_mistakes_are_told_before_anything_runs(endpoints, picture, oracle, options, message):
    with pytest.raises(gr.Error, match=message):
        endpoints.inpaint(picture, "dog", text="red", **options)
    assert oracle.grounded == 0


def test_a_sentence_that_finds_nothing_is_no_mistake(endpoints, tmp_path):
    path = tmp_path / "clear.png"
    Image.new("RGBA", (320, 240), (1, 2, 3, 100)).save(path)
    sentence = "an elephant sleeps on a red sofa"
    _, record = endpoints.segment(str(path), sentence)
    assert record["objects"] == []
    edited, record = endpoints.inpaint(str(path), sentence, text="red")
    assert (edited.mode, edited.getpixel((5, 5))) == ("RGBA", (1, 2, 3, 100))
    assert record["objects"] == record["notes"] == []


@pytest.mark.parametrize("name", ["detect", "segment", "inpaint"])
@pytest.mark.parametrize(
    ("prompt", "message"), [("cat . " * 1000, "longer than the 4,000 char"), ("x" * 600, "600 characters long")]
)
def test_a_prompt_that_is_too_long_is_told_before_anything_runs(endpoints, picture, oracle, name, prompt, message):
    with pytest.raises(gr.Error, match=message):
        getattr(endpoints, name)(picture, prompt, **({"text": "red"} if name == "inpaint" else {}))
    assert oracle.grounded == 0


def test_a_wrong_segmenter_is_told_before_anything_runs(endpoints, picture, oracle):
    with pytest.raises(gr.Error, match="There is no model 'huge'"):
        endpoints.segment(picture, "cat", segmenter="huge")
    assert oracle.grounded == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": ""}, "names nothing to edit"),
        ({"mode": "paint"}, "There is no mode 'paint'"),
        ({"text": ""}, "There is no text"),
        ({"mode": "picture"}, "no picture for the background"),
        ({"mode": "regions"}, "1 to 30 regions"),
        ({"steps": 0}, "steps from 1 to 150"),
        ({"grow": 1000}, "-512 to 512"),
        ({"grow": -200}, "Nothing is left of the mask"),
        ({"inpainter": "huge"}, "There is no model 'huge'"),
        ({"inpainter": 5000 * "huge"}, "There is no model '(huge){15}…(huge){15}'"),
        ({"image": ""}, "There is no picture"),
        ({"image": None}, "There is no picture"),
        ({"text": None}, "There is no text"),
        ({"mode": "regions", "regions": [[0, 0, 50, 50, None]]}, "There is no text"),
        ({"mode": "regions", "regions": [[0, 0, 50, 50, "red"]]}, "'cat' is not looked for: pass an empty prompt"),
        ({"mode": "regions", "regions": ["1234x"]}, "Expected regions as"),
        ({"mode": "regions", "regions": [[0, 0, 50, 50, "red"]] * 5000}, "1 to 30 regions, got 5000"),
        ({"regions": [[0, 0, 50, 50, "red"]]}, "The mode 'replace' makes no use of regions"),
        ({"margins": "25%"}, "The mode 'replace' makes no use of margins"),
        ({"few_steps": "turbo"}, "There are no few steps 'turbo': choose one of lcm-sd15"),
        ({"few_steps": "lcm-sd15", "scheduler": "ddim"}, "brings its own scheduler"),
        ({"mode": "outpaint"}, "'cat' is not looked for: pass an empty prompt"),
        ({"mode": "outpaint", "margins": {"left": 5}}, "Expected a margin"),
        ({"mode": "outpaint", "margins": [1, 2]}, "Expected margins in pixels or per cent"),
        ({"mode": "outpaint", "prompt": "", "margins": 5000}, "grows on each side by at most as much as it has"),
        ({"steps": 10**9}, "steps from 1 to 150, got 1000000000"),
        ({"steps": "9"}, "a whole number as steps, got '9'"),
        ({"grow": "9"}, "-512 to 512 pixels, but '9'"),
        ({"feather": 10**9}, "0 to 512 pixels, but 1000000000"),
        ({"guidance": [1]}, "guidance from 0 to 30"),
        ({"strength": "1"}, "strength over 0"),
        ({"seed": True}, "a whole number as seed, got True"),
        ({"scheduler": ["ddim"]}, "There is no scheduler"),
        ({"negative_prompt": 5}, "Expected a text as negative prompt, got 5"),
        ({"text": 5}, "Expected a text, got 5"),
        ({"inpainter": "deaf", "strength": 0.5}, "Dauber makes no use of strength: leave that out"),
        ({"inpainter": "deaf", "negative_prompt": "dog", "prompt": "dog"}, "Dauber makes no use of negative prompt"),
    ],
)
def test_mistakes_are_told_in_a_sentence(endpoints, picture, options, message):
    with pytest.raises(gr.Error, match=message):
        endpoints.inpaint(**{"image": picture, "prompt": "cat", "text": "red", **options})


@pytest.mark.parametrize("name", ["/etc/hostname", "owner/name", "../embedded", str(EMBEDDED_SEGMENTER)])
@pytest.mark.parametrize("kind", ["model", "inpainter", "few_steps", "segmenter"])
def test_models_are_chosen_by_the_names_that_are_offered_alone(endpoints, picture, oracle, kind, name):
    """A visitor has nothing opened or fetched that the host does not offer."""
    ask = endpoints.segment if kind == "segmenter" else partial(endpoints.inpaint, text="red")
    with pytest.raises(gr.Error, match=r"There is no model|There are no few steps"):
        ask(picture, "cat", **{kind: name})
    assert oracle.encoded == 0


def test_what_takes_too_long_is_given_up(
    endpoints: Endpoints, oracle: Oracle, picture: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(jobs, "LIMIT", 0.2)
    oracle.seconds = 60
    with pytest.raises(gr.Error, match="was given up"):
        endpoints.detect(picture, "cat")
    oracle.seconds = 0
    _, record = endpoints.detect(picture, "cat . dog")
    assert [found["box"] for found in record["objects"]] == [list(CAT), list(OTHER_CAT)]


def test_masks_that_a_detector_makes_need_no_segmenter(endpoints: Endpoints, oracle: Oracle, segmenters, picture: str):
    oracle.card = replace(CARD, makes_masks=True)
    endpoints.studio.detectors.cards = {"embedded": oracle.card}
    _, record = endpoints.segment(picture, "cat")
    assert record["model"] == "embedded"
    assert [int(coco_masks.area(found["mask"])) for found in record["objects"]] == [50 * 100, 50 * 100]
    _, record = endpoints.inpaint(picture, "cat", mode="color", text="red")
    assert (record["edit"]["found_by"], segmenters) == (["embedded"], [])
    _, record = endpoints.segment(picture, "cat", points=[[200, 200, 1]])
    assert (record["model"], segmenters) == ("embedded + embedded", ["embedded"])


def test_examples_take_the_place_of_words(endpoints: Endpoints, picture: str):
    cache = endpoints.studio.detectors
    with pytest.raises(
        gr.Error,
        match="Oracle finds what words name: for examples choose embedded, embedded-photos, owlv2-b, owlv2-l or sam3",
    ):
        endpoints.detect(picture, "", like=[CAT])
    cache.cards = {"embedded": replace(CARD, takes_examples=True)}
    _, record = endpoints.detect(picture, "", like=[CAT])
    assert [(found["phrase"], found["box"]) for found in record["objects"]] == [
        ("like the example", [*map(float, CAT)]),
        ("like the example", [*map(float, OTHER_CAT)]),
    ]
    _, record = endpoints.detect(picture, "kitten", like=[CAT], unlike=[OTHER_CAT])
    assert [found["phrase"] for found in record["objects"]] == ["kitten"]
    _, record = endpoints.segment(picture, like=[CAT])
    assert [bool(found["mask"]) for found in record["objects"]] == [True, True]
    assert endpoints.models()[0]["takes_examples"] is True


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"like": "cat"}, "Expected like and unlike as"),
        ({"like": [[1, 2, 3]]}, "An example is a box of four numbers"),
        ({"unlike": [CAT]}, "An example is missing"),
        ({"like": [CAT], "tiles": True}, "Examples are looked for in one pass: leave out each and tiles"),
        ({"like": [[400, 1, 500, 9]]}, "must cover a pixel of the picture of 320 x 240"),
    ],
)
def test_examples_that_are_none_are_refused(endpoints: Endpoints, picture: str, options, sentence):
    with pytest.raises(gr.Error, match=sentence):
        endpoints.detect(picture, "cat", **options)


def test_what_was_given_up_is_stopped(endpoints: Endpoints, picture: str, monkeypatch: pytest.MonkeyPatch):
    ended = threading.Event()

    def find(*_: object, stop: StopCheck, **__: object) -> None:
        while not stop():
            time.sleep(0.01)
        ended.set()

    monkeypatch.setattr(jobs, "LIMIT", 0.2)
    monkeypatch.setattr(endpoints.studio, "find", find)
    with pytest.raises(gr.Error, match="was given up"):
        endpoints.detect(picture, "cat")
    assert ended.wait(20)
