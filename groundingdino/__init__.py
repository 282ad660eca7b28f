"""Grounding DINO (arXiv 2303.05499): point at things in a picture with words.

    import groundingdino as gd

    detector = gd.Detector.from_pretrained("embedded")
    features = detector.encode_image(image)                    # the part that does not depend on the prompt
    grounding = detector.ground(features, "cat . remote control")
    detections = grounding.detections(box_threshold=0.35)      # supervision.Detections; no model run

    segmenter = gd.Segmenter.from_pretrained("embedded")
    embedding = segmenter.encode_image(image)
    cut_out = segmenter.segment_boxes(embedding, detections)   # the same objects with masks
    clicked = segmenter.segment(embedding, [gd.MaskPrompt(points=[(120, 80, 1)])])

    inpainter = gd.Inpainter.from_pretrained("embedded")
    edited = gd.edit_picture(gd.load_editable(path), cut_out, gd.Edit(gd.Replace("dog")), inpainter)

The way of the data, one file each:

    image -> model/backbone, neck --+
                                    +-> model/enhancer -> query_selection -> decoder -> phrases -> sv.Detections
    prompt -> model/text_encoder ---+                                                 boxes, mask_prompts |
                                                                          image -> segmenter -> masks <---+
                                     editing/edits, editing/mask -> editing/perform -> inpainter <--------+

`prompt` is what is looked for, read with the help of `noun_phrases`, and `text_tokens` what the model reads of it.
`image_files` reads what `image` is given. `detector` and `segmenter` keep what was computed, `checkpoints` and
`segmenter_models` load and save, `kernels` holds deformable attention, `drawing` (by `lettering`) and `export` (by
`polygons`) show results. `page` is the demo's page and its state; `training` is imported by nothing else.

Shapes use one legend: `B` batch, `Q` queries, `T` text tokens, `S` image tokens, `L` levels, `C` channels. Outside
`model` boxes are xyxy in pixels and pictures are RGB; inside, boxes are cxcywh in [0, 1].
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groundingdino import checkpoints
    from groundingdino.allocation import keep_freed_memory
    from groundingdino.candidates import ImageEmbedding
    from groundingdino.checkpoints import load_checkpoint
    from groundingdino.config import EMBEDDED, SWIN_B, SWIN_L, SWIN_T, GroundingDINOConfig
    from groundingdino.detector import CacheBytes, Detector, EncodedImage
    from groundingdino.editing import (
        Background,
        BlurBackground,
        BrushStroke,
        ColorBackground,
        Edit,
        MaskSettings,
        Obscure,
        PictureBackground,
        Recolor,
        Region,
        Regions,
        Remove,
        Replace,
        Sampling,
        Spotlight,
        StickerCutOut,
        TransparentBackground,
    )
    from groundingdino.editing.perform import HeldBack, edit_picture
    from groundingdino.editing.recipe import read_recipe
    from groundingdino.image import load_editable, load_image
    from groundingdino.inpainter import Inpainter
    from groundingdino.interruption import Stopped
    from groundingdino.mask_prompts import MaskPrompt
    from groundingdino.masks import smooth_masks
    from groundingdino.model import GroundingDINO
    from groundingdino.phrases import Grounding
    from groundingdino.segmenter import Segmenter, SegmenterCacheBytes

# Where each public name lives. They are imported when first used: torch and transformers take seconds, which neither
# `python -m groundingdino --help` nor a message about a picture, a prompt, an option or a model's name does.
_HOMES = {
    "EMBEDDED": "config",
    "SWIN_B": "config",
    "SWIN_L": "config",
    "SWIN_T": "config",
    "Background": "editing",
    "BlurBackground": "editing",
    "BrushStroke": "editing",
    "CacheBytes": "detector",
    "ColorBackground": "editing",
    "Detector": "detector",
    "Edit": "editing",
    "EncodedImage": "detector",
    "Grounding": "phrases",
    "GroundingDINO": "model",
    "GroundingDINOConfig": "config",
    "HeldBack": "editing.perform",
    "ImageEmbedding": "candidates",
    "Inpainter": "inpainter",
    "MaskPrompt": "mask_prompts",
    "MaskSettings": "editing",
    "Obscure": "editing",
    "PictureBackground": "editing",
    "Recolor": "editing",
    "Region": "editing",
    "Regions": "editing",
    "Remove": "editing",
    "Replace": "editing",
    "Sampling": "editing",
    "Segmenter": "segmenter",
    "SegmenterCacheBytes": "segmenter",
    "Spotlight": "editing",
    "StickerCutOut": "editing",
    "Stopped": "interruption",
    "TransparentBackground": "editing",
    "checkpoints": "checkpoints",
    "edit_picture": "editing.perform",
    "keep_freed_memory": "allocation",
    "load_checkpoint": "checkpoints",
    "load_editable": "image",
    "load_image": "image",
    "read_recipe": "editing.recipe",
    "smooth_masks": "masks",
}

__all__ = [
    "EMBEDDED",
    "SWIN_B",
    "SWIN_L",
    "SWIN_T",
    "Background",
    "BlurBackground",
    "BrushStroke",
    "CacheBytes",
    "ColorBackground",
    "Detector",
    "Edit",
    "EncodedImage",
    "Grounding",
    "GroundingDINO",
    "GroundingDINOConfig",
    "HeldBack",
    "ImageEmbedding",
    "Inpainter",
    "MaskPrompt",
    "MaskSettings",
    "Obscure",
    "PictureBackground",
    "Recolor",
    "Region",
    "Regions",
    "Remove",
    "Replace",
    "Sampling",
    "Segmenter",
    "SegmenterCacheBytes",
    "Spotlight",
    "StickerCutOut",
    "Stopped",
    "TransparentBackground",
    "checkpoints",
    "edit_picture",
    "keep_freed_memory",
    "load_checkpoint",
    "load_editable",
    "load_image",
    "read_recipe",
    "smooth_masks",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'groundingdino' has no attribute '{name}'")
    home = import_module(f"groundingdino.{_HOMES[name]}")
    return home if name == _HOMES[name] else getattr(home, name)


def __dir__() -> list[str]:
    return __all__
