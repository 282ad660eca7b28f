"""`finetune` from annotations to a folder that opens everywhere."""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForZeroShotObjectDetection

from groundingdino.command_line.main import main
from groundingdino.detection import checkpoints
from groundingdino.detection.checkpoints import load_pretrained
from groundingdino.detection.detector import Detector
from groundingdino.runtime.extras import LIBRARIES
from groundingdino.training import processes
from tests.evaluation.published import coco, write
from tests.tiny_models import save_detector

FEW = ["--steps", "2", "--batch-size", "2", "--short-side", "64", "--device", "cpu"]


def complaint(capsys) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    return save_detector(tmp_path_factory.mktemp("tiny") / "tiny.safetensors")


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "pets", coco(9, ("badger", "newt"))).parent


def test_the_authors_layout_becomes_a_folder_that_transformers_opens(
    seeded_state_dict, mini_config, data, tmp_path, capsys, monkeypatch
):
    small = replace(mini_config, short_side=64, long_side=96)
    monkeypatch.setitem(checkpoints.PUBLISHED, 24, small)
    torch.save({"model": seeded_state_dict("mini", 7)}, tmp_path / "mini.pth")
    output = tmp_path / "mine"
    assert main(["finetune", str(data), "--from", str(tmp_path / "mini.pth"), "--output", str(output), *FEW]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].startswith("new names: pets")

    report = json.loads((output / "report.json").read_text())
    assert report["names"] == ["badger", "newt"]
    assert report["replay"] == "own"
    before, after = (report["measured"]["new names: pets"][when] for when in ("before", "after"))
    assert before["pictures"] == after["pictures"] > 0
    assert set(after["of_each"]) <= {"badger", "newt"}
    card = (output / "README.md").read_text()
    assert card.startswith("---\npipeline_tag: zero-shot-object-detection")
    assert "library_name: transformers" in card
    assert "badger, newt" in card
    assert all(line in card for line in out.splitlines())

    ours = Detector.from_pretrained(output, "cpu")
    tuned, start = (load_pretrained(path).model.state_dict() for path in (output, tmp_path / "mini.pth"))
    changed = {name for name in tuned if not torch.equal(tuned[name], start[name])}
    assert changed
    assert not [name for name in changed if name.startswith(("backbone.", "text_encoder.bert."))]
    theirs = AutoModelForZeroShotObjectDetection.from_pretrained(output).eval()
    assert torch.equal(theirs.model.level_embed, tuned["neck.level_embed"])
    picture = Image.open(data / "images" / "000.png")
    grounding = ours.ground(ours.encode_image(picture), "badger . newt")
    assert grounding.boxes.shape == (60, 4)
    assert np.isfinite(grounding.boxes).all()


def run(data, tiny, output, *options) -> int:
    return main(["finetune", str(data), "--from", tiny, "--output", str(output), *FEW, *options])


KILLED = """
import os, signal, sys
from groundingdino.command_line.main import main
from groundingdino.training import loop
save, calls = loop._save, []
def die(state, path):
    save(state, path)
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
loop._save = die
main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
def test_killed_it_goes_on_and_learns_the_same(data, tiny, tmp_path, capsys):
    options = ["--steps", "4", "--replay", "own", "--json", "-"]
    assert run(data, tiny, tmp_path / "once", *options) == 0
    once = json.loads(capsys.readouterr().out)
    arguments = ["finetune", str(data), "--from", tiny, "--output", str(tmp_path / "killed"), *FEW, *options]
    ended = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True)
    assert ended.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "report.json").exists()
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == once
    first, second = (load_pretrained(tmp_path / name).model.state_dict() for name in ("once", "killed"))
    assert all(torch.equal(first[name], second[name]) for name in first)

    assert main([*arguments, "--seed", "1"]) == 2
    assert "seed 0: give another --output, or --restart, which begins anew" in capsys.readouterr().err
    assert main([*arguments, "--seed", "1", "--restart"]) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == 1
    stored = json.loads((data / "annotations.json").read_text())
    stored["annotations"][0]["bbox"][0] += 1
    (data / "annotations.json").write_text(json.dumps(stored))
    assert main([*arguments, "--seed", "1"]) == 2
    assert "holds a run with boxes" in capsys.readouterr().err


def test_a_set_is_replayed_and_others_are_measured(data, tiny, tmp_path, capsys):
    old = write(tmp_path / "old", coco(6, ("robin", "wren"))).parent
    more = write(tmp_path / "more", coco(1, ("mole",))).parent
    options = ["--replay", str(old), "--old", str(more), "--json", "-", "--train", "backbone", "--save-memory"]
    assert run(data, tiny, tmp_path / "out", *options) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["measured"]) == ["new names: pets", "old names: old", "old names: more"]
    assert report["train"] == ["backbone"]


def test_names_alone_are_learned_and_nothing_is_forgotten(data, tiny, tmp_path, capsys):
    old = write(tmp_path / "old", coco(6, ("robin", "wren"))).parent
    assert run(data, tiny, tmp_path / "out", "--train", "names", "--old", str(old), "--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["train"], report["replay"], report["rate"]) == (["names"], None, 1e-2)
    same = report["measured"]["old names: old"]
    assert same["before"] == same["after"]
    assert "only the embeddings of the names' words moved" in (tmp_path / "out" / "README.md").read_text()


def test_two_processes_learn_together(data, tiny, tmp_path):
    launcher = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--main_process_port",
    ]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    options = ["--from", tiny, "--output", str(tmp_path / "out"), *FEW, "--steps", "3", "--no-replay", "--json", "-"]
    command = [*launcher, port, "-m", "groundingdino", "finetune", str(data), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)  # which one of them wrote
    assert report["steps"] == 3
    tuned, before = (load_pretrained(str(path)).model.state_dict() for path in (tmp_path / "out", tiny))
    assert not torch.equal(tuned["decoder.norm.weight"], before["decoder.norm.weight"])


def test_more_processes_than_pictures_of_a_batch_are_refused(data, tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 3)
    monkeypatch.setattr(processes, "device", lambda: None)
    assert run(data, tiny, tmp_path / "out") == 2
    assert "3 processes cannot share a batch of 2: give a larger --batch-size." in complaint(capsys)


def test_one_may_let_it_forget(data, tiny, tmp_path, capsys):
    assert run(data, tiny, tmp_path / "out", "--no-replay", "--lora", "2") == 0
    assert "nothing measures what becomes of old names: give --old DATA" in capsys.readouterr().err
    assert not (tmp_path / "out" / "training" / "knowledge.jsonl").exists()
    assert json.loads((tmp_path / "out" / "report.json").read_text())["replay"] is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--from", "swin-x"], "There is no model 'swin-x'"),
        (["--replay", "own", "--no-replay"], "Learning without replay makes no use of --replay"),
        (["--train", "names", "--replay", "own"], "which forgets nothing, makes no use of --replay: run it without"),
        (["--lora", "4", "--train", "text"], "--lora teaches backbone and text encoder by adapters: leave --train out"),
        (["--old", "nowhere"], "There is no 'nowhere'"),
        (["--replay", "nowhere"], "There is no 'nowhere'"),
        (["--output", "nowhere/out"], "cannot become a folder"),
    ],
)
def test_bad_input_is_one_line_and_status_2(options, sentence, data, tiny, tmp_path, capsys):
    arguments = ["finetune", str(data), "--from", tiny, "--output", str(tmp_path / "out")]
    assert main([*arguments, *options]) == 2
    assert sentence in complaint(capsys)


@pytest.mark.parametrize(
    "options", [["--train", "neck"], ["--train", "names,text"], ["--rate", "0"], ["--steps", "1", "--epochs", "1"]]
)
def test_bad_options_are_one_line(options, data, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["finetune", str(data), "--output", str(tmp_path / "out"), *options])
    assert "(see --help)" in complaint(capsys)


def test_folders_of_others_and_long_names_are_refused(data, tiny, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    assert run(data, tiny, tmp_path / "full") == 2
    assert "holds something else: give another --output" in complaint(capsys)
    long = write(tmp_path / "long", coco(4, ("newt " * 300, "badger"))).parent
    assert run(long, tiny, tmp_path / "out") == 2
    assert "is 300 tokens long, but from 1 to 253 can be learned" in capsys.readouterr().err.splitlines()[-1]


def test_a_full_disk_is_one_sentence(data, tiny, tmp_path, capsys, monkeypatch):
    def fail(_, file):
        raise OSError(28, "No space left on device", file.name)

    monkeypatch.setattr(torch, "save", fail)
    assert run(data, tiny, tmp_path / "out", "--no-replay") == 2
    assert "checkpoint.tmp' cannot be written: No space left on device" in capsys.readouterr().err.splitlines()[-1]


def test_what_is_not_installed_is_told(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(LIBRARIES, "train", ("not_there",))
    assert main(["finetune", str(data), "--output", str(tmp_path / "out")]) == 2
    assert "Fine-tuning needs not_there, which is not installed: pip install not_there" in complaint(capsys)
