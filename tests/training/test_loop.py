"""What all trainings share: rates and the log; stopping and resuming is tested with the detector's training."""

import json
import sys
from types import SimpleNamespace

import pytest

from groundingdino.training import loop
from groundingdino.training.loop import Log, cosine, rate


def test_the_rate_warms_up_and_falls():
    assert cosine(10, first=10, last=20, warm_up=4) == pytest.approx(0.25)
    assert cosine(15, first=10, last=20, warm_up=4) == pytest.approx(0.505)
    assert cosine(20, first=10, last=20, warm_up=4) == pytest.approx(0.01)


def test_the_rate_begins_anew_at_restarts():
    factors = [rate(step, restarts=[4], last=8, warm_up=1) for step in range(9)]
    assert factors == pytest.approx([1, 0.855, 0.505, 0.155, 1, 0.855, 0.505, 0.155, 0.01], abs=1e-2)


def test_tensorboard_has_the_same_where_it_is_installed(tmp_path, monkeypatch):
    written = []

    class Board:
        def __init__(self, folder):
            assert folder == str(tmp_path)

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def flush(self):
            written.append("flushed")

    monkeypatch.setattr(loop, "find_spec", lambda name: name == "tensorboard")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Board))
    log = Log(tmp_path / "log.jsonl")
    log.add(25, 1e-3, {"layer0/score": 2.0})
    assert written == [("rate", 1e-3, 25), ("layer0/score", 2.0, 25), "flushed"]


def test_the_log_can_be_plotted(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    for step in range(1, 51):
        log.add(step, 1e-3, {"layer0/score": float(step)})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [25, 50]
    assert [line["layer0/score"] for line in lines] == [13, 38]
    assert lines[0]["steps_per_second"] > 0
