"""Qwen-Image-Edit (arXiv 2508.02324) at any size: diffusers' pipeline always paints a megapixel."""

import inspect
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import torch
from diffusers import QwenImageEditInpaintPipeline


class SizedQwenImageEditInpaintPipeline(QwenImageEditInpaintPipeline):
    """Paints at the size it is given."""

    def __call__(self, *, width: int, height: int, **arguments: Any) -> Any:
        """As a call of diffusers' pipeline, at a size whose sides are multiples of 16 pixels."""
        # A function of its module alone decides on the size.
        call = _with_names(super().__call__.__func__, {"calculate_dimensions": lambda *_: (width, height, None)})
        return call(self, **arguments)


_call: Any = SizedQwenImageEditInpaintPipeline.__call__
_call.__signature__ = inspect.signature(QwenImageEditInpaintPipeline.__call__)  # what else it takes is that one's


def _with_names(function: Any, names: Mapping[str, Any]) -> Any:
    """A function that runs without gradients, with another meaning of some names that its module has."""
    inner = inspect.unwrap(function)
    known = {**inner.__globals__, **names}
    made = FunctionType(inner.__code__, known, inner.__name__, inner.__defaults__, inner.__closure__)
    made.__kwdefaults__ = inner.__kwdefaults__
    return torch.no_grad()(made)
