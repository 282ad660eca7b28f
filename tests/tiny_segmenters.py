"""Segmenters of transformers with random weights, whose pictures have 128 pixels a side, and their own processors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    EdgeTamConfig,
    EdgeTamModel,
    EdgeTamVideoConfig,
    EdgeTamVideoModel,
    Sam2Config,
    Sam2ImageProcessor,
    Sam2Model,
    Sam2Processor,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam2VideoProcessor,
    Sam2VideoVideoProcessor,
    Sam3ImageProcessor,
    Sam3TrackerConfig,
    Sam3TrackerModel,
    Sam3TrackerProcessor,
    Sam3TrackerVideoConfig,
    Sam3TrackerVideoModel,
    Sam3TrackerVideoProcessor,
    SamHQConfig,
    SamHQModel,
    SamHQProcessor,
    SamImageProcessor,
)

SIDE, PATCH, WIDTH = 128, 16, 32
SQUARE = {"height": SIDE, "width": SIDE}
PROMPTS = {"hidden_size": WIDTH, "image_size": SIDE, "patch_size": PATCH, "mask_input_channels": 8}
DECODER = {"hidden_size": WIDTH, "num_attention_heads": 2, "mlp_dim": WIDTH, "iou_head_hidden_dim": WIDTH}
PYRAMID = {"backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]], "fpn_hidden_size": WIDTH}


def sam2_parts() -> dict[str, Any]:
    """The three parts of a configuration."""
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [8, 4, 4, 2],
        "global_attention_blocks": [3],
    }
    vision = {**PYRAMID, "backbone_config": backbone, "backbone_channel_list": [64, 32, 16, 8]}
    return {"vision_config": vision, "prompt_encoder_config": PROMPTS, "mask_decoder_config": DECODER}


def edgetam_parts() -> dict[str, Any]:
    """The three parts of a configuration, with the backbone that is published."""
    backbone = {
        "model_type": "timm_wrapper",
        "architecture": "repvit_m1.dist_in1k",
        "model_args": {"features_only": True, "in_chans": 3, "out_indices": [0, 1, 2, 3]},
        "label_names": ["one", "two"],
        "num_classes": 2,
    }
    vision = {**PYRAMID, "model_type": "edgetam_vision_model", "backbone_config": backbone}
    return {"vision_config": vision, "prompt_encoder_config": PROMPTS, "mask_decoder_config": DECODER}


def sam3_parts() -> dict[str, Any]:
    """The three parts of a configuration."""
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": PATCH,
        "window_size": 4,
        "global_attn_indexes": [1],
        "pretrain_image_size": 64,
    }
    vision = {**PYRAMID, "backbone_config": backbone}
    return {"vision_config": vision, "prompt_encoder_config": PROMPTS, "mask_decoder_config": DECODER}


def sam_hq_parts() -> dict[str, Any]:
    """The three parts of a configuration."""
    vision = {
        "hidden_size": 32,
        "output_channels": WIDTH,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": PATCH,
        "window_size": 4,
        "global_attn_indexes": [1, 2],
        "num_pos_feats": WIDTH // 2,
        "mlp_dim": 32,
    }
    prompts = {**PROMPTS, "image_embedding_size": SIDE // PATCH}
    return {
        "vision_config": vision,
        "prompt_encoder_config": prompts,
        "mask_decoder_config": {**DECODER, "vit_dim": 32},
    }


def _sam2_processor(images: Any) -> Sam2Processor:
    return Sam2Processor(images(size=SQUARE), target_size=SIDE)


# By the `model_type` of transformers: parts, model and processor.
KINDS: dict[str, tuple[Callable[[], dict[str, Any]], type, type, Callable[[], Any]]] = {
    "sam2": (sam2_parts, Sam2Config, Sam2Model, lambda: _sam2_processor(Sam2ImageProcessor)),
    "edgetam": (edgetam_parts, EdgeTamConfig, EdgeTamModel, lambda: _sam2_processor(Sam2ImageProcessor)),
    "sam3_tracker": (
        sam3_parts,
        Sam3TrackerConfig,
        Sam3TrackerModel,
        lambda: Sam3TrackerProcessor(Sam3ImageProcessor(size=SQUARE), target_size=SIDE),
    ),
    "sam_hq": (
        sam_hq_parts,
        SamHQConfig,
        SamHQModel,
        lambda: SamHQProcessor(SamImageProcessor(size={"longest_edge": SIDE}, pad_size=SQUARE)),
    ),
}


def build(kind: str, **decoder: Any) -> tuple[Any, Any]:
    """A model in eval mode and its processor; masks are noise that depends on each part of a prompt.

    Args:
        kind: of `KINDS`.
        decoder: settings of its mask decoder.
    """
    parts, config, model_class, processor = KINDS[kind]
    torch.manual_seed(1)
    described = parts()
    described["mask_decoder_config"] = {**described["mask_decoder_config"], **decoder}
    model = model_class(config(**described)).eval()
    _loud(model)
    return model, processor()


def _loud(model: Any) -> None:
    """Weights so large that nothing is lost on the way from picture and prompt to the masks."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
            elif name.endswith("bias"):
                nn.init.normal_(parameter, std=0.1)
        # Predicted IoU between 0 and 1, also where no sigmoid ends the head.
        head = model.mask_decoder.iou_prediction_head.proj_out
        head.weight *= 0.1
        head.bias.copy_(torch.tensor([0.4, 0.5, 0.6, 0.3]))


def follow_the_authors(model: Any) -> None:
    """Mends what transformers 5.23 does otherwise than the authors of SAM-HQ and SAM 3; changes nothing else.

    SAM-HQ's masks are drawn on what two-way attention made of the picture's embedding, and SAM 3's embedding of "no
    memory" is added to the coarsest of the three maps that are used.
    """
    decoder = model.mask_decoder
    if isinstance(model, SamHQModel):
        attended: list[torch.Tensor] = []
        decoder.transformer.register_forward_hook(lambda _, __, result: attended.append(result[1]))
        decoder.upscale_conv1.register_forward_pre_hook(
            lambda _, inputs: attended.pop().transpose(2, 3).reshape(inputs[0].shape)
        )
    if isinstance(model, Sam3TrackerModel):
        all_maps = model.get_image_features

        def three_maps(*arguments: Any, **options: Any) -> Any:
            outputs = all_maps(*arguments, **options)
            outputs.fpn_hidden_states = outputs.fpn_hidden_states[:3]
            return outputs

        model.get_image_features = three_maps


MEMORY = 64  # channels of a frame's memory; transformers takes no other number
_MEMORY = {
    "image_size": SIDE,
    "memory_attention_hidden_size": 2 * MEMORY,
    "memory_attention_num_layers": 1,
    "memory_attention_rope_feat_sizes": [SIDE // PATCH] * 2,
    "memory_encoder_hidden_size": 2 * MEMORY,
    "memory_encoder_output_channels": MEMORY,
    "mask_downsampler_embed_dim": 2 * MEMORY,
    "memory_fuser_embed_dim": 2 * MEMORY,
    "memory_fuser_intermediate_dim": WIDTH,
    "memory_fuser_num_layers": 1,
}
_SAM2_MEMORY = {**_MEMORY, "memory_attention_feed_forward_hidden_size": WIDTH}
_EDGETAM_MEMORY = {
    **_MEMORY,
    "memory_attention_mlp_hidden_size": WIDTH,
    "memory_attention_rope_k_sizes": [4, 4],
    "perceiver_resampler_num_latents": 8,
    "perceiver_resampler_num_latents_2d": 16,
    "perceiver_resampler_hidden_size": MEMORY,
    "perceiver_resampler_mlp_intermediate_size": WIDTH,
    "perceiver_resampler_attention_head_dim": MEMORY,
    "perceiver_resampler_num_layers": 1,
}


def _wide(parts: dict[str, Any]) -> dict[str, Any]:
    """Parts whose embeddings have twice the channels of a memory, as the published ones have four times as many."""
    vision, prompts, decoder = parts["vision_config"], parts["prompt_encoder_config"], parts["mask_decoder_config"]
    return {
        "vision_config": {**vision, "fpn_hidden_size": 2 * MEMORY},
        "prompt_encoder_config": {**prompts, "hidden_size": 2 * MEMORY},
        "mask_decoder_config": {**decoder, "hidden_size": 2 * MEMORY},
    }


# By the `model_type` of transformers: parts, what else is configured, and model.
VIDEO_KINDS: dict[str, tuple[Callable[[], dict[str, Any]], dict[str, Any], type, type]] = {
    "sam2_video": (sam2_parts, _SAM2_MEMORY, Sam2VideoConfig, Sam2VideoModel),
    "edgetam_video": (edgetam_parts, _EDGETAM_MEMORY, EdgeTamVideoConfig, EdgeTamVideoModel),
    "sam3_tracker_video": (sam3_parts, _SAM2_MEMORY, Sam3TrackerVideoConfig, Sam3TrackerVideoModel),
}


def build_video(kind: str) -> tuple[Any, Any]:
    """A model that follows by memory, in eval mode, and its processor; masks depend on all that is remembered.

    Args:
        kind: of `VIDEO_KINDS`.
    """
    parts, memory, config, model_class = VIDEO_KINDS[kind]
    torch.manual_seed(1)
    model = model_class(config(**_wide(parts()), **memory)).eval()
    _loud(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("_embedding", "_encoding", "pointer", "scale", "parameter")):  # else they are zero
                nn.init.normal_(parameter, std=0.5)
            if "_proj." in name and name.startswith(("memory_attention", "spatial_perceiver")):
                parameter *= 4  # attention that chooses, so that each frame of the memory tells
        # EdgeTAM's backbone is of its full depth: normalised, or its maps would drown whatever is remembered.
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        model.train().get_image_features(torch.randn(1, 3, SIDE, SIDE))
        model.eval().mask_decoder.pred_obj_score_head.proj_out.bias.fill_(1.0)  # most are in most frames
    videos = Sam2VideoVideoProcessor(size=SQUARE)
    if kind == "sam3_tracker_video":
        return model, Sam3TrackerVideoProcessor(Sam3ImageProcessor(size=SQUARE), videos, target_size=SIDE)
    return model, Sam2VideoProcessor(Sam2ImageProcessor(size=SQUARE), videos, target_size=SIDE)


def save_video(kind: str, folder: Path) -> Path:
    """A folder as `save_pretrained` writes it and the hub has it."""
    model, processor = build_video(kind)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
