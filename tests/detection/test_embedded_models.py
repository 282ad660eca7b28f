"""The models that come along, on a picture of which each pixel's owner is known."""

from functools import cache

import numpy as np
import pytest
import supervision as sv
import torch
from PIL import Image

from groundingdino.artwork.drawings import MAIN_STYLE, Artwork
from groundingdino.detection.available_models import EMBEDDED_FILE, PHOTOGRAPHS_FILE
from groundingdino.detection.detector import Detector
from groundingdino.editing.edits import Edit, Sampling
from groundingdino.editing.inpainter import Inpainter
from groundingdino.editing.perform import edit_picture
from groundingdino.editing.tasks import Replace
from groundingdino.inputs.image import load_image
from groundingdino.segmentation.available_models import EMBEDDED_SEGMENTER, PHOTOGRAPHS_SEGMENTER
from groundingdino.segmentation.segmenter import Segmenter
from groundingdino.training.detector.coco_folder import CocoFolder
from groundingdino.training.scenes.canvas import Canvas
from groundingdino.training.scenes.examples import EXAMPLES, RESOLUTION, draw
from groundingdino.training.segmenter.evaluate import held_out
from tests.conftest import ROOT

PICNIC = next(example for example in EXAMPLES if example.file == "picnic.webp")
NAMES = [item.name for item in PICNIC.items]
PHOTOS = ROOT.parent / "shared" / "photos" / "animals"
OUTLINED = PHOTOS.with_name("coco")


@cache
def picnic() -> Canvas:
    return draw(PICNIC, Artwork((MAIN_STYLE,), RESOLUTION))


@pytest.mark.parametrize(
    ("path", "megabytes"),
    [(EMBEDDED_FILE, 12), (PHOTOGRAPHS_FILE, 12), (EMBEDDED_SEGMENTER, 8), (PHOTOGRAPHS_SEGMENTER, 9)],
)
def test_what_comes_along_is_small(path, megabytes):
    assert path.stat().st_size <= megabytes * 1e6


def test_the_detector_finds_what_is_named():
    found = Detector.from_pretrained("embedded", device="cpu")(
        Image.fromarray(picnic().pixels), list(dict.fromkeys(NAMES))
    )
    overlaps = sv.box_iou_batch(picnic().boxes(), found.xyxy)
    overlaps *= np.array(NAMES)[:, None] == np.array(found["class_name"])
    assert (overlaps.max(1, initial=0) > 0.5).mean() >= 0.7
    assert (overlaps.max(0, initial=0) > 0.5).mean() >= 0.7, "what it finds is there"


def test_names_in_chinese_find_what_their_english_finds():
    detector = Detector.from_pretrained("embedded", device="cpu")
    picture = detector.encode_image(Image.fromarray(picnic().pixels))
    english = detector.ground(picture, "cat . red balloon . pizza").detections(0.3)
    chinese = detector.ground(picture, "猫、红色的气球和披萨").detections(0.3)
    assert len(english) > 1
    np.testing.assert_array_equal(chinese.xyxy, english.xyxy)
    np.testing.assert_array_equal(chinese.confidence, english.confidence)
    words = {"cat": "猫", "red balloon": "红色的气球", "pizza": "披萨"}
    assert [*chinese["class_name"]] == [words[name] for name in english["class_name"]]
    assert detector.ground(picture, "猫").notes == ()
    assert "魑魅" in detector.ground(picture, "猫 . 魑魅").notes[0]


def test_the_detector_for_photographs_finds_what_it_knows():
    if not PHOTOS.is_dir():
        pytest.skip("the photographs are not in ../shared/photos")
    detector, right, told, there = Detector.from_pretrained("embedded-photos", device="cpu"), 0, 0, 0
    for picture in CocoFolder(PHOTOS).split()[1][:12]:  # of which training saw none
        names, boxes = np.array(picture.names), np.array(picture.boxes).reshape(-1, 4)
        found = detector(np.asarray(load_image(picture.path)), sorted({*picture.names}))
        overlaps = sv.box_iou_batch(boxes, found.xyxy) * (names[:, None] == np.array(found["class_name"]))
        right, told, there = (
            right + int((overlaps.max(1, initial=0) > 0.5).sum()),
            told + len(found),
            there + len(boxes),
        )
    assert right >= 0.4 * there
    assert right >= 0.5 * told


def test_tiles_find_what_is_too_small_in_the_whole():
    scene, size, place = Image.fromarray(picnic().pixels), (1600, 1200), (880, 600)
    small = scene.resize((scene.width * 2 // 5, scene.height * 2 // 5), Image.Resampling.LANCZOS)
    picture = Image.new("RGB", size, "mediumseagreen")
    picture.paste(small, place)
    truth = picnic().boxes() * 0.4 + np.array([*place, *place])
    detector = Detector.from_pretrained("embedded", device="cpu")

    def right(found: sv.Detections) -> int:
        overlaps = sv.box_iou_batch(truth, found.xyxy) * (np.array(NAMES)[:, None] == np.array(found["class_name"]))
        assert ((overlaps > 0.5).sum(1) <= 1).all(), "nothing twice"
        return int((overlaps.max(1, initial=0) > 0.5).sum())

    names = list(dict.fromkeys(NAMES))
    assert right(detector(picture, names)) <= len(NAMES) / 3
    assert right(detector(picture, names, tiles=True)) >= len(NAMES) * 0.7


def test_the_segmenter_cuts_out_what_is_in_a_box():
    segmenter = Segmenter.from_pretrained("embedded", device="cpu")
    cut = segmenter.segment_boxes(segmenter.encode_image(picnic().pixels), sv.Detections(picnic().boxes()))
    truth = picnic().owners == np.arange(1, len(NAMES) + 1)[:, None, None]
    masks = np.asarray(cut.mask)
    overlaps = (masks & truth).sum((1, 2)) / (masks | truth).sum((1, 2))
    assert overlaps.mean() > 0.7


@pytest.mark.skipif(not OUTLINED.is_dir(), reason="the photographs are not in ../shared/photos")
def test_the_segmenter_for_photographs_cuts_out_what_is_in_a_box_better_than_the_one_for_drawings():
    means = {}
    for name in ("embedded", "embedded-photos"):
        segmenter, overlaps = Segmenter.from_pretrained(name, device="cpu"), []
        for picture in held_out(OUTLINED)[:8]:  # of which training saw none
            masks = [picture.mask(number) for number in range(len(picture.names))]
            truth = np.array(masks, bool)
            encoded = segmenter.encode_image(load_image(picture.path))
            cut = np.asarray(segmenter.segment_boxes(encoded, sv.Detections(picture.boxes)).mask)
            overlaps += ((cut & truth).sum((1, 2)) / (cut | truth).sum((1, 2))).tolist()
        means[name] = np.mean(overlaps)
    assert means["embedded-photos"] > means["embedded"] + 0.02


@pytest.mark.parametrize("name", ["embedded", "embedded-photos"])
def test_what_corrects_masks_has_something_to_say(name):
    """It is silent when fresh; one whose activations died in training says the same of every mask, unnoticed."""
    segmenter = Segmenter.from_pretrained(name, device="cpu")
    said: list[torch.Tensor] = []
    correct = segmenter.model.get_submodule("mask_decoder.colour_model.correct")
    correct.register_forward_hook(lambda _module, _inputs, output: said.append(output))
    segmenter.segment_boxes(segmenter.encode_image(picnic().pixels), sv.Detections(picnic().boxes()))
    assert torch.cat([x.flatten() for x in said]).std() > 0.1


def test_the_detector_finds_the_sticker_that_took_the_place_of_something():
    stickers = Inpainter.from_pretrained("embedded", device="cpu")
    cat = sv.Detections(picnic().boxes()[[NAMES.index("cat")]])
    task = Replace("dog")
    edit = Edit(task, stickers.card.mask_for(task), sampling=Sampling(seed=0))
    edited = edit_picture(Image.fromarray(picnic().pixels), cat, edit, stickers)
    np.testing.assert_array_equal(np.asarray(edited.images[0])[edited.mask == 0], picnic().pixels[edited.mask == 0])
    found = Detector.from_pretrained("embedded", device="cpu")(edited.images[0], ["dog", "cat"])
    places = sv.box_iou_batch(cat.xyxy, found.xyxy)[0] > 0.5
    assert set(np.array(found["class_name"])[places]) == {"dog"}
