"""Which parameters move, and how they are put back together."""

import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from groundingdino.detection.available_models import MODELS
from groundingdino.detection.checkpoints import LoadedModel, load_checkpoint
from groundingdino.detection.text_tokens import tokenize
from groundingdino.inputs.prompt import read_prompt
from groundingdino.model import GroundingDINO
from groundingdino.training.detector.train import Batches, layers_above, make_optimizer, training_step
from groundingdino.training.finetuning.tuning import (
    NAMES,
    PARTS,
    Tuning,
    add_adapters,
    as_transformers_computes,
    merge_adapters,
    recompute,
    tune,
    word_pieces,
)
from tests.training.detector.test_train import blocks

TUNING = Tuning(steps=2, batch_size=2, rate=1e-3, short_side=64)
# Without a gradient: what the published scores cancel, a bias that every key of an attention has alike.
STILL = (".self.key.bias", "in_proj_bias")


@pytest.fixture
def loaded(mini_config, seeded_state_dict, tokenizer) -> LoadedModel:
    """Swin in the authors' layout, small."""
    config = replace(mini_config, short_side=64, long_side=96)
    model = GroundingDINO(config).eval()
    load_checkpoint(model, seeded_state_dict("mini", 7))
    return as_transformers_computes(LoadedModel(model, tokenizer, replace(MODELS["swin-t"], config=config)))


def moved(before: dict, after: dict) -> set[str]:
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


@pytest.mark.parametrize("opened", [(), ("backbone",), ("text",)])
def test_what_should_move_moves_and_nothing_else(loaded, tmp_path, opened):
    before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    tuned = tune(loaded, blocks, replace(TUNING, opened=opened), tmp_path)
    changed = moved(before, tuned.model.state_dict())
    closed = tuple(begin for part, begin in PARTS.items() if part not in opened)
    parameters = {name for name, _ in loaded.model.named_parameters()}
    should = {name for name in parameters if not name.startswith(closed)}
    unused = {
        "text_encoder.bert.embeddings.token_type_embeddings.weight",
        *(name for name in should if name.endswith(STILL)),
    }
    assert changed <= should
    assert should - changed <= unused
    assert not moved(before, loaded.model.state_dict())  # the given one stays


def test_of_names_alone_only_their_words_move(loaded, tmp_path):
    tokenizer, config = loaded.tokenizer, loaded.model.config
    before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    tuned = tune(loaded, blocks, replace(TUNING, opened=(NAMES,), rate=1e-2), tmp_path, names=("block",))
    after = tuned.model.state_dict()
    words = "text_encoder.bert.embeddings.word_embeddings.weight"
    assert moved(before, after) == {words}
    rows = (after[words] != before[words]).any(1).nonzero()[:, 0].tolist()
    assert rows == word_pieces(["block"], tokenizer)
    batch = Batches((blocks,), tokenizer, TUNING.plan(config), 96, 256)[0]
    with torch.no_grad():
        for prompt, same in (("cat", True), ("cat. block", False)):
            tokens = tokenize(read_prompt(prompt), tokenizer, config.max_tokens).passages[0].tokens
            was, now = (
                model(batch.pixels[:1], batch.padding_mask[:1], tokens) for model in (loaded.model, tuned.model)
            )
            assert torch.equal(was.logits, now.logits) is same


def test_rates_fall_with_depth(loaded):
    plan = replace(TUNING, opened=("backbone", "text")).plan(loaded.model.config)
    optimizer = make_optimizer(loaded.model, plan)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    rate = {name: rates[id(p)] / 1e-3 for name, p in loaded.model.named_parameters()}
    assert rate["decoder.layers.0.ffn.linear1.weight"] == 1
    assert rate["neck.level_embed"] == 1
    assert rate["backbone.norms.0.weight"] == pytest.approx(0.1)
    assert rate["backbone.stages.3.0.mlp.fc1.weight"] == pytest.approx(0.1)
    assert rate["backbone.stages.1.0.mlp.fc1.weight"] == pytest.approx(0.1 * 0.8**2)
    assert rate["backbone.patch_embed.weight"] == pytest.approx(0.1 * 0.8**4)
    assert rate["text_encoder.bert.encoder.layer.1.output.dense.weight"] == pytest.approx(0.1)
    assert rate["text_encoder.bert.embeddings.word_embeddings.weight"] == pytest.approx(0.1 * 0.8**2)
    assert rate["text_encoder.projection.weight"] == 1
    assert layers_above("decoder.norm.weight", loaded.model) == 0


def test_adapters_move_in_place_of_what_they_are_added_to(loaded):
    model = loaded.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    batch = Batches((blocks,), loaded.tokenizer, TUNING.plan(model.config), 96, 256)[0]
    with torch.no_grad():
        plain = model(batch.pixels, batch.padding_mask, batch.tokens)
    add_adapters(model, rank=2)
    with torch.no_grad():
        torch.testing.assert_close(model(batch.pixels, batch.padding_mask, batch.tokens).boxes, plain.boxes)
    plan = replace(TUNING, lora=2).plan(model.config)
    optimizer = make_optimizer(model, plan)
    for _ in range(2):  # the first moves what is 0 at the start alone
        training_step(model, batch, optimizer, plan, whole=True)
    with torch.no_grad():
        apart = model(batch.pixels, batch.padding_mask, batch.tokens)
    merge_adapters(model)
    assert model.state_dict().keys() == before.keys()
    with torch.no_grad():
        torch.testing.assert_close(
            model(batch.pixels, batch.padding_mask, batch.tokens).boxes, apart.boxes, rtol=1e-3, atol=1e-4
        )
    changed = moved(before, model.state_dict())
    assert "backbone.stages.1.0.attn.qkv.weight" in changed
    assert "text_encoder.bert.encoder.layer.0.attention.self.query.weight" in changed
    assert "decoder.layers.0.ffn.linear1.weight" in changed
    parts = {name for name in changed if name.startswith(tuple(PARTS.values()))}
    assert all(name.endswith(".weight") and before[name].ndim > 1 for name in parts)
    assert "text_encoder.bert.embeddings.word_embeddings.weight" not in changed


def test_layers_are_computed_again_with_the_same_gradients(loaded):
    batch = Batches((blocks,), loaded.tokenizer, TUNING.plan(loaded.model.config), 96, 256)[0]
    other = GroundingDINO(loaded.model.config).eval()
    other.load_state_dict(loaded.model.state_dict())
    recompute(other)
    calls = []
    other.decoder.layers[1].self_attn.register_forward_hook(lambda *_: calls.append(1))
    plan = replace(TUNING, opened=("backbone", "text")).plan(loaded.model.config)
    losses = []
    for model in (loaded.model, other):
        torch.manual_seed(0)
        losses.append(training_step(model, batch, make_optimizer(model, plan), plan, whole=True))
    assert len(calls) == 2  # forward, and once more for the backward pass
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    one, two = (model.state_dict()["backbone.patch_embed.weight"] for model in (loaded.model, other))
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-6)


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C is, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_the_same_seed_learns_the_same_also_when_stopped(loaded, tmp_path, monkeypatch):
    from groundingdino.training.detector import train as training

    tuning = replace(TUNING, steps=3)
    straight = tune(loaded, blocks, tuning, tmp_path / "straight").model.state_dict()
    step, calls = training.training_step, []

    def press(*arguments):
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)  # Ctrl-C in the middle of a step
        return step(*arguments)

    monkeypatch.setattr(training, "training_step", press)
    with pytest.raises(KeyboardInterrupt):
        tune(loaded, blocks, tuning, tmp_path / "stopped")
    assert torch.load(tmp_path / "stopped" / "checkpoint.pt", weights_only=True)["step"] == 2
    resumed = tune(loaded, blocks, tuning, tmp_path / "stopped").model.state_dict()
    assert len(calls) == 3
    assert not moved(straight, resumed)


def test_a_loss_that_is_no_number_ends_it(loaded, tmp_path, monkeypatch):
    from groundingdino.training.detector import train as training

    monkeypatch.setattr(training, "training_step", lambda *_: {"layer0/score": float("nan")})
    with pytest.raises(ValueError, match="The loss of step 1 is no number any more: learn at a lower rate"):
        tune(loaded, blocks, TUNING, tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_damaged_checkpoint_and_a_full_disk_are_told(loaded, tmp_path, monkeypatch):
    tuning = Tuning(steps=1, batch_size=1, rate=1e-3, short_side=64)
    tune(loaded, blocks, tuning, tmp_path)
    content = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"checkpoint\.pt' is damaged: remove it to begin anew"):
        tune(loaded, blocks, tuning, tmp_path)
    (tmp_path / "checkpoint.pt").unlink()

    def fail(_, file):
        file.write(b"some")
        raise RuntimeError("[enforce fail at inline_container.cc] . unexpected pos 704 vs 598")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="the disk may be full"):
        tune(loaded, blocks, tuning, tmp_path)
    assert not list(tmp_path.glob("*.tmp"))
