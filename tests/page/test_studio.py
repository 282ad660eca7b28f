from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groundingdino.detection.detector import Detector
from groundingdino.editing.edits import Edit, Sampling
from groundingdino.editing.tasks import Remove, Replace, TransparentBackground
from groundingdino.page.model_cache import ModelCache
from groundingdino.page.studio import Studio, Thresholds, Timing
from groundingdino.segmentation.pointing import Gesture, Pointing
from tests.dauber import INPAINTER, Dauber
from tests.oracle import CARD, Oracle
from tests.scissors import SEGMENTER, Scissors
from tests.tiny_detectors import save

SIZE = (64, 48)
ANSWERS = {SIZE: {"cat": [(0.9, (1, 2, 30, 40)), (0.3, (40, 2, 60, 40))]}}


@pytest.fixture
def scissors() -> Scissors:
    return Scissors()


@pytest.fixture
def shared(scissors: Scissors) -> Studio:
    return Studio(
        ModelCache({"embedded": CARD}, lambda *_, **__: Oracle(ANSWERS), lambda _: True),
        ModelCache({"embedded": SEGMENTER}, lambda *_, **__: scissors, lambda _: True),
    )


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.new("RGB", SIZE, "teal").save(path)
    return path


def test_thresholds_are_the_models_own_unless_given(shared: Studio, picture: Path):
    image = shared.image(picture)
    assert len(shared.find(image, "cat", "embedded", Thresholds()).detections) == 1
    found = shared.find(image, "cat", "embedded", Thresholds(box=0.2))
    assert len(found.detections) == 2
    assert found.box_threshold == 0.2
    assert found.best_score == pytest.approx(0.9)


def test_what_was_computed_before_takes_no_time(shared: Studio, picture: Path):
    image = shared.image(picture)
    first = shared.find(image, "cat", "embedded", Thresholds())
    assert first.timing == Timing(3.0, 20.0, 40.0)
    assert shared.find(image, "dog", "embedded", Thresholds()).timing == Timing(3.0, None, 40.0)
    assert shared.find(image, "cat", "embedded", Thresholds(box=0.1)).timing == Timing(None, None, None)


def test_a_model_of_another_architecture_finds_as_ours_and_has_no_drafts(picture: Path, tmp_path: Path):
    folder = save("owlv2", tmp_path / "owlv2")
    detector = Detector.from_pretrained(folder, "cpu")
    studio = Studio(
        ModelCache({"owlv2": detector.card}, lambda *_, **__: detector, lambda _: True),
        ModelCache({"embedded": SEGMENTER}, lambda *_, **__: Scissors(), lambda _: True),
    )
    image = studio.image(picture)
    draft = studio.find(image, "cat . dog", "owlv2", Thresholds(box=0.0), draft=True)
    assert draft.draft_side is None
    assert not draft.is_draft
    whole = studio.find(image, "cat . dog", "owlv2", Thresholds(box=0.0))
    assert len(whole.detections) == len(draft.detections) > 1
    assert studio.find(image, "cat . dog", "owlv2", Thresholds(box=0.9)).timing == Timing(None, None, None)


def test_an_empty_prompt_finds_nothing(shared: Studio, picture: Path):
    found = shared.find(shared.image(picture), " ", "embedded", Thresholds())
    assert (len(found.detections), found.phrases, found.best_score) == (0, (), 0.0)


def test_a_sentence_is_told_by_what_it_names(shared: Studio, picture: Path):
    found = shared.find(shared.image(picture), "there is a cat and a red sofa on it", "embedded", Thresholds())
    assert found.phrases == ("cat", "red sofa")
    assert set(found.detections.data["class_name"]) == {"cat"}


def test_a_picture_is_decoded_once_and_again_when_the_file_changes(shared: Studio, picture: Path):
    first = shared.image(picture)
    assert shared.image(picture) is first
    Image.new("RGB", (30, 20)).save(picture)
    assert shared.image(picture).size == (30, 20)


@pytest.mark.parametrize(
    ("size", "canvas", "shown"),
    [
        ((4000, 3000), (800, 800), (800, 600)),
        ((300, 400), (800, 600), (450, 600)),
        ((10, 10), (800, 600), (40, 40)),  # not enlarged beyond blocks
        ((5000, 1), (800, 600), (800, 1)),
    ],
)
def test_the_picture_fits_the_canvas(shared: Studio, tmp_path: Path, size, canvas, shown):
    path = tmp_path / "picture.png"
    Image.new("RGB", size).save(path)
    picture = shared.picture(path, canvas)
    assert picture.image.size == size
    assert picture.shown.size == shown
    assert picture.scale == pytest.approx(shown[0] / size[0])


def test_a_picture_that_is_gone_is_asked_for_again(shared: Studio, tmp_path: Path):
    with pytest.raises(ValueError, match="no longer on the server"):
        shared.image(tmp_path / "gone.png")


def test_what_is_no_picture_is_refused_without_naming_the_servers_folders(shared: Studio, tmp_path: Path):
    path = tmp_path / "notes.jpg"
    path.write_text("no picture")
    with pytest.raises(ValueError, match="not an image") as caught:
        shared.image(path)
    assert str(tmp_path) not in str(caught.value)


def test_a_picture_is_encoded_for_masks_once_and_only_when_masks_are_asked_for(
    shared: Studio, scissors: Scissors, picture: Path
):
    image = shared.image(picture)
    findings = shared.find(image, "cat", "embedded", Thresholds())
    assert scissors.encoded == 0
    first = shared.cut_out(image, findings, "embedded", Pointing(), 0)
    assert first.timing.embedding == 30.0
    assert first.timing.masks is not None
    assert first.segmenter == SEGMENTER
    assert (first.phrases, first.timing.grounding) == (findings.phrases, findings.timing.grounding)
    dog = shared.cut_out(image, shared.find(image, "dog", "embedded", Thresholds()), "embedded", Pointing(), 0)
    assert dog.timing.embedding is None
    assert len(dog.detections) == 0
    assert scissors.encoded == 1


def test_masks_are_kept_until_something_about_them_changes(shared: Studio, scissors: Scissors, picture: Path):
    image = shared.image(picture)
    findings = shared.find(image, "cat", "embedded", Thresholds())
    shared.cut_out(image, findings, "embedded", Pointing(), 0)
    runs = scissors.cut
    again = shared.cut_out(image, findings, "embedded", Pointing(), 0)
    assert again.timing.masks is None
    assert scissors.cut == runs
    both = shared.find(image, "cat", "embedded", Thresholds(box=0.2))
    click = Pointing((Gesture("pointed 1", point=(50.0, 20.0, 1)),))
    for findings, pointing, area in ((both, Pointing(), 0), (both, click, 0), (both, click, 0.1)):
        assert shared.cut_out(image, findings, "embedded", pointing, area).timing.masks is not None
    names = shared.cut_out(image, both, "embedded", click, 0).detections["class_name"]
    np.testing.assert_array_equal(names, ["cat", "cat", "object 1"])


def test_an_edit_loads_a_model_only_if_it_paints_by_one(shared: Studio, picture: Path):
    loaded: list[str] = []

    def load(name: str, **_: object) -> Dauber:
        loaded.append(name)
        return Dauber()

    studio = Studio(shared.detectors, shared.segmenters, ModelCache({"embedded": INPAINTER}, load, lambda _: True))
    found = studio.find(studio.image(picture), "cat", "embedded", Thresholds()).detections
    image = studio.editable(picture)
    assert studio.edit(image, found, Edit(Remove("fill"))).seeds == ()
    assert loaded == []
    edited = studio.edit(image, found, Edit(Replace("red"), sampling=Sampling(seed=3)))
    assert edited.seeds == (3,)
    assert loaded == ["embedded"]


def test_without_inpainters_only_edits_without_a_model_are_made(shared: Studio, picture: Path):
    found = shared.find(shared.image(picture), "cat", "embedded", Thresholds()).detections
    assert shared.edit(shared.editable(picture), found, Edit(TransparentBackground())).images[0].mode == "RGBA"
    with pytest.raises(ValueError, match="There is no model 'embedded'"):
        shared.edit(shared.editable(picture), found, Edit(Remove()))


def test_a_picture_to_edit_keeps_its_transparency_and_is_decoded_once(shared: Studio, tmp_path: Path):
    path = tmp_path / "sticker.png"
    Image.new("RGBA", SIZE, (255, 0, 0, 0)).save(path)
    image = shared.editable(path)
    assert (image.mode, image.getpixel((0, 0))) == ("RGBA", (255, 0, 0, 0))
    assert shared.editable(path) is image
    assert shared.image(path).getpixel((0, 0)) == (255, 255, 255)


def test_a_host_offers_some_models_besides_those_that_come_along():
    studio = Studio.open("cpu", offered=("swin-t", "sd15"))
    kinds = (studio.detectors, studio.segmenters, studio.inpainters, studio.few_steps)
    offered = [
        ["embedded", "embedded-photos", "swin-t"],
        ["embedded", "embedded-photos"],
        ["embedded", "sd15"],
        ["off"],
    ]
    assert [[*kind.cards] for kind in kinds] == offered
    with pytest.raises(ValueError, match="There is no model 'swin-b'; choose one of embedded, embedded-photos, swin-t"):
        studio.detectors.require("swin-b")
    with pytest.raises(ValueError, match=r"There is no model 'swin-q'; offer some of .*swin-t"):
        Studio.open("cpu", offered=("swin-t", "swin-q"))
    assert {"swin-t", "swin-b"} <= {*Studio.open("cpu").detectors.cards}
