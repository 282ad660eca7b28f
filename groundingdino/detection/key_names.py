"""Parameter names: from the authors' checkpoints and transformers' to ours.

Each layout is one table of substitutions. All of them are applied to every name, from the top: first the place in the
model, then the part within it. A name that none of them fits stays as it is, and a strict load reports it as left over.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Layout(NamedTuple):
    """How one kind of file names its tensors."""

    name: str
    mark: str  # pattern of a name that every file of this layout has and no other
    dropped: tuple[str, ...]  # patterns of tensors that inference does not use
    renamed: tuple[tuple[str, str], ...]  # pattern, replacement; "[i]" in a result marks part i of a stacked tensor


OURS = Layout("our own layout", mark=r"query_selection\.content\.weight", dropped=(), renamed=())

AUTHORS = Layout(
    name="the authors' layout",
    mark=r"transformer\.tgt_embed\.weight",
    dropped=(
        r"label_enc\.weight",  # denoising queries of training
        r"dn_query_generator\..+",  # the same in later versions of the training code
        r"bert\.pooler\..+",  # a vector of the whole sentence; grounding reads its tokens
        r"bert\.embeddings\.position_ids",  # 0, 1, 2, ...
        r"backbone\..+\.relative_position_index",  # follows from the window size
    ),
    renamed=(
        (r"^backbone\.0\.patch_embed\.proj\.", r"backbone.patch_embed."),
        (r"^backbone\.0\.patch_embed\.norm\.", r"backbone.patch_norm."),
        (r"^backbone\.0\.layers\.(\d+)\.blocks\.", r"backbone.stages.\1."),
        (r"^backbone\.0\.layers\.(\d+)\.downsample\.", r"backbone.downsamples.\1."),
        (r"^backbone\.0\.norm1\.", r"backbone.norms.0."),
        (r"^backbone\.0\.norm2\.", r"backbone.norms.1."),
        (r"^backbone\.0\.norm3\.", r"backbone.norms.2."),
        (r"^input_proj\.", r"neck.projections."),
        (r"^transformer\.level_embed$", r"neck.level_embed"),
        (r"^bert\.", r"text_encoder.bert."),
        (r"^feat_map\.", r"text_encoder.projection."),
        (r"^transformer\.encoder\.fusion_layers\.(\d+)\.", r"enhancer.layers.\1.fusion."),
        (r"^transformer\.encoder\.text_layers\.(\d+)\.", r"enhancer.layers.\1.text."),
        (r"^transformer\.encoder\.layers\.(\d+)\.", r"enhancer.layers.\1.image."),
        (r"\.fusion\.gamma_v$", r".fusion.image_gain"),
        (r"\.fusion\.gamma_l$", r".fusion.text_gain"),
        (r"\.fusion\.layer_norm_v\.", r".fusion.image_norm."),
        (r"\.fusion\.layer_norm_l\.", r".fusion.text_norm."),
        (r"\.fusion\.attn\.v_proj\.", r".fusion.attention.image_query."),
        (r"\.fusion\.attn\.l_proj\.", r".fusion.attention.text_key."),
        (r"\.fusion\.attn\.values_v_proj\.", r".fusion.attention.image_value."),
        (r"\.fusion\.attn\.values_l_proj\.", r".fusion.attention.text_value."),
        (r"\.fusion\.attn\.out_v_proj\.", r".fusion.attention.image_output."),
        (r"\.fusion\.attn\.out_l_proj\.", r".fusion.attention.text_output."),
        (r"^transformer\.enc_output\.", r"query_selection.output."),
        (r"^transformer\.enc_output_norm\.", r"query_selection.norm."),
        (r"^transformer\.enc_out_bbox_embed\.", r"query_selection.box_head."),
        (r"^transformer\.tgt_embed\.", r"query_selection.content."),
        # one head for all layers, stored under the name of each and once more under the decoder's
        (r"^(?:transformer\.decoder\.)?bbox_embed\.\d+\.", r"decoder.box_head."),
        (r"^transformer\.decoder\.ref_point_head\.", r"decoder.position_head."),
        (r"^transformer\.decoder\.", r"decoder."),
        (r"^(decoder\.layers\.\d+)\.norm1\.", r"\1.image_norm."),
        (r"^(decoder\.layers\.\d+)\.norm2\.", r"\1.self_norm."),
        (r"^(decoder\.layers\.\d+)\.norm3\.", r"\1.ffn_norm."),
        (r"^(decoder\.layers\.\d+)\.catext_norm\.", r"\1.text_norm."),
        (r"^(decoder\.layers\.\d+)\.ca_text\.", r"\1.text_attn."),
        (r"^(decoder\.layers\.\d+)\.cross_attn\.", r"\1.image_attn."),
        (r"\.(linear[12])\.", r".ffn.\1."),
    ),
)

# Alternatives such as (?:self\.query|q_proj): files keep the names of transformers before version 5, a live model of
# version 5 has the others.
TRANSFORMERS = Layout(
    name="transformers' layout",
    mark=r"model\.query_position_embeddings\.weight",
    dropped=(
        r"model\.backbone\.conv_encoder\.model\.(swin\.)?layernorm\..+",  # each stage has a norm of its own instead
        r"model\.backbone\..+\.relative_position_index",
        r"model\.text_backbone\.pooler\..+",
        r"model\.text_backbone\.embeddings\.position_ids",
    ),
    renamed=(
        (r"^model\.backbone\.conv_encoder\.model\.(?:swin\.)?", r"backbone."),
        (r"^backbone\.embeddings\.patch_embeddings\.projection\.", r"backbone.patch_embed."),
        (r"^backbone\.embeddings\.norm\.", r"backbone.patch_norm."),
        (r"^backbone\.encoder\.layers\.(\d+)\.downsample\.", r"backbone.downsamples.\1."),
        (r"^backbone\.hidden_states_norms\.stage2\.", r"backbone.norms.0."),
        (r"^backbone\.hidden_states_norms\.stage3\.", r"backbone.norms.1."),
        (r"^backbone\.hidden_states_norms\.stage4\.", r"backbone.norms.2."),
        (r"^backbone\.encoder\.layers\.(\d+)\.blocks\.(\d+)\.", r"backbone.stages.\1.\2."),
        (r"^(backbone.+)\.attention\.(?:self\.query|q_proj)\.", r"\1.attn.qkv[0]."),
        (r"^(backbone.+)\.attention\.(?:self\.key|k_proj)\.", r"\1.attn.qkv[1]."),
        (r"^(backbone.+)\.attention\.(?:self\.value|v_proj)\.", r"\1.attn.qkv[2]."),
        (r"^(backbone.+)\.attention\.(?:self|relative_position_bias)\.(relative_position_bias_table)$", r"\1.attn.\2"),
        (r"^(backbone.+)\.attention\.(?:output\.dense|o_proj)\.", r"\1.attn.proj."),
        (r"^(backbone.+)\.layernorm_before\.", r"\1.norm1."),
        (r"^(backbone.+)\.layernorm_after\.", r"\1.norm2."),
        (r"^(backbone.+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
        (r"^(backbone.+)\.output\.dense\.", r"\1.mlp.fc2."),
        (r"^model\.input_proj_vision\.", r"neck.projections."),
        (r"^model\.level_embed$", r"neck.level_embed"),
        (r"^model\.text_backbone\.", r"text_encoder.bert."),
        (r"^model\.text_projection\.", r"text_encoder.projection."),
        (r"^model\.encoder\.layers\.(\d+)\.fusion_layer\.", r"enhancer.layers.\1.fusion."),
        (r"^model\.encoder\.layers\.(\d+)\.text_enhancer_layer\.", r"enhancer.layers.\1.text."),
        (r"^model\.encoder\.layers\.(\d+)\.deformable_layer\.", r"enhancer.layers.\1.image."),
        (r"\.fusion\.vision_param$", r".fusion.image_gain"),
        (r"\.fusion\.text_param$", r".fusion.text_gain"),
        (r"\.fusion\.layer_norm_vision\.", r".fusion.image_norm."),
        (r"\.fusion\.layer_norm_text\.", r".fusion.text_norm."),
        (r"\.fusion\.attn\.vision_proj\.", r".fusion.attention.image_query."),
        (r"\.fusion\.attn\.text_proj\.", r".fusion.attention.text_key."),
        (r"\.fusion\.attn\.values_vision_proj\.", r".fusion.attention.image_value."),
        (r"\.fusion\.attn\.values_text_proj\.", r".fusion.attention.text_value."),
        (r"\.fusion\.attn\.out_vision_proj\.", r".fusion.attention.image_output."),
        (r"\.fusion\.attn\.out_text_proj\.", r".fusion.attention.text_output."),
        (r"\.text\.layer_norm_before\.", r".text.norm1."),
        (r"\.text\.layer_norm_after\.", r".text.norm2."),
        (r"\.image\.self_attn_layer_norm\.", r".image.norm1."),
        (r"\.image\.final_layer_norm\.", r".image.norm2."),
        (r"^model\.enc_output\.", r"query_selection.output."),
        (r"^model\.enc_output_norm\.", r"query_selection.norm."),
        (r"^model\.encoder_output_bbox_embed\.", r"query_selection.box_head."),
        (r"^model\.query_position_embeddings\.", r"query_selection.content."),
        # one head for all layers; which of its names a file keeps depends on the version that wrote it
        (r"^(?:model\.decoder\.)?bbox_embed\.\d+\.", r"decoder.box_head."),
        (r"^model\.decoder\.reference_points_head\.", r"decoder.position_head."),
        (r"^model\.decoder\.layer_norm\.", r"decoder.norm."),
        (r"^model\.decoder\.", r"decoder."),
        (r"^(decoder.+)\.self_attn_layer_norm\.", r"\1.self_norm."),
        (r"^(decoder.+)\.encoder_attn_text_layer_norm\.", r"\1.text_norm."),
        (r"^(decoder.+)\.encoder_attn_layer_norm\.", r"\1.image_norm."),
        (r"^(decoder.+)\.final_layer_norm\.", r"\1.ffn_norm."),
        (r"^(decoder.+)\.encoder_attn_text\.", r"\1.text_attn."),
        (r"^(decoder.+)\.encoder_attn\.", r"\1.image_attn."),
        (r"^((?:enhancer|decoder).+)_attn\.query\.", r"\1_attn.in_proj[0]_"),
        (r"^((?:enhancer|decoder).+)_attn\.key\.", r"\1_attn.in_proj[1]_"),
        (r"^((?:enhancer|decoder).+)_attn\.value\.", r"\1_attn.in_proj[2]_"),
        (r"^((?:enhancer|decoder).+)\.fc([12])\.", r"\1.ffn.linear\2."),
    ),
)


LAYOUTS = (OURS, AUTHORS, TRANSFORMERS)


def strip_prefix(state: Mapping[str, Tensor], marks: Iterable[str] = ()) -> dict[str, Tensor]:
    """The same tensors without what training code puts before every name.

    Parallel training says `module.`, a training framework `model.` or what else it calls the model, often several of
    them; `torch.compile` adds `_orig_mod.` anywhere.

    Args:
        marks: Patterns of names that the model is known by: what stands before one of them goes, from all names. By
            default those of the layouts. Where none is there, `module.` goes.
    """
    names = {name: name.replace("_orig_mod.", "") for name in state}
    known = re.compile(rf"((?:\w+\.)*?)(?:{'|'.join(marks or (layout.mark for layout in LAYOUTS))})")
    prefix = next((found[1] for name in names.values() if (found := known.fullmatch(name))), "module.")
    return {names[name].removeprefix(prefix): tensor for name, tensor in state.items()}


def find_layout(names: Iterable[str]) -> Layout:
    """The layout whose mark is among the names, which are as `strip_prefix` leaves them.

    Raises:
        ValueError: none is.
    """
    names = list(names)
    for layout in LAYOUTS:
        if any(re.fullmatch(layout.mark, name) for name in names):
            return layout
    some = ", ".join(names[:3]) or "none at all"
    raise ValueError(
        f"These are no Grounding DINO weights in the authors', transformers' or our own layout: the names are {some}."
    )


def to_our_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a checkpoint's tensors, drop those that inference does not use, stack those we keep stacked.

    Args:
        state: names and tensors in any of the layouts, with or without a prefix.

    Raises:
        ValueError: the layout is unknown, or two tensors that should be one (the box head that all decoder layers share
            stands under every name it has) differ.
    """
    state = strip_prefix(state)
    layout = find_layout(state)
    ours: dict[str, Tensor] = {}
    parts: dict[str, dict[int, Tensor]] = defaultdict(dict)
    for name, tensor in state.items():
        if any(re.fullmatch(pattern, name) for pattern in layout.dropped):
            continue
        new_name = _rename(name, layout)
        if part := re.search(r"\[(\d)\]", new_name):
            parts[new_name.replace(part[0], "")][int(part[1])] = tensor
        elif new_name not in ours:
            ours[new_name] = tensor
        elif not torch.equal(ours[new_name], tensor):
            raise ValueError(
                f"The checkpoint holds two different values for '{new_name}', the second as '{name}': "
                "box heads of each decoder layer's own, as in MM Grounding DINO and LLMDet, are not supported."
            )
    for name, found in parts.items():
        if len(found) == 3:  # otherwise the name stays missing, and a strict load says so
            ours[name] = torch.cat([found[index] for index in range(3)])
    return ours


def _rename(name: str, layout: Layout) -> str:
    for pattern, replacement in layout.renamed:
        name = re.sub(pattern, replacement, name)
    return name
