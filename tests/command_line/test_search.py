"""Examples in the place of words."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks

from groundingdino.command_line.main import main
from groundingdino.detection.detector import Detector
from groundingdino.detection.objects import scores_of
from groundingdino.segmentation.cutting import cut
from groundingdino.segmentation.masks import SPECKS
from groundingdino.segmentation.pointing import Pointing
from tests.command_line.conftest import complaint


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[str]:
    folder: Path = tmp_path_factory.mktemp("pictures")
    paths = [str(folder / f"{seed}.png") for seed in range(2)]
    for seed, path in enumerate(paths):
        pixels = np.random.default_rng(seed).integers(0, 256, (90, 140, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def test_what_is_like_an_example_is_found_and_called_by_the_prompt(owlv2: str, pictures: list[str], capsys):
    given = ["--model", owlv2, "--box-threshold", "0", "--like=10,10,60,70", "--unlike=80,20,130,80"]
    assert main(["detect", pictures[0], "screw", *given, "--like-in", pictures[1], "--json", "-"]) == 0
    record = json.loads(capsys.readouterr().out)
    detector = Detector.from_pretrained(owlv2, "cpu")
    first, second = map(detector.encode_image, pictures)
    grounding = detector.ground_like(first, [(10, 10, 60, 70)], [(80, 20, 130, 80)], second, "screw")
    expected = grounding.detections(box_threshold=0.0)
    assert len(expected) > 1
    assert {one["phrase"] for one in record["objects"]} == {"screw"}
    np.testing.assert_allclose([one["score"] for one in record["objects"]], scores_of(expected), atol=1e-3)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["cat", "--like=1,1,9,9", "--each"], "A search by examples makes no use of --each: run it without."),
        (["cat", "--unlike=1,1,9,9"], "A search without --like makes no use of --unlike: run it without."),
        (["cat", "--like-in", "a.png"], "A search without --like makes no use of --like-in: run it without."),
        (["cat", "--like=200,1,290,9"], "must cover a pixel of the picture of 140 x 90"),
        (["", "--like=1,1,9,9"], "The prompt names nothing"),
        (["cat", "--like=1,1,9,9", "--like-in", "no.png"], "no.png"),
    ],
)
def test_what_makes_no_sense_is_refused(given, sentence, owlv2: str, pictures: list[str], capsys):
    assert main(["detect", pictures[0], *given, "--model", owlv2]) == 2
    assert sentence in complaint(capsys)


def test_a_model_of_words_takes_no_examples(model: str, pictures: list[str], capsys):
    assert main(["detect", pictures[0], "cat", "--like=1,1,9,9", "--model", model]) == 2
    assert (
        "Tiny finds what words name: for examples choose embedded, embedded-photos, owlv2-b, owlv2-l or sam3."
        in complaint(capsys)
    )


def test_masks_that_a_detector_makes_are_taken_unless_a_segmenter_is_named(
    sam3: str, segmenter: str, pictures: list[str], capsys
):
    given = ["segment", pictures[0], "cat", "--model", sam3, "--box-threshold", "0.05", "--fill", "0", "--json", "-"]
    assert main(given) == 0
    own = json.loads(capsys.readouterr().out)
    assert own["model"] == Path(sam3).name or "+" not in own["model"]
    expected = Detector.from_pretrained(sam3, "cpu")(pictures[0], "cat", box_threshold=0.05, masks=True)
    assert len(expected) > 1
    areas = [int(coco_masks.area(one["mask"])) for one in own["objects"]]
    np.testing.assert_allclose(areas, [mask.sum() for mask in np.asarray(expected.mask)], rtol=0.02, atol=20)
    assert main([*given, "--segmenter", segmenter]) == 0
    other = json.loads(capsys.readouterr().out)
    assert " + " in other["model"]
    assert [one["mask"] for one in other["objects"]] != [one["mask"] for one in own["objects"]]


def test_a_folder_is_labelled_with_the_masks_of_the_detector(sam3: str, pictures: list[str], tmp_path):
    folder, output = tmp_path / "pictures", tmp_path / "coco.json"
    folder.mkdir()
    Image.open(pictures[0]).save(folder / "a.png")
    given = ["--model", sam3, "--box-threshold", "0.05", "--masks", "--output", str(output)]
    assert main(["label", str(folder), "cat", *given]) == 0
    found = Detector.from_pretrained(sam3, "cpu")(pictures[0], "cat", box_threshold=0.05, masks=True)
    objects = cut(None, None, found, Pointing(), SPECKS)
    areas = [one["area"] for one in json.loads(output.read_text())["annotations"]]
    np.testing.assert_allclose(sorted(areas), sorted(objects.mask.area), rtol=0.02, atol=20)
