"""MM Grounding DINO as transformers has it, untrained, and the same weights as mmdetection names and orders them."""

import re
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig, MMGroundingDinoConfig, MMGroundingDinoForObjectDetection
from transformers import SwinConfig as TheirSwinConfig

from groundingdino.model.config import GroundingDINOConfig, SwinConfig, TextConfig

# Of what each published size has of its own: windows, maps and levels.
SWIN = SwinConfig(embed_dim=24, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8), window_size=7)
SMALL_T = GroundingDINOConfig(
    backbone=SWIN,
    text=TextConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64),
    ffn_dim=128,
    enhancer_layers=1,
    decoder_layers=3,
    num_queries=40,
    own_heads=True,
    scaled_scores=True,
    logit_eps=1e-5,
)
SMALL_B = replace(SMALL_T, backbone=replace(SWIN, embed_dim=32, window_size=12))
SMALL_L = replace(SMALL_T, backbone=replace(SWIN, embed_dim=48, window_size=12, first_stage=0), num_levels=5)
SMALL = {"T": SMALL_T, "B": SMALL_B, "L": SMALL_L}

# Names of transformers and of mmdetection, as transformers' convert_mm_grounding_dino_to_hf.py pairs them.
_SWIN = r"^model\.backbone\.conv_encoder\.model\."
NAMES = (
    (_SWIN + r"(?:swin\.)?", "backbone."),
    (r"^backbone\.embeddings\.patch_embeddings\.projection\.", "backbone.patch_embed.projection."),
    (r"^backbone\.embeddings\.norm\.", "backbone.patch_embed.norm."),
    (r"^backbone\.encoder\.layers\.", "backbone.stages."),
    (r"^(backbone.+)\.attention\.(?:self\.)?(query|key|value|[qkv]_proj)\.", r"\1.attn.w_msa.\2."),
    (r"^(backbone.+)\.attention\.(?:self|relative_position_bias)\.(relative_.+)", r"\1.attn.w_msa.\2"),
    (r"^(backbone.+)\.attention\.(?:output\.dense|o_proj)\.", r"\1.attn.w_msa.proj."),
    (r"^(backbone.+)\.layernorm_before\.", r"\1.norm1."),
    (r"^(backbone.+)\.layernorm_after\.", r"\1.norm2."),
    (r"^(backbone.+)\.(?:intermediate\.dense|mlp\.fc1)\.", r"\1.ffn.layers.0.0."),
    (r"^(backbone.+)\.(?:output\.dense|mlp\.fc2)\.", r"\1.ffn.layers.1."),
    (r"^model\.text_backbone\.", "language_model.language_backbone.body.model."),
    (r"^model\.text_projection\.", "text_feat_map."),
    (r"^model\.level_embed", "level_embed"),
    (r"^model\.query_position_embeddings\.", "query_embedding."),
    (r"^model\.enc_output\.", "memory_trans_fc."),
    (r"^model\.enc_output_norm\.", "memory_trans_norm."),
    (r"^model\.encoder\.layers\.(\d+)\.fusion_layer\.", r"encoder.fusion_layers.\1."),
    (r"^model\.encoder\.layers\.(\d+)\.text_enhancer_layer\.", r"encoder.text_layers.\1."),
    (r"^model\.encoder\.layers\.(\d+)\.deformable_layer\.", r"encoder.layers.\1."),
    (r"\.vision_param$", ".gamma_v"),
    (r"\.text_param$", ".gamma_l"),
    (r"\.layer_norm_vision\.", ".layer_norm_v."),
    (r"\.layer_norm_text\.", ".layer_norm_l."),
    (r"\.attn\.(values_|out_)?vision_proj\.", r".attn.\1v_proj."),
    (r"\.attn\.(values_|out_)?text_proj\.", r".attn.\1l_proj."),
    (r"^(encoder\.text_layers.+)\.layer_norm_before\.", r"\1.norms.0."),
    (r"^(encoder\.text_layers.+)\.layer_norm_after\.", r"\1.norms.1."),
    (r"^(encoder\.layers.+)\.self_attn_layer_norm\.", r"\1.norms.0."),
    (r"^(encoder\.layers.+)\.final_layer_norm\.", r"\1.norms.1."),
    (r"^model\.decoder\.layer_norm\.", "decoder.norm."),
    (r"^model\.decoder\.reference_points_head\.", "decoder.ref_point_head."),
    (r"^model\.decoder\.layers\.", "decoder.layers."),
    (r"^(decoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.norms.0."),
    (r"^(decoder\.layers\.\d+)\.encoder_attn_text_layer_norm\.", r"\1.norms.1."),
    (r"^(decoder\.layers\.\d+)\.encoder_attn_layer_norm\.", r"\1.norms.2."),
    (r"^(decoder\.layers\.\d+)\.final_layer_norm\.", r"\1.norms.3."),
    (r"^(decoder\.layers\.\d+)\.encoder_attn_text\.", r"\1.cross_attn_text."),
    (r"^(decoder\.layers\.\d+)\.encoder_attn\.", r"\1.cross_attn."),
    (r"^((?:de|en)coder.+)\.fc1\.", r"\1.ffn.layers.0.0."),
    (r"^((?:de|en)coder.+)\.fc2\.", r"\1.ffn.layers.1."),
)
# The attention whose projections mmdetection keeps as one.
_STACKED = r"((?:encoder\.text_layers|decoder\.layers)\.\d+\.(?:self_attn|cross_attn_text))\.(query|key|value)\.(\w+)"
_ATTENTION = r"((?:encoder\.text_layers|decoder\.layers)\.\d+\.(?:self_attn|cross_attn_text))\.out_proj\."


def their_config(config: GroundingDINOConfig, **options: Any) -> MMGroundingDinoConfig:
    """transformers' configuration of the same sizes."""
    swin, text = config.backbone, config.text
    assert isinstance(swin, SwinConfig)
    return MMGroundingDinoConfig(
        backbone_config=TheirSwinConfig(
            embed_dim=swin.embed_dim,
            depths=list(swin.depths),
            num_heads=list(swin.num_heads),
            window_size=swin.window_size,
            out_features=[f"stage{stage + 1}" for stage in range(swin.first_stage, 4)],
        ),
        text_config=BertConfig(
            hidden_size=text.hidden_size,
            num_hidden_layers=text.num_hidden_layers,
            num_attention_heads=text.num_attention_heads,
            intermediate_size=text.intermediate_size,
        ),
        encoder_layers=config.enhancer_layers,
        decoder_layers=config.decoder_layers,
        encoder_ffn_dim=config.ffn_dim,
        decoder_ffn_dim=config.ffn_dim,
        num_queries=config.num_queries,
        num_feature_levels=config.num_levels,
        **options,
    )


def random_model(config: GroundingDINOConfig, **options: Any) -> MMGroundingDinoForObjectDetection:
    """transformers' model, every parameter random so that every branch matters."""
    torch.manual_seed(3)
    model = MMGroundingDinoForObjectDetection(their_config(config, **options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn_like(parameter)
            is_gain = parameter.ndim == 1 and parameter.mean() > 0.5
            width = parameter.shape[-1] if parameter.ndim else 1
            parameter.copy_(1 + 0.2 * noise if is_gain else noise * width**-0.5)
    return model


def as_mmdetection(model: MMGroundingDinoForObjectDetection) -> dict[str, Tensor]:
    """A model's weights as mmdetection saves them, with what is only used in training."""
    maps, layers = len(model.config.backbone_config.out_features), model.config.decoder_layers
    state: dict[str, Tensor] = {}
    parts: dict[str, list[Tensor]] = {}
    for name, tensor in model.state_dict().items():
        if re.match(r"(model\.decoder\.)(bbox|class)_embed", name) or re.match(_SWIN + r"(swin\.)?layernorm", name):
            continue
        if found := re.match(r"(?:bbox_embed\.(\d+)|model\.encoder_output_bbox_embed)\.layers\.(\d)\.(\w+)", name):
            state[f"bbox_head.reg_branches.{found[1] or layers}.{2 * int(found[2])}.{found[3]}"] = tensor
            continue
        if found := re.match(r"(?:class_embed\.(\d+)|model\.encoder_output_class_embed)\.bias", name):
            state[f"bbox_head.cls_branches.{found[1] or layers}.bias"] = tensor.reshape(1)
            continue
        if found := re.match(r"model\.input_proj_vision\.(\d+)\.([01])\.", name):
            index, part = int(found[1]), ("conv", "gn")[int(found[2])]
            place = f"convs.{index}" if index < maps else f"extra_convs.{index - maps}"
            state[f"neck.{place}.{part}.{name[found.end() :]}"] = tensor
            continue
        if found := re.match(_SWIN + r"(?:swin\.)?hidden_states_norms\.stage(\d)\.", name):
            state[f"backbone.norm{int(found[1]) - 1}.{name[found.end() :]}"] = tensor
            continue
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        if ".downsample." in name:
            # From (row, column) of (0, 0), (1, 0), (0, 1), (1, 1), each with all channels, to the four of each channel.
            quarters = tensor.chunk(4, dim=-1)
            tensor = torch.stack([quarters[0], quarters[2], quarters[1], quarters[3]], dim=-1).flatten(-2)
        if found := re.fullmatch(r"(backbone.+w_msa)\.(?:query|key|value|[qkv]_proj)\.(\w+)", name):
            parts.setdefault(f"{found[1]}.qkv.{found[2]}", []).append(tensor)
        elif found := re.fullmatch(_STACKED, name):
            parts.setdefault(f"{found[1]}.attn.in_proj_{found[3]}", []).append(tensor)
        else:
            state[re.sub(_ATTENTION, r"\1.attn.out_proj.", name)] = tensor
    state |= {name: torch.cat(tensors) for name, tensors in parts.items()}
    width = model.config.d_model
    return state | {
        "dn_query_generator.label_embedding.weight": torch.ones(5, width),
        "language_model.language_backbone.body.model.embeddings.position_ids": torch.arange(512)[None],
        "backbone.stages.0.blocks.0.attn.w_msa.relative_position_index": torch.arange(4),
    }


def of_llmdet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with what LLMDet's files hold of the language model that it learnt from."""
    extra = (
        "lmm.model.embed_tokens.weight",
        "connector.0.weight",
        "region_connector.0.bias",
        "ref_point_head.layers.0.bias",
    )
    return state | {name: torch.ones(2, 2) for name in (*extra, "image_seperate.weight")}
