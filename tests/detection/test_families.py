import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from groundingdino.detection.available_models import MODELS
from groundingdino.detection.checkpoints import load_pretrained
from groundingdino.detection.detector import Detector
from groundingdino.detection.families import ARCHITECTURES
from groundingdino.detection.objects import scores_of, select
from groundingdino.detection.text_tokens import pack
from groundingdino.detection.transformers_detectors import TransformersPasses
from groundingdino.inputs.prompt import Prompt
from groundingdino.runtime.interruption import Stopped
from tests.tiny_detectors import BUILD, SIDES, build, save

PHRASES = ("cat", "red dog", "sofa")
KEEP_ALL: dict[str, Any] = {"box_threshold": 0.0, "nms_threshold": None}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("detectors")
    return {kind: save(kind, root / kind) for kind in BUILD}


@pytest.fixture(scope="module")
def detectors(folders: dict[str, Path]) -> dict[str, Detector]:
    return {kind: Detector.from_pretrained(folder, "cpu") for kind, folder in folders.items()}


@pytest.fixture(params=BUILD)
def kind(request) -> str:
    return request.param


@pytest.fixture
def detector(kind: str, detectors: dict[str, Detector]) -> Detector:
    return detectors[kind]


def noise(seed: int, width: int = 140, height: int = 90) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def theirs_owlv2(model: Any, processor: Any, image: Image.Image) -> list[tuple[np.ndarray, float, int]]:
    inputs = processor(images=image, text=[[*PHRASES]], padding="max_length", max_length=16, return_tensors="pt")
    (found,) = processor.post_process_grounded_object_detection(
        model(**inputs), threshold=0.0, target_sizes=[(image.height, image.width)]
    )
    return list(zip(found["boxes"].numpy(), found["scores"].tolist(), found["labels"].tolist(), strict=True))


def theirs_omdet_turbo(model: Any, processor: Any, image: Image.Image) -> list[tuple[np.ndarray, float, int]]:
    inputs = processor(
        images=image, text=[*PHRASES], padding="max_length", truncation=True, max_length=77, return_tensors="pt"
    )
    output = model(**inputs)
    (found,) = processor.post_process_grounded_object_detection(
        output, threshold=0.0, nms_threshold=1.0, target_sizes=[(image.height, image.width)], max_num_det=27
    )
    return list(zip(found["boxes"].numpy(), found["scores"].tolist(), found["labels"].tolist(), strict=True))


def theirs_sam3(model: Any, processor: Any, image: Image.Image) -> list[tuple[np.ndarray, float, int]]:
    pairs = []
    for index, phrase in enumerate(PHRASES):
        output = model(**processor(images=image, text=phrase, return_tensors="pt"))
        (found,) = processor.post_process_instance_segmentation(
            output, threshold=0.0, target_sizes=[(image.height, image.width)]
        )
        pairs += [
            (box, score, index) for box, score in zip(found["boxes"].numpy(), found["scores"].tolist(), strict=True)
        ]
    return pairs


THEIRS = {"owlv2": theirs_owlv2, "omdet-turbo": theirs_omdet_turbo, "sam3": theirs_sam3}


def sorted_pairs(pairs: list[tuple[np.ndarray, float, int]], size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Boxes within the picture that are no line, scores and phrases, best first."""
    boxes, scores, labels = (np.array(column) for column in zip(*pairs, strict=True))
    boxes = boxes.clip(0, [*size, *size])
    inside = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
    order = np.argsort(-scores[inside], kind="stable")
    return boxes[inside][order], scores[inside][order], labels[inside][order]


def test_boxes_and_scores_are_those_of_transformers(kind, detector: Detector):
    image = noise(0)
    with torch.inference_mode():
        boxes, scores, labels = sorted_pairs(THEIRS[kind](*build(kind), image), image.size)
    grounding = detector.ground(detector.encode_image(image), PHRASES)
    # Theirs are pairs of a box and its best phrase, but OmDet-Turbo's of a box and each.
    found = grounding.pairs(len(boxes)) if kind == "omdet-turbo" else grounding.detections(**KEEP_ALL)
    ours = zip(found.xyxy, scores_of(found).tolist(), np.asarray(found.class_id).tolist(), strict=True)
    own_boxes, own_scores, own_labels = sorted_pairs([*ours], image.size)
    assert len(boxes) > 5
    np.testing.assert_allclose(own_scores, scores, atol=1e-5)
    np.testing.assert_allclose(own_boxes, boxes, atol=1e-2)
    np.testing.assert_array_equal(own_labels, labels)
    assert len(set(labels)) > 1
    assert grounding.phrases == PHRASES


def test_masks_of_sam3_are_those_of_transformers(detectors: dict[str, Detector]):
    detector, image = detectors["sam3"], noise(0)
    model, processor = build("sam3")
    with torch.inference_mode():
        output = model(**processor(images=image, text="red dog", return_tensors="pt"))
        (theirs,) = processor.post_process_instance_segmentation(
            output, threshold=0.05, target_sizes=[(image.height, image.width)]
        )
    ours = detector(image, ["cat", "red dog"], **KEEP_ALL, masks=True)
    ours = select(ours, np.asarray(ours.class_id) == 1)
    order = theirs["scores"].argsort(descending=True)
    assert ours.mask.shape == (len(order), image.height, image.width)
    np.testing.assert_allclose(scores_of(ours), theirs["scores"][order], atol=1e-5)
    masks = theirs["masks"][order].numpy().astype(bool)
    assert 0.1 < masks.mean() < 0.9
    assert (np.asarray(ours.mask) != masks).mean() < 0.01  # they are kept in 8 bits
    each = detector.ground_each(detector.encode_image(image), ["cat", "red dog"]).detections(**KEEP_ALL, masks=True)
    np.testing.assert_array_equal(np.asarray(each[each.class_id == 1].mask), np.asarray(ours.mask))


def test_there_are_no_masks_where_a_model_makes_none_or_in_tiles(detectors: dict[str, Detector]):
    for kind, tiles in (("owlv2", False), ("sam3", True)):
        with pytest.raises(ValueError, match=r"^There are no masks of these boxes: cut them out with a Segmenter\.$"):
            detectors[kind](noise(0, 500, 90), "cat", masks=True, tiles=tiles)


def test_a_picture_is_encoded_once_and_a_phrase_read_once(kind, folders, monkeypatch):
    detector = Detector.from_pretrained(folders[kind], "cpu")
    passes, asked = detector._passes, []
    encode, read = passes._encode, passes._encode_texts
    monkeypatch.setattr(passes, "_encode", lambda pixels: [asked.append("picture"), encode(pixels)][1])
    monkeypatch.setattr(passes, "_encode_texts", lambda tokens: [asked.append(len(tokens.input_ids)), read(tokens)][1])
    task = kind == "omdet-turbo"  # a task is a text, too
    encoded = detector.encode_image(noise(1))
    first = detector.ground(encoded, "cat . dog")
    assert asked == ["picture", 2 + task]
    assert not first.cached
    assert not first.text_cached
    assert len(first.detections(**KEEP_ALL)) >= len(first.detections(box_threshold=0.3)) >= 0
    detector.ground(detector.encode_image(noise(1)), "dog . sofa")
    assert asked == ["picture", 2 + task, 1 + task]
    again = detector.ground(encoded, "cat . dog")
    assert again.cached
    other = detector.ground(detector.encode_image(noise(2)), "cat . dog")
    assert asked == ["picture", 2 + task, 1 + task, "picture"]
    assert other.text_cached
    assert not np.array_equal(other.scores, first.scores)


def test_pictures_in_a_batch_are_as_they_are_alone(detector: Detector):
    images = [noise(3), noise(4, 70, 120)]
    together = detector.ground_batch([detector.prepare(image) for image in images], "cat . red dog")
    for image, grounding in zip(images, together, strict=True):
        alone = detector.ground(detector.encode_image(image), "cat . red dog")
        np.testing.assert_allclose(grounding.scores, alone.scores, atol=1e-5)
        np.testing.assert_allclose(grounding.boxes, alone.boxes, atol=1e-2)


def test_tiles_each_and_names_of_categories_work_as_with_ours(detector: Detector):
    image = noise(5, 400, 90)
    whole = detector(image, "cat . dog", **KEEP_ALL, max_detections=900)
    tiled = detector(image, "cat . dog", **KEEP_ALL, max_detections=900, tiles=True)
    assert len(tiled) > len(whole)
    encoded = detector.encode_image(image)
    each = detector.ground_each(encoded, "cat . dog").detections(**KEEP_ALL)
    assert set(each.data["class_name"]) <= {"cat", "dog"}
    named = detector.ground(encoded, Prompt.from_names(PHRASES))
    np.testing.assert_allclose(named.scores, detector.ground(encoded, PHRASES).scores, atol=1e-6)


def test_of_a_sentence_the_things_are_looked_for(detector: Detector):
    encoded = detector.encode_image(noise(0))
    sentence = detector.ground(encoded, "a cat sleeps on a red sofa")
    assert sentence.phrases == ("cat", "red sofa")
    np.testing.assert_array_equal(sentence.scores, detector.ground(encoded, ["cat", "red sofa"]).scores)


def test_nothing_is_found_of_an_empty_prompt(detector: Detector):
    grounding = detector.ground(detector.encode_image(noise(0)), ["", "and"])
    assert len(grounding.detections(**KEEP_ALL)) == 0
    assert grounding.notes == ("Names nothing and is not looked for: “and”.",)


def test_more_phrases_than_one_task_of_omdet_turbo_holds_take_several_passes(detectors: dict[str, Detector]):
    detector, image = detectors["omdet-turbo"], noise(0)
    names = [f"{letter}{index}" for letter in "abcdef" for index in range(6)]
    grounding = detector.ground(detector.encode_image(image), names)
    lengths = [len(detector.tokenizer(name, add_special_tokens=False).input_ids) + 1 for name in names]
    around = len(detector.tokenizer("Detect .").input_ids)
    parts = [names[start:end] for start, end in pack(lengths, 77 - around + 1)]
    assert grounding.passes == len(parts) == detector._passes.count(Prompt.from_phrases(names)) > 1
    for part in parts:
        task = detector.tokenizer(f"Detect {', '.join(part)}.").input_ids
        assert len(task) <= 77
    last = detector.ground(detector.encode_image(image), parts[-1])
    rows, columns = last.scores.shape
    np.testing.assert_allclose(grounding.scores[-rows:, :columns], last.scores, atol=1e-6)
    assert {*grounding.phrase_ids[-rows:, :columns].ravel()} == {*range(len(names) - columns, len(names))}


def test_there_are_no_drafts(kind, detector: Detector):
    assert detector.draft_side(noise(6), "cat") is None
    title = re.escape(ARCHITECTURES[kind].title)
    with pytest.raises(ValueError, match=rf"^{title} sees pictures at {SIDES[kind]} pixels alone, not 40: leave out"):
        detector.encode_image(noise(6), short_side=40)


def test_what_it_cannot_do_is_refused_in_a_sentence(kind, detector: Detector, folders):
    encoded, title = detector.encode_image(noise(0)), re.escape(ARCHITECTURES[kind].title)
    with pytest.raises(ValueError, match=rf"^{title} looks for phrases by themselves, not for parts of a caption: "):
        detector.ground(encoded, "a cat and a dog", spans=[[(2, 5)], [(12, 15)]])
    passes = detector._passes
    assert isinstance(passes, TransformersPasses)
    most = passes.most_tokens
    with pytest.raises(ValueError, match=rf"is {most + 1} tokens long, but one phrase can have {most - 2} at most: "):
        detector.ground(encoded, ["x" * (most + 1)])
    with pytest.raises(ValueError, match=rf"^{title} computes in torch.float32 here, but got torch.bfloat16"):
        Detector.from_pretrained(folders[kind], "cpu", dtype=torch.bfloat16)
    with pytest.raises(ValueError, match=f"describes a model of type '{kind}'"):
        load_pretrained(folders[kind])
    with pytest.raises(ValueError, match=r"too narrow"):
        detector.encode_image(noise(0, 2000, 10))


@pytest.mark.parametrize("name", ["owlv2-b", "omdet-turbo-t", "sam3", "facebook/sam3"])
def test_a_named_one_is_refused_for_training_before_it_is_fetched(name, monkeypatch):
    monkeypatch.setattr("groundingdino.detection.checkpoints.find_detector", lambda *_: pytest.fail("fetched"))
    with pytest.raises(ValueError, match=r"is of another architecture and can only detect: .* such as 'mm-t'\.$"):
        load_pretrained(name)


def test_a_pass_is_given_up_once_nobody_waits(detector: Detector):
    with pytest.raises(Stopped):
        detector.encode_image(noise(7), stop=lambda: True)


def test_a_folder_of_ones_own_has_the_thresholds_of_published_ones(kind, detector: Detector, folders):
    card, alike = detector.card, MODELS[ARCHITECTURES[kind].alike]
    assert (card.box_threshold, card.name, card.config.side) == (alike.box_threshold, str(folders[kind]), SIDES[kind])
    assert card.size_bytes == (folders[kind] / "model.safetensors").stat().st_size
    assert (card.description, card.licence, card.gated) == ("Your own weights.", "", False)


def test_sam3_is_read_as_it_is_published_with_its_tracker(folders, tmp_path, detectors: dict[str, Detector]):
    folder = copy(folders["sam3"], tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"model_type": "sam3_video", "detector_config": config}))
    state = {f"detector_model.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    state |= {"tracker_model.mask_decoder.weight": torch.ones(2), "tracker_neck.weight": torch.ones(2)}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    published = Detector.from_pretrained(folder, "cpu")
    ours, theirs = (one(noise(0), "cat", **KEEP_ALL) for one in (published, detectors["sam3"]))
    np.testing.assert_allclose(ours.xyxy, theirs.xyxy, atol=1e-3)


def copy(source: Path, target: Path) -> Path:
    target.mkdir(exist_ok=True)
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def edit_json(name: str, edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        values = json.loads((folder / name).read_text())
        edit(values)
        (folder / name).write_text(json.dumps(values))

    return damage


def edit_weights(edit: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        edit(state)
        save_file(state, folder / "model.safetensors", {"format": "pt"})

    return damage


def cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


HEAD = "class_head.dense0.bias"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (cut("model.safetensors", 5000), r"is truncated or no \.safetensors file .*: download it again\."),
        (cut("config.json", 40), r"config\.json' is not JSON .*: download it again\."),
        (cut("tokenizer.json", 40), r"does not hold a whole OWLv2 .*: download it again, with config\.json, "),
        (lambda folder: (folder / "model.safetensors").unlink(), r"expected config\.json and model\.safetensors in it"),
        (
            lambda folder: (folder / "tokenizer.json").unlink(),
            r"has no tokenizer: put the tokenizer\.json of the model",
        ),
        (
            edit_json("tokenizer.json", lambda values: values["model"]["vocab"].update(more=600)),
            r"has 602 tokens but the model only 515: |has 516 tokens but the model only 515: ",
        ),
        (edit_weights(lambda state: state.pop(HEAD)), rf"does not fit the model: 1 missing \({HEAD}\)\."),
        (edit_weights(lambda state: state.update(more=torch.ones(1))), r"does not fit the model: 1 left over \(more\)"),
        (
            edit_weights(lambda state: state.update({HEAD: torch.ones(5)})),
            rf"does not fit the model: 1 of another shape \({HEAD} \(5,\) instead of \(32,\)\)\.",
        ),
        (edit_weights(lambda state: state[HEAD].fill_(torch.nan)), rf"holds NaN or infinity, .*\({HEAD}\)\."),
        (
            edit_json("processor_config.json", lambda values: values["image_processor"]["size"].update(height=96)),
            r"makes pictures of .*96.*, but the model beside it takes normalised squares of 64 pixels: take the ",
        ),
        (
            edit_json("config.json", lambda values: values["vision_config"].update(hidden_size=33)),
            r"does not hold a whole OWLv2 ",
        ),
        (edit_json("config.json", lambda values: values.update(model_type="yolos")), r"of type 'yolos': expected "),
    ],
)
def test_a_damaged_folder_is_refused_by_a_sentence(damage, sentence, folders, tmp_path):
    folder = copy(folders["owlv2"], tmp_path / "model")
    damage(folder)
    with pytest.raises(ValueError, match=sentence) as error:
        Detector.from_pretrained(folder, "cpu")
    assert "\n" not in str(error.value)


def test_a_backbone_from_elsewhere_is_not_fetched(folders, tmp_path):
    folder = copy(folders["omdet-turbo"], tmp_path / "model")
    backbone = {"model_type": "timm_backbone", "backbone": "hf-hub:owner/model"}
    edit_json("config.json", lambda values: values.update(backbone_config=backbone))(folder)
    with pytest.raises(ValueError, match=r"no backbone of timm is 'hf-hub:owner/model'"):
        Detector.from_pretrained(folder, "cpu")


def test_detections_are_as_everywhere(detector: Detector):
    found = detector(noise(0), "cat . dog", box_threshold=0.0)
    assert isinstance(found, sv.Detections)
    assert found.xyxy.dtype == np.float32
    assert found.mask is None
    assert {*found.data["class_name"]} <= {"cat", "dog"}
