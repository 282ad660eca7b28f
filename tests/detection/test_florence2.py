import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPImageProcessor,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    PreTrainedTokenizerFast,
)

from groundingdino.detection.florence2 import CAPTIONS, NAMES, Florence2
from groundingdino.runtime.interruption import Stopped

SIDE, WIDTH = 64, 16


def build() -> tuple[Any, Any]:
    """Random weights, and a tokenizer that reads letter by letter."""
    words = ["<s>", "<pad>", "</s>", "<image>", *sorted(ByteLevel.alphabet())]
    backend = Tokenizer(BPE({word: index for index, word in enumerate(words)}, []))
    backend.pre_tokenizer, backend.decoder = ByteLevel(add_prefix_space=False), ByteLevelDecoder()
    ends = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<pad>"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, extra_special_tokens={"image_token": "<image>"}, **ends
    )
    tokenizer.add_tokens([f"<loc_{index}>" for index in range(1000)])
    vision = {
        "depths": [1, 1, 1, 1],
        "embed_dim": [8, 8, 8, WIDTH],
        "num_heads": [1, 1, 1, 2],
        "num_groups": [1, 1, 1, 2],
        "window_size": 2,
        "projection_dim": WIDTH,
    }
    text = {
        "model_type": "bart",
        "vocab_size": len(tokenizer),
        "d_model": WIDTH,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": WIDTH,
        "decoder_ffn_dim": WIDTH,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 2,
        "forced_eos_token_id": 2,
    }
    torch.manual_seed(0)
    config = Florence2Config(text_config=text, vision_config=vision, image_token_id=3)
    pictures = CLIPImageProcessor(
        size={"height": SIDE, "width": SIDE}, do_center_crop=False, image_seq_length=(SIDE // 32) ** 2 + 1
    )
    rules: dict[str, Any] = {"description_with_bboxes": {}}
    processor = Florence2Processor(pictures, tokenizer, post_processor_config=rules)
    return Florence2ForConditionalGeneration(config).eval(), processor


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("florence")
    for part in build():
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def florence(folder: Path) -> Florence2:
    return Florence2.from_pretrained(folder, "cpu")


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def writing(florence: Florence2, monkeypatch: pytest.MonkeyPatch, text: str) -> list[dict[str, Any]]:
    """It writes that text, whatever it sees; what it is given."""
    given: list[dict[str, Any]] = []
    ids = florence.processor.tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids

    def generate(**inputs: Any) -> torch.Tensor:
        given.append(inputs)
        return ids

    monkeypatch.setattr(florence.model, "generate", generate)
    return given


BOX = "<loc_1><loc_2><loc_500><loc_900>"


@pytest.mark.parametrize(("task", "question"), [(NAMES, "category name"), (CAPTIONS, "descriptions")])
def test_what_it_writes_down_are_names_each_once(task, question, florence, picture, monkeypatch):
    given = writing(florence, monkeypatch, f"</s><s>Cat{BOX}{BOX}remote control{BOX}cat{BOX}</s>")
    assert florence.names(picture, task) == ["cat", "remote control"]
    assert question in florence.processor.tokenizer.decode(given[0]["input_ids"][0])
    assert given[0]["pixel_values"].shape == (1, 3, SIDE, SIDE)


def test_what_is_written_is_that_of_transformers(florence: Florence2, picture, monkeypatch):
    model, processor = build()
    inputs = processor(text=NAMES, images=picture, return_tensors="pt")
    theirs = model.generate(**inputs, max_new_tokens=12, num_beams=3, do_sample=False)
    real, ours = florence.model.generate, []

    def generate(**inputs: Any) -> torch.Tensor:
        ours.append(real(**inputs | {"max_new_tokens": 12}))
        return ours[0]

    monkeypatch.setattr(florence.model, "generate", generate)
    florence.names(picture)
    torch.testing.assert_close(ours[0], theirs)
    assert theirs.shape[1] > 3


def test_it_stops_once_nobody_waits(florence: Florence2, picture):
    with pytest.raises(Stopped):
        florence.names(picture, stop=lambda: True)


def test_another_task_is_refused(florence: Florence2, picture):
    with pytest.raises(ValueError, match=r"^What is in a picture is told by <OD> or <DENSE_REGION_CAPTION>, not by"):
        florence.names(picture, "<OCR>")


def test_a_folder_that_holds_none_is_refused(folder: Path, tmp_path):
    with pytest.raises(ValueError, match="There is no folder '/no/where', and a repository is named as owner/name"):
        Florence2.from_pretrained("/no/where", "cpu")
    with pytest.raises(ValueError, match=r"expected config\.json and model\.safetensors in it"):
        Florence2.from_pretrained(tmp_path, "cpu")
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["text_config"]["d_model"] = 24
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"does not fit the model|does not hold a whole Florence-2"):
        Florence2.from_pretrained(tmp_path, "cpu")
