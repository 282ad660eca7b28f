"""The whole model against the authors' outputs, and what must hold of any model."""

import json
from copy import deepcopy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from groundingdino.detection.checkpoints import load_checkpoint
from groundingdino.detection.precision import in_bfloat16
from groundingdino.detection.text_tokens import tokenize_captions
from groundingdino.kernels import choice
from groundingdino.model import GroundingDINO, Output, layers
from groundingdino.model.backbones.swin import SwinBlock, shifted_window_mask
from groundingdino.model.config import EMBEDDED, PHOTOGRAPHIC, SWIN_B, SWIN_T
from groundingdino.model.fusion import BiAttention
from groundingdino.model.preprocessing import collate
from groundingdino.model.text_tokens import TextTokens

TIE = 1e-4  # scores of the reference weights that differ by less may be ranked either way


class Reference:
    """One folder of the reference data: its inputs, its expected outputs, a model with its weights."""

    def __init__(self, folder, config, state_dict):
        meta = json.loads((folder / "meta.json").read_text())
        self.tensors = load_file(folder / "io.safetensors")
        self.model = GroundingDINO(config).eval()
        load_checkpoint(self.model, state_dict(folder.name, meta["seed"]))
        rng = np.random.default_rng(meta["seed"])
        pictures = [rng.standard_normal((3, *size), dtype=np.float32) for size in meta["image_sizes"]]
        self.pixels, self.padding_mask = collate([torch.from_numpy(picture) for picture in pictures])
        self.tokens = TextTokens(
            self.tensors["input.input_ids"].long(),
            self.tensors["input.attention_mask"].bool(),
            self["text_self_attention_mask"].bool(),
            self["position_ids"].long(),
        )

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[f"expected.{name}"]


@pytest.fixture
def published_text_masks(monkeypatch):
    """The authors' text layers lay a batch's masks out as (heads, pictures) where (pictures, heads) are read, so that
    head h of picture b is given the mask of picture (b * heads + h) % B. The expected outputs of a batch carry this;
    ours does it right, and is made to do it wrong here only."""
    attend = layers.Attention.forward

    def published(attention, query, key, value, mask=None):
        if mask is not None and mask.shape[2] > 1:
            mask = mask[:, 0].repeat(attention.num_heads, 1, 1).view(len(mask), -1, *mask.shape[2:])
        return attend(attention, query, key, value, mask)

    monkeypatch.setattr(layers.Attention, "forward", published)


@pytest.mark.usefixtures("published_text_masks")
@torch.no_grad()
def test_every_step_of_the_authors_small_model(reference, mini_config, seeded_state_dict):
    mini = Reference(reference("mini"), mini_config, seeded_state_dict)
    for level, feature_map in enumerate(mini.model.backbone(mini.pixels)):
        torch.testing.assert_close(feature_map.permute(0, 3, 1, 2), mini[f"backbone_{level}"], rtol=0, atol=1e-4)
    image = mini.model.encode_image(mini.pixels, mini.padding_mask)
    text = mini.model.encode_text(mini.tokens)
    torch.testing.assert_close(text.features, mini["encoded_text"], rtol=0, atol=1e-4)
    image, text = mini.model.enhancer(image, text)
    torch.testing.assert_close(image.tokens, mini["memory"], rtol=0, atol=1e-4)
    torch.testing.assert_close(text.features, mini["memory_text"], rtol=0, atol=1e-4)
    queries = mini.model.query_selection.select(mini.model.query_selection.propose(image, text))
    torch.testing.assert_close(
        queries.box_logits.sigmoid().sum(1), mini["top_query_boxes"].sum(1), rtol=0, atol=1e-3
    )  # as a set: the last ones tie
    assert matched_share(mini, mini.model(mini.pixels, mini.padding_mask, mini.tokens)) == 1


@pytest.mark.parametrize(("name", "config"), [("swint_ogc", SWIN_T), ("swinb_cogcoor", SWIN_B)])
@torch.no_grad()
def test_the_authors_published_sizes(reference, seeded_state_dict, name, config):
    published = Reference(reference(name), config, seeded_state_dict)
    image = published.model.encode_image(published.pixels, published.padding_mask)
    text = published.model.encode_text(published.tokens)
    torch.testing.assert_close(text.features, published["encoded_text"], rtol=0, atol=1e-4)
    image, text = published.model.enhancer(image, text)
    torch.testing.assert_close(text.features, published["memory_text"], rtol=0, atol=1e-4)
    proposals = published.model.query_selection.propose(image, text)
    queries = put_ties_in_order(published, proposals, published.model.query_selection.select(proposals), image, text)
    state = published.model.decoder(queries, image, text)[-1]
    assert matched_share(published, published.model.decoder.predict(state, text)) == 1


def put_ties_in_order(case: Reference, proposals, queries, image, text):
    """Queries in the order that the expected outputs were computed in.

    A query's content goes by its rank, so that two whose scores differ by less than rounding become other queries when
    they change places. Only neighbours that tie, and do not match as they are, are swapped.
    """
    scores = proposals.logits[0].amax(-1).sort(descending=True).values
    output = case.model.decoder.predict(case.model.decoder(queries, image, text)[-1], text)
    wrong = (output.boxes[0] - case["pred_boxes"][0]).abs().amax(-1) > 1e-2
    order = torch.arange(len(wrong))
    for rank in range(len(wrong) - 1):
        if wrong[rank] and wrong[rank + 1] and scores[rank] - scores[rank + 1] < TIE:
            order[rank], order[rank + 1] = rank + 1, rank
            wrong[rank + 1] = False
    assert (order != torch.arange(len(order))).sum() <= 30
    return queries._replace(box_logits=queries.box_logits[:, order])


def matched_share(case: Reference, output: Output) -> float:
    """The share of queries whose logits and boxes are within 1e-3 of the expected query they match best."""
    shares = []
    for picture, real in enumerate(case.tokens.token_mask):
        logits, expected_logits = output.logits[picture][:, real], case["pred_logits"][picture][:, : len(real)][:, real]
        boxes, expected_boxes = output.boxes[picture], case["pred_boxes"][picture]
        cost = torch.cdist(boxes, expected_boxes, p=1) + 0.01 * torch.cdist(logits, expected_logits, p=1)
        ours, theirs = linear_sum_assignment(cost)
        box_error = (boxes[ours] - expected_boxes[theirs]).abs().amax(-1)
        logit_error = (logits[ours] - expected_logits[theirs]).abs().amax(-1)
        shares.append(((box_error < 1e-3) & (logit_error < 1e-3)).float().mean().item())
    return min(shares)


@pytest.fixture(scope="module")
def mini_model(mini_config) -> GroundingDINO:
    """Random weights that make every branch matter: fresh gains, offsets and heads would hide most of the model."""
    torch.manual_seed(0)
    model = GroundingDINO(mini_config).eval()
    randomise(model)
    return model


def randomise(model: GroundingDINO) -> None:
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        else:
            torch.nn.init.uniform_(parameter, 0.2, 0.8)


@torch.no_grad()
def test_a_batch_equals_its_pictures_one_by_one(mini_model, tokenizer):
    captions = ["a red cat . dog on the left . traffic light .", "person ."]
    pixels, padding_mask = torch.randn(2, 3, 96, 130), torch.zeros(2, 96, 130, dtype=torch.bool)
    together = mini_model(pixels, padding_mask, tokenize_captions(captions, tokenizer))
    for index, caption in enumerate(captions):
        tokens = tokenize_captions([caption], tokenizer)
        alone = mini_model(pixels[index : index + 1], padding_mask[:1], tokens)
        count = tokens.input_ids.shape[1]
        torch.testing.assert_close(together.boxes[index], alone.boxes[0], rtol=0, atol=1e-4)
        torch.testing.assert_close(together.logits[index, :, :count], alone.logits[0], rtol=0, atol=1e-3)
        assert (together.logits[index, :, count:] == -torch.inf).all()


@torch.no_grad()
def test_phrases_do_not_see_each_other_before_the_picture(mini_model, tokenizer):
    alone, beside = (
        mini_model.encode_text(tokenize_captions([caption], tokenizer)).features[0]
        for caption in ("cat .", "cat . remote control .")
    )
    torch.testing.assert_close(alone[1:3], beside[1:3])  # "cat" and its dot


@pytest.mark.parametrize("name", ["mini", "embedded", "photographic"])
def test_every_parameter_gets_a_gradient(mini_config, tokenizer, name):
    config = {"mini": mini_config, "embedded": EMBEDDED, "photographic": PHOTOGRAPHIC}[name]
    torch.manual_seed(0)
    model = GroundingDINO(config)
    randomise(model)
    tokens = tokenize_captions(["cat . dog ."], tokenizer)
    tokens = tokens._replace(input_ids=tokens.input_ids % config.text.vocab_size)
    pixels, padding_mask = torch.randn(2, 3, 128, 96), torch.zeros(2, 128, 96, dtype=torch.bool)
    image, text = (
        model.encode_image(pixels, padding_mask),
        model.encode_text(TextTokens(*(t.repeat_interleave(2, 0) for t in tokens))),
    )
    image, text = model.enhancer(image, text)
    proposals = model.query_selection.propose(image, text)
    usable = proposals.box_logits.isfinite().all(-1)
    loss = proposals.logits.square().mean() + proposals.box_logits[usable].sigmoid().square().mean()
    for state in model.decoder(model.query_selection.select(proposals), image, text):
        output = model.decoder.predict(state, text)
        loss = loss + output.logits.square().mean() + output.boxes.square().mean()
    loss.backward()
    # Position and type embeddings that no token of the prompt uses get none.
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


@torch.no_grad()
@pytest.mark.parametrize("width", [96, 36, 4])  # in the narrow ones convolutions end in maps one pixel wide
def test_bf16_autocast_has_no_nan(mini_model, tokenizer, width):
    pixels, padding_mask = torch.randn(2, 3, 64, width), torch.zeros(2, 64, width, dtype=torch.bool)
    padding_mask[1, :, 70:] = True
    convolved: list[torch.dtype] = []
    model = deepcopy(mini_model)
    for part in (model.neck.projections[-1][0], model.neck.projections[0][0]):
        part.register_forward_hook(lambda _, __, result: convolved.append(result.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(pixels, padding_mask, tokenize_captions(["cat . dog .", "person ."], tokenizer))
    assert output.boxes.isfinite().all()
    assert not output.logits.isnan().any()
    assert (output.boxes >= 0).all()
    assert (output.boxes <= 1).all()
    assert convolved == [torch.float32] * 2  # in bfloat16 some processors read what was never written


@torch.no_grad()
def test_a_model_kept_in_bf16_finds_the_same_boxes(mini_model, tokenizer):
    pixels, padding_mask = torch.randn(1, 3, 96, 128), torch.zeros(1, 96, 128, dtype=torch.bool)
    tokens = tokenize_captions(["cat . dog ."], tokenizer)
    expected = mini_model(pixels, padding_mask, tokens).boxes[0]
    found = in_bfloat16(mini_model)(pixels, padding_mask, tokens).boxes[0]
    assert not torch.equal(found, expected)
    nearest = torch.cdist(expected, found, p=torch.inf).amin(1)
    assert (nearest < 2e-2).float().mean() > 0.9  # of scores that tie others may be the last to be queries


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@torch.no_grad()
def test_a_gpu_finds_the_same_boxes(mini_model, tokenizer):
    pixels, padding_mask = torch.randn(1, 3, 96, 128), torch.zeros(1, 96, 128, dtype=torch.bool)
    tokens = tokenize_captions(["cat . dog ."], tokenizer)
    expected = mini_model(pixels, padding_mask, tokens).boxes[0]
    found = deepcopy(mini_model).cuda()(pixels.cuda(), padding_mask.cuda(), tokens.to("cuda")).boxes[0].cpu()
    assert (torch.cdist(expected, found, p=torch.inf).amin(1) < 1e-2).float().mean() > 0.9


@torch.no_grad()
def test_a_picture_of_few_tokens_gives_as_many_queries(mini_model, tokenizer):
    pixels, padding_mask = torch.randn(1, 3, 32, 32), torch.zeros(1, 32, 32, dtype=torch.bool)
    output = mini_model(pixels, padding_mask, tokenize_captions(["cat ."], tokenizer))
    assert output.boxes.shape == (1, 22, 4)  # 4 x 4 + 2 x 2 + 1 + 1 tokens, fewer than 60 queries


def padded_batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    pixels, padding_mask = torch.randn(2, 3, 150, 130), torch.zeros(2, 150, 130, dtype=torch.bool)
    padding_mask[1, :, 70:] = True
    return pixels.masked_fill(padding_mask[:, None], 0), padding_mask


def test_the_fast_forward_equals_the_plain_one(mini_model, tokenizer, monkeypatch):
    """Inference against the forward that training runs, with bi-attention as published, on grid_sample."""
    inputs = (*padded_batch(), tokenize_captions(["cat . dog .", "person ."], tokenizer))
    with torch.inference_mode():
        image, text = mini_model.encode_image(*inputs[:2]), mini_model.encode_text(inputs[2])
        fast = mini_model.ground(image, text)
    monkeypatch.setattr(choice, "choose", lambda _: choice.Choice("reference", "it is the definition"))
    monkeypatch.setattr(BiAttention, "folding_pays", lambda *_: False)
    image, text = mini_model.encode_image(*inputs[:2]), mini_model.encode_text(inputs[2])
    enhanced = mini_model.enhancer(image, text)
    queries = mini_model.query_selection.select(mini_model.query_selection.propose(*enhanced))
    plain = mini_model.decoder.predict(mini_model.decoder(queries, *enhanced)[-1], text=enhanced[1])
    assert plain.boxes.requires_grad
    torch.testing.assert_close(fast.boxes, plain.boxes, rtol=0, atol=1e-5)
    torch.testing.assert_close(fast.logits, plain.logits, rtol=0, atol=1e-3)


@pytest.mark.parametrize("tokens", [1, 9, 60])
@pytest.mark.parametrize("size", [1.0, 300.0])  # of the features: scores of 1e5 meet the clamps
@torch.no_grad()
def test_bi_attention_in_another_order_of_products(tokens, size):
    torch.manual_seed(0)
    attention = BiAttention(32, 64, 4).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    image, text = size * torch.randn(2, 70, 32).double(), size * torch.randn(2, tokens, 32).double()
    padding_mask, token_mask = torch.zeros(2, 70, dtype=torch.bool), torch.ones(2, tokens, dtype=torch.bool)
    padding_mask[1, 40:], token_mask[1, 5:] = True, False
    inputs = image, text, padding_mask, token_mask
    expected = attention.published(*inputs)
    for folded, published in zip(attention.folded(*inputs), expected, strict=True):
        torch.testing.assert_close(folded, published, rtol=1e-4, atol=1e-4 * size)
    assert attention.folding_pays(tokens) == (tokens < 32)
    for chosen, published in zip(attention(*inputs), expected, strict=True):
        torch.testing.assert_close(chosen, published, rtol=1e-4, atol=1e-4 * size)


@pytest.mark.parametrize(
    ("config", "pays"), [(SWIN_T, [True] * 3), (SWIN_B, [True] * 3), (EMBEDDED, [True, True, False])]
)
def test_when_folding_pays(config, pays):
    attention = BiAttention(config.hidden_dim, config.fusion_dim, config.fusion_heads)
    assert [attention.folding_pays(tokens) for tokens in (9, 127, 256)] == pays


@torch.no_grad()
def test_bi_attention_takes_nothing_from_padding():
    torch.manual_seed(0)
    attention = BiAttention(32, 64, 4)
    image, text = torch.randn(1, 12, 32), torch.randn(1, 3, 32)
    padding_mask, token_mask = torch.arange(12)[None] >= 8, torch.arange(3)[None] < 2
    for attend in (attention.published, attention.folded):
        image_update, text_update = attend(image, text, padding_mask, token_mask)
        alone = attend(image[:, :8], text[:, :2], padding_mask[:, :8], token_mask[:, :2])
        torch.testing.assert_close(image_update[:, :8], alone[0], rtol=0, atol=1e-6)
        torch.testing.assert_close(text_update[:, :2], alone[1], rtol=0, atol=1e-6)


def test_windows_keep_apart_what_the_shift_brought_together():
    """Of a map of 8 x 8 in windows of 4, rolled by 2: places attend to those that they were beside before."""
    mask = shifted_window_mask(8, 8, 4, torch.device("cpu"))
    rolled = torch.arange(64).view(8, 8).roll((-2, -2), (0, 1))
    for window, top, left in ((0, 0, 0), (1, 0, 4), (2, 4, 0), (3, 4, 4)):
        places = rolled[top : top + 4, left : left + 4].flatten()
        rows, columns = places // 8, places % 8
        near = ((rows[:, None] - rows).abs() < 4) & ((columns[:, None] - columns).abs() < 4)
        assert torch.equal(mask[window] == 0, near)
        assert torch.equal(mask[window] == -100, ~near)


@pytest.mark.parametrize(("height", "width"), [(14, 7), (10, 9), (3, 20)])
@pytest.mark.parametrize("shift", [0, 3])
@torch.no_grad()
def test_each_place_attends_within_its_window(height, width, shift):
    torch.manual_seed(0)
    block = SwinBlock(8, 2, window_size=7, shift=shift)
    x = torch.randn(1, height, width, 8)
    before = block.attend(x)
    changed = x.clone()
    changed[0, 2, 1] += 1
    moved = (block.attend(changed) != before).any(-1)[0]
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    same_window = ((rows + 7 - shift) // 7 == (2 + 7 - shift) // 7) & (
        (columns + 7 - shift) // 7 == (1 + 7 - shift) // 7
    )
    assert torch.equal(moved, same_window)


class Crossings(TorchDispatchMode):
    """Notes the operations that bring data from a CPU to a GPU or back: each makes one wait for the other."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor)]
        is_number = function is torch.ops.aten.fill_.Tensor  # which goes along with the launch
        if len({x.device.type for x in tensors}) > 1 and not is_number:
            self.found.append(str(function))
        return result


@pytest.mark.skipif(not choice.TRITON_AVAILABLE, reason="Triton is not installed")
def test_nothing_crosses_between_cpu_and_gpu_within_a_forward(monkeypatch):
    """On a pretended GPU, whose tensors have shapes but no content: to read one would raise."""
    monkeypatch.setattr(choice, "choose", lambda _: choice.Choice("triton", ""))
    with FakeTensorMode(), torch.no_grad():
        with torch.device("cuda"):
            model = GroundingDINO(SWIN_T).eval()
            pixels, padding_mask = torch.randn(1, 3, 480, 641), torch.zeros(1, 480, 641, dtype=torch.bool)
            ids, mask = torch.ones(1, 9, dtype=torch.long), torch.ones(1, 9, 9, dtype=torch.bool)
            tokens = TextTokens(ids, mask[:, 0], mask, ids)
        with Crossings() as crossings:
            output = model(pixels, padding_mask, tokens)
    assert output.boxes.device.type == "cuda"
    assert not crossings.found
