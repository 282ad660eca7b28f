import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from groundingdino.detection import drafts
from groundingdino.detection.checkpoints import MODELS, LoadedModel
from groundingdino.detection.detector import CacheBytes, Detector
from groundingdino.detection.text_tokens import tokenize_captions
from groundingdino.model import GroundingDINO
from groundingdino.model.config import SWIN_T, GroundingDINOConfig, ResNetConfig, TextConfig
from groundingdino.model.preprocessing import collate, preprocess
from groundingdino.runtime.interruption import Stopped
from groundingdino.training.scenes.examples import PHOTOGRAPHED

EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"

TINY = GroundingDINOConfig(
    backbone=ResNetConfig(channels=(8, 16, 16, 32), stem_width=8),
    text=TextConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, max_position_embeddings=64
    ),
    hidden_dim=32,
    num_heads=4,
    ffn_dim=32,
    enhancer_layers=1,
    decoder_layers=2,
    num_queries=20,
    num_levels=3,
    max_tokens=32,
    short_side=64,
    long_side=96,
)
PASSES = {"box_threshold": 0.0, "nms_threshold": None}  # a random model's scores mean nothing: keep every box


@pytest.fixture(scope="module")
def loaded(tokenizer) -> LoadedModel:
    torch.manual_seed(0)
    return LoadedModel(GroundingDINO(TINY).eval(), tokenizer, MODELS["embedded"])


@pytest.fixture
def detector(loaded) -> Detector:
    return Detector(loaded)


@pytest.fixture
def calls(loaded, monkeypatch) -> SimpleNamespace:
    """Counts how often each part of the model runs."""
    counts = SimpleNamespace(encode_image=0, encode_text=0, ground=0)

    def count(name: str) -> None:
        method = getattr(loaded.model, name)

        def counted(*arguments):
            setattr(counts, name, getattr(counts, name) + 1)
            return method(*arguments)

        monkeypatch.setattr(loaded.model, name, counted)

    for name in vars(counts):
        count(name)
    return counts


def picture(seed: int, size: tuple[int, int] = (90, 70)) -> Image.Image:
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def test_a_picture_is_encoded_once_for_many_prompts_and_thresholds(detector, calls):
    first = detector.encode_image(picture(0))
    again = detector.encode_image(picture(0))
    assert (first.cached, again.cached) == (False, True)
    assert first.key == again.key
    for prompt in ("cat", "cat . dog", "dog"):
        grounding = detector.ground(again, prompt)
        for threshold in (0.0, 0.2, 0.5):
            grounding.detections(threshold, threshold, threshold)
    assert vars(calls) == {"encode_image": 1, "encode_text": 3, "ground": 3}


@pytest.mark.parametrize("prompt", ["Cat. dog", "cat,dog;", " CAT\ndog . cat"])
def test_a_prompt_of_the_same_meaning_never_runs_the_model_again(detector, calls, prompt):
    first = detector.ground(detector.encode_image(picture(0)), "cat . dog")
    assert (first.cached, first.text_cached) == (False, False)
    again = detector.ground(detector.encode_image(picture(0)), prompt)
    assert (again.cached, again.text_cached, again.text_milliseconds) == (True, True, 0)
    assert again.phrases == ("cat", "dog")
    assert again.scores is first.scores
    assert vars(calls) == {"encode_image": 1, "encode_text": 1, "ground": 1}


@pytest.mark.parametrize("prompt", ["cat . red dog", ["cat", "the", "red dog", "cat"], "a cat lies on a red dog"])
def test_one_phrase_after_the_other_is_what_each_gives_alone(detector, calls, prompt):
    encoded = detector.encode_image(picture(0))
    alone = {phrase: detector.ground(encoded, [phrase]) for phrase in ("cat", "red dog")}
    each = detector.ground_each(encoded, prompt)
    assert each.cached
    assert vars(calls) == {"encode_image": 1, "encode_text": 2, "ground": 2}
    found = each.detections(**PASSES)
    for phrase, grounding in alone.items():
        expected = grounding.detections(**PASSES)
        rows = found["class_name"] == phrase
        np.testing.assert_array_equal(found.xyxy[rows], expected.xyxy)
        np.testing.assert_array_equal(found.confidence[rows], expected.confidence)
    assert [each.phrases[index] for index in found.class_id] == found["class_name"].tolist()
    assert not detector.ground_each(encoded, "cat . pizza").cached
    assert calls.ground == 3


def test_one_after_the_other_tells_what_each_is_told_and_finds_nothing_in_nothing(detector, calls):
    encoded = detector.encode_image(picture(0))
    assert len(detector.ground_each(encoded, "").detections(**PASSES)) == 0
    assert calls.ground == 0
    with pytest.raises(ValueError, match="must be text"):
        detector.ground_each(encoded, 5)
    with pytest.raises(Stopped):
        detector.ground_each(encoded, "cat . dog", stop=lambda: True)


def test_text_is_encoded_once_for_many_pictures(detector, calls):
    results = [detector.ground(detector.encode_image(picture(seed)), "cat") for seed in (0, 1)]
    assert [result.text_cached for result in results] == [False, True]
    assert not results[1].cached
    assert vars(calls) == {"encode_image": 2, "encode_text": 1, "ground": 2}


def test_the_key_is_the_content(detector):
    key = detector.encode_image(picture(0)).key
    assert detector.encode_image(picture(1)).key != key
    assert detector.encode_image(picture(0).copy()).key == key
    assert detector.encode_image(np.asarray(picture(0))).key == key
    plain = (Image.new("RGB", size) for size in [(60, 40), (40, 60)])  # equal bytes, another shape
    assert len({detector.encode_image(image).key for image in plain}) == 2


def test_boxes_lie_inside_the_picture_given_and_best_comes_first(detector):
    for size in [(90, 70), (33, 200), (640, 480)]:
        found = detector(picture(0, size), "cat . remote control", **PASSES)
        assert len(found) == TINY.num_queries
        assert found.xyxy.dtype == np.float32
        assert (found.xyxy >= 0).all()
        assert (found.xyxy <= [*size, *size]).all()
        assert (found.xyxy[:, :2] <= found.xyxy[:, 2:]).all()
        assert (np.diff(found.confidence) <= 0).all()
        assert set(found["class_name"]) <= {"cat", "remote control"}
        assert found["class_name"].tolist() == [("cat", "remote control")[index] for index in found.class_id]


def test_the_whole_agrees_with_the_model_run_by_hand(detector, loaded, tokenizer):
    found = detector(picture(0), "cat . remote control", **PASSES)
    with torch.inference_mode():
        pixels, mask = collate([preprocess(picture(0), TINY.short_side, TINY.long_side)])
        output = loaded.model(pixels, mask, tokenize_captions(["cat . remote control ."], tokenizer))
    scores = output.logits[0].sigmoid()
    words = torch.stack([scores[:, 1], scores[:, 3:5].amax(1)])  # [CLS] cat . remote control . [SEP]
    best = words.amax(0).sort(descending=True)
    np.testing.assert_allclose(found.confidence, best.values, rtol=1e-4)
    assert found.class_id.tolist() == words.argmax(0)[best.indices].tolist()
    x, y, width, height = output.boxes[0, best.indices[0]].tolist()
    edges = [(x - width / 2) * 90, (y - height / 2) * 70, (x + width / 2) * 90, (y + height / 2) * 70]
    np.testing.assert_allclose(found.xyxy[0], np.clip(edges, 0, [90, 70, 90, 70]), atol=1e-3)


def test_an_empty_prompt_finds_nothing_without_running_the_model(detector, calls):
    grounding = detector.ground(detector.encode_image(picture(0)), " . ")
    assert (calls.encode_text, calls.ground) == (0, 0)
    assert grounding.phrases == grounding.notes == ()
    found = grounding.detections(**PASSES)
    assert found.xyxy.shape == (0, 4)
    assert found["class_name"].shape == (0,)


def test_defaults_come_with_the_checkpoint(detector):
    grounding = detector.ground(detector.encode_image(picture(0)), "cat")
    card = MODELS["embedded"]
    assert (grounding.box_threshold, grounding.text_threshold) == (card.box_threshold, card.text_threshold)


def test_a_prompt_over_several_passes_is_the_sum_of_its_parts(detector, calls):
    phrases = [f"cat {number}" for number in range(15)]  # 3 tokens each with the dot, 10 fit beside [CLS] and [SEP]
    encoded = detector.encode_image(picture(0))
    merged = detector.ground(encoded, phrases)
    assert calls.ground == 2
    first, second = detector.ground(encoded, phrases[:10]), detector.ground(encoded, phrases[10:])
    assert merged.phrases == tuple(phrases)
    np.testing.assert_array_equal(merged.boxes, np.concatenate([first.boxes, second.boxes]))
    np.testing.assert_array_equal(merged.scores[:20], first.scores)
    np.testing.assert_array_equal(merged.scores[20:, :5], second.scores)
    assert not merged.scores[20:, 5:].any()
    assert merged.phrase_ids[:20].tolist() == [[*range(10)]] * 20
    assert merged.phrase_ids[20:, :5].tolist() == [[*range(10, 15)]] * 20

    def objects(grounding):
        found = grounding.detections(box_threshold=0.0)
        return zip(found["class_name"], found.confidence, map(tuple, found.xyxy), strict=True)

    assert set(objects(merged)) == {*objects(first), *objects(second)}


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("prompt", ["cat . dog", [f"name {number}" for number in range(12)], ""])
def test_a_batch_finds_what_its_pictures_find_alone(detector, calls, prompt, each):
    pictures = [picture(0), picture(2, size=(70, 90)), picture(1)]  # two passes: padding would change the results
    batch = detector.ground_batch([detector.prepare(one) for one in pictures], prompt, each)
    passes = calls.ground
    assert calls.encode_image == 2
    ground = detector.ground_each if each else detector.ground
    alone = [ground(detector.encode_image(one), prompt) for one in pictures]
    assert calls.ground == passes + 3 * passes / 2
    for together, single in zip(batch, alone, strict=True):
        assert together.phrases == single.phrases
        assert np.array_equal(together.phrase_ids, single.phrase_ids)
        # Queries of nearly the same score may change places.
        np.testing.assert_allclose(np.sort(together.scores, 0), np.sort(single.scores, 0), atol=2e-4)
        np.testing.assert_allclose(np.sort(together.boxes, 0), np.sort(single.boxes, 0), atol=0.05)


LARGE = (220, 150)  # a model of 64 to 96 pixels sees it in 3 x 3 tiles


@pytest.mark.parametrize("each", [False, True])
def test_tiles_are_passes_of_their_own_and_are_kept(detector, calls, each):
    image = picture(0, LARGE)
    ground = detector.ground_each if each else detector.ground
    encoded = detector.encode_image(image, tiles=True)
    first = ground(encoded, "cat . red dog")
    prompts = 2 if each else 1
    assert vars(calls) == {"encode_image": 10, "encode_text": prompts, "ground": 10 * prompts}
    assert first.passes == 10 * prompts
    assert first.notes == ("The whole picture and 3 x 3 tiles of it were looked at.",)
    again = ground(detector.encode_image(image, tiles=True), "Cat, red dog")
    assert (first.cached, again.cached, again.text_milliseconds) == (False, True, 0)
    assert vars(calls) == {"encode_image": 10, "encode_text": prompts, "ground": 10 * prompts}
    np.testing.assert_array_equal(again.boxes, first.boxes)
    whole = ground(detector.encode_image(image), "cat . red dog")
    assert (whole.cached, whole.passes) == (True, prompts)
    np.testing.assert_array_equal(first.boxes[first.sources == 0], whole.boxes)
    np.testing.assert_array_equal(first.scores[first.sources == 0], whole.scores)
    assert len(first.sources) == len(first.boxes) > len(whole.boxes)


def test_a_tile_is_what_a_picture_of_it_is(detector):
    image = picture(0, LARGE)
    tile = detector.encode_image(image, tiles=True).tiles[4]
    assert (tile, tile.size) == ((66, 45, 154, 105), (88, 60))
    in_all = detector.ground(detector.encode_image(image, tiles=True), "cat")
    alone = detector.ground(detector.encode_image(image.crop(tile)), "cat")
    moved = alone.boxes + np.array([66, 45, 66, 45], np.float32)
    left = in_all.boxes[in_all.sources == 5]
    assert 0 < len(left) < len(moved), "some are cut at the tile's edges"
    assert {tuple(box) for box in left} < {tuple(box) for box in moved}
    assert (left[:, :2] > [66, 45]).all()
    assert (left[:, 2:] < [154, 105]).all()


def test_a_small_picture_has_no_tiles_and_a_draft_may_have_none(detector, calls):
    encoded = detector.encode_image(picture(0), tiles=True)
    grounding = detector.ground(encoded, "cat")
    assert (encoded.tiles, calls.ground, grounding.passes) == ((), 1, 1)
    assert grounding.notes == ("The picture is small enough to be seen whole, without tiles.",)
    assert detector.ground(encoded, "").notes == ()
    with pytest.raises(ValueError, match="A draft of 32 pixels has no tiles"):
        detector.encode_image(picture(0), short_side=32, tiles=True)


def test_tiles_stop_and_go_on_where_they_stopped(detector, calls):
    encoded = detector.encode_image(picture(0, LARGE), tiles=True)
    with pytest.raises(Stopped):
        detector.ground(encoded, "cat", stop=lambda: calls.ground == 4)
    assert (calls.encode_image, calls.ground) == (4, 4)
    detector.ground(encoded, "cat")
    assert (calls.encode_image, calls.ground) == (10, 11)  # the fourth once more


def test_tiles_are_kept_within_the_bytes_of_pictures(loaded, calls):
    one = Detector(loaded).encode_image(picture(0, LARGE)).features
    room = CacheBytes(images=3 * sum(tensor.nbytes for tensor in one if isinstance(tensor, torch.Tensor)))
    detector = Detector(loaded, room)
    calls.encode_image = 0
    encoded = detector.encode_image(picture(0, LARGE), tiles=True)
    detector.ground(encoded, "cat")
    assert calls.encode_image == 10
    assert detector.ground(encoded, "cat").cached, "what was found is kept all the same"
    detector.ground(encoded, "dog")
    assert calls.encode_image > 15


def test_the_whole_picture_comes_before_its_tiles_as_a_draft(detector, monkeypatch):
    monkeypatch.setattr(drafts, "DRAFT_SIDES", (48, 32))
    monkeypatch.setattr(drafts, "DRAFT_MILLISECONDS", 0)
    image = picture(0, LARGE)
    detector.ground(detector.encode_image(image), "cat")
    assert detector.draft_side(image, "cat", tiles=True) == 64
    assert detector.draft_side(image, "dog", tiles=True) == 32
    detector.ground(detector.encode_image(image, tiles=True), "cat")
    assert detector.draft_side(image, "cat", tiles=True) is None
    assert detector.draft_side(picture(0), "cat", tiles=True) == 32, "it has none"


@pytest.mark.parametrize("each", [False, True])
def test_tiles_of_a_batch_are_those_of_its_pictures(detector, calls, each):
    pictures = [picture(0, LARGE), picture(1), picture(2, LARGE)]
    batch = detector.ground_batch([detector.prepare(one) for one in pictures], "cat . dog", each, tiles=True)
    assert calls.encode_image == 11  # of two pictures at once, and of the small one
    ground = detector.ground_each if each else detector.ground
    for together, one in zip(batch, pictures, strict=True):
        alone = ground(detector.encode_image(one, tiles=True), "cat . dog")
        assert (together.notes, together.passes) == (alone.notes, alone.passes)
        assert sorted(together.sources) == pytest.approx(sorted(alone.sources))
        np.testing.assert_allclose(np.sort(together.scores, 0), np.sort(alone.scores, 0), atol=2e-4)
        np.testing.assert_allclose(np.sort(together.boxes, 0), np.sort(alone.boxes, 0), atol=0.2)


def test_a_call_takes_both_switches(detector, calls):
    found = detector(picture(0, LARGE), "cat . dog", **PASSES, each=True, tiles=True)
    assert calls.ground == 20
    assert found.xyxy.max() > 150


def test_an_empty_batch_is_an_empty_list(detector, calls):
    assert detector.ground_batch([], "cat") == []
    assert calls.encode_image == 0


def test_a_picture_that_is_none_cannot_be_prepared(detector):
    with pytest.raises(ValueError, match="too narrow"):
        detector.prepare(Image.new("RGB", (2000, 1)))


def test_lists_and_spans_override_how_a_string_is_read(detector):
    encoded = detector.encode_image(picture(0))
    assert detector.ground(encoded, "bow and arrow").phrases == ("bow", "arrow")
    assert detector.ground(encoded, ["Bow and arrow"]).phrases == ("bow and arrow",)
    spanned = detector.ground(encoded, "a cat and a dog", spans=[[(0, 1), (2, 5)], [(12, 15)]])
    assert spanned.phrases == ("a cat", "dog")
    with pytest.raises(ValueError, match="Spans count characters of one caption, but the prompt is 2 phrases"):
        detector.ground(encoded, ["cat", "dog"], spans=[[(0, 3)]])


def test_class_ids_count_the_callers_list(detector, calls):
    encoded = detector.encode_image(picture(0))
    names = ["Dog", "", "and", "cat", "dog ", "pizza"]
    found, plain = (
        detector.ground(encoded, prompt).detections(**PASSES) for prompt in (names, ["dog", "cat", "pizza"])
    )
    assert calls.ground == 2
    np.testing.assert_array_equal(found.xyxy, plain.xyxy)
    np.testing.assert_array_equal(found.confidence, plain.confidence)
    assert len(set(plain.class_id)) > 1
    assert found.class_id.tolist() == [(0, 3, 5)[index] for index in plain.class_id]
    assert found["class_name"].tolist() == [names[index].lower() for index in found.class_id]


@pytest.mark.parametrize("prompt", [None, [1, 2], b"cat", 3, {"cat": 1}, [["cat"]], "cat" * 10_000])
def test_what_is_no_prompt_is_refused(detector, prompt):
    with pytest.raises(ValueError, match=r"^(The prompt|Phrase 1 of the prompt) (must be text|is longer)"):
        detector(picture(0), prompt)


def test_a_sentence_is_read_as_it_stands_by_a_model_that_learnt_from_some(loaded):
    """Where the score of a phrase is that of its best word, as for phrases."""
    reads = Detector(loaded._replace(card=replace(loaded.card, config=SWIN_T)))
    assert (reads.card.reads_sentences, loaded.card.reads_sentences) == (True, False)
    encoded = reads.encode_image(picture(0))
    grounding = reads.ground(encoded, "A red cat and a dog on the grass")
    assert grounding.phrases == ("red cat", "dog", "grass")
    words = [[(2, 5)], [(6, 9)], [(16, 19)], [(27, 32)]]
    red, cat, dog, grass = reads.ground(encoded, "a red cat and a dog on the grass", spans=words).scores.T
    np.testing.assert_allclose(grounding.scores.T, [np.maximum(red, cat), dog, grass], rtol=1e-5)
    np.testing.assert_allclose(grounding.noun_scores.T, [cat, dog, grass], rtol=1e-5)


def test_of_a_sentence_a_model_that_learnt_phrases_reads_the_phrases(detector, calls):
    encoded = detector.encode_image(picture(0))
    grounding = detector.ground(encoded, "A red cat and a dog on the grass")
    again = detector.ground(encoded, "red cat . dog . grass")
    assert (again.cached, again.scores is grounding.scores, again.noun_scores) == (True, True, None)
    assert calls.ground == 1


def test_names_joined_by_and_are_found_as_between_dots():
    detector = Detector.from_pretrained("embedded", device="cpu")
    total = 0
    for example in json.loads((EXAMPLES / "examples.json").read_text()):
        if example["file"] in PHOTOGRAPHED:
            continue
        encoded = detector.encode_image(EXAMPLES / example["file"])
        first, second = example["prompt"].split(" . ")[:2]
        expected = detector.ground(encoded, f"{first} . {second}").detections()
        for prompt in (f"{first} and {second}", f"there is a {first} and a {second} in the picture", [first, second]):
            found = detector.ground(encoded, prompt).detections()
            np.testing.assert_array_equal(found.xyxy, expected.xyxy)
            assert found["class_name"].tolist() == expected["class_name"].tolist(), prompt
        assert set(expected["class_name"]) == {first, second}, "each is found"
        total += len(expected)
    assert total >= 12


def test_scores_of_a_long_prompt_take_no_more_than_those_of_its_passes(detector):
    encoded = detector.encode_image(picture(0))
    few, many = (detector.ground(encoded, [f"cat {number}" for number in range(count)]).nbytes for count in (100, 1000))
    assert many < 15 * few  # were each scored against each phrase it were a hundred


def test_a_span_scores_as_published(detector):
    encoded = detector.encode_image(picture(0))
    caption = "a cat and a dog"  # one token each word
    words = detector.ground(encoded, caption, spans=[[(0, 1)], [(2, 5)], [(12, 15)]]).scores
    spans = detector.ground(encoded, caption, spans=[[(0, 1), (2, 5)], [(12, 15)]]).scores
    np.testing.assert_allclose(spans[:, 0], words[:, :2].mean(1), rtol=1e-5)
    np.testing.assert_allclose(spans[:, 1], words[:, 2], rtol=1e-5)


def test_notes_reach_the_caller_also_from_the_cache(detector):
    encoded = detector.encode_image(picture(0))
    for _ in range(2):
        (note,) = detector.ground(encoded, "кошка").notes
        assert "“кошка”" in note


def test_a_phrase_too_long_is_refused(detector):
    with pytest.raises(ValueError, match="one phrase can have 29 at most"):
        detector.ground(detector.encode_image(picture(0)), "cat " * 30)


@pytest.mark.parametrize("short_side", [-5, 0, 7, 10**6])
def test_a_short_side_has_a_range(detector, short_side):
    with pytest.raises(ValueError, match="A side to scale to must be from 8 to 8000 pixels, not "):
        detector.encode_image(picture(0), short_side=short_side)


def test_a_picture_of_a_single_line_is_refused(detector):
    with pytest.raises(ValueError, match=r"too narrow: .* its 1 x 2000 pixels leave 0 across"):
        detector(Image.new("RGB", (1, 2000)), "cat")


def test_a_picture_may_be_a_tensor_or_an_open_file(detector, tmp_path):
    image = picture(0)
    image.save(tmp_path / "picture.png")
    expected = detector.encode_image(image).key
    assert detector.encode_image(torch.from_numpy(np.array(image)).permute(2, 0, 1)).key == expected
    with open(tmp_path / "picture.png", "rb") as file:
        assert detector.encode_image(file).key == expected


def test_something_else_than_a_picture_is_refused(detector):
    with pytest.raises(ValueError, match="not an image"):
        detector.encode_image(b"no picture")


def test_another_detectors_features_are_refused(detector, loaded):
    with pytest.raises(ValueError, match="encoded by another detector"):
        detector.ground(Detector(loaded).encode_image(picture(0)), "cat")


def test_caches_stay_within_their_bytes(loaded, calls):
    features = Detector(loaded).encode_image(picture(0)).features
    per_picture = sum(tensor.nbytes for tensor in features if isinstance(tensor, torch.Tensor))
    detector = Detector(loaded, CacheBytes(images=2 * per_picture, texts=0, groundings=0))
    calls.encode_image = 0
    cached = [detector.encode_image(picture(seed)).cached for seed in (0, 1, 0, 2, 0, 1)]
    assert cached == [False, False, True, False, True, False]  # 2 drops 1, the least recently used
    assert calls.encode_image == 4
    encoded = detector.encode_image(picture(0))
    assert [detector.ground(encoded, "cat").cached for _ in range(2)] == [False, False]
    assert calls.encode_text == 2


def test_small_pictures_are_not_kept_without_end(loaded):
    detector = Detector(loaded, CacheBytes(most_images=2))
    cached = [detector.encode_image(picture(seed)).cached for seed in (0, 1, 0, 2, 1)]
    assert cached == [False, False, True, False, False]


def test_features_dropped_from_the_cache_still_ground(loaded):
    detector = Detector(loaded, CacheBytes(images=0))
    encoded = detector.encode_image(picture(0))
    detector.encode_image(picture(1))
    expected = Detector(loaded)(picture(0), "cat", **PASSES)
    np.testing.assert_array_equal(detector.ground(encoded, "cat").detections(**PASSES).xyxy, expected.xyxy)


def test_results_cannot_be_changed_in_the_cache(detector):
    grounding = detector.ground(detector.encode_image(picture(0)), "cat")
    with pytest.raises(ValueError, match="read-only"):
        grounding.scores[0] = 1
    found = grounding.detections(**PASSES)
    found.xyxy[:] = 0
    assert grounding.detections(**PASSES).xyxy.any()


def test_threads_get_what_they_would_get_alone(loaded, calls):
    requests = [(seed, prompt) for seed in (0, 1) for prompt in ("cat", "cat . dog", "a cat on a red sofa")]
    alone = {request: Detector(loaded)(picture(request[0]), request[1], **PASSES) for request in requests}
    detector = Detector(loaded)
    calls.encode_image = calls.encode_text = calls.ground = 0

    def ask(request):
        seed, prompt = request
        return request, detector(picture(seed), prompt, **PASSES)

    with ThreadPoolExecutor(8) as pool:
        for request, found in pool.map(ask, requests * 5):
            np.testing.assert_array_equal(found.xyxy, alone[request].xyxy)
            np.testing.assert_array_equal(found.confidence, alone[request].confidence)
            assert found["class_name"].tolist() == alone[request]["class_name"].tolist()
    assert vars(calls) == {"encode_image": 2, "encode_text": 3, "ground": 6}


def test_another_precision_than_the_two_is_refused(loaded):
    with pytest.raises(ValueError, match=r"torch\.float32 or torch\.bfloat16, but got torch\.float16"):
        Detector(loaded, dtype=torch.float16)


def test_bf16_finds_the_same():
    picture = EXAMPLES / "picnic.webp"
    exact, narrow = (
        Detector.from_pretrained("embedded", device="cpu", dtype=dtype) for dtype in (torch.float32, torch.bfloat16)
    )
    tokens = exact.encode_image(picture).features.tokens.bfloat16()  # of convolutions, which are float32
    assert torch.equal(tokens, narrow.encode_image(picture).features.tokens)
    assert {layer.weight.dtype for layer in narrow.model.modules() if isinstance(layer, nn.Linear)} == {torch.bfloat16}
    # Scores move as well: one just above the threshold may fall below it.
    expected, found = exact(picture, "cat . pizza", 0.4), narrow(picture, "cat . pizza", 0.35)
    assert len(expected) > 0
    assert not np.array_equal(found.xyxy[: len(expected)], expected.xyxy)
    size = exact.encode_image(picture).size
    for box, name, score in zip(expected.xyxy, expected["class_name"], expected.confidence, strict=True):
        same = found[found["class_name"] == name]
        distance = (np.abs(same.xyxy - box) / [*size, *size]).max(axis=1)
        assert distance.min() < 2e-2
        assert same.confidence[distance.argmin()] == pytest.approx(score, abs=0.05)


def test_what_is_known_needs_no_draft(detector, monkeypatch):
    monkeypatch.setattr(drafts, "DRAFT_SIDES", (48, 32))
    monkeypatch.setattr(drafts, "DRAFT_MILLISECONDS", 0)
    detector(picture(1), "cat")
    image = picture(0, (96, 64))
    encoded = detector.encode_image(image)
    assert detector.draft_side(image, "cat") == 32
    detector.ground(encoded, "cat")
    assert detector.draft_side(image, "cat .") is None  # the same prompt, and its scores are kept


def test_phrases_that_are_all_known_need_no_draft_where_each_has_a_pass_of_its_own(detector, monkeypatch):
    monkeypatch.setattr(drafts, "DRAFT_SIDES", (48, 32))
    monkeypatch.setattr(drafts, "DRAFT_MILLISECONDS", 0)
    image = picture(0, (96, 64))
    detector.ground_each(detector.encode_image(image), "cat . dog")
    assert detector.draft_side(image, "dog and cat", each=True) is None
    assert detector.draft_side(image, "", each=True) is None
    assert detector.draft_side(image, "cat . dog") == 32
    assert detector.draft_side(image, "cat . pizza", each=True) == 32


def test_nobody_knows_how_slow_the_first_pass_is(detector, monkeypatch):
    monkeypatch.setattr(drafts, "DRAFT_SIDES", (48, 32))
    monkeypatch.setattr(drafts, "DRAFT_MILLISECONDS", 0)
    assert detector.draft_side(picture(0), "cat") is None
    detector(picture(1), "cat")
    assert detector.draft_side(picture(0), "cat") == 32


def test_a_draft_is_another_picture_to_the_caches(detector, calls):
    image = picture(0)
    full, draft = detector.encode_image(image), detector.encode_image(image, short_side=32)
    assert draft.features.tokens.shape[1] < full.features.tokens.shape[1]
    assert draft.size == full.size
    boxes = [detector.ground(encoded, "cat").boxes for encoded in (full, draft)]
    assert calls.ground == 2
    assert not np.array_equal(*boxes)
    assert detector.encode_image(image, short_side=32).cached
    assert detector.encode_image(image, short_side=64).key == full.key


def test_a_pass_stops_at_the_next_layer_when_it_is_not_wanted(detector, calls):
    encoded = detector.encode_image(picture(0))
    answers = iter([False, False, True, True])
    with pytest.raises(Stopped):
        detector.ground(encoded, "cat", stop=lambda: next(answers))  # two layers ran
    assert calls.ground == 1
    assert len(detector.ground(encoded, "cat", stop=lambda: False).boxes) == 20  # nothing of it was kept
    assert detector.ground(encoded, "cat", stop=lambda: True).cached  # what is there needs no stopping


def test_who_waited_for_a_pass_that_was_given_up_still_gets_an_answer(detector, calls):
    encoded = detector.encode_image(picture(0))
    begun, wanted = Event(), Event()

    def stop() -> bool:
        begun.set()
        return wanted.wait(10)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(detector.ground, encoded, "cat", stop=stop)
        assert begun.wait(10)
        second = pool.submit(detector.ground, encoded, "cat")
        wanted.set()
        with pytest.raises(Stopped):
            first.result()
        assert len(second.result().boxes) == 20
    assert calls.ground == 2
