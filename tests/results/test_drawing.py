import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from groundingdino.detection.objects import scores_of, vocabulary
from groundingdino.results.drawing import MOST_LABELS, PALETTE, MaskStyle, annotate, phrase_colors, text_color


def detections(*objects: tuple[str, float, tuple[float, float, float, float]]) -> sv.Detections:
    names, scores, boxes = zip(*objects, strict=True)
    return sv.Detections(
        xyxy=np.array(boxes, np.float32),
        confidence=np.array(scores, np.float32),
        class_id=np.arange(len(objects)),
        data={"class_name": np.array(names)},
    )


def hexes(*phrases: str) -> list[str]:
    return [color.as_hex().upper() for color in phrase_colors(phrases)]


def test_colors_are_the_same_in_another_process():
    code = "from groundingdino.results.drawing import phrase_colors; print(phrase_colors(['cat', 'pizza'])[1].as_hex())"
    environment = {"PYTHONHASHSEED": "7", "PYTHONWARNINGS": "ignore"}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert other.stdout.strip().upper() == hexes("cat", "pizza")[1]


def test_a_phrase_typed_behind_others_changes_none_of_them():
    typed = ["cat", "dog", "pizza", "red apple", "soccer ball"]
    for count in range(1, len(typed)):
        assert hexes(*typed)[:count] == hexes(*typed[:count])


def test_phrases_of_one_prompt_have_different_colors_while_there_are_enough():
    words = [f"word {number}" for number in range(len(PALETTE))]
    assert sorted(hexes(*words)) == sorted(PALETTE)
    assert len(hexes(*words, "one more")) == len(PALETTE) + 1


def test_a_phrase_alone_keeps_its_color_whatever_its_case():
    assert hexes("Cat") == hexes("cat")


@pytest.mark.parametrize(
    ("background", "expected"), [("#FFFFFF", "#000000"), ("#000000", "#FFFFFF"), ("#0072B2", "#FFFFFF")]
)
def test_letters_contrast_with_their_background(background: str, expected: str):
    assert text_color(sv.Color.from_hex(background)).as_hex().upper() == expected


def test_boxes_have_the_colors_of_their_phrases():
    image = Image.new("RGB", (200, 160), "white")
    found = detections(("dog", 0.9, (20, 60, 80, 140)), ("cat", 0.5, (110, 60, 180, 140)))
    drawn = annotate(image, found, phrases=["cat", "bird", "dog"])
    cat, _, dog = phrase_colors(["cat", "bird", "dog"])
    assert drawn.size == image.size
    assert drawn.getpixel((50, 140)) == dog.as_rgb()
    assert drawn.getpixel((150, 140)) == cat.as_rgb()
    assert drawn.getpixel((50, 100)) == (255, 255, 255)
    assert image.getextrema() == ((255, 255),) * 3, "the given picture is left alone"


def test_what_is_marked_stands_out_and_lies_on_top():
    image = Image.new("RGB", (400, 300), "black")
    found = detections(("dog", 0.9, (50, 100, 200, 250)), ("cat", 0.5, (50, 100, 200, 250)))
    _, cat = phrase_colors(["dog", "cat"])
    plain, marked = annotate(image, found), annotate(image, found, marked={1})
    assert plain.getpixel((50, 220)) == phrase_colors(["dog"])[0].as_rgb()
    assert marked.getpixel((50, 220)) == cat.as_rgb()
    assert (255, 255, 255) in {marked.getpixel((x, 220)) for x in range(40, 60)}


def test_lines_and_letters_follow_the_unit():
    def share_of_ink(size: tuple[int, int], unit: float | None) -> float:
        width, height = size
        found = detections(("cat", 0.5, (0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height)))
        drawn = np.asarray(annotate(Image.new("RGB", size, "gray"), found, unit=unit))
        return (drawn != (128, 128, 128)).any(axis=-1).mean()

    small, large = share_of_ink((600, 600), None), share_of_ink((1200, 1200), None)
    assert small == pytest.approx(large, rel=0.15), "by default they grow with the picture"
    assert share_of_ink((1200, 1200), 1.0) < 0.7 * large


def ink(phrase: str, box: tuple[int, int, int, int]) -> np.ndarray:
    """Where a grey 600x400 picture has letters when `phrase` is found at `box`: (H, W) bool."""
    drawn = np.asarray(annotate(Image.new("RGB", (600, 400), "gray"), detections((phrase, 0.42, box))))
    (color,) = phrase_colors([phrase])
    return (drawn != (128, 128, 128)).any(axis=-1) & (drawn != color.as_rgb()).any(axis=-1)


@pytest.mark.parametrize("box", [(0, 0, 40, 40), (560, 0, 599, 40), (560, 360, 599, 399), (0, 0, 599, 399)])
def test_labels_stay_inside_the_picture(box: tuple[int, int, int, int]):
    assert ink("cat", box).sum() == ink("cat", (280, 180, 320, 220)).sum() > 50


def test_a_label_wider_than_the_picture_keeps_its_score():
    columns = np.nonzero(ink("a phrase that goes on " * 10, (300, 180, 320, 220)).any(axis=0))[0]
    assert 0 < columns.min() < 20
    assert 570 < columns.max() < 599


def test_a_label_of_a_million_letters_is_drawn_like_one_of_a_thousand():
    box = (300, 180, 320, 220)
    np.testing.assert_array_equal(ink("x" * 1_000_000, box).any(axis=0), ink("x" * 1000, box).any(axis=0))


@pytest.mark.parametrize("phrase", ["café", "кошка", "猫", "고양이", "😀"])
def test_labels_have_letters_and_no_empty_boxes(phrase: str):
    def drawn(phrase: str) -> np.ndarray:
        found = detections((phrase, 0.42, (100, 100, 300, 200)))
        return np.asarray(annotate(Image.new("RGB", (400, 300), "gray"), found))

    missing = phrase.translate({ord(letter): "\ue000" for letter in phrase if ord(letter) > 127})
    assert (drawn(phrase)[60:100] != drawn(missing)[60:100]).any()


@pytest.mark.parametrize("phrase", ["a\nb", "a\tb", "a\x00b", "a \u202e b"])
def test_what_is_no_letter_is_a_space(monkeypatch: pytest.MonkeyPatch, phrase: str):
    written: list[str] = []

    def note(_: Any, scene: Image.Image, __: sv.Detections, labels: list[str], *_rest: Any) -> Image.Image:
        written.extend(labels)
        return scene

    monkeypatch.setattr(sv.RichLabelAnnotator, "annotate", note)
    annotate(Image.new("RGB", (600, 48)), detections((phrase, 0.5, (0, 0, 9, 9))))
    assert written == ["a b 0.50"]


def test_half_a_letter_does_no_harm():
    assert ink("\ud800", (100, 100, 300, 200)).any()
    assert hexes("\ud800")


def test_of_very_many_objects_the_best_and_the_marked_have_labels(monkeypatch: pytest.MonkeyPatch):
    written: list[str] = []

    def write(_, scene, detections, labels, lookup):
        assert len(detections) == len(labels) == len(lookup)
        written.extend(labels)
        return scene

    monkeypatch.setattr(sv.RichLabelAnnotator, "annotate", write)
    count = MOST_LABELS + 50
    found = detections(*((f"word {index}", 1 - index / count, (0, 0, 9, 9)) for index in range(count)))
    annotate(Image.new("RGB", (600, 48)), found, marked={count - 1})
    names = [label.rsplit(" ", 1)[0] for label in written]
    assert names == [f"word {index}" for index in [*reversed(range(MOST_LABELS - 1)), count - 1]]


def test_nothing_found_is_the_picture():
    image = Image.new("RGB", (64, 48), "teal")
    assert annotate(image, sv.Detections.empty(), ["cat"]).tobytes() == image.tobytes()


def test_words_of_a_sentence_follow_its_phrases():
    found = detections(("red sofa", 0.9, (0, 0, 5, 5)), ("cat", 0.5, (0, 0, 5, 5)), ("cat", 0.4, (1, 1, 5, 5)))
    assert vocabulary(found, ["a", "cat"]) == ["a", "cat", "red sofa"]


def test_an_empty_phrase_of_a_list_is_none():
    assert vocabulary(detections(("cat", 0.5, (0, 0, 5, 5))), ["", "dog", "cat", "cat"]) == ["dog", "cat"]


def masked() -> sv.Detections:
    """A cat's disc inside a larger box."""
    found = detections(("cat", 0.5, (50, 50, 250, 250)))
    rows, columns = np.indices((300, 300))
    found.mask = ((rows - 150) ** 2 + (columns - 150) ** 2 < 60**2)[None]
    return found


CONTOUR = MaskStyle(opacity=0, labels=False)
FILL = MaskStyle(opacity=0.5, outline=False, labels=False)


def test_a_mask_is_filled_in_the_colour_of_its_phrase():
    drawn = annotate(Image.new("RGB", (300, 300), "white"), masked(), mask_style=FILL)
    (color,) = phrase_colors(["cat"])
    assert drawn.getpixel((150, 150)) == pytest.approx([(255 + value) / 2 for value in color.as_rgb()], abs=1)
    assert drawn.getpixel((60, 60)) == (255, 255, 255), "neither box nor label"
    assert drawn.getpixel((208, 150)) == drawn.getpixel((150, 150)), "no outline"


def test_opacity_goes_from_nothing_to_the_whole_colour():
    image = Image.new("RGB", (300, 300), "white")
    (color,) = phrase_colors(["cat"])
    opaque, clear = (
        annotate(image, masked(), mask_style=MaskStyle(opacity, outline=False, labels=False)) for opacity in (1, 0)
    )
    assert opaque.getpixel((150, 150)) == color.as_rgb()
    assert clear.tobytes() == image.tobytes()


def test_a_contour_leaves_the_inside_alone():
    drawn = annotate(Image.new("RGB", (300, 300), "white"), masked(), mask_style=CONTOUR)
    (color,) = phrase_colors(["cat"])
    assert drawn.getpixel((150, 150)) == (255, 255, 255)
    assert drawn.getpixel((209, 150)) == color.as_rgb()


def test_boxes_and_labels_of_masks_can_be_switched():
    image = Image.new("RGB", (300, 300), "white")
    (color,) = phrase_colors(["cat"])
    assert annotate(image, masked(), mask_style=MaskStyle(boxes=True)).getpixel((150, 250)) == color.as_rgb()
    assert annotate(image, masked()).getpixel((150, 250)) == (255, 255, 255)
    plain, labelled = (annotate(image, masked(), mask_style=MaskStyle(0, False, labels=on)) for on in (False, True))
    assert plain.tobytes() == image.tobytes() != labelled.tobytes()


@pytest.mark.parametrize("style", [CONTOUR, FILL])
def test_a_marked_mask_stands_out_by_its_contour(style):
    drawn = np.asarray(annotate(Image.new("RGB", (300, 300), "black"), masked(), marked={0}, mask_style=style))
    (color,) = phrase_colors(["cat"])
    across = {tuple(pixel) for pixel in drawn[150, 195:225].tolist()}
    assert {color.as_rgb(), (255, 255, 255)} <= across


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
def test_an_opacity_that_is_none_is_refused(opacity):
    with pytest.raises(ValueError, match="between 0 and 1"):
        MaskStyle(opacity)


def test_objects_without_scores_are_refused():
    found = detections(("cat", 0.5, (0, 0, 9, 9)))
    np.testing.assert_array_equal(scores_of(found), np.array([0.5], np.float32))
    found.confidence = None
    with pytest.raises(ValueError, match="expected detections with a confidence each, got detections without"):
        scores_of(found)


def test_what_nobody_scored_has_its_phrase_alone(monkeypatch: pytest.MonkeyPatch):
    written: list[str] = []

    def write(_, scene, __, labels, ___):
        written.extend(labels)
        return scene

    monkeypatch.setattr(sv.RichLabelAnnotator, "annotate", write)
    found = detections(("cat", 0.5, (0, 0, 9, 9)), ("dog", 0.4, (0, 0, 9, 9)))
    annotate(Image.new("RGB", (600, 48)), found)
    found.confidence = None
    annotate(Image.new("RGB", (600, 48)), found)
    assert written == ["dog 0.40", "cat 0.50", "dog", "cat"]
