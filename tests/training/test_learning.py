"""Matching, losses and noisy queries: what each prediction learns, and from what."""

import numpy as np
import pytest
import torch
from torch import Tensor

from groundingdino.model import GroundingDINO, Output
from groundingdino.training.detector.denoising import attention_blocks, noisy_queries
from groundingdino.training.detector.forward import Predictions, predict_all, predict_proposals
from groundingdino.training.detector.initialise import initialise
from groundingdino.training.detector.losses import detection_losses, matched_losses, naming_loss, varifocal_loss
from groundingdino.training.detector.matcher import Match, dense_match, hungarian_match
from groundingdino.training.detector.targets import Batch, Target, make_batch
from groundingdino.training.detector.train import Plan, Stage, make_optimizer, training_step
from tests.training.labelled import TINY, pictures


@pytest.fixture(scope="module")
def batch(tokenizer) -> Batch:
    return make_batch(pictures(), tokenizer, 64, 96, 256)


@pytest.fixture
def model() -> GroundingDINO:
    torch.manual_seed(0)
    model = GroundingDINO(TINY)
    initialise(model)
    return model


def words(batch: Batch, tokenizer, picture: int, mask: Tensor) -> list[str]:
    return tokenizer.convert_ids_to_tokens(batch.tokens.input_ids[picture][mask])


def test_targets_hold_the_words_of_their_own_picture(batch, tokenizer):
    assert [len(target.boxes) for target in batch.targets] == [2, 0, 1, 1]
    assert words(batch, tokenizer, 0, batch.targets[0].tokens[1]) == ["dog"]
    assert words(batch, tokenizer, 2, batch.targets[2].tokens[0]) == ["bus"]
    assert words(batch, tokenizer, 3, batch.targets[3].tokens[0]) == ["traffic", "light"]
    np.testing.assert_allclose(batch.targets[3].boxes[0] * torch.tensor([96, 64, 96, 64]), [24, 24, 32, 32], rtol=1e-5)


def test_matching_takes_the_pairs_of_least_cost(batch):
    logits = torch.full((4, 3, batch.tokens.input_ids.shape[1]), -5.0)
    boxes = torch.full((4, 3, 4), 0.1)
    boxes[0, 2], boxes[0, 0] = batch.targets[0].boxes[0], batch.targets[0].boxes[1]
    boxes[2, 1] = boxes[3, 1] = torch.tensor([0.5, 0.5, 0.2, 0.2])
    logits[3, 0, batch.targets[3].tokens[0]] = 5.0  # a better name against a better box
    boxes[3, 0] = batch.targets[3].boxes[0] * 0.9
    match = hungarian_match(logits, boxes, batch.targets)
    pairs = set(zip(*(x.tolist() for x in match), strict=True))
    assert pairs == {(0, 2, 0), (0, 0, 1), (2, 1, 0), (3, 0, 0)}


def test_dense_matching_stays_inside_the_object_and_ranks_by_fit(batch):
    target = batch.targets[0].boxes
    boxes = torch.cat([target[0] * torch.tensor([1, 1, s, s]) for s in (1.0, 0.6, 0.2)]).view(1, 3, 4).repeat(4, 1, 1)
    boxes[0, 2, :2] = 0.99  # its centre lies in no object
    logits = torch.zeros(4, 3, batch.tokens.input_ids.shape[1])
    match, quality = dense_match(logits[:1], boxes[:1], batch.targets[:1])
    assert match.target.tolist() == [0, 0]
    assert match.prediction.tolist() == [0, 1]
    assert quality[0] == pytest.approx(1)
    assert 0 < quality[1] < 0.5
    empty, none = dense_match(logits[1:2], boxes[1:2], batch.targets[1:2])
    assert len(empty.picture) == len(none) == 0


def test_each_query_learns_from_its_own_pictures_tokens(batch):
    """The fault of transformers' loss: in a batch a matched query was paired with another picture's token map."""
    logits = torch.zeros(4, 3, batch.tokens.input_ids.shape[1], requires_grad=True)
    boxes = torch.stack([batch.targets[p].boxes[0] if len(batch.targets[p].boxes) else torch.rand(4) for p in range(4)])
    boxes = boxes[:, None].repeat(1, 3, 1)
    match = Match(torch.tensor([0, 0, 2, 3]), torch.tensor([1, 0, 2, 0]), torch.tensor([0, 1, 0, 0]))
    boxes[0, 0] = batch.targets[0].boxes[1]
    matched_losses(Output(logits, boxes), batch, match, None)["score"].backward()
    assert logits.grad is not None
    risen = logits.grad < 0  # the loss falls as these rise
    for picture, query, target in zip(*(x.tolist() for x in match), strict=True):
        assert torch.equal(risen[picture, query], batch.targets[picture].tokens[target])
        risen[picture, query] = False
    assert not risen.any()
    assert not logits.grad[~batch.tokens.token_mask[:, None].expand_as(logits)].any()  # padding teaches nothing


@pytest.mark.parametrize("whole", [False, True])
def test_gradients_reach_the_encoders_heads(model, batch, whole):
    if whole:
        predictions, noisy = predict_all(model, batch, groups=2)
    else:
        predictions, noisy = predict_proposals(model, batch), None
    losses = detection_losses(predictions, batch, noisy)
    torch.stack(list(losses.values())).sum().backward()
    for name in ("output.weight", "norm.weight", "box_head.layers.2.weight"):
        grad = model.query_selection.get_parameter(name).grad
        assert grad is not None
        assert grad.isfinite().all()
        assert grad.any()
    reached = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached >= {"backbone", "neck", "text_encoder", "query_selection"}
    assert ({"enhancer", "decoder"} <= reached) == whole


def test_the_naming_loss_knows_the_batchs_phrases_and_merges_equal_ones(batch):
    text = torch.zeros(4, batch.tokens.input_ids.shape[1], 8)
    names = ["cat", "dog", "remote control", "red car", "tree", "bus", "traffic light"]
    for picture, (prompt, tokens) in enumerate(zip(batch.prompts, batch.phrase_tokens, strict=True)):
        for phrase, mask in zip(prompt, tokens, strict=True):
            text[picture][mask] = torch.eye(8)[names.index(phrase)]
    image = torch.zeros(4, 1, 8)
    match = Match(torch.tensor([0, 3]), torch.tensor([0, 0]), torch.tensor([0, 0]))  # a cat and a traffic light
    one = torch.ones(2)
    assert naming_loss(image, text, batch, match, one) == pytest.approx(np.log(7))  # "cat" counts once
    image[0, 0, names.index("cat")] = image[3, 0, names.index("traffic light")] = 20
    assert naming_loss(image, text, batch, match, one) == pytest.approx(0, abs=1e-6)
    image[0, 0, names.index("bus")] = 40  # a phrase of another picture's prompt is a wrong answer too
    assert naming_loss(image, text, batch, match, one) == pytest.approx(10, abs=1e-3)
    batch.targets[0].others[0] = frozenset({"cat", "bus"})  # unless it may be true as well
    assert naming_loss(image, text, batch, match, one) == pytest.approx(0, abs=1e-6)


def test_varifocal_loss_by_hand():
    logits = torch.tensor([[[0.0, 0.0, -torch.inf]]])
    targets = torch.tensor([[[0.8, 0.0, 0.0]]])
    loss = varifocal_loss(logits, targets, torch.tensor([[True, True, False]]))
    assert loss == pytest.approx(np.log(2) * (0.8 + 0.75 * 0.25))


def test_noisy_queries_settle_what_is_near_and_refuse_what_is_far(batch):
    content = torch.randn(5, 8)
    noisy = noisy_queries(batch.targets, content, groups=3, generator=torch.Generator().manual_seed(0))
    assert noisy is not None
    assert noisy.queries.box_logits.shape == (4, 3 * 4, 4)
    assert len(noisy.match.picture) == 3 * 4
    boxes = noisy.queries.box_logits.sigmoid()
    for picture, query, target in zip(*(x.tolist() for x in noisy.match), strict=True):
        true = batch.targets[picture].boxes[target]
        assert ((boxes[picture, query] - true).abs() <= true[[2, 3, 2, 3]] * 0.25 + 2e-3).all()
        refused = boxes[picture, query + 2]
        assert (refused[:2] - true[:2]).abs().sum() > 0.2 * true[2:].min()
    filled_up = boxes[1]  # its picture has no object
    assert (filled_up < 2e-3).all()
    blocked = attention_blocks(noisy, num_queries=2)
    assert not blocked[0, :4].any()
    assert blocked[0, 4:].all()
    assert blocked[12:, :12].all()  # selected queries see no noisy one
    assert not blocked[12:, 12:].any()
    assert noisy_queries(batch.targets[1:2], content, groups=3) is None


def test_a_batch_can_be_learned_by_heart(model, batch):
    plan = Plan(stages=(Stage(pictures=4, batch_size=4, short_sides=(64,), whole=True),), learning_rate=3e-3)
    optimizer = make_optimizer(model, plan)
    model.train()
    first = sum(training_step(model, batch, optimizer, plan, whole=True).values())
    losses = (sum(training_step(model, batch, optimizer, plan, whole=True).values()) for _ in range(40))
    assert any(loss < 0.6 * first for loss in losses)


def test_losses_of_a_batch_without_objects_are_finite(model, tokenizer):
    empty = make_batch(pictures()[1:2], tokenizer, 64, 96, 256)
    predictions, noisy = predict_all(model, empty, groups=2)
    assert noisy is None
    assert isinstance(predictions, Predictions)
    losses = detection_losses(predictions, empty, noisy)
    assert all(loss.isfinite() for loss in losses.values())
    assert Target(*empty.targets[0]).boxes.shape == (0, 4)
