from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from groundingdino.weight_files import read_weights, write_weights

STATE = {"a": torch.arange(12.0).view(3, 4), "b": torch.tensor([1, 2])}


def assert_same(state, expected):
    assert list(state) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("wrap", [dict, lambda s: {"model": s}, lambda s: {"state_dict": s, "epoch": 3}])
@pytest.mark.parametrize("old_format", [False, True])
def test_pth(wrap, old_format, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(wrap(STATE), path, _use_new_zipfile_serialization=not old_format)
    state, metadata = read_weights(path)
    assert_same(state, STATE)
    assert metadata == {}


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
