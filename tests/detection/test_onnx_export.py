"""One model is exported, by the command: that takes seconds."""

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from groundingdino.command_line.main import main
from groundingdino.detection.checkpoints import LoadedModel, load_pretrained, save_checkpoint
from groundingdino.detection.onnx_export import FEATURES, OPSET, export_onnx
from groundingdino.detection.text_tokens import tokenize_captions
from groundingdino.model import GroundingDINO
from groundingdino.model.config import SwinConfig
from groundingdino.model.preprocessing import collate, preprocess
from groundingdino.runtime.extras import LIBRARIES
from tests.command_line.conftest import complaint
from tests.conftest import ROOT
from tests.tiny_models import TINY

WIDTH, HEIGHT = 96, 80
# Windows that are shifted and padded, and levels beyond the backbone's.
SWIN = replace(TINY, backbone=SwinConfig(embed_dim=8, depths=(1, 2, 1, 1), num_heads=(1, 1, 2, 2), window_size=4))


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(GroundingDINO(SWIN), path, title="Tiny", description="", box_threshold=0.3, text_threshold=0.25)
    return path


@pytest.fixture(scope="module")
def loaded(weights: Path) -> LoadedModel:
    return load_pretrained(weights)


@pytest.fixture(scope="module")
def folder(weights: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    assert main(["export", str(weights), "--output", str(folder), "--size", f"{WIDTH}x{HEIGHT}"]) == 0
    return folder


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def sessions(folder: Path) -> list[Any]:
    return [onnxruntime.InferenceSession(folder / name) for name in ("picture.onnx", "prompt.onnx")]


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (70, 64)])
def test_scores_and_boxes_are_those_of_the_model(size, sessions, loaded: LoadedModel):
    picture, prompt = sessions
    pixels = torch.zeros(1, 3, HEIGHT, WIDTH)
    padding = torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool)
    pixels[0, :, : size[1], : size[0]] = torch.randn(3, size[1], size[0], generator=torch.Generator().manual_seed(0))
    padding[0, : size[1], : size[0]] = False
    features = picture.run(None, {"pixels": pixels.numpy(), "pixels_padding": padding.numpy()})
    found = []
    for caption in ("cat .", "a big red dog . cat . remote control . sofa ."):
        tokens = tokenize_captions([caption], loaded.tokenizer)
        with torch.inference_mode():
            logits, boxes = loaded.model(pixels, padding, tokens)
        names = [one.name for one in prompt.get_inputs()]
        found = prompt.run(None, dict(zip(names, [*features, *(one.numpy() for one in tokens)], strict=True)))
        np.testing.assert_allclose(found[0], logits.sigmoid().numpy(), atol=1e-3)
        np.testing.assert_allclose(found[1], boxes.numpy(), atol=1e-3)
    assert found[0].shape == (1, SWIN.num_queries, tokens.input_ids.shape[1])
    assert found[1].std() > 0.01


def test_graphs_have_plain_operators_alone(folder: Path):
    graphs = {name: onnx.load(folder / f"{name}.onnx", load_external_data=False) for name in ("picture", "prompt")}
    for graph in graphs.values():
        assert {one.domain: one.version for one in graph.opset_import}[""] == OPSET
        assert {node.domain for node in graph.graph.node} <= {""}
    assert "GridSample" in {node.op_type for node in graphs["prompt"].graph.node}
    assert [one.name for one in graphs["picture"].graph.output] == [*FEATURES]


def test_the_files_say_how_to_use_the_model(folder: Path, loaded: LoadedModel):
    about = json.loads((folder / "about.json").read_text())
    assert (about["title"], about["width"], about["height"]) == ("Tiny", WIDTH, HEIGHT)
    assert (about["box_threshold"], about["image_mean"]) == (0.3, [*SWIN.image_mean])
    words = (folder / "vocab.txt").read_text().splitlines()
    assert words[2026] == next(word for word, number in loaded.tokenizer.get_vocab().items() if number == 2026)


def test_what_the_documents_show_runs_with_onnxruntime_alone(folder: Path, loaded: LoadedModel, monkeypatch):
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python no_run\n(import json\n.+?onnxruntime.+?)```", text, re.S)
    image = noise(WIDTH, 60)
    image.save(folder.parent / "picture.png")
    found: dict[str, Any] = {}
    monkeypatch.chdir(folder.parent)
    exec(code, found)
    pixels, padding = collate([preprocess(image, 60, WIDTH, SWIN.image_mean, SWIN.image_std)])
    pixels, padding = (
        torch.nn.functional.pad(one, (0, 0, 0, HEIGHT - 60), value=value)
        for one, value in ((pixels, 0.0), (padding, True))
    )
    with torch.inference_mode():
        logits, boxes = loaded.model(pixels, padding, tokenize_captions(["cat . remote control ."], loaded.tokenizer))
    np.testing.assert_allclose(found["scores"], logits.sigmoid().numpy(), atol=1e-3)
    np.testing.assert_allclose(found["boxes"], boxes.numpy(), atol=1e-3)


@pytest.mark.parametrize("size", [(32, 800), (800, 4096)])
def test_a_size_that_no_picture_has_is_refused(size, loaded: LoadedModel, tmp_path):
    with pytest.raises(ValueError, match=rf"^A model is exported for pictures of 64 to 2048 .*, not for {size[0]} x "):
        export_onnx(loaded, tmp_path / "model", size)
    assert not (tmp_path / "model").exists()


def test_what_cannot_be_exported_is_refused_in_a_sentence(weights: Path, tmp_path, capsys, monkeypatch):
    def refusal(model: str, output: Path, *options: str) -> str:
        with pytest.raises(SystemExit) if "--size" in options else nullcontext():
            assert main(["export", model, "--output", str(output), *options]) == 2
        return complaint(capsys)

    assert "expected width and height such as 1200x800, not '800'" in refusal(str(weights), tmp_path, "--size", "800")
    assert "OWLv2 ViT-B is of another architecture" in refusal("owlv2-b", tmp_path / "model")
    (tmp_path / "file").touch()
    assert "is no folder: name one" in refusal(str(weights), tmp_path / "file")
    monkeypatch.setitem(LIBRARIES, "export", ("no_such_library",))
    assert "needs no_such_library, which is not installed: pip install no_such_library." in refusal(
        str(weights), tmp_path / "model"
    )
    assert not (tmp_path / "model").exists()
