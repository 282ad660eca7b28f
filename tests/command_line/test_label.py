import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groundingdino.annotations.opening import open_annotations
from groundingdino.command_line.main import main
from groundingdino.detection.detector import Detector
from groundingdino.files.assets import ASSETS
from groundingdino.results.journal import Journal
from groundingdino.runtime.extras import LIBRARIES
from groundingdino.training.detector.coco_folder import CocoFolder
from tests.command_line.conftest import complaint

PROMPT = "cat . dog . red apple"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Seven pictures of two sizes, two of one name; and what is no picture."""
    folder = tmp_path / "pictures"
    (folder / "more" / ".hidden").mkdir(parents=True)
    names = ["a.png", "b.png", "c.png", "d.jpg", "e.png", "more/a.png", "more/f.png"]
    for seed, name in enumerate(names):
        size = (60, 80) if seed % 3 == 1 else (80, 60)
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).resize((160, 120) if seed % 3 else (120, 160)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    Image.new("RGB", (80, 60)).save(folder / "more" / ".hidden" / "g.png")
    Image.new("RGB", (80, 60)).save(folder / ".g.png")
    return folder


@pytest.fixture
def label(folder, model, tmp_path):
    """Runs the command on the folder; `label("coco.json", ...)` gives its status."""

    def run(output: str, *options: str, prompt: str = PROMPT) -> int:
        return main(["label", str(folder), prompt, "--output", str(tmp_path / output), "--model", model, *options])

    return run


class FakeRay:
    """As much of Ray as is asked for: one worker, that gets everything as another process would, the last row first."""

    class RayError(Exception):
        """What Ray raises."""

    def __init__(self) -> None:
        self.data = self
        self.exceptions = self
        self.asked: dict[str, object] = {}

    def from_items(self, rows: list[dict]) -> "FakeRay":
        self.rows = rows[::-1]
        return self

    def map(self, worker: type, fn_constructor_args: tuple, **asked: object) -> "FakeRay":
        self.worker = pickle.loads(pickle.dumps((worker, fn_constructor_args)))
        self.asked = asked
        return self

    def iter_rows(self) -> Iterator[dict]:
        worker, arguments = self.worker
        try:
            work = worker(*arguments)
        except ValueError as error:
            raise self.RayError(f"traceback\nValueError: {error}\n") from error
        for row in self.rows:
            yield work(pickle.loads(pickle.dumps(row)))


@pytest.fixture
def ray(monkeypatch) -> FakeRay:
    fake = FakeRay()
    for name in ("ray", "ray.data", "ray.exceptions"):
        monkeypatch.setitem(sys.modules, name, fake)
    monkeypatch.setitem(LIBRARIES, "ray", ())
    return fake


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_each_picture_has_what_detect_finds_in_it(label, folder, model, tmp_path, capsys):
    assert label("coco.json") == 0
    printed = capsys.readouterr().out
    coco = read(tmp_path / "coco.json")
    names = [image["file_name"] for image in coco["images"]]
    assert names == ["a.png", "b.png", "c.png", "d.jpg", "e.png", "more/a.png", "more/f.png"]
    assert [one["name"] for one in coco["categories"]] == ["cat", "dog", "red apple"]
    assert f"{len(coco['annotations']):7}  objects in {tmp_path / 'coco.json'}" in printed
    for image in coco["images"][4:6]:
        main(["detect", str(folder / image["file_name"]), PROMPT, "--model", model, "--json", "-"])
        expected = json.loads(capsys.readouterr().out)
        assert (image["width"], image["height"]) == (expected["width"], expected["height"])
        mine = [one for one in coco["annotations"] if one["image_id"] == image["id"]]
        assert len(mine) == len(expected["objects"]) > 0
        for annotation, one in zip(mine, expected["objects"], strict=True):
            assert coco["categories"][annotation["category_id"] - 1]["name"] == one["phrase"]
            assert annotation["score"] == pytest.approx(one["score"], abs=2e-4)
            x0, y0, x1, y1 = one["box"]
            assert annotation["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=0.02)


@pytest.mark.parametrize("batch", ["1", "3"])
def test_stopped_again_and_again_it_writes_what_it_writes_at_once(batch, label, tmp_path, monkeypatch):
    options = ["--batch-size", batch, "--nms-threshold", "off"]
    label("once.json", *options)
    find = Detector.ground_batch
    calls = 0

    def stop_at_the_second(self, *arguments):
        nonlocal calls
        calls += 1
        if calls % 2 == 0:
            raise KeyboardInterrupt
        return find(self, *arguments)

    monkeypatch.setattr(Detector, "ground_batch", stop_at_the_second)
    statuses = [label("stopped.json", *options) for _ in range(2)]
    assert statuses == [130, 130]
    assert not (tmp_path / "stopped.json").exists()
    journal = tmp_path / "stopped.json.journal.jsonl"
    assert len(journal.read_text().splitlines()) == 1 + 2 * int(batch)
    monkeypatch.setattr(Detector, "ground_batch", find)
    assert label("stopped.json", *options) == 0
    assert (tmp_path / "stopped.json").read_bytes() == (tmp_path / "once.json").read_bytes()
    done = [line["file"] for line in map(json.loads, journal.read_text().splitlines()) if "file" in line]
    assert len(done) == len(set(done)) == 7


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
def test_killed_it_continues_without_loss_or_double(label, folder, model, tmp_path, dying):
    once, killed = tmp_path / "once.json", tmp_path / "killed.json"
    label("once.json", "--batch-size", "2")
    arguments = ["label", folder, PROMPT, "--output", killed, "--model", model, "--batch-size", "2"]
    ended = subprocess.run([sys.executable, "-c", dying, *map(str, arguments)], capture_output=True)
    assert ended.returncode == -signal.SIGKILL
    journal = Path(f"{killed}.journal.jsonl")
    assert len(journal.read_bytes().splitlines()) == 1 + 2 * 2 + 1
    assert not killed.exists()
    assert label("killed.json", "--batch-size", "2") == 0
    assert killed.read_bytes() == once.read_bytes()
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(("device", "gpus"), [("cpu", None), ("cuda", 1)])
def test_workers_of_ray_write_the_same(ray, label, folder, tmp_path, monkeypatch, device, gpus):
    (folder / "bad.png").write_bytes(b"no picture")
    assert label("here.json", "--batch-size", "3") == 1
    load = Detector.from_pretrained
    monkeypatch.setattr(Detector, "from_pretrained", lambda name, _, *others: load(name, "cpu", *others))
    options = ["--engine", "ray", "--workers", "2", "--batch-size", "3", "--device", device]
    assert label("there.json", *options) == 1
    assert (tmp_path / "there.json").read_bytes() == (tmp_path / "here.json").read_bytes()
    assert ray.asked == {"concurrency": 2, "num_gpus": gpus}
    assert len(ray.rows) == 3


@pytest.mark.usefixtures("ray")
def test_what_stops_a_worker_is_one_line(label, capsys):
    assert label("coco.json", "--engine", "ray", "--device", "toaster") == 2
    assert "A worker of Ray stopped: ValueError: The device 'toaster' cannot be used" in complaint(capsys)


def test_what_is_done_is_not_done_again(label, folder, tmp_path, monkeypatch):
    label("coco.json")
    before = (tmp_path / "coco.json").read_bytes()
    seen: list[int] = []
    find = Detector.ground_batch
    monkeypatch.setattr(Detector, "ground_batch", lambda self, *arguments: [seen.append(1), find(self, *arguments)][1])
    assert label("coco.json") == 0
    assert seen == []
    assert (tmp_path / "coco.json").read_bytes() == before
    Image.new("RGB", (90, 60), "red").save(folder / "a.png")  # changed
    Image.new("RGB", (90, 60), "red").save(folder / "z.png")  # new
    (folder / "b.png").unlink()
    assert label("coco.json") == 0
    assert len(seen) == 2
    names = [image["file_name"] for image in read(tmp_path / "coco.json")["images"]]
    assert names == ["a.png", "c.png", "d.jpg", "e.png", "more/a.png", "more/f.png", "z.png"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--box-threshold", "0.4"], "box threshold null"),
        (["--nms-threshold", "off"], "nms threshold 0.7"),
        (["--text-threshold", "0.4"], "text threshold null"),
        (["--best-only"], "best only false"),
        (["--each"], "each false"),
        (["--tiles"], "tiles false"),
        (["--masks"], "segmenter null"),
    ],
)
def test_another_question_is_refused_with_what_was_asked(options, told, label, tmp_path, capsys):
    label("coco.json")
    before = (tmp_path / "coco.json").read_bytes()
    capsys.readouterr()
    assert label("coco.json", *options) == 2
    line = complaint(capsys)
    assert f"holds what was found with {told}: give another --output, or --restart" in line
    assert (tmp_path / "coco.json").read_bytes() == before


def test_another_prompt_or_model_is_refused_until_restarted(label, model, tmp_path, capsys):
    label("coco.json")
    capsys.readouterr()
    assert label("coco.json", prompt="zebra") == 2
    assert f"prompt {json.dumps(PROMPT)}" in complaint(capsys)
    os.utime(model, ns=(1, 1))  # as if trained on
    assert label("coco.json") == 2
    assert "tiny.safetensors" in complaint(capsys)
    assert label("coco.json", "--restart", prompt="zebra") == 0
    assert [one["name"] for one in read(tmp_path / "coco.json")["categories"]] == ["zebra"]


def test_each_threshold_changes_what_is_found(label, tmp_path):
    label("all.json", "--nms-threshold", "off")
    scores = sorted(one["score"] for one in read(tmp_path / "all.json")["annotations"])
    assert len(scores) == 5 * 7
    middle = (scores[17] + scores[18]) / 2  # scores are written with four digits
    assert scores[17] < middle < scores[18]
    label("strong.json", "--nms-threshold", "off", "--box-threshold", str(middle))
    strong = [one["score"] for one in read(tmp_path / "strong.json")["annotations"]]
    assert sorted(strong) == scores[18:]
    label("best.json", "--best-only")
    best = [(one["image_id"], one["category_id"]) for one in read(tmp_path / "best.json")["annotations"]]
    assert len(best) == len(set(best)) > 0


def test_a_model_of_another_architecture_labels(owlv2, label, folder, tmp_path):
    assert label("coco.json", "--model", owlv2, "--box-threshold", "0", "--batch-size", "2") == 0
    found = read(tmp_path / "coco.json")["annotations"]
    image = next(one for one in read(tmp_path / "coco.json")["images"] if one["file_name"].endswith("b.png"))
    detections = Detector.from_pretrained(owlv2, "cpu")(folder / "b.png", PROMPT, box_threshold=0.0)
    assert sum(one["image_id"] == image["id"] for one in found) == len(detections) > 1


def test_without_a_name_the_model_that_knows_most_of_the_pictures_labels(tmp_path, capsys):
    (folder := tmp_path / "mixed").mkdir()
    for name in ("cat", "astronaut", "picnic"):
        shutil.copy(ASSETS / "examples" / f"{name}.webp", folder)
    arguments = ["label", str(folder), "cat . person", "--output", str(tmp_path / "coco.json"), "--device", "cpu"]
    assert main(arguments) == 0
    told = "they look like photographs, so embedded-photos is asked: --model asks another"
    assert told in capsys.readouterr().err
    assert "embedded-photos" in read(tmp_path / "coco.json")["info"]["description"]


def test_one_phrase_after_the_other_finds_all_of_each(label, tmp_path):
    label("each.json", "--each", "--nms-threshold", "off")
    categories = [one["category_id"] for one in read(tmp_path / "each.json")["annotations"]]
    assert [categories.count(number) for number in (1, 2, 3)] == [5 * 7] * 3


def test_classes_change_without_the_model(label, tmp_path, monkeypatch):
    label("coco.json")
    monkeypatch.setattr(Detector, "from_pretrained", None)
    assert label("coco.json", "--map", "Cat, dog=Animal", "--map", "red apple=fruit") == 0
    coco = read(tmp_path / "coco.json")
    assert [one["name"] for one in coco["categories"]] == ["Animal", "fruit"]
    assert {one["category_id"] for one in coco["annotations"]} <= {1, 2}


def test_masks_are_in_the_file(label, folder, segmenter, tmp_path):
    for name in "bcde":
        next(folder.glob(f"{name}.*")).unlink()
    assert label("annotations.json", "--masks", "--segmenter", segmenter, "--best-only") == 0
    (tmp_path / "pictures").rename(tmp_path / "images")
    one = CocoFolder(tmp_path)[0]
    assert one.path.name == "a.png"
    assert one.path.is_file()
    mask = one.mask(0)
    assert mask is not None
    assert mask.shape == (one.height, one.width)
    assert 0 < mask.sum() < mask.size


def test_a_yolo_folder_has_its_pictures_and_nothing_of_a_former_run(label, folder, tmp_path):
    assert label("set", "--format", "yolo") == 0
    output = tmp_path / "set"
    assert (output / "images" / "more" / "a.png").read_bytes() == (folder / "more" / "a.png").read_bytes()
    assert len(list(output.rglob("labels/**/*.txt"))) == 7
    (folder / "a.png").unlink()
    assert label("set", "--format", "yolo") == 0
    assert not (output / "images" / "a.png").exists()
    assert not (output / "labels" / "a.txt").exists()
    assert (output / "labels" / "more" / "a.txt").exists()


def test_cvat_and_label_studio_have_what_coco_has(label, tmp_path):
    for output, *options in (["coco.json"], ["cvat.xml"], ["tasks.json", "--format", "label-studio"]):
        assert label(output, *options, "--batch-size", "8") == 0
    coco, *others = (open_annotations(tmp_path / name) for name in ("coco.json", "cvat.xml", "tasks.json"))
    assert [other.format for other in others] == ["CVAT", "Label Studio"]
    for other in others:
        assert (other.files, other.names) == (coco.files, ["cat", "dog", "red apple"])
        for index in range(len(coco.files)):
            assert other.size(index) == coco.size(index)
            for one, same in zip(other.objects(index), coco.objects(index), strict=True):
                assert (one.name, one.score) == (same.name, same.score)
                assert one.box == pytest.approx(same.box)


def test_labels_may_lie_beside_their_pictures(folder, model, tmp_path):
    folder.rename(tmp_path / "images")
    arguments = ["label", str(tmp_path / "images"), "cat", "--output", str(tmp_path), "--format", "yolo"]
    assert main([*arguments, "--model", model]) == 0
    assert (tmp_path / "labels" / "more" / "f.txt").exists()
    assert (tmp_path.parent / f"{tmp_path.name}.journal.jsonl").exists()


def test_a_folder_inside_that_of_the_pictures_is_not_labelled(label, folder):
    for _ in range(2):
        assert label("pictures/set", "--format", "voc") == 0
    assert len(list(folder.rglob("*.xml"))) == 7


def test_unreadable_pictures_are_told_at_the_end(label, folder, tmp_path, capsys):
    (folder / "bad.png").write_bytes(b"no picture")
    Image.new("RGB", (3000, 1)).save(folder / "line.png")
    assert label("coco.json", "--batch-size", "3") == 1
    told = capsys.readouterr().err.splitlines()
    assert told[-3] == "groundingdino: 2 of 9 pictures could not be read and are left out:"
    assert "bad.png' is not an image" in told[-2]
    assert "line.png': The picture is too narrow" in told[-1]
    assert len(read(tmp_path / "coco.json")["images"]) == 7
    assert label("coco.json", "--batch-size", "3") == 1  # told again
    Image.new("RGB", (80, 60)).save(folder / "bad.png")
    (folder / "line.png").unlink()
    assert label("coco.json", "--batch-size", "3") == 0
    assert len(read(tmp_path / "coco.json")["images"]) == 8


def test_corrected_labels_are_not_written_over(label, tmp_path, capsys):
    label("coco.json")
    capsys.readouterr()
    (tmp_path / "coco.json").write_text("corrected")
    assert label("coco.json") == 2
    assert "coco.json' is not as `label` wrote it: give another --output, or --restart" in complaint(capsys)
    assert (tmp_path / "coco.json").read_text() == "corrected"
    (tmp_path / "mine.json").write_text("made by hand")
    assert label("mine.json") == 2
    assert "mine.json' is not as" in complaint(capsys)
    assert label("mine.json", "--restart") == 0


def test_a_folder_without_pictures_and_no_folder_are_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for folder, told in (("empty", "There are no pictures in"), ("none", "There is no folder")):
        assert main(["label", str(tmp_path / folder), "cat", "--output", str(tmp_path / "out.json")]) == 2
        assert told in complaint(capsys)
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize(
    ("output", "options", "sentence"),
    [
        ("out", [], "does not say what to write: expected a name such as coco.json"),
        ("out.txt", [], "does not say what to write"),
        ("missing/coco.json", [], "cannot be written: expected a file name in a folder that exists"),
        ("missing/set", ["--format", "yolo"], "cannot become a folder"),
        ("coco.json", ["--format", "voc"], "cannot become a folder"),
        ("missing/tasks.json", ["--format", "label-studio"], "expected a file name in a folder that exists"),
        ("pictures", ["--format", "yolo"], "has the pictures: give another folder"),
        ("odvg.jsonl", ["--masks"], "ODVG has no masks"),
        ("coco.json", ["--segmenter", "vit_b"], "Labelling without --masks makes no use of --segmenter"),
        ("coco.json", ["--workers", "2"], "Labelling without --engine ray makes no use of --workers"),
        ("coco.json", ["--engine", "ray"], "--engine ray needs ray"),
        ("coco.json", ["--map", "puppy=dog"], "--map names “puppy”, but the prompt names cat, dog, red apple"),
        ("coco.json", ["--map", "cat=a", "--map", "cat=b"], "--map makes “cat” both a and b"),
        ("coco.json", ["--model", "swin-x"], "There is no model 'swin-x'"),
        ("coco.json", ["--masks", "--segmenter", "vit_x"], "There is no segmenter 'vit_x'"),
        ("coco.json", ["--device", "toaster"], "The device 'toaster' cannot be used"),
    ],
)
def test_bad_input_is_one_line_and_status_2(output, options, sentence, label, capsys, monkeypatch):
    monkeypatch.setitem(LIBRARIES, "ray", ("ray_that_is_not_there",))
    if "--device" not in options:
        monkeypatch.setattr(Detector, "from_pretrained", None)  # before any model is loaded
    assert label(output, *options) == 2
    assert sentence in complaint(capsys)


@pytest.mark.parametrize(
    "options",
    [["--map", "cat"], ["--map", "=dog"], ["--map", "cat,=dog"], ["--map", "cat="], ["--batch-size", "0"]],
)
def test_options_are_read_strictly(options, label, capsys):
    with pytest.raises(SystemExit) as ended:
        label("coco.json", *options)
    assert ended.value.code == 2
    assert "expected" in complaint(capsys)


def test_a_prompt_that_names_nothing_is_refused(label, capsys):
    assert label("coco.json", prompt=" . ") == 2
    assert "The prompt names nothing" in complaint(capsys)


def test_two_pictures_of_one_label_file_are_refused(label, folder, capsys):
    Image.new("RGB", (80, 60)).save(folder / "a.jpg")
    assert label("set", "--format", "yolo") == 2
    assert "'a.jpg' and 'a.png' would have one label file in YOLO" in complaint(capsys)
    assert label("coco.json") == 0


def test_a_place_that_cannot_be_written_to_is_told_before_the_model_is_loaded(label, capsys, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Detector, "from_pretrained", None)
    monkeypatch.setattr("groundingdino.results.journal.Path.open", refuse)
    assert label("coco.json") == 2
    assert "coco.json.journal.jsonl.partial' cannot be written: Permission denied" in complaint(capsys)


def test_a_full_disk_while_labelling_is_one_line(label, capsys, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "_append", refuse)
    assert label("coco.json") == 2
    assert "coco.json.journal.jsonl' cannot be written: No space left on device" in complaint(capsys)


def test_memory_that_is_not_enough_is_told_with_what_helps(label, capsys, monkeypatch):
    import torch

    def refuse(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Detector, "ground_batch", refuse)
    assert label("coco.json", "--batch-size", "4") == 2
    assert "4 pictures at once take more memory than the GPU has: give a smaller --batch-size" in complaint(capsys)


def test_notes_are_said_once(label, capsys):
    assert label("coco.json", prompt="кошка . dog") == 0
    assert capsys.readouterr().err.count("кошка") == 1
