"""Parameter names: from the authors' checkpoints, transformers' and mmdetection's to ours.

Each `Layout` is one table of substitutions; mmdetection's is in `mmdetection_names`.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from groundingdino.detection.layout import FUSION, Layout
from groundingdino.detection.mmdetection_names import MMDETECTION

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
        (r"^backbone\.0\.norm(\d+)\.", r"backbone.norms.\1."),
        (r"^input_proj\.", r"neck.projections."),
        (r"^transformer\.level_embed$", r"neck.level_embed"),
        (r"^bert\.", r"text_encoder.bert."),
        (r"^feat_map\.", r"text_encoder.projection."),
        (r"^transformer\.encoder\.fusion_layers\.(\d+)\.", r"enhancer.layers.\1.fusion."),
        (r"^transformer\.encoder\.text_layers\.(\d+)\.", r"enhancer.layers.\1.text."),
        (r"^transformer\.encoder\.layers\.(\d+)\.", r"enhancer.layers.\1.image."),
        *FUSION,
        (r"^transformer\.enc_output\.", r"query_selection.output."),
        (r"^transformer\.enc_output_norm\.", r"query_selection.norm."),
        (r"^transformer\.enc_out_bbox_embed\.", r"query_selection.box_head."),
        (r"^transformer\.tgt_embed\.", r"query_selection.content."),
        # stored under the name of each layer and once more under the decoder's
        (r"^(?:transformer\.decoder\.)?bbox_embed\.(\d+)\.", r"decoder.box_heads.\1."),
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
        (r"^backbone\.hidden_states_norms\.stage(\d+)\.", r"backbone.norms.\1."),
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
        (r"^model\.encoder_output_class_embed\.", r"query_selection.class_head."),
        # which of its names a file keeps depends on the version that wrote it
        (r"^(?:model\.decoder\.)?bbox_embed\.(\d+)\.", r"decoder.box_heads.\1."),
        (r"^(?:model\.decoder\.)?class_embed\.(\d+)\.", r"decoder.class_heads.\1."),
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


LAYOUTS = (OURS, AUTHORS, TRANSFORMERS, MMDETECTION)


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
        "These are no Grounding DINO weights in the authors', transformers', mmdetection's or our own layout: "
        f"the names are {some}."
    )


def to_our_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a checkpoint's tensors, drop those that inference does not use, stack those we keep stacked.

    Heads of the decoder's layers that are all the same become one, whatever the layout stores them as.

    Args:
        state: names and tensors in any of the layouts, with or without a prefix.

    Raises:
        ValueError: the layout is unknown, or two tensors that should be one differ.
    """
    state = strip_prefix(state)
    layout = find_layout(state)
    ours: dict[str, Tensor] = {}
    parts: dict[str, dict[int, Tensor]] = defaultdict(dict)
    for name, tensor in layout.prepared(state).items():
        place = our_name_of(name, layout)
        if place is None:
            continue
        new_name, part = place
        if part is not None:
            parts[new_name][part] = tensor
        elif new_name not in ours:
            ours[new_name] = tensor
        elif not torch.equal(ours[new_name], tensor):
            raise ValueError(
                f"The checkpoint holds two different values for '{new_name}', the second as '{name}': download it "
                "again, or save it anew."
            )
    for name, found in parts.items():
        if len(found) == 3:  # otherwise the name stays missing, and a strict load says so
            ours[name] = torch.cat([found[index] for index in range(3)])
    return _gather_heads(_count_norms(ours))


def our_name_of(name: str, layout: Layout) -> tuple[str, int | None] | None:
    """Where the tensor that a layout calls `name` goes: our name, still numbered as the layout does, and which third
    of a stacked tensor it is. None for what inference does not use."""
    if any(re.fullmatch(pattern, name) for pattern in layout.dropped):
        return None
    ours = _rename(name, layout)
    part = re.search(r"\[(\d)\]", ours)
    return (ours.replace(part[0], ""), int(part[1])) if part else (ours, None)


def fit_heads(state: Mapping[str, Tensor], layers: int, own_heads: bool) -> dict[str, Tensor]:
    """A state in our names for a decoder whose layers have heads of their own, or one for all.

    Raises:
        ValueError: the layers' heads differ where there is one for all.
    """
    fitted = dict(state)
    for kind in ("box", "class"):
        earlier, one = f"decoder.earlier_{kind}_heads.", f"decoder.{kind}_head."
        if any(name.startswith(earlier) for name in state):
            if not own_heads:
                raise ValueError(
                    f"The checkpoint has a {kind} head for each decoder layer, and they differ, but the model has one "
                    "for all: set own_heads=True in its configuration, in transformers' decoder_bbox_embed_share=False."
                )
        elif own_heads:
            for name in [name for name in state if name.startswith(one)]:
                fitted |= {f"{earlier}{layer}.{name.removeprefix(one)}": state[name] for layer in range(layers - 1)}
    return fitted


def _count_norms(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The norms of the backbone's maps, which others number by stage, numbered from 0."""
    norm = re.compile(r"backbone\.norms\.(\d+)")
    first = min((int(found[1]) for name in state if (found := norm.match(name))), default=0)
    return {norm.sub(lambda found: f"backbone.norms.{int(found[1]) - first}", name): x for name, x in state.items()}


def _gather_heads(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The numbered heads of the decoder as it keeps them: one of them if all are the same, or the last and the rest."""
    gathered = {}
    heads: dict[str, dict[int, dict[str, Tensor]]] = {"box": defaultdict(dict), "class": defaultdict(dict)}
    for name, tensor in state.items():
        if found := re.match(r"decoder\.(box|class)_heads\.(\d+)\.", name):
            heads[found[1]][int(found[2])][name[found.end() :]] = tensor
        else:
            gathered[name] = tensor
    for kind, numbered in heads.items():
        last = max(numbered, default=0)
        if all(_same(head, numbered[last]) for head in numbered.values()):
            numbered = {last: numbered[last]}
        for layer, head in numbered.items():
            place = f"{kind}_head" if layer == last else f"earlier_{kind}_heads.{layer}"
            gathered |= {f"decoder.{place}.{part}": tensor for part, tensor in head.items()}
    return gathered


def _same(head: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return head.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in head.items())


def _rename(name: str, layout: Layout) -> str:
    for pattern, replacement in layout.renamed:
        name = re.sub(pattern, replacement, name)
    return name
