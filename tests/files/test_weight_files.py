import argparse
import datetime
import pathlib
import sys
import threading
from collections import OrderedDict, defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from groundingdino.files.weight_files import check_finite, read_weights, write_weights

STATE = {"a": torch.arange(12.0).view(3, 4), "b": torch.tensor([1, 2])}


def assert_same(state, expected):
    assert list(state) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(
    "wrap",
    [
        dict,
        OrderedDict,
        lambda s: {"model": s},
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model_state_dict": s},
        lambda s: {"net": s},
        lambda s: {"ema": s},
        lambda s: {"model_ema": s},
        lambda s: {"ema": {"module": s, "updates": 7}},
        lambda s: {"model": {"state_dict": s}},
        lambda s: {"ema_model": {name: tensor + 1 for name, tensor in s.items()}, "model": s},
    ],
)
@pytest.mark.parametrize("old_format", [False, True])
def test_pth(wrap, old_format, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(wrap(STATE), path, _use_new_zipfile_serialization=not old_format)
    state, metadata = read_weights(path)
    assert_same(state, STATE)
    assert metadata == {}


def optimizer_state() -> dict:
    layer = nn.Linear(2, 2)
    groups: list[dict[str, Any]] = [{"params": [layer.weight], "lr": np.float64(1e-3)}, {"params": [layer.bias]}]
    optimizer = torch.optim.AdamW(groups)
    layer(torch.ones(2)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize(
    "beside",
    [
        argparse.Namespace(lr=1e-4, betas=(0.9, 0.99), output_dir="out", nested=argparse.Namespace(device="cuda")),
        SimpleNamespace(lr=1),
        np.float64(0.5),
        np.float32(0.5),
        np.int64(3),
        np.bool_(True),
        np.arange(5),
        np.random.default_rng(0).bit_generator.state,
        pathlib.PurePath("runs"),
        Path("runs") / "1",
        datetime.datetime(2026, 1, 2),
        defaultdict(list, {"loss": [1.0]}),
        {1, 2},
        optimizer_state(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_training_code_saves_beside_the_weights_shuts_nobody_out(beside, old_format, tmp_path):
    path = tmp_path / "weights.pth"
    saved = {"args": beside, "model": STATE, "again": [beside, {"args": beside}]}
    torch.save(saved, path, _use_new_zipfile_serialization=not old_format)
    assert_same(read_weights(path)[0], STATE)


class EasyDict(dict):
    """A dictionary as a library of options has it; `save` gives it that library's name."""


def test_a_dictionary_of_another_library_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(EasyDict, "__module__", "easydict")
    monkeypatch.setitem(sys.modules, "easydict", SimpleNamespace(EasyDict=EasyDict))
    torch.save({"hyper_parameters": EasyDict(lr=1), "state_dict": STATE}, tmp_path / "last.ckpt")
    monkeypatch.undo()
    assert_same(read_weights(tmp_path / "last.ckpt")[0], STATE)


def test_reading_leaves_what_others_may_read_as_it_was(tmp_path):
    torch.save({"args": argparse.Namespace(lr=1), "model": STATE}, tmp_path / "weights.pth")
    allowed = set(torch.serialization.get_safe_globals())
    failures = []

    def read():
        try:
            for _ in range(20):
                read_weights(tmp_path / "weights.pth")
        except ValueError as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(torch.serialization.get_safe_globals()) == allowed
    with pytest.raises(Exception, match="Namespace was not an allowed global"):
        torch.load(tmp_path / "weights.pth", weights_only=True)


def test_a_dictionary_that_holds_itself_is_refused(tmp_path):
    endless = {"epoch": 1}
    endless["model"] = endless
    torch.save(endless, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        read_weights(tmp_path / "weights.pth")


def test_safetensors_keep_their_metadata(tmp_path):
    path = tmp_path / "weights.safetensors"
    write_weights({"a": STATE["a"].t(), "b": STATE["b"]}, {"note": "hello"}, path)
    state, metadata = read_weights(path)
    assert_same(state, {"a": STATE["a"].t(), "b": STATE["b"]})
    assert metadata == {"format": "pt", "note": "hello"}
    assert list(tmp_path.iterdir()) == [path]


def test_safetensors_of_other_programs_have_no_metadata(tmp_path):
    save_file(STATE, tmp_path / "weights.safetensors")
    assert read_weights(tmp_path / "weights.safetensors")[1] == {}


class Malicious:
    """Unpickled by a careless reader, this creates a file."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("old_format", [False, True])
def test_a_pickle_that_would_run_code_does_not_run(old_format, tmp_path):
    proof, path = tmp_path / "code-ran", tmp_path / "weights.pth"
    torch.save({"model": STATE, "extra": Malicious(proof)}, path, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(ValueError, match="Python objects whose reading could run code, and was not opened") as refusal:
        read_weights(path)
    assert "\n" not in str(refusal.value)
    assert "it asks for '" in str(refusal.value)
    assert not proof.exists()
    torch.load(path, weights_only=False)
    assert proof.exists()  # so the file was malicious indeed


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty: download it again"),
        (b"<!DOCTYPE html><html>404</html>", "is a web page"),
        (b"\n <html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab", "Git LFS pointer"),
        (b"RIFF\x00\x10\x00\x00WEBPVP8 and more of a picture", r"no (PyTorch weight|\.safetensors) file"),
        (b"hello, this is a text under the name of weights", r"no (PyTorch weight|\.safetensors) file"),
        (b"not weights at all, just some text that is long enough", r"no (PyTorch weight|\.safetensors) file"),
    ],
)
def test_other_files_are_refused(content, sentence, suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as refusal:
        read_weights(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["pth", "old pth", "safetensors"])
def test_truncated_files_are_refused(kind, keep, tmp_path):
    path = tmp_path / f"weights.{kind.removeprefix('old ')}"
    state = {"a": torch.zeros(100, 100), "b": torch.zeros(50)}
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "pth")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ValueError, match=r"weights\.\w+' is (truncated or no|no PyTorch)") as refusal:
        read_weights(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [{"epoch": 3}, {"model": {"a": 1}}, [STATE], torch.zeros(2)])
def test_what_is_no_state_dict_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        read_weights(tmp_path / "weights.pth")


def test_a_missing_file_is_named():
    with pytest.raises(ValueError, match=r"no weight file at 'nowhere/weights\.pth'"):
        read_weights(Path("nowhere/weights.pth"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_may_not_be_read_is_told_as_such(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(b"secret")

    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ValueError, match=r"weights\.\w+' cannot be read: Permission denied\.$"):
        read_weights(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_disk_that_fails_is_told_as_such(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"weights{suffix}"
    write_weights(STATE, {}, path)

    def fail(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("groundingdino.files.weight_files.safe_open", fail)
    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(ValueError, match=r"weights\.\w+' cannot be read: Input/output error\.$"):
        read_weights(path)


@pytest.mark.parametrize("first", [b"<", b" <", b"\n<"])
def test_a_header_whose_length_looks_like_a_web_page_is_none(first, tmp_path):
    length = int.from_bytes(first.ljust(3, b"\x01"), "little")
    tensors = {"a": torch.arange(3.0)}
    save_file(tensors, tmp_path / "plain.safetensors")
    content = (tmp_path / "plain.safetensors").read_bytes()
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    path = tmp_path / "weights.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + header.ljust(length) + content[8 + len(header) :])
    assert path.read_bytes().startswith(first)
    assert_same(read_weights(path)[0], tensors)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_numbers_that_are_none_are_named(bad, dtype):
    state = {"good": torch.full((9,), 6e4).to(dtype), "bad": torch.tensor([1, bad, 2], dtype=dtype)}
    with pytest.raises(ValueError, match=r"^It holds NaN or infinity, .*: 1 with such numbers \(bad\)\.$"):
        check_finite(state, "It")


def test_weights_whose_sum_is_too_large_are_finite():
    check_finite({"large": torch.full((9,), 3e38), "count": torch.tensor(3), "none": torch.zeros(0)}, "It")
