import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groundingdino.command_line.main import main
from groundingdino.detection.detector import Detector
from groundingdino.detection.passes import GroundingDINOPasses
from groundingdino.runtime.extras import LIBRARIES
from groundingdino.training.detector import evaluate as training
from groundingdino.training.scenes.scenes import Scene, evaluation_scenes
from tests.command_line.conftest import complaint
from tests.conftest import ROOT
from tests.evaluation.published import coco, lvis, write

ANIMALS = ROOT.parent / "shared" / "photos" / "animals"


@pytest.fixture
def evaluate(model, capsys):
    """Runs the command; the figures as JSON."""

    def run(data: Path, *options: str, status: int = 0, json_to: str = "-", using: str = model) -> dict:
        capsys.readouterr()
        assert main(["evaluate", str(data), "--model", using, "--json", json_to, *options]) == status
        return json.loads(capsys.readouterr().out if json_to == "-" else Path(json_to).read_text())

    return run


def answer(monkeypatch: pytest.MonkeyPatch, path: Path) -> list[tuple]:
    """The detector finds what is marked in the set, in the pictures' order, as long as it is asked for it."""
    stored = json.loads(path.read_text())
    names = {one["id"]: re.sub(r"\(.*\)", "", one["name"].replace("_", " ")).strip() for one in stored["categories"]}
    asked: list[tuple] = []
    real = Detector.ground_batch

    def ground_batch(self, images, prompt, *how):
        groundings = real(self, images, prompt, *how)
        for index, grounding in enumerate(groundings):
            image = stored["images"][len(asked) % len(stored["images"])]
            asked.append(grounding.phrases)
            objects = [one for one in stored["annotations"] if one["image_id"] == image["id"]]
            boxes, scores = np.zeros((len(objects), 4), np.float32), np.zeros((len(objects), len(names)), np.float32)
            for row, one in enumerate(objects):
                x, y, width, height = one["bbox"]
                boxes[row] = x, y, x + width, y + height
                scores[row, grounding.phrases.index(names[one["category_id"]])] = 0.9
            object.__setattr__(grounding, "boxes", boxes)
            object.__setattr__(grounding, "scores", scores)
            object.__setattr__(grounding, "phrase_ids", None)
            groundings[index] = grounding
        return groundings

    monkeypatch.setattr(Detector, "ground_batch", ground_batch)
    return asked


@pytest.mark.parametrize(
    ("given", "how"),
    [
        ([], (False, False)),
        (["--each"], (True, False)),
        (["--each", "--as-shown", "--tiles"], (True, True)),
    ],
)
def test_it_is_looked_as_carefully_as_asked_for(given, how, evaluate, tmp_path, monkeypatch):
    path = write(tmp_path / "set", coco(2))
    asked: list[tuple[bool, bool]] = []
    real = Detector.ground_batch

    def ground_batch(self, images, prompt, each, tiles):
        asked.append((each, tiles))
        return real(self, images, prompt, each, tiles)

    monkeypatch.setattr(Detector, "ground_batch", ground_batch)
    report = evaluate(path, *given)
    assert set(asked) == {how}
    assert (report["each"], report["tiles"]) == how
    assert report["sets"][0]["bbox"]["AP"] is not None


def test_a_model_of_another_architecture_is_measured(owlv2, evaluate, tmp_path):
    path = write(tmp_path / "set", coco(3))
    for given in ((), ("--as-shown", "--tiles"), ("--each",)):
        (entry,) = evaluate(path, *given, using=owlv2)["sets"]
        assert (entry["pictures"], entry["asked"]) == (3, 2)
        assert 0 <= entry["bbox"]["AP"] < 1


def test_tiles_are_not_counted_the_published_way(tmp_path, model, capsys):
    path = write(tmp_path / "set", coco(2))
    assert main(["evaluate", str(path), "--model", model, "--tiles"]) == 2
    assert "which the published way counts several times: add --as-shown." in complaint(capsys)


@pytest.mark.parametrize("as_shown", [[], ["--as-shown"]])
def test_what_is_found_right_is_worth_one(as_shown, evaluate, tmp_path, monkeypatch):
    path = write(tmp_path / "set", coco(4))
    asked = answer(monkeypatch, path)
    report = evaluate(path, *as_shown)
    (entry,) = report["sets"]
    assert (entry["name"], entry["pictures"], entry["objects"], entry["asked"]) == ("set", 4, 6, 2)
    assert asked == [("cat", "dog")] * 4
    assert entry["bbox"]["AP"] == pytest.approx(1)
    assert entry["bbox"]["APs"] is None  # all are of medium size
    assert entry["bbox"]["of_each"]["dog"] == pytest.approx({"AP": 1, "AP50": 1, "AR": 1, "objects": 2})
    assert ("at_threshold" in entry) == bool(as_shown)
    if as_shown:
        assert entry["at_threshold"] == {"named_right": 1, "found": 1, "false_boxes": 0}
        assert evaluate(path, *as_shown, "--box-threshold", "0.95")["sets"][0]["at_threshold"]["found"] == 0


def test_lvis_is_asked_in_plain_words_and_judged_by_what_is_known(evaluate, tmp_path, monkeypatch):
    path = write(tmp_path, lvis(3), "annotations/lvis_v1_val.json", "val2017")
    asked = answer(monkeypatch, path)
    figures = evaluate(path)["sets"][0]["bbox"]
    assert asked == [("bow", "hot dog", "zebra")] * 3
    assert [figures[name] for name in ("AP", "APr", "APc", "APf")] == pytest.approx([1, 1, 1, 1])
    assert list(figures["of_each"]) == ["bow_(weapon)", "hot_dog", "zebra"]
    assert "AR10" not in figures


def test_more_names_than_fit_are_asked_in_passes_over_one_encoding(evaluate, tmp_path, monkeypatch):
    names = tuple(f"very long name number {number}" for number in range(90))
    path = write(tmp_path, coco(2, names))
    encoded: list[int] = []
    encode = GroundingDINOPasses.encode
    monkeypatch.setattr(
        GroundingDINOPasses, "encode", lambda self, some: [encoded.append(len(some)), encode(self, some)][1]
    )
    passes: list[int] = []
    text = GroundingDINOPasses._encode_text
    monkeypatch.setattr(GroundingDINOPasses, "_encode_text", lambda self, one: [passes.append(1), text(self, one)][1])
    assert evaluate(path, "--batch-size", "2")["sets"][0]["asked"] == 90
    assert encoded == [2]
    assert len(passes) >= 2


def test_a_folder_of_sets_has_a_row_each_and_their_mean(evaluate, model, tmp_path, capsys):
    for name, count in (("one", 2), ("two", 3)):
        write(tmp_path / "sets" / name / "test", coco(count), "_annotations.coco.json", ".")
    report = evaluate(tmp_path / "sets", "--as-shown")
    assert [entry["name"] for entry in report["sets"]] == ["one", "two"]
    figures = [entry["bbox"]["AR"] for entry in report["sets"]]
    assert report["mean"]["bbox"]["AR"] == pytest.approx(sum(figures) / 2, abs=2e-6)
    assert main(["evaluate", str(tmp_path / "sets"), "--model", model]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["set", "one", "two", "mean"]
    assert rows[0].split()[1:3] == ["objects", "AP"]
    assert rows[-1].split()[1] == "7"


def test_masks_are_measured_with_a_segmenter(evaluate, segmenter, tmp_path):
    path = write(tmp_path, coco(2, masks=True))
    entry = evaluate(path, "--segmenter", segmenter, "--as-shown")["sets"][0]
    assert set(entry["segm"]) == set(entry["bbox"])
    assert 0 <= entry["segm"]["AP50"] <= 1


def test_the_page_shows_the_worst_pictures_first(evaluate, tmp_path, monkeypatch):
    path = write(tmp_path, coco(3))
    answer(monkeypatch, path)
    stored = json.loads(path.read_text())
    stored["annotations"][-1]["bbox"] = [0, 0, 20, 20]  # the last picture's is elsewhere
    path.write_text(json.dumps(stored))
    evaluate(path, "--output", str(tmp_path / "report.html"), json_to=str(tmp_path / "figures.json"))
    page = (tmp_path / "report.html").read_text()
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert captions == [f"{tmp_path.name}/002.png: 1 missed, 1 false, 0 right"]
    assert page.count('src="data:image/jpeg;base64,') == 2
    assert "http" not in page
    assert "<td>cat</td>" in page
    assert json.loads((tmp_path / "figures.json").read_text())["sets"][0]["bbox"]["AP"] < 1


@pytest.mark.parametrize("batch", ["1", "2"])
def test_stopped_again_and_again_it_tells_what_it_tells_at_once(batch, evaluate, model, tmp_path, monkeypatch):
    path = write(tmp_path / "set", coco(7))
    options = ["--batch-size", batch]
    evaluate(path, *options, json_to=str(tmp_path / "once.json"))
    find, calls = Detector.ground_batch, [0]

    def stop_at_the_second(self, *arguments):
        calls[0] += 1
        if calls[0] % 2 == 0:
            raise KeyboardInterrupt
        return find(self, *arguments)

    monkeypatch.setattr(Detector, "ground_batch", stop_at_the_second)
    arguments = ["evaluate", str(path), "--model", model, "--json", str(tmp_path / "stopped.json"), *options]
    assert [main(arguments) for _ in range(2)] == [130, 130]
    assert not (tmp_path / "stopped.json").exists()
    monkeypatch.setattr(Detector, "ground_batch", find)
    assert main(arguments) == 0
    assert (tmp_path / "stopped.json").read_bytes() == (tmp_path / "once.json").read_bytes()
    journal = (tmp_path / "stopped.json.journal.jsonl").read_text().splitlines()
    done = [line["file"] for line in map(json.loads, journal) if "file" in line]
    assert len(done) == len(set(done)) == 7
    monkeypatch.setattr(Detector, "from_pretrained", None)  # all is known
    assert main(arguments) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
def test_killed_it_continues_and_prints_the_same(model, tmp_path, capsys, dying):
    path = write(tmp_path / "set", coco(5))
    arguments = ["evaluate", str(path), "--model", model, "--output"]
    main([*arguments, str(tmp_path / "once.html")])
    once = capsys.readouterr().out
    ended = subprocess.run([sys.executable, "-c", dying, *arguments, str(tmp_path / "killed.html")])
    assert ended.returncode == -signal.SIGKILL
    assert main([*arguments, str(tmp_path / "killed.html")]) == 0
    assert capsys.readouterr().out == once
    for kind in ("html", "json"):
        assert (tmp_path / f"killed.{kind}").read_bytes() == (tmp_path / f"once.{kind}").read_bytes()


def test_another_question_is_refused_until_restarted(evaluate, model, tmp_path, capsys):
    path = write(tmp_path / "set", coco(3))
    out = str(tmp_path / "out.json")
    assert evaluate(path, "--count", "1", json_to=out)["sets"][0]["pictures"] == 1
    assert evaluate(path, "--count", "2", json_to=out)["sets"][0]["pictures"] == 2  # goes on
    arguments = ["evaluate", str(path), "--model", model, "--json", out, "--as-shown"]
    capsys.readouterr()
    assert main(arguments) == 2
    assert "holds what was found with as shown false: give another --output, or --restart" in complaint(capsys)
    os.utime(model, ns=(1, 1))
    assert main(arguments[:-1]) == 2
    assert main([*arguments, "--restart"]) == 0


def test_pictures_that_cannot_be_read_are_left_out_and_told(model, tmp_path, capsys):
    path = write(tmp_path / "set", coco(3))
    (tmp_path / "set" / "images" / "001.png").write_bytes(b"no picture")
    Image.new("RGB", (20, 20)).save(tmp_path / "set" / "images" / "002.png")
    assert main(["evaluate", str(path), "--model", model]) == 1
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert lines[-3] == "groundingdino: 2 of 3 pictures could not be read and are left out:"
    assert "001.png' is not an image" in lines[-2]
    assert "It has 20 x 20 pixels, but its annotations are of 160 x 120." in lines[-1]
    assert captured.out.splitlines()[-1].split()[:2] == ["all", "1"]
    (tmp_path / "set" / "images" / "000.png").write_bytes(b"no picture")
    assert main(["evaluate", str(path), "--model", model]) == 2
    assert "No picture of" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--model", "swin-x"], "There is no model 'swin-x'"),
        (["--segmenter", "vit_x"], "There is no segmenter 'vit_x'"),
        (["--segmenter", "embedded"], "has no masks: measure boxes, without --segmenter"),
        (["--output", "report.txt"], "does not name a page: expected a name such as report.html"),
        (["--output", "missing/report.html"], "cannot be written: expected a file name in a folder that exists"),
        (["--json", "missing/report.json"], "cannot be written: expected a file name in a folder that exists"),
        (["--pictures", "missing"], "are not there"),
        (["--restart"], "An evaluation that keeps nothing makes no use of --restart"),
    ],
)
def test_bad_input_is_one_line_and_status_2(options, sentence, tmp_path, capsys, monkeypatch):
    path = write(tmp_path, coco(1))
    monkeypatch.setattr(Detector, "from_pretrained", None)  # before any model is loaded
    assert main(["evaluate", str(path), *options]) == 2
    assert sentence in complaint(capsys)


def test_annotations_are_not_written_over(tmp_path, capsys):
    path = write(tmp_path, coco(1))
    before = path.read_bytes()
    assert main(["evaluate", str(path), "--json", str(path)]) == 2
    assert main(["evaluate", str(tmp_path), "--output", str(tmp_path / "annotations.html")]) == 2
    assert capsys.readouterr().err.count("has the annotations: name another file") == 2
    assert path.read_bytes() == before


def test_what_is_not_installed_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(LIBRARIES, "evaluate", ("not_there",))
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "Evaluation needs not_there, which is not installed: pip install not_there" in complaint(capsys)


def save_scenes(folder: Path, scenes: list[Scene]) -> Path:
    """Drawn scenes as a set, each with a prompt of its own."""
    ids: dict[str, int] = {}
    images, annotations = [], []
    (folder / "images").mkdir(parents=True)
    for number, scene in enumerate(scenes, 1):
        height, width = scene.image.shape[:2]
        Image.fromarray(scene.image).save(folder / "images" / f"{number}.png")
        own = [(text, ids.setdefault(scene.category(i), len(ids) + 1)) for i, text in enumerate(scene.prompt)]
        image = {"id": number, "file_name": f"{number}.png", "width": width, "height": height, "phrases": own}
        images.append(image)
        for (x0, y0, x1, y1), phrase in zip(scene.boxes.astype(float), scene.positives, strict=True):
            if phrase is not None:
                about = {"image_id": number, "category_id": own[phrase][1]}
                annotations.append({**about, "bbox": [x0, y0, x1 - x0, y1 - y0]})
    categories = [{"id": one, "name": name} for name, one in ids.items()]
    (folder / "annotations.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return folder


def test_the_embedded_model_is_worth_on_drawn_scenes_what_training_reports(evaluate, tmp_path):
    scenes = list(evaluation_scenes("noto", 4))
    reported = training.evaluate(
        Detector.from_pretrained("embedded", "cpu"), scenes, lambda scene, phrase: scene.category(phrase)
    )
    entry = evaluate(save_scenes(tmp_path, scenes), "--as-shown", "--device", "cpu", using="embedded")["sets"][0]
    figures = {**entry["bbox"], **entry["at_threshold"]}
    assert {name: figures[name] for name in reported.overall} == pytest.approx(reported.overall, abs=1e-6)
    assert entry["bbox"]["of_each"] == {name: pytest.approx(one, abs=1e-6) for name, one in reported.of_each.items()}
    assert reported.overall["AP50"] > 0.5


def test_photographs_are_worth_what_training_reports(evaluate, capsys, monkeypatch):
    if not ANIMALS.is_dir():
        pytest.skip("the photographs are not in ../shared/photos")
    arguments = ["evaluate", "embedded", "--data", str(ANIMALS), "--count", "3", "--all"]
    monkeypatch.setattr(sys, "argv", arguments)
    training.main()
    first, *others = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    entry = evaluate(ANIMALS, "--as-shown", "--count", "3", using="embedded")["sets"][0]
    figures = {**entry["bbox"], **entry["at_threshold"]}
    assert {name: figures[name] for name in first if name != "data"} == pytest.approx(
        {name: value for name, value in first.items() if name != "data"}, abs=1e-4
    )
    assert [one["name"] for one in others] == list(entry["bbox"]["of_each"])
