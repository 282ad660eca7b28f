from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
import torch
from PIL import Image
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.build_sam import _build_sam
from segment_anything.modeling import Sam

from groundingdino.detection.detector import Detector
from groundingdino.runtime.interruption import Stopped, stopping
from groundingdino.segmentation import segmenter_models
from groundingdino.segmentation.embedded_sam import build_embedded_sam
from groundingdino.segmentation.mask_prompts import MaskPrompt
from groundingdino.segmentation.segmenter import Segmenter, SegmenterCacheBytes
from groundingdino.segmentation.segmenter_models import SEGMENTERS, LoadedSegmenter

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples"
CLICK = MaskPrompt(points=[(30, 40, 1)])
BOX = MaskPrompt(box=(10, 20, 60, 50))
BOTH = MaskPrompt(box=(10, 20, 60, 50), points=[(30, 40, 1), (55, 45, 0)])


@pytest.fixture(scope="module")
def loaded() -> LoadedSegmenter:
    """The embedded architecture, small and never trained: masks are noise that depends on each part of a prompt.

    It is used as published models are: it does not look closer and proposes nothing, see `test_close_ups`.
    """
    torch.manual_seed(0)
    card = replace(SEGMENTERS["embedded"], close_ups=False, proposes=False)
    return LoadedSegmenter(confident(build_embedded_sam(96).eval()), card)


def confident(model: Sam) -> Sam:
    """A model that was never trained with a predicted IoU about 0.5, as 0 is the least that is told."""
    with torch.no_grad():
        model.mask_decoder.iou_prediction_head.layers[-1].bias += 0.5
    return model


@pytest.fixture
def segmenter(loaded) -> Segmenter:
    return Segmenter(loaded)


@pytest.fixture
def calls(loaded, monkeypatch) -> dict[str, int]:
    """Counts how often each part of the model runs, and over how many prompts the decoder."""
    counts = {"encoder": 0, "decoder": 0, "prompts": 0}
    encode, decode = loaded.model.image_encoder.forward, loaded.model.mask_decoder.predict_masks

    def counted_encode(pixels):
        counts["encoder"] += 1
        return encode(pixels)

    def counted_decode(*, sparse_prompt_embeddings, **arguments):
        counts["decoder"] += 1
        counts["prompts"] += len(sparse_prompt_embeddings)
        return decode(sparse_prompt_embeddings=sparse_prompt_embeddings, **arguments)

    monkeypatch.setattr(loaded.model.image_encoder, "forward", counted_encode)
    monkeypatch.setattr(loaded.model.mask_decoder, "predict_masks", counted_decode)
    return counts


def picture(seed: int = 0, size: tuple[int, int] = (90, 70)) -> Image.Image:
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def boxes(count: int) -> sv.Detections:
    corners = np.random.default_rng(count).uniform(0, [60, 40], (count, 2))
    return sv.Detections(
        np.concatenate([corners, corners + 25], axis=1).astype(np.float32),
        confidence=np.linspace(0.9, 0.3, count, dtype=np.float32),
        class_id=np.arange(count) % 2,
        data={"class_name": np.array(["cat", "dog"])[np.arange(count) % 2]},
    )


@pytest.mark.parametrize(("prompt", "first"), [(CLICK, None), (BOX, 0), (BOTH, 0)])
def test_a_box_alone_is_answered_as_the_model_was_trained(loaded, prompt, first):
    """Ours by the single mask; Meta's choose among the three others, as for a click. A correction starts from it."""
    theirs = loaded._replace(card=replace(loaded.card, single_for_box=False))
    answers = []
    for segmenter in (Segmenter(loaded), Segmenter(theirs)):
        encoded = segmenter.encode_image(picture())
        candidates = [replace(prompt, candidate=index) for index in range(3)]
        answers.append([segmenter.segment(encoded, [one])["mask_quality"][0] for one in candidates])
    assert (answers[0] == answers[1]) == (prompt is CLICK)
    others = answers[0][1:] if first == 0 else answers[0]
    assert others == sorted(others, reverse=True)


def shallow_sam_vit_b() -> Sam:
    """Meta's smallest with two of its twelve layers, both in windows: as wide, in a fraction of time and memory."""
    return _build_sam(
        encoder_embed_dim=768, encoder_depth=2, encoder_num_heads=12, encoder_global_attn_indexes=[], checkpoint=None
    )


def test_meta_weights_give_meta_masks_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setitem(segmenter_models._PUBLISHED, 768, shallow_sam_vit_b)
    torch.manual_seed(0)
    model = confident(shallow_sam_vit_b().eval())
    path = tmp_path / "sam_vit_b.pth"
    torch.save(model.state_dict(), path)
    image = picture(size=(160, 120))
    reference = SamPredictor(model)
    reference.set_image(np.asarray(image))
    segmenter = Segmenter.from_pretrained(path, device="cpu")
    encoded = segmenter.encode_image(image)
    assert torch.equal(encoded.features, reference.features)

    for parts in ({"point_coords": [(30, 40)], "point_labels": [1]}, {"box": (10, 20, 60, 50)}):
        masks, quality, logits = reference.predict(**{name: np.array(value) for name, value in parts.items()})
        prompt = CLICK if "point_coords" in parts else BOX
        for candidate, index in enumerate(np.argsort(-quality, kind="stable")):
            ours = segmenter.segment(encoded, [MaskPrompt(prompt.box, prompt.points, candidate=candidate)])
            assert np.array_equal(ours.mask[0], masks[index])
            assert ours["mask_quality"][0] == quality[index]

    # A click that corrects a box starts from the box's best mask; of several parts Meta takes the single mask.
    corrected, quality, _ = reference.predict(
        point_coords=np.array([(30, 40)]),
        point_labels=np.array([1]),
        box=np.array(BOX.box),
        mask_input=logits[[quality.argmax()]],
        multimask_output=False,
    )
    ours = segmenter.segment(encoded, [MaskPrompt(BOX.box, CLICK.points)])
    assert 0 < corrected.sum() < corrected.size
    assert np.array_equal(ours.mask[0], corrected[0])
    assert ours.confidence[0] == quality[0]


def test_a_picture_is_encoded_once_and_a_prompt_decoded_once(segmenter, calls):
    first = segmenter.encode_image(picture())
    again = segmenter.encode_image(picture())
    assert (first.cached, again.cached) == (False, True)
    for _ in range(2):
        segmenter.segment(again, [CLICK, BOX])
    segmenter.segment(again, [BOX, CLICK, BOX])
    assert calls == {"encoder": 1, "decoder": 2, "prompts": 2}


def test_a_correction_is_told_how_good_it_is():
    segmenter, image = Segmenter.from_pretrained("embedded", device="cpu"), EXAMPLES / "desk.webp"
    encoded = segmenter.encode_image(image)
    found = Detector.from_pretrained("embedded", device="cpu")(image, "laptop . phone")
    assert len(found) == 2
    for box in map(tuple, found.xyxy.tolist()):
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, 1)
        for prompt in (MaskPrompt(box=box), MaskPrompt(box=box, points=[middle])):
            assert segmenter.segment(encoded, [prompt]).confidence[0] > 0.7


def test_what_is_not_wanted_any_more_is_not_cut_out(segmenter):
    encoded = segmenter.encode_image(picture())
    with stopping(lambda: True), pytest.raises(Stopped):
        segmenter.segment(encoded, [CLICK])
    assert len(segmenter.segment(encoded, [CLICK])) == 1


def test_the_other_candidates_are_one_click_away(segmenter, calls):
    encoded = segmenter.encode_image(picture())
    found = [segmenter.segment(encoded, [MaskPrompt(points=CLICK.points, candidate=index)]) for index in range(3)]
    assert calls["prompts"] == 1
    qualities = [one["mask_quality"][0] for one in found]
    assert qualities == sorted(qualities, reverse=True)
    assert len({one.mask[0].tobytes() for one in found}) == 3


def test_a_further_click_runs_the_decoder_once(segmenter, calls):
    encoded = segmenter.encode_image(picture())
    points = [(30, 40, 1), (10, 10, 0), (50, 60, 1)]
    masks = []
    for count in range(1, 4):
        masks.append(segmenter.segment(encoded, [MaskPrompt(points=points[:count])]).mask[0])
        assert calls["prompts"] == count
    undone = segmenter.segment(encoded, [MaskPrompt(points=points[:2])])
    assert calls["prompts"] == 3
    assert np.array_equal(undone.mask[0], masks[1])
    assert not np.array_equal(masks[1], masks[2])


def test_every_part_of_a_prompt_changes_the_mask(segmenter):
    encoded = segmenter.encode_image(picture())
    stroke = [(5, 5), (80, 60)]
    prompts = [
        CLICK,
        BOX,
        MaskPrompt(points=[(31, 40, 1)]),
        MaskPrompt(points=[(30, 40, 1), (55, 45, 1)]),
        MaskPrompt(points=[(30, 40, 1), (55, 45, 0)]),
        MaskPrompt(points=[(30, 40, 1)], strokes=[(stroke, 1)]),
        MaskPrompt(points=[(30, 40, 1)], strokes=[(stroke, 0)]),
        MaskPrompt(strokes=[(stroke, 1)]),
        BOTH,
    ]
    found = segmenter.segment(encoded, prompts)
    assert found.mask.shape == (9, 70, 90)
    assert len(set(found.confidence.tolist())) == 9


def test_together_is_as_alone(segmenter, loaded):
    encoded = segmenter.encode_image(picture())
    prompts = [CLICK, BOX, BOTH, MaskPrompt(points=[(50, 20, 1)]), MaskPrompt(box=(5, 5, 80, 60))]
    together = segmenter.segment(encoded, prompts)
    for index, prompt in enumerate(prompts):
        other = Segmenter(loaded)
        alone = other.segment(other.encode_image(picture()), [prompt])
        assert alone.confidence[0] == pytest.approx(together.confidence[index], abs=1e-5)
        assert (alone.mask[0] != together.mask[index]).mean() < 1e-3


def test_manual_objects_are_numbered_and_boxed(segmenter):
    found = segmenter.segment(segmenter.encode_image(picture()), [CLICK, BOTH])
    assert found["class_name"].tolist() == ["object 1", "object 2"]
    assert found.class_id.tolist() == [-1, -1]
    assert np.array_equal(found.confidence, found["mask_quality"])
    for (x0, y0, x1, y1), mask in zip(found.xyxy.astype(int), found.mask, strict=True):
        inside = np.zeros_like(mask)
        inside[y0:y1, x0:x1] = True
        assert mask.any()
        assert not (mask & ~inside).any()
        assert mask[y0:y1, [x0, x1 - 1]].any(axis=0).all()
        assert mask[[y0, y1 - 1], x0:x1].any(axis=1).all()


def test_text_objects_keep_what_the_detector_said(segmenter, calls):
    encoded = segmenter.encode_image(picture())
    found = boxes(20)
    cut = segmenter.segment_boxes(encoded, found)
    assert (calls["decoder"], calls["prompts"]) == (3, 20)  # 8 + 8 + 4
    assert np.array_equal(cut.xyxy, found.xyxy)
    assert np.array_equal(cut.confidence, found.confidence)
    assert np.array_equal(cut.class_id, found.class_id)
    assert cut["class_name"].tolist() == found["class_name"].tolist()
    assert cut["mask_quality"].shape == (20,)
    assert found.mask is None, "the given record is left alone"
    # A higher threshold, or a ticked-off object, asks for nothing new.
    fewer = segmenter.segment_boxes(encoded, found[5:9])
    assert calls["prompts"] == 20
    assert np.array_equal(np.asarray(fewer.mask), np.asarray(cut.mask)[5:9])


def test_a_text_object_can_be_corrected(segmenter):
    encoded = segmenter.encode_image(picture())
    found = boxes(1)
    prompt = MaskPrompt(box=tuple(found.xyxy[0]), points=[(3, 3, 0)])
    corrected = segmenter.segment(encoded, [prompt], found)
    assert corrected["class_name"].tolist() == ["cat"]
    assert corrected.confidence[0] == pytest.approx(0.9)
    assert corrected["mask_quality"] != segmenter.segment_boxes(encoded, found)["mask_quality"]


def test_no_box_is_an_empty_result(segmenter, calls):
    encoded = segmenter.encode_image(picture())
    for found in (
        segmenter.segment_boxes(encoded, sv.Detections.empty()),
        segmenter.segment_boxes(encoded, boxes(0)),
        segmenter.segment(encoded, []),
    ):
        assert len(found) == 0
        assert found.mask.shape == (0, 70, 90)
        assert found["mask_quality"].shape == (0,)
    assert calls["prompts"] == 0


def test_a_box_without_area_gets_an_empty_mask(segmenter):
    found = boxes(3)
    found.xyxy[1] = (40, 40, 40, 60)
    cut = segmenter.segment_boxes(segmenter.encode_image(picture()), found)
    assert cut.mask.area[1] == cut["mask_quality"][1] == 0
    assert cut.mask.area[0] > 0


def test_everything_is_what_segment_anything_finds(segmenter, loaded, calls):
    settings = {"points_per_side": 4, "min_quality": 0.0, "min_stability": 0.0, "nms_threshold": 0.9}
    encoded = segmenter.encode_image(picture())
    found = segmenter.everything(encoded, **settings)
    generator = SamAutomaticMaskGenerator(
        loaded.model, 4, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=0.9
    )
    expected = sorted(generator.generate(np.asarray(picture())), key=lambda record: -record["predicted_iou"])
    assert len(found) == len(expected) > 0
    for mask, quality, record in zip(found.mask, found.confidence, expected, strict=True):
        assert np.array_equal(mask, record["segmentation"])
        assert quality == np.float32(record["predicted_iou"])
    assert found["class_name"].tolist()[:1] == ["object 1"]
    before = dict(calls)
    segmenter.everything(encoded, **settings)
    assert calls == before


def test_each_setting_of_everything_counts(segmenter):
    encoded = segmenter.encode_image(picture())
    loose = {"points_per_side": 4, "min_quality": 0.0, "min_stability": 0.0, "nms_threshold": 1.0}
    count = len(segmenter.everything(encoded, **loose))
    assert count > 3
    assert len(segmenter.everything(encoded, **{**loose, "points_per_side": 2})) < count
    assert len(segmenter.everything(encoded, **{**loose, "nms_threshold": 0.1})) < count
    for name in ("min_quality", "min_stability"):
        nothing = segmenter.everything(encoded, **{**loose, name: 1.0})
        assert len(nothing) < count
    assert nothing.mask.shape[1:] == (70, 90)


def test_everything_in_a_large_picture_has_its_size(segmenter):
    encoded = segmenter.encode_image(picture(size=(300, 200)))
    found = segmenter.everything(encoded, points_per_side=2, min_quality=0.0, min_stability=0.0)
    assert found.mask.shape[1:] == (200, 300)
    assert (found.xyxy[:, 2:].max(axis=0) > [150, 100]).all()


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        (MaskPrompt(points=[(90, 5, 1)]), "lies outside the picture of 90 x 70"),
        (MaskPrompt(box=(100, 5, 120, 9)), "lies outside the picture"),
    ],
)
def test_prompts_outside_the_picture_are_refused(prompt, sentence, segmenter, calls):
    with pytest.raises(ValueError, match=sentence):
        segmenter.segment(segmenter.encode_image(picture()), [CLICK, prompt])
    assert calls["prompts"] == 0


@pytest.mark.parametrize("size", [(1, 2000), (2000, 1), (1, 50_000)])
def test_a_picture_of_a_single_line_is_refused(segmenter, size):
    with pytest.raises(ValueError, match=f"too narrow: .* its {size[0]} x {size[1]} pixels leave"):
        segmenter.encode_image(Image.new("RGB", size))


def test_bad_requests_are_refused(segmenter, loaded):
    encoded = segmenter.encode_image(picture())
    with pytest.raises(ValueError, match="got 1 for 2 objects"):
        segmenter.segment(encoded, [CLICK], boxes(2))
    for ask in (
        lambda other: segmenter.segment(other, [CLICK]),
        lambda other: segmenter.segment_boxes(other, boxes(1)),
        lambda other: segmenter.everything(other),
    ):
        with pytest.raises(ValueError, match="encoded by another segmenter"):
            ask(Segmenter(loaded).encode_image(picture()))
    for settings in ({"points_per_side": 0}, {"min_quality": 1.5}, {"nms_threshold": -0.1}):
        with pytest.raises(ValueError, match="thresholds from 0 to 1"):
            segmenter.everything(encoded, **settings)
    with pytest.raises(ValueError, match="not an image"):
        segmenter.encode_image(b"no picture")


def test_caches_stay_within_their_bytes(loaded, calls):
    nbytes = Segmenter(loaded).encode_image(picture()).features.nbytes
    segmenter = Segmenter(loaded, SegmenterCacheBytes(images=2 * nbytes, candidates=0, masks=0))
    calls["encoder"] = 0
    cached = [segmenter.encode_image(picture(seed)).cached for seed in (0, 1, 0, 2, 0, 1)]
    assert cached == [False, False, True, False, True, False]
    encoded = segmenter.encode_image(picture())
    expected = Segmenter(loaded)
    expected = expected.segment(expected.encode_image(picture()), [BOTH])
    calls["prompts"] = 0
    for _ in range(2):
        assert np.array_equal(segmenter.segment(encoded, [BOTH]).mask[0], expected.mask[0])
    assert calls["prompts"] == 6  # box, first and second point, each time


def test_results_cannot_be_changed_in_the_cache(segmenter):
    encoded = segmenter.encode_image(picture())
    found = segmenter.segment(encoded, [CLICK])
    quality = found["mask_quality"][0]
    found.mask[0][:] = False
    found.xyxy[:] = found.confidence[:] = found["mask_quality"][:] = 0
    again = segmenter.segment(encoded, [CLICK])
    assert again.mask.area[0] > 0
    assert again["mask_quality"][0] == again.confidence[0] == quality


def test_threads_get_what_they_would_get_alone(loaded):
    requests = [(seed, prompt) for seed in (0, 1) for prompt in (CLICK, BOX, BOTH)]
    alone = {}
    for seed, prompt in requests:
        other = Segmenter(loaded)
        alone[seed, prompt] = other.segment(other.encode_image(picture(seed)), [prompt])
    segmenter = Segmenter(loaded)

    def ask(request):
        seed, prompt = request
        return request, segmenter.segment(segmenter.encode_image(picture(seed)), [prompt])

    with ThreadPoolExecutor(8) as pool:
        for request, found in pool.map(ask, requests * 4):
            assert np.array_equal(found.mask[0], alone[request].mask[0])
            assert found.confidence[0] == alone[request].confidence[0]
