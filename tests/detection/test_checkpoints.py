import json

import pytest
import torch
import transformers
from packaging.version import Version
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertTokenizerFast

from groundingdino.detection import checkpoints
from groundingdino.detection.checkpoints import MODELS, load_checkpoint, load_pretrained, save_checkpoint
from groundingdino.detection.detector import Detector
from groundingdino.detection.text_tokens import tokenize_captions
from groundingdino.model import GroundingDINO
from groundingdino.model.config import EMBEDDED, MM_SWIN_B, MM_SWIN_L, MM_SWIN_T, SWIN_B, SWIN_L, SWIN_T

CARD = {"title": "Mini", "description": "For tests.", "box_threshold": 0.3, "text_threshold": 0.2}


def publish(state: dict[str, Tensor]) -> dict:
    """Dress a state dict as the authors' published files are."""
    extra = {"label_enc.weight": torch.ones(5, 256), "bert.embeddings.position_ids": torch.arange(512)[None]}
    return {"model": {f"module.{name}": tensor for name, tensor in (state | extra).items()}}


@pytest.fixture(scope="module")
def published(seeded_state_dict) -> dict[str, Tensor]:
    return seeded_state_dict("mini", 7)


@pytest.fixture(scope="module")
def mini_model(mini_config) -> GroundingDINO:
    torch.manual_seed(0)
    return GroundingDINO(mini_config).eval()


# ---- strict loading


def test_the_authors_pth(published, mini_config, tmp_path):
    torch.save(publish(published), tmp_path / "mini.pth")
    model = GroundingDINO(mini_config)
    load_checkpoint(model, tmp_path / "mini.pth")
    for theirs, ours in {
        "transformer.decoder.layers.1.norm2.weight": "decoder.layers.1.self_norm.weight",
        "bbox_embed.1.layers.2.bias": "decoder.box_head.layers.2.bias",
        "transformer.encoder.fusion_layers.0.gamma_l": "enhancer.layers.0.fusion.text_gain",
        "backbone.0.layers.3.blocks.1.attn.qkv.weight": "backbone.stages.3.1.attn.qkv.weight",
    }.items():
        torch.testing.assert_close(model.state_dict()[ours], published[theirs], rtol=0, atol=0)


def test_the_authors_layout_as_safetensors_and_as_state_dict(published, mini_config, tmp_path):
    distinct = {name: tensor.clone() for name, tensor in publish(published)["model"].items()}
    save_file(distinct, tmp_path / "mini.safetensors")
    first, second = GroundingDINO(mini_config), GroundingDINO(mini_config)
    load_checkpoint(first, tmp_path / "mini.safetensors")
    load_checkpoint(second, published)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    "prefix", ["module.", "model.", "_orig_mod.", "module.module.", "module._orig_mod.", "model._orig_mod.", "ema.net."]
)
def test_what_training_code_puts_before_names_goes(prefix, published, mini_config):
    plain, prefixed = GroundingDINO(mini_config), GroundingDINO(mini_config)
    load_checkpoint(plain, published)
    load_checkpoint(prefixed, {f"{prefix}{name}": tensor for name, tensor in published.items()})
    for one, other in zip(plain.parameters(), prefixed.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def remove(state):
    del state["transformer.enc_output.weight"]


def add(state):
    state["transformer.decoder.class_bias"] = torch.zeros(1)


def reshape(state):
    state["feat_map.bias"] = torch.zeros(255)


def break_down(state):
    state["bbox_embed.0.layers.0.bias"] = torch.full_like(state["bbox_embed.0.layers.0.bias"], float("nan"))
    state["transformer.decoder.bbox_embed.0.layers.0.bias"] = state["bbox_embed.0.layers.0.bias"]


def unshare(state):
    state["bbox_embed.1.layers.0.bias"] = state["bbox_embed.1.layers.0.bias"] + 1


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (remove, r"1 missing \(query_selection\.output\.weight\)\."),
        (add, r"1 left over \(decoder\.class_bias\)\."),
        (reshape, r"1 of another shape \(text_encoder\.projection\.bias \(255,\) instead of \(256,\)\)\."),
        (break_down, r"damaged\.pth' holds NaN or infinity, .*: [12] with such numbers \(.*bbox_embed\.0"),
        (unshare, r"two different values for 'decoder\.box_heads\.1\.layers\.0\.bias'"),
    ],
)
def test_what_does_not_fit_is_named(damage, sentence, published, mini_model, tmp_path):
    before = {name: tensor.clone() for name, tensor in mini_model.state_dict().items()}
    state = dict(published)
    damage(state)
    torch.save(publish(state), tmp_path / "damaged.pth")
    with pytest.raises(ValueError, match=sentence) as refusal:
        load_checkpoint(mini_model, tmp_path / "damaged.pth")
    assert "\n" not in str(refusal.value)
    for name, tensor in mini_model.state_dict().items():  # and nothing was half loaded
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_long_lists_are_cut_with_their_count(published, mini_model):
    state = {name: tensor for name, tensor in published.items() if "decoder.layers.1" not in name}
    with pytest.raises(ValueError, match=r"^The state dict does not fit the model: 28 missing .* and 18 more\)\.$"):
        load_checkpoint(mini_model, state)


# ---- our own files


@pytest.mark.parametrize(("half", "tolerance"), [(True, 2e-3), (False, 0)])
def test_own_files_round_trip(half, tolerance, mini_model, tmp_path):
    path = tmp_path / "mini.safetensors"
    save_checkpoint(mini_model, path, half=half, **CARD)
    loaded = load_pretrained(path)
    assert loaded.model.config == mini_model.config
    assert not loaded.model.training
    assert (loaded.card.name, loaded.card.title, loaded.card.box_threshold, loaded.card.text_threshold) == (
        "mini",
        "Mini",
        0.3,
        0.2,
    )
    assert loaded.card.size_bytes == path.stat().st_size
    assert len(loaded.tokenizer) == 30522
    for name, tensor in loaded.model.state_dict().items():
        assert tensor.dtype == mini_model.state_dict()[name].dtype
        torch.testing.assert_close(tensor, mini_model.state_dict()[name], rtol=tolerance, atol=tolerance)


def test_half_precision_is_half_the_size_and_keeps_statistics(tmp_path):
    model = GroundingDINO(EMBEDDED)
    model.backbone.stem[0].bn.running_var.fill_(1e-9)  # float16 would make it 0
    save_checkpoint(model, tmp_path / "half.safetensors", **CARD)
    save_checkpoint(model, tmp_path / "full.safetensors", half=False, **CARD)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")]
    assert 0.49 < sizes[0] / sizes[1] < 0.52
    stored = load_file(tmp_path / "half.safetensors")
    assert stored["backbone.stem.0.bn.running_var"].unique().item() == pytest.approx(1e-9)


def test_what_float16_cannot_hold_is_refused(mini_config, tmp_path):
    model = GroundingDINO(mini_config)
    model.neck.level_embed.data[0, 0] = 1e5
    with pytest.raises(ValueError, match=r"'neck\.level_embed' has values that float16 cannot hold"):
        save_checkpoint(model, tmp_path / "mini.safetensors", **CARD)
    assert not list(tmp_path.iterdir())


def test_a_vocabulary_beside_the_weights_is_used(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "cat"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    save_checkpoint(GroundingDINO(EMBEDDED), tmp_path / "model.safetensors", **CARD)
    loaded = load_pretrained(tmp_path / "model.safetensors")
    assert loaded.tokenizer("Cat .").input_ids == [2, 6, 5, 3]


def test_a_vocabulary_larger_than_the_model_is_refused(tmp_path):
    save_checkpoint(GroundingDINO(EMBEDDED), tmp_path / "model.safetensors", **CARD)
    with pytest.raises(ValueError, match="30522 tokens but the model only 2048: put the model's own vocab"):
        load_pretrained(tmp_path / "model.safetensors")


def test_metadata_of_another_version_is_refused(mini_model, tmp_path):
    path = tmp_path / "mini.safetensors"
    save_checkpoint(mini_model, path, **CARD)
    save_file(load_file(path), path, metadata={"groundingdino": json.dumps({"config": {"depth": 3}})})
    with pytest.raises(ValueError, match=r"metadata of .* cannot be read .*: save the model again"):
        load_pretrained(path)


# ---- files of a known size, by path


def spare(manifest, reference) -> dict[str, Tensor]:
    """A full-size state dict of zeros that takes a few kilobytes on disk and in memory: one number, seen often."""
    shapes = json.loads(reference(f"{manifest}_keys.json").read_text())
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("manifest", "config", "name"), [("swint_ogc", SWIN_T, "swin-t"), ("swinb_cogcoor", SWIN_B, "swin-b")]
)
def test_a_published_size_is_recognised(manifest, config, name, reference, tmp_path):
    torch.save(publish(spare(manifest, reference)), tmp_path / "my-weights.pth")
    loaded = load_pretrained(tmp_path / "my-weights.pth")
    assert loaded.model.config == config
    assert loaded.card.name == "my-weights"
    assert loaded.card.source is None
    assert (loaded.card.box_threshold, loaded.card.text_threshold) == (
        MODELS[name].box_threshold,
        MODELS[name].text_threshold,
    )


def test_every_published_width_is_known():
    for published, sizes in (
        (checkpoints.PUBLISHED, (SWIN_T, SWIN_B, SWIN_L)),
        (checkpoints.PUBLISHED_BY_MM, (MM_SWIN_T, MM_SWIN_B, MM_SWIN_L)),
    ):
        assert published == {config.backbone.embed_dim: config for config in sizes}
        assert list(published) == [96, 128, 192]


@pytest.mark.parametrize(
    ("layout", "sentence"),
    [
        ("authors", "no backbone of a published size: expected a Swin of width 96 .* found 24"),
        ("headless", "found None"),
        ("ours", "does not say its configuration"),
        ("transformers", "is in transformers' layout: pass its folder"),
        ("other", "no Grounding DINO weights"),
    ],
)
def test_a_file_that_does_not_say_what_it_is(layout, sentence, published, mini_model, tmp_path):
    state = {
        "authors": published,
        "headless": {"transformer.tgt_embed.weight": torch.zeros(1)},
        "ours": mini_model.state_dict(),
        "transformers": {"model.query_position_embeddings.weight": torch.zeros(1)},
        "other": {"conv1.weight": torch.zeros(1)},
    }[layout]
    torch.save(dict(state), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=sentence):
        load_pretrained(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    "name", ["swin-x", "weights/missing.pth", "weights/missing.safetensors", "a/b/c", "", "no such model"]
)
def test_an_unknown_name_is_answered_with_what_there_is(name):
    with pytest.raises(ValueError, match=r"expected embedded, .*, sam3, the path|no model folder"):
        load_pretrained(name)


@pytest.mark.parametrize("device", ["toaster", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_first(device):
    with pytest.raises(ValueError, match=f"The device '{device}' cannot be used here: ") as refusal:
        load_pretrained("no such model", device)
    assert "\n" not in str(refusal.value)


def test_the_model_is_put_on_the_device(mini_model, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "check_device", lambda _: None)  # meta holds no numbers, but is always there
    save_checkpoint(mini_model, tmp_path / "mini.safetensors", **CARD)
    loaded = load_pretrained(tmp_path / "mini.safetensors", device=torch.device("meta"))
    assert {tensor.device.type for tensor in loaded.model.parameters()} == {"meta"}


# ---- transformers' layout


@pytest.fixture(scope="module")
def transformers_model(mini_config):
    """transformers' model of mini's sizes, every parameter random so that every branch matters."""
    from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection
    from transformers import SwinConfig as TheirSwinConfig

    swin, text = mini_config.backbone, mini_config.text
    config = GroundingDinoConfig(
        backbone_config=TheirSwinConfig(
            embed_dim=swin.embed_dim,
            depths=list(swin.depths),
            num_heads=list(swin.num_heads),
            window_size=swin.window_size,
            out_indices=[2, 3, 4],
        ),
        text_config=BertConfig(
            hidden_size=text.hidden_size,
            num_hidden_layers=text.num_hidden_layers,
            num_attention_heads=text.num_attention_heads,
            intermediate_size=text.intermediate_size,
        ),
        encoder_layers=mini_config.enhancer_layers,
        decoder_layers=mini_config.decoder_layers,
        encoder_ffn_dim=mini_config.ffn_dim,
        decoder_ffn_dim=mini_config.ffn_dim,
        num_queries=mini_config.num_queries,
    )
    torch.manual_seed(3)
    model = GroundingDinoForObjectDetection(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(_random_like(parameter))
        model.model.encoder_output_bbox_embed.layers[2].bias[2:] -= 6  # boxes so small that the logit's eps shows
    return model


def _random_like(parameter: Tensor) -> Tensor:
    noise = torch.randn_like(parameter)
    return 1 + 0.2 * noise if parameter.ndim == 1 and parameter.mean() > 0.5 else noise * parameter.shape[-1] ** -0.5


@pytest.fixture(params=["whole", "sharded"])
def folder(request, transformers_model, tmp_path):
    size = "2MB" if request.param == "sharded" else "1GB"
    transformers_model.save_pretrained(tmp_path / "model", max_shard_size=size)
    assert (tmp_path / "model" / "model.safetensors").exists() == (request.param == "whole")
    return tmp_path / "model"


@pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.21"),
    reason="transformers 5.19 and 5.20 count positions of the text as whole numbers and mask phrases wrongly",
)
def test_a_folder_gives_what_transformers_gives(folder, transformers_model):
    loaded = load_pretrained(folder)
    assert loaded.model.config.logit_eps == 1e-5
    tokens = tokenize_captions(["a red cat . dog on the left . traffic light ."], loaded.tokenizer)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(1, 3, 203, 317, generator=generator)
    mask = torch.zeros(1, 203, 317, dtype=torch.bool)
    with torch.inference_mode():
        ours = loaded.model(pixels, mask, tokens)
        theirs = transformers_model(
            pixel_values=pixels, pixel_mask=(~mask).long(), input_ids=tokens.input_ids, attention_mask=tokens.token_mask
        )
    length = tokens.input_ids.shape[1]
    torch.testing.assert_close(ours.logits, theirs.logits[..., :length], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.boxes, theirs.pred_boxes, rtol=1e-4, atol=1e-4)

    loaded.model.decoder.logit_eps = 1e-3  # the authors'
    with torch.inference_mode():
        assert (loaded.model(pixels, mask, tokens).boxes - theirs.pred_boxes).abs().max() > 1e-3


def test_a_live_state_dict_gives_what_its_file_gives(transformers_model, mini_config, tmp_path):
    transformers_model.save_pretrained(tmp_path)
    first, second = GroundingDINO(mini_config), GroundingDINO(mini_config)
    load_checkpoint(first, transformers_model.state_dict())
    load_checkpoint(second, tmp_path / "model.safetensors")
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod.", "module.module."])
def test_the_prefix_of_a_wrapper_is_told_from_transformers_own(prefix, transformers_model, mini_config):
    first, second = GroundingDINO(mini_config), GroundingDINO(mini_config)
    state = transformers_model.state_dict()
    load_checkpoint(first, state)
    load_checkpoint(second, {f"{prefix}{name}": tensor for name, tensor in state.items()})
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_card_of_a_folder(transformers_model, tmp_path):
    transformers_model.save_pretrained(tmp_path)
    card = load_pretrained(tmp_path).card
    assert card.name == str(tmp_path)
    assert card.size_bytes == (tmp_path / "model.safetensors").stat().st_size
    assert card.config.backbone.embed_dim == 24


@pytest.mark.parametrize("saved_by", ["transformers", "vocabulary"])
def test_the_tokenizer_of_a_folder_is_its_own(saved_by, transformers_model, tmp_path):
    from transformers import BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "cat"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    model = tmp_path / "model"
    transformers_model.save_pretrained(model)
    if saved_by == "transformers":
        BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(model)
        assert (model / "tokenizer.json").exists()
    else:
        (tmp_path / "vocab.txt").rename(model / "vocab.txt")
    assert load_pretrained(model).tokenizer("Cat .").input_ids == [2, 6, 5, 3]


SIZE = {"shortest_edge": 96, "longest_edge": 160}
MEAN, STD = [0.6, 0.5, 0.4], [0.3, 0.2, 0.1]


@pytest.mark.parametrize("saved_as", ["preprocessor_config.json", "processor_config.json", "both"])
def test_pictures_are_prepared_as_the_folder_says(saved_as, transformers_model, tmp_path):
    from transformers import GroundingDinoImageProcessor

    transformers_model.save_pretrained(tmp_path)
    theirs = GroundingDinoImageProcessor(size=SIZE, image_mean=MEAN, image_std=STD)
    theirs.save_pretrained(tmp_path)
    saved = tmp_path / "preprocessor_config.json"
    if saved_as != "preprocessor_config.json":
        whole = {"image_processor": json.loads(saved.read_text()), "processor_class": "GroundingDinoProcessor"}
        (tmp_path / "processor_config.json").write_text(json.dumps(whole))
        saved.unlink()
    if saved_as == "both":
        GroundingDinoImageProcessor(size={"shortest_edge": 32, "longest_edge": 64}).save_pretrained(tmp_path)
    detector = Detector(load_pretrained(tmp_path))
    image = Image.effect_mandelbrot((200, 120), (-2, -1, 1, 1), 99).convert("RGB")
    seen = []
    detector.model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    detector.encode_image(image)
    expected = theirs(image, return_tensors="pt")["pixel_values"]
    assert seen[0].shape == expected.shape == (1, 3, 96, 160)
    # Their resampling rounds each pixel in another place; ImageNet's statistics would be a whole unit off.
    assert (seen[0] - expected).abs().mean() < 0.02


@pytest.mark.parametrize("content", ["{", "[]", '{"image_processor": 3}'])
def test_a_damaged_processor_is_named(content, transformers_model, tmp_path):
    transformers_model.save_pretrained(tmp_path)
    (tmp_path / "processor_config.json").write_text(content)
    with pytest.raises(ValueError, match=r"processor_config.json' (is not JSON|does not describe)"):
        load_pretrained(tmp_path)


def test_added_tokens_of_a_folder_are_read_as_they_are(transformers_model, tmp_path):
    """A vocabulary without them that lies beside does not count."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "cat", "fork", "##lift"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers_model.save_pretrained(tmp_path)
    tokenizer = BertTokenizerFast(vocab=str(tmp_path / "vocab.txt"))
    tokenizer.add_tokens(["forklift"])
    tokenizer.save_pretrained(tmp_path)
    assert tokenize_captions(["a forklift ."], load_pretrained(tmp_path).tokenizer).input_ids.tolist() == [
        [2, 1, len(words), 5, 3]
    ]


def empty_folder(folder):
    (folder / "model.safetensors").unlink()


def broken_config(folder):
    (folder / "config.json").write_text('{"model_type": ')


def config_of_nothing(folder):
    (folder / "config.json").write_text("[]")


def index_of_nothing(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("{}")


def other_architecture(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "mm-grounding-dino"}))


def foreign_architecture(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "detr"}))


def other_size(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_queries": 61}))


def truncated(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (empty_folder, r"is no model folder: expected config\.json and model\.safetensors"),
        (broken_config, r"config\.json' is not JSON"),
        (config_of_nothing, r"config\.json' does not describe a model"),
        (index_of_nothing, r"index\.json' does not list weight files"),
        (other_architecture, r"3 missing \(decoder\.class_head\.bias.*query_selection\.class_head\.bias\)"),
        (foreign_architecture, "a model of type 'detr': expected 'grounding-dino' or 'mm-grounding-dino'"),
        (other_size, r"query_selection\.content\.weight \(60, 256\) instead of \(61, 256\)"),
        (truncated, r"model\.safetensors' is truncated"),
    ],
)
def test_a_damaged_folder_is_refused(damage, sentence, transformers_model, tmp_path):
    transformers_model.save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=sentence) as refusal:
        load_pretrained(tmp_path)
    assert "\n" not in str(refusal.value)
