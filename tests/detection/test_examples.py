from pathlib import Path

import numpy as np
import pytest
import supervision as sv
import torch
from PIL import Image

from groundingdino.detection.available_models import MODELS
from groundingdino.detection.detector import Detector
from groundingdino.detection.examples import Examples
from groundingdino.detection.likeness import words_of
from groundingdino.detection.objects import scores_of
from groundingdino.files.assets import ASSETS
from tests.tiny_detectors import build, save
from tests.tiny_models import save_detector

KINDS = ("owlv2", "sam3")


@pytest.fixture(scope="module")
def detectors(tmp_path_factory) -> dict[str, Detector]:
    root: Path = tmp_path_factory.mktemp("detectors")
    return {kind: Detector.from_pretrained(save(kind, root / kind), "cpu") for kind in KINDS}


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (90, 140, 3), dtype=np.uint8))


def test_what_is_like_an_example_scores_as_in_transformers(detectors: dict[str, Detector]):
    """Theirs takes no box, but the one that most looks like an object: that one is the example."""
    detector, image, other = detectors["owlv2"], noise(0), noise(1)
    model, processor = build("owlv2")
    with torch.inference_mode():
        inputs = processor(images=image, query_images=other, return_tensors="pt")
        theirs = model.image_guided_detection(**inputs)
        _, query, _ = model.embed_image_query(theirs.query_image_embeds.flatten(1, 2), theirs.query_image_embeds)
    example = detector.encode_image(other)
    cx, cy, width, height = (140 * example.features.boxes[0, int(query)]).tolist()
    box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
    found = detector.ground_like(detector.encode_image(image), [box], of=example, name="cat")
    scores = theirs.logits[0, :, 0].sigmoid().sort(descending=True).values
    assert found.phrases == ("cat",)
    np.testing.assert_allclose(np.sort(found.scores[:, 0])[::-1], scores[: len(found.scores)], atol=1e-5)
    again = detector.ground_like(detector.encode_image(image), [box], of=example, name="cat")
    assert (found.cached, again.cached) == (False, True)


def test_examples_of_sam3_are_read_as_in_transformers(detectors: dict[str, Detector]):
    detector, image = detectors["sam3"], noise(0)
    model, processor = build("sam3")
    like, unlike = [10.0, 20.0, 60.0, 80.0], [70.0, 5.0, 130.0, 50.0]
    with torch.inference_mode():
        inputs = processor(images=image, input_boxes=[[like, unlike]], input_boxes_labels=[[1, 0]], return_tensors="pt")
        (theirs,) = processor.post_process_instance_segmentation(
            model(**inputs), threshold=0.0, target_sizes=[(image.height, image.width)]
        )
    encoded = detector.encode_image(image)
    found = detector.ground_like(encoded, [like], [unlike])
    np.testing.assert_allclose(found.scores[:, 0], theirs["scores"].numpy(), atol=1e-5)
    alone = detector.ground_like(encoded, [like])
    assert np.abs(alone.scores - found.scores).max() > 1e-3
    assert found.detections(box_threshold=0.0, masks=True).mask is not None


def test_what_is_more_like_something_else_is_left_out(detectors: dict[str, Detector]):
    detector = detectors["owlv2"]
    encoded = detector.encode_image(noise(0))
    like, unlike = (0, 0, 40, 40), (90, 40, 140, 90)
    alone, other, both = (
        detector.ground_like(encoded, *boxes).scores[:, 0] for boxes in (([like],), ([unlike],), ([like], [unlike]))
    )
    np.testing.assert_allclose(both, np.where(other > alone, 0, alone), atol=1e-6)
    assert 0 < (both == 0).sum() < len(both)
    two = detector.ground_like(encoded, [like, unlike]).scores[:, 0]
    np.testing.assert_allclose(two, np.maximum(alone, other), atol=1e-6)


def test_an_example_is_found_itself(detectors: dict[str, Detector]):
    detector = detectors["owlv2"]
    encoded = detector.encode_image(noise(2))
    everything = detector.ground(encoded, "cat")
    box = everything.boxes[5]
    found = detector.ground_like(encoded, [box.tolist()]).detections(box_threshold=0.0, nms_threshold=None)
    assert len(scores_of(found)) > 1
    assert np.isclose(found.xyxy, box, atol=1e-2).all(1).any()


def test_another_picture_and_models_of_words_are_refused(detectors: dict[str, Detector], tmp_path):
    detector = detectors["sam3"]
    with pytest.raises(ValueError, match=r"^SAM 3 takes examples in the picture that is searched alone: "):
        detector.ground_like(detector.encode_image(noise(0)), [(0, 0, 9, 9)], of=detector.encode_image(noise(1)))
    ours = Detector.from_pretrained(save_detector(tmp_path / "tiny.safetensors"), "cpu")
    with pytest.raises(
        ValueError,
        match=r"^Tiny finds what words name: for examples choose embedded, embedded-photos, owlv2-b, owlv2-l or sam3",
    ):
        ours.ground_like(ours.encode_image(noise(0)), [(0, 0, 9, 9)])
    with pytest.raises(ValueError, match="was encoded by another detector"):
        ours.ground_like(detector.encode_image(noise(0)), [(0, 0, 9, 9)])


@pytest.mark.parametrize(
    ("like", "sentence"),
    [
        ([], "^An example is missing: give at least one box"),
        ([(1, 2, 3)], r"^An example is a box of four numbers, .* but got \(1, 2, 3\)"),
        ([(1, 2, 3, "x")], "^An example is a box of four numbers"),
        ([(1, 2, float("nan"), 3)], "^An example is a box of four numbers"),
        ([7], "^An example is a box of four numbers"),
        ([(30, 2, 10, 9)], "must cover a pixel of the picture of 140 x 90, its left and top first, but"),
        ([(200, 2, 240, 9)], "must cover a pixel"),
        ([(0, 0, 9, 9)] * 51, "^There are more than 50 examples"),
    ],
)
def test_a_box_that_is_none_is_refused(like, sentence):
    with pytest.raises(ValueError, match=sentence):
        Examples.of(like, (), (140, 90))


def test_boxes_are_clipped_to_the_picture():
    assert Examples.of([(-5, 3, 400, 9)], [(0, 0, 1, 1)], (140, 90)) == (((0, 3, 140, 9),), ((0, 0, 1, 1),))


def test_the_embedded_model_finds_what_is_like_an_example():
    detector = Detector.from_pretrained("embedded", "cpu")
    encoded = detector.encode_image(ASSETS / "examples" / "picnic.webp")
    apples, cats = (detector.ground(encoded, name).detections().xyxy for name in ("apple", "cat"))
    assert (len(apples), len(cats)) == (2, 1)
    found = detector.ground_like(encoded, [apples[0]], name="fruit")
    assert found.phrases == ("fruit",)
    likely = found.detections()
    assert sv.box_iou_batch(apples, likely.xyxy).max(1).min() > 0.7, "both are found at the model's own threshold"
    assert len(likely) <= 3
    assert sv.box_iou_batch(apples, likely.xyxy[:2]).max(1).min() > 0.7, "and nothing is more like it"
    others = detector.ground_like(encoded, [apples[0]], unlike=[apples[1]]).detections()
    assert sv.box_iou_batch(apples[1:], others.xyxy).max(initial=0) < 0.5
    alone = detector.ground_like(encoded, [cats[0]]).detections()
    assert sv.box_iou_batch(cats, alone.xyxy[:1])[0, 0] > 0.7


def test_the_embedded_model_finds_it_in_another_picture():
    detector = Detector.from_pretrained("embedded", "cpu")
    picnic = Image.open(ASSETS / "examples" / "picnic.webp").convert("RGB")
    whole = detector.encode_image(picnic)
    (first, second) = detector.ground(whole, "apple").detections().xyxy
    part = picnic.crop((first - 30 + [0, 0, 60, 60]).round().astype(int).tolist())
    box = (30, 30, part.width - 30, part.height - 30)
    found = detector.ground_like(whole, [box], of=detector.encode_image(part)).detections(box_threshold=0)
    assert sv.box_iou_batch(np.array([first, second]), found.xyxy[:2]).max(1).min() > 0.7


def test_only_models_whose_examples_were_measured_take_them():
    takers = {name for name, card in MODELS.items() if card.takes_examples}
    assert takers == {"embedded", "embedded-photos", "owlv2-b", "owlv2-l", "sam3"}
    for name in ("swin-t", "omdet-turbo-t"):
        with pytest.raises(ValueError, match="finds what words name: for examples choose"):
            MODELS[name].require_examples()
    assert words_of(MODELS["embedded-photos"]) == MODELS["embedded-photos"].names
    assert len({*words_of(MODELS["embedded"])}) == 60
