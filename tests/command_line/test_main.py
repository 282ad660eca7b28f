import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import supervision as sv
import torch
from PIL import Image
from pycocotools import mask as coco_masks

from groundingdino.command_line import output
from groundingdino.command_line.main import main
from groundingdino.detection.available_models import EMBEDDED_FILE, MODELS
from groundingdino.detection.checkpoints import save_checkpoint
from groundingdino.files.assets import ASSETS
from groundingdino.files.hub import cached
from groundingdino.model import GroundingDINO
from groundingdino.model.config import SwinConfig
from groundingdino.runtime import allocation
from groundingdino.segmentation.available_models import SEGMENTERS, has_segmenter
from groundingdino.segmentation.masks import SPECKS, smooth_masks
from groundingdino.segmentation.segmenter import Segmenter
from tests.scissors import Scissors
from tests.tiny_models import TINY


@pytest.fixture
def picture(tmp_path) -> str:
    path = tmp_path / "picture.png"
    Image.linear_gradient("L").resize((120, 80)).convert("RGB").save(path)
    return str(path)


@pytest.fixture
def noise(tmp_path) -> str:
    """A picture in which a segmenter that was never trained finds masks with holes."""
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)).save(path)
    return str(path)


def test_detect_prints_a_table(model, picture, capsys):
    assert main(["detect", picture, "cat . red apple", "--model", model, "--nms-threshold", "off"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["score", "x0", "y0", "x1", "y1", "phrase"]
    assert len(rows) == 5
    scores = [float(row.split()[0]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert {row.split(maxsplit=5)[5] for row in rows} <= {"cat", "red apple"}


@pytest.mark.parametrize(
    ("name", "asked", "model"),
    [("cat", [], "embedded-photos"), ("picnic", [], "embedded"), ("cat", ["--model", "embedded"], "embedded")],
)
def test_without_a_name_the_model_that_knows_such_pictures_is_asked(name, asked, model, capsys):
    picture = str(ASSETS / "examples" / f"{name}.webp")
    assert main(["detect", picture, "cat", "--json", "-", "--device", "cpu", *asked]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["model"] == model
    told = "it looks like a photograph, so embedded-photos is asked: --model asks another" in err
    assert told is (model == "embedded-photos")


@pytest.mark.parametrize(
    ("name", "asked", "cutter"),
    [("cat", [], "embedded-photos"), ("picnic", [], "embedded"), ("cat", ["--segmenter", "embedded"], "embedded")],
)
def test_without_a_name_the_segmenter_that_knows_such_pictures_cuts_out(name, asked, cutter, capsys):
    picture = str(ASSETS / "examples" / f"{name}.webp")
    command = ["segment", picture, "", "--box", "20,20,120,120", "--device", "cpu", "--json", "-"]
    assert main([*command, *asked]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["model"] == cutter
    told = "it looks like a photograph, so embedded-photos cuts out: --segmenter asks another" in err
    assert told is (cutter == "embedded-photos")


def test_json_is_the_contract(model, picture, capsys, tmp_path):
    detect = ["detect", picture, "cat . dog", "--model", model, "--json"]
    assert main([*detect, "-"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record) == {"width", "height", "model", "objects"}
    assert (record["width"], record["height"], record["model"]) == (120, 80, "tiny")
    assert record["objects"]
    for found in record["objects"]:
        assert set(found) == {"phrase", "score", "box"}
        assert found["phrase"] in ("cat", "dog")
        x0, y0, x1, y1 = found["box"]
        assert 0 <= x0 < x1 <= 120
        assert 0 <= y0 < y1 <= 80

    assert main([*detect, str(tmp_path / "found.json")]) == 0
    assert json.loads((tmp_path / "found.json").read_text()) == record
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_output_is_the_picture_with_boxes(suffix, model, picture, tmp_path):
    output = tmp_path / f"out.{suffix}"
    assert main(["detect", picture, "cat", "--model", model, "--output", str(output)]) == 0
    with Image.open(output) as drawn, Image.open(picture) as plain:
        assert drawn.size == plain.size
        assert len(drawn.convert("RGB").getcolors(2**16)) > len(plain.getcolors(2**16))


def test_nothing_found_is_a_result(model, picture, capsys, tmp_path):
    detect = ["detect", picture, "cat", "--model", model, "--box-threshold", "1"]
    assert main([*detect, "--json", "-", "--output", str(tmp_path / "out.png")]) == 0
    assert json.loads(capsys.readouterr().out)["objects"] == []
    assert Image.open(tmp_path / "out.png").tobytes() == Image.open(picture).tobytes()
    assert main(detect) == 0
    assert "Nothing found" in capsys.readouterr().out


def found(capsys) -> list:
    return json.loads(capsys.readouterr().out)["objects"]


@pytest.mark.parametrize(("device", "called"), [("cpu", True), ("meta", False)])
def test_memory_is_kept_where_models_run_on_the_cpu(device, called, model, picture, monkeypatch):
    calls = list[int]()
    monkeypatch.setattr(allocation, "keep_freed_memory", lambda: calls.append(1))
    main(["detect", picture, "cat", "--model", model, "--device", device])
    assert bool(calls) == called


def test_each_threshold_changes_what_is_found(model, picture, capsys):
    detect = ["detect", picture, "cat", "--model", model, "--json", "-", "--nms-threshold"]
    main([*detect, "off"])
    everything = found(capsys)
    assert len(everything) == 5
    main([*detect, "0"])
    assert len(found(capsys)) < 5
    middle = everything[2]["score"]
    main([*detect, "off", "--box-threshold", str(middle)])
    assert len(found(capsys)) < 5


def test_each_phrase_is_looked_for_by_itself_if_asked_for(model, picture, capsys):
    alone = []
    for phrase in ("cat", "dog"):
        main(["detect", picture, phrase, "--model", model, "--json", "-"])
        alone += found(capsys)
    main(["detect", picture, "cat . dog", "--model", model, "--json", "-", "--each"])
    assert sorted(found(capsys), key=str) == sorted(alone, key=str)


def test_tiles_are_looked_at_if_asked_for(model, tmp_path, capsys):
    picture = tmp_path / "large.png"
    Image.effect_mandelbrot((240, 180), (-2, -1.5, 1, 1.5), 40).convert("RGB").save(picture)
    main(["detect", str(picture), "cat", "--model", model, "--json", "-", "--tiles"])
    output, told = capsys.readouterr()
    tiled = json.loads(output)["objects"]
    assert "tiles of it were looked at" in told
    main(["detect", str(picture), "cat", "--model", model, "--json", "-"])
    assert tiled != found(capsys)


def test_only_the_best_is_kept_if_asked_for(model, picture, capsys):
    main(["detect", picture, "cat", "--model", model, "--json", "-"])
    best = found(capsys)[0]
    main(["detect", picture, "cat", "--model", model, "--json", "-", "--best-only"])
    assert found(capsys) == [best]


def test_the_text_threshold_changes_what_is_found_by_a_sentence(picture, capsys, tmp_path):
    path = tmp_path / "swin.safetensors"
    config = replace(TINY, backbone=SwinConfig(embed_dim=24, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)))
    torch.manual_seed(0)
    save_checkpoint(GroundingDINO(config), path, title="", description="", box_threshold=0, text_threshold=0.25)
    sentence = ["detect", picture, "a small cat sleeps on the mat", "--model", str(path), "--json", "-"]
    main([*sentence, "--text-threshold", "0"])
    objects = found(capsys)
    assert objects
    assert {one["phrase"] for one in objects} <= {"small cat", "mat"}
    main([*sentence, "--text-threshold", "1"])
    assert found(capsys) == []


def cut(capsys, picture: str, *options: str) -> list[dict]:
    """The objects that `segment` finds."""
    assert main(["segment", picture, *options, "--json", "-"]) == 0
    return found(capsys)


def test_segment_gives_each_found_object_its_mask(model, segmenter, picture, capsys):
    main(["detect", picture, "cat . dog", "--model", model, "--json", "-"])
    boxes = found(capsys)
    objects = cut(capsys, picture, "cat . dog", "--model", model, "--segmenter", segmenter)
    for box, one in zip(boxes, objects, strict=True):
        assert {**box, "mask": one["mask"]} == one
        assert one["mask"]["size"] == [80, 120]
        assert coco_masks.decode(one["mask"]).shape == (80, 120)


def test_points_are_one_object_and_each_box_is_one(model, segmenter, noise, capsys):
    pointed = ["--point", "30,40,1", "--point", "5,5,0", "--box", "10,10,60,60", "--box", "50,20,110.5,70"]
    objects = cut(capsys, noise, "", "--segmenter", segmenter, *pointed)
    assert [one["phrase"] for one in objects] == ["object 1", "object 2", "object 3"]
    assert len({one["mask"]["counts"] for one in objects}) == 3
    with_text = cut(capsys, noise, "cat", "--model", model, "--segmenter", segmenter, *pointed)
    assert [one["phrase"] for one in with_text][-4:] == ["cat", "object 1", "object 2", "object 3"]
    assert with_text[-3:] == objects


def test_the_label_of_a_point_counts(segmenter, noise, capsys):
    masks = [
        cut(capsys, noise, "", "--segmenter", segmenter, "--point", "30,40,1", "--point", f"60,40,{label}")[0]["mask"]
        for label in (0, 1)
    ]
    assert masks[0] != masks[1]


def test_the_record_names_the_models_that_ran(model, segmenter, picture, capsys):
    for asked, expected in ((["", "--box", "1,1,9,9"], "tiny-sam"), (["cat", "--model", model], "tiny + tiny-sam")):
        main(["segment", picture, *asked, "--segmenter", segmenter, "--json", "-"])
        assert json.loads(capsys.readouterr().out)["model"] == expected


def test_what_finds_names_is_refused_where_nothing_is_named(picture, capsys):
    options = ["--box", "1,1,9,9", "--model", "swin-t", "--box-threshold", "0.4"]
    assert main(["segment", picture, " ", *options]) == 2
    assert capsys.readouterr().err == (
        "groundingdino: An empty prompt makes no use of --model, --box-threshold: run it without.\n"
    )


def test_picture_and_record_need_a_file_each(picture, tmp_path, capsys):
    path = str(tmp_path / "out.png")
    assert main(["detect", picture, "cat", "--output", path, "--json", path]) == 2
    assert "cannot both become" in capsys.readouterr().err


# What takes seconds to import is imported once; then a copy of the process is the program, for each place to write to:
# a file, or "" for a pipe from which nobody reads. Prints of each the status and what it wrote to stderr.
ENDING = """
import json, os, runpy, sys, tempfile
import groundingdino.command_line.search, groundingdino.detection.detector, groundingdino.results.export
ended = []
for place, *command in json.loads(sys.argv[1]):
    errors = tempfile.TemporaryFile()
    child = os.fork()
    if not child:
        reads, writes = os.pipe()
        os.dup2(os.open(place, os.O_WRONLY) if place else writes, 1)
        os.close(reads)
        os.dup2(errors.fileno(), 2)
        sys.argv = ["groundingdino", *command]
        runpy.run_module("groundingdino", run_name="__main__", alter_sys=True)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    errors.seek(0)
    ended.append([status, errors.read().decode()])
print(json.dumps(ended))
"""
ENDS = [(place, options) for options in ([], ["--json", "-"]) for place in ("", "/dev/full")]


@pytest.fixture(scope="module")
def ended(model: str, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str]]:
    """How a command ended at each of `ENDS`."""
    path = tmp_path_factory.mktemp("ended") / "picture.png"
    Image.linear_gradient("L").resize((120, 80)).convert("RGB").save(path)
    command = ["detect", str(path), "cat", "--model", model, "--box-threshold", "0"]
    given = json.dumps([[place, *command, *options] for place, options in ENDS])
    return json.loads(subprocess.run([sys.executable, "-c", ENDING, given], stdout=subprocess.PIPE, check=True).stdout)


@pytest.mark.parametrize("number", range(len(ENDS)), ids=[f"{place} {options}" for place, options in ENDS])
def test_results_that_nobody_takes_end_without_a_traceback(ended: list[tuple[int, str]], number: int):
    (place, _), (status, told) = ENDS[number], ended[number]
    assert status == (2 if place else 0), told
    assert ("cannot be written" in told) is bool(place)
    assert told.count("\n") == bool(place)


def test_fill_removes_holes_and_specks(segmenter, noise, capsys):
    options = ["--segmenter", segmenter, "--point", "30,40,1"]
    plain, pixels, share, usual = (
        coco_masks.decode(cut(capsys, noise, "", *options, *fill)[0]["mask"]).astype(bool)
        for fill in (["--fill", "0"], ["--fill", "400"], ["--fill", "0.2"], [])
    )
    for smoothed, least in ((pixels, 400), (share, 0.2), (usual, SPECKS)):
        as_expected = smooth_masks(sv.Detections(np.zeros((1, 4)), plain[None]), least)
        assert np.array_equal(smoothed, as_expected.mask[0])
    assert not np.array_equal(plain, pixels)


def test_everything_adds_to_what_is_asked_for_and_repeats_nothing(picture, capsys, monkeypatch):
    # A model that was never trained is sure of nothing, so another one stands for it.
    scissors = Scissors({(120, 80): [(2, 2, 90, 60), (95, 5, 118, 30), (10, 62, 60, 79)]})
    monkeypatch.setattr(Segmenter, "from_pretrained", lambda *_, **__: scissors)
    (one,) = cut(capsys, picture, "", "--box", "1,1,90,60")
    objects = cut(capsys, picture, "", "--box", "1,1,90,60", "--everything")
    assert [found["phrase"] for found in objects] == ["object 1", "object 2", "object 3"]
    assert objects[0] == one
    assert [round(found["box"][0], -1) for found in objects] == [0, 100, 10]


def test_where_no_threshold_was_used_none_is_to_be_lowered(picture, capsys, monkeypatch):
    monkeypatch.setattr(Segmenter, "from_pretrained", lambda *_, **__: Scissors())
    assert main(["segment", picture, "", "--everything"]) == 0
    assert capsys.readouterr().out == "Nothing found.\n"


def test_nothing_found_is_a_result_of_segment_too(model, segmenter, picture, capsys, tmp_path):
    options = ["--model", model, "--segmenter", segmenter, "--box-threshold", "1"]
    assert cut(capsys, picture, "cat", *options, "--output", str(tmp_path / "out.png")) == []
    assert Image.open(tmp_path / "out.png").tobytes() == Image.open(picture).tobytes()
    assert main(["segment", picture, "cat", *options]) == 0
    assert "a lower --box-threshold shows weaker boxes" in capsys.readouterr().out


def test_output_is_the_picture_with_masks(segmenter, picture, tmp_path, capsys):
    output = tmp_path / "out.png"
    (one,) = cut(capsys, picture, "", "--segmenter", segmenter, "--point", "30,40,1", "--output", str(output))
    changed = (np.asarray(Image.open(output)) != np.asarray(Image.open(picture))).any(axis=2)
    mask = coco_masks.decode(one["mask"]).astype(bool)
    assert changed[mask].mean() > 0.9


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "Nothing is asked for: expected a prompt that names something, --point, --box or --everything"),
        (["--point", "500,5,1"], "The point (500, 5) lies outside the picture of 120 x 80 pixels"),
        (["--point", "5,5,0"], "needs a box, or a point or stroke with label 1"),
        (["--box", "500,5,600,9"], "lies outside the picture"),
        (["--point", "5,5,1", "--segmenter", "vit_x"], "There is no segmenter 'vit_x'"),
        (["--point", "5,5,1", "--segmenter", "embedded", "--device", "toaster"], "The device 'toaster' cannot be used"),
        (["--point", "5,5,1", "--output", "out.txt"], "does not name a kind of picture"),
        (["--point", "5,5,1"] * 150, "at most 100 points and strokes, but it has 150"),
        (["--box", "5,5,9,9"] * 5000, "At most 200 points, boxes and strokes can be given at once, but there are 5000"),
    ],
)
def test_bad_pointing_is_one_line_and_status_2(options, sentence, picture, capsys):
    assert main(["segment", picture, " . ", *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("groundingdino: ")
    assert sentence in line


def test_the_picture_may_come_from_standard_input(model, picture, capsys, monkeypatch):
    with open(picture, "rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.read())))
    assert main(["detect", "-", "cat", "--model", model, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["width"] == 120


def test_notes_go_to_standard_error(model, picture, capsys):
    assert main(["detect", picture, "кошка . dog", "--model", model, "--json", "-"]) == 0
    captured = capsys.readouterr()
    json.loads(captured.out)
    assert "кошка" in captured.err


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image": "missing.png"}, "There is no picture at 'missing.png'"),
        ({"image": __file__}, "is not an image"),
        ({"prompt": " . "}, "The prompt names nothing"),
        ({"prompt": "x-" * 200 + "."}, "token"),
        ({"prompt": "word " * 400 + "."}, "is 1,999 characters long, but one phrase can have 500 at most"),
        ({"prompt": "word . " * 600}, "The prompt is longer than the 4,000 characters that are read at once"),
        ({"--model": "swin-x"}, "There is no model 'swin-x'"),
        ({"--model": "missing.pth"}, "There is no model 'missing.pth'"),
        ({"--device": "toaster"}, "The device 'toaster' cannot be used"),
        ({"--output": "missing/out.png"}, "'missing/out.png' cannot be written"),
        ({"--output": "out.txt"}, "'out.txt' does not name a kind of picture"),
        ({"--output": "out"}, "'out' does not name a kind of picture"),
        ({"--output": "out.xbm", "--device": "toaster"}, "'out.xbm' cannot be written: cannot write mode RGB as XBM"),
        ({"--json": "missing/out.json"}, "'missing/out.json' cannot be written"),
        ({"--json": "/dev/full"}, "'/dev/full' cannot be written: No space left on device"),
    ],
)
def test_bad_input_is_one_line_and_status_2(changes, sentence, model, picture, capsys):
    given = {"image": picture, "prompt": "cat", "--model": model} | changes
    options = [part for name, value in given.items() if name.startswith("--") for part in (name, value)]
    assert main(["detect", given["image"], given["prompt"], *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("groundingdino: ")
    assert sentence in line


def test_weights_that_may_not_be_read_are_not_told_as_written(model, picture, capsys, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("groundingdino.files.weight_files.Path.open", refuse)
    assert main(["detect", picture, "cat", "--model", model]) == 2
    assert capsys.readouterr().err == f"groundingdino: '{model}' cannot be read: Permission denied.\n"


def test_whatever_else_may_not_be_read_is_told_as_such(picture, capsys, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "some file")

    monkeypatch.setattr("groundingdino.detection.detector.load_detector", refuse)
    assert main(["detect", picture, "cat", "--model", "embedded"]) == 2
    assert capsys.readouterr().err == "groundingdino: 'some file' cannot be read: Permission denied.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "required: command"),
        (["detect", "picture.png"], "required: PROMPT"),
        (["paint"], "invalid choice: 'paint'"),
        (["detect", "p", "cat", "--box-threshold", "3"], "--box-threshold: expected a number from 0 to 1, not '3'"),
        (["detect", "p", "cat", "--text-threshold", "-0.1"], "--text-threshold"),
        (["detect", "p", "cat", "--box-threshold", "nan"], "from 0 to 1, not 'nan'"),
        (["detect", "p", "cat", "--nms-threshold", "none"], "from 0 to 1, not 'none'"),
        (["detect", "p", "cat", "--point", "1,2,1"], "unrecognized arguments"),
        (["segment", "p", "", "--point", "1,2"], "--point: expected X,Y,1 or X,Y,0, not '1,2'"),
        (["segment", "p", "", "--point", "1,\n\x1b[31m2"], "--point: expected X,Y,1 or X,Y,0, not '1,??[31m2'"),
        (["segment", "p", "", "--point", 5000 * "1,"], "--point: expected X,Y,1 or X,Y,0, not '1,1,"),
        (["segment", "p", "", "--point", 5000 * "1,"], "…"),
        (["segment", "p", "", "--point", "1,2,3"], "--point: expected X,Y,1 or X,Y,0, not '1,2,3'"),
        (["segment", "p", "", "--point", "a,2,1"], "--point: expected X,Y,1 or X,Y,0, not 'a,2,1'"),
        (["segment", "p", "", "--point", "nan,2,1"], "not 'nan,2,1'"),
        (["segment", "p", "", "--box", "1,2,3"], "--box: expected X0,Y0,X1,Y1, not '1,2,3'"),
        (["segment", "p", "", "--box", "5,5,5,9"], "--box: expected a box with X0 < X1 and Y0 < Y1"),
        (["segment", "p", "", "--box", "-5,0,40,40"], "--box: expected one argument"),
        (["segment", "p", "", "--fill", "-3"], "--fill: expected an area of 0 or more, not '-3'"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


def test_local_files_only_holds_for_segmenters(picture, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # which switches downloads off, too
    if has_segmenter("vit_b"):
        pytest.skip("vit_b is on this machine")
    segment = ["segment", picture, "", "--box", "1,1,50,50", "--segmenter", "vit_b", "--local-files-only"]
    assert main(segment) == 2
    assert (
        "'sam_vit_b_01ec64.pth' is not on this machine and downloads are switched off by --local-files-only"
        in capsys.readouterr().err
    )


def test_local_files_only_is_passed_on(picture, capsys):
    if cached(MODELS["swin-t"].source):
        pytest.skip("swin-t is in this machine's cache")
    assert main(["detect", picture, "cat", "--model", "swin-t", "--local-files-only"]) == 2
    assert "downloads are switched off" in capsys.readouterr().err


def test_an_interrupted_download_says_that_it_continues(model, picture, capsys, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("groundingdino.command_line.main.detect", interrupt)
    assert main(["detect", picture, "cat", "--model", model]) == 130
    assert "stopped" in capsys.readouterr().err


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_a_lack_of_memory_is_one_line(error, model, picture, capsys, monkeypatch):
    def fail(_):
        raise error

    monkeypatch.setattr("groundingdino.command_line.main.detect", fail)
    assert main(["detect", picture, "cat", "--model", model]) == 2
    told = capsys.readouterr().err
    assert told.startswith("groundingdino: memory does not suffice: close other programs, or take a smaller picture")
    assert told.count("\n") == 1


def test_a_fault_of_ours_is_no_lack_of_memory(model, picture, monkeypatch):
    def fail(_):
        raise RuntimeError("The size of tensor a (3) must match the size of tensor b (4)")

    monkeypatch.setattr("groundingdino.command_line.main.detect", fail)
    with pytest.raises(RuntimeError, match="size of tensor"):
        main(["detect", picture, "cat", "--model", model])


def test_progress_is_one_line_on_a_terminal(capsys, monkeypatch):
    output.show_progress(5_000_000, 10_000_000, "downloading weights.pth")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for done, total in ((5_000_000, 10_000_000), (10_000_000, 10_000_000), (7_000_000, None)):
        output.show_progress(done, total, "downloading weights.pth")
    assert capsys.readouterr().err == (
        "\rdownloading weights.pth: 5 of 10 MB\rdownloading weights.pth: 10 of 10 MB\n\rdownloading weights.pth: 7 MB"
    )


def test_models_lists_every_model(capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    gap = lines.index("")
    rows, segmenters = ({line.split()[0]: line for line in part if line} for part in (lines[1:gap], lines[gap + 2 :]))
    assert list(rows) == list(MODELS)
    assert set(SEGMENTERS) <= set(segmenters)
    assert "375 MB" in segmenters["vit_b"]
    assert "135 MB" in segmenters["lcm-sd15"]
    assert "57700 MB" in segmenters["qwen-image-edit"]
    assert "694 MB" in rows["swin-t"]
    assert "0.30 0.25" in rows["swin-b"]
    assert ("yes" in rows["embedded"]) == EMBEDDED_FILE.is_file()


def test_as_a_program(model, picture):
    program = [sys.executable, "-m", "groundingdino"]
    command = ["detect", picture, "cat", "--model", model, "--json", "-", "--device", "cpu"]
    process = subprocess.run([*program, *command], capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")
    assert json.loads(process.stdout)["objects"]
