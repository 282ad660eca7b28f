"""Whether a picture is a photograph or a drawing, so that the model that knows it answers.

Told by the mean and the deviation of what the ImageNet backbone of the detector for photographs sees at a stride of 8
pixels, weighed by a logistic regression. `groundingdino.training.detector.picture_kinds` learns the weights.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Protocol

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from groundingdino.detection.available_models import COME_ALONG, MODELS
from groundingdino.detection.checkpoints import load_pretrained
from groundingdino.files.assets import DRAWINGS, MODEL_ASSETS, PHOTOGRAPHS
from groundingdino.model import GroundingDINO
from groundingdino.model.backbones import TimmBackbone
from groundingdino.model.preprocessing import preprocess

WEIGHTS_FILE = MODEL_ASSETS / "photographs" / "kinds.safetensors"
PHOTOGRAPHIC = "embedded-photos"
_SIDES = 192, 384  # pixels: neither grain nor what is shown matters
_STRIDE_8 = 2  # of the backbone's maps


class Knows(Protocol):
    """A card that says of which kinds of pictures a model knows things."""

    @property
    def knows(self) -> tuple[str, ...]: ...


def suited(
    image: Image.Image,
    model: str,
    offered: Iterable[str] = tuple(COME_ALONG),
    cards: Mapping[str, Knows] = MODELS,
) -> str:
    """The name of the model that comes along and knows such pictures; where another one was chosen, that one.

    Args:
        model: that was chosen.
        offered: names of models that may be chosen instead.
        cards: of the detectors, or of the segmenters: those that come along have the same names.
    """
    if not is_choice(model, offered):
        return model
    kind = PHOTOGRAPHS if is_photograph(image) else DRAWINGS
    return next(name for name in COME_ALONG if cards[name].knows == (kind,))


def is_choice(model: str, offered: Iterable[str]) -> bool:
    """Whether it depends on the picture which model is asked."""
    return model in COME_ALONG and COME_ALONG.keys() <= set(offered)


def is_photograph(image: Image.Image) -> bool:
    """Whether an RGB picture is a photograph rather than a drawing; what is too narrow to tell is none."""
    network, weight, bias = _learned()
    try:
        return bool(looks_of(image, network) @ weight + bias > 0)
    except ValueError:
        return False


@torch.inference_mode()
def looks_of(image: Image.Image, photographic: GroundingDINO) -> Tensor:
    """(2 C) mean and deviation of each of the backbone's channels.

    Raises:
        ValueError: the picture is too long and narrow, see `preprocess`.
    """
    config = photographic.config
    pixels = preprocess(image, *_SIDES, config.image_mean, config.image_std)
    parameter = next(photographic.parameters())
    assert isinstance(photographic.backbone, TimmBackbone)
    levels = photographic.backbone.levels(pixels[None].to(parameter.device, parameter.dtype))
    seen = levels[_STRIDE_8][0].flatten(1).float().cpu()  # (C, H W)
    return torch.cat([seen.mean(1), seen.std(1)])


@lru_cache(maxsize=1)
def _learned() -> tuple[GroundingDINO, Tensor, Tensor]:
    """On the CPU, where it takes 20 ms."""
    weights = load_file(WEIGHTS_FILE)
    return load_pretrained(PHOTOGRAPHIC).model, weights["weight"], weights["bias"]
