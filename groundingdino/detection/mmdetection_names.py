"""Parameter names of mmdetection's MM Grounding DINO, and of LLMDet after it, to ours."""

import re

from torch import Tensor

from groundingdino.detection.layout import FUSION, Layout


def _prepare_mmdetection(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What mmdetection counts or orders otherwise than all others do.

    Convolutions of the neck beyond the backbone's maps start at 0 again; the last of the heads is query selection's; a
    head's bias is a list of one; and where Swin merges four patches, their channels alternate.
    """
    maps = 1 + max((int(found[1]) for name in state if (found := re.match(r"neck\.convs\.(\d+)\.", name))), default=0)
    heads = [int(found[1]) for name in state if (found := re.match(r"bbox_head\.reg_branches\.(\d+)\.", name))]
    prepared = {}
    for name, tensor in state.items():
        if re.fullmatch(r"backbone\.stages\.\d+\.downsample\..+", name) and tensor.shape[-1] % 4 == 0:
            # (C, 2 rows x 2 columns) to (2 columns x 2 rows, C)
            tensor = tensor.unflatten(-1, (-1, 4)).mT[..., [0, 2, 1, 3], :].flatten(-2)
        if re.fullmatch(r"bbox_head\.cls_branches\.\d+\.bias", name):
            tensor = tensor.squeeze()
        if found := re.match(r"neck\.extra_convs\.(\d+)\.", name):
            name = f"neck.convs.{maps + int(found[1])}.{name[found.end() :]}"
        if heads and (found := re.match(rf"bbox_head\.(cls|reg)_branches\.{max(heads)}\.", name)):
            name = f"query_selection.{found[1]}_branch.{name[found.end() :]}"
        prepared[name] = tensor
    return prepared


MMDETECTION = Layout(
    name="mmdetection's layout",
    mark=r"text_feat_map\.weight",
    dropped=(
        r"dn_query_generator\.label_embedding\.weight",  # denoising queries of training
        r"language_model\.language_backbone\.body\.model\.embeddings\.position_ids",
        r"language_model\.language_backbone\.body\.model\.pooler\..+",
        r"backbone\..+\.relative_position_index",
        # of LLMDet: the language model that it learnt from, and what led there
        r"(lmm|connector|region_connector)\..+",
        r"image_seperate\.weight",
        r"ref_point_head\..+",
    ),
    renamed=(
        (r"^backbone\.patch_embed\.projection\.", r"backbone.patch_embed."),
        (r"^backbone\.patch_embed\.norm\.", r"backbone.patch_norm."),
        (r"^backbone\.stages\.(\d+)\.downsample\.", r"backbone.downsamples.\1."),
        (r"^backbone\.stages\.(\d+)\.blocks\.", r"backbone.stages.\1."),
        (r"^backbone\.norm(\d+)\.", r"backbone.norms.\1."),
        (r"^(backbone.+)\.attn\.w_msa\.", r"\1.attn."),
        (r"^(backbone.+)\.ffn\.layers\.0\.0\.", r"\1.mlp.fc1."),
        (r"^(backbone.+)\.ffn\.layers\.1\.", r"\1.mlp.fc2."),
        (r"^neck\.convs\.(\d+)\.conv\.", r"neck.projections.\1.0."),
        (r"^neck\.convs\.(\d+)\.gn\.", r"neck.projections.\1.1."),
        (r"^level_embed$", r"neck.level_embed"),
        (r"^language_model\.language_backbone\.body\.model\.", r"text_encoder.bert."),
        (r"^text_feat_map\.", r"text_encoder.projection."),
        (r"^encoder\.fusion_layers\.(\d+)\.", r"enhancer.layers.\1.fusion."),
        (r"^encoder\.text_layers\.(\d+)\.", r"enhancer.layers.\1.text."),
        (r"^encoder\.layers\.(\d+)\.", r"enhancer.layers.\1.image."),
        *FUSION,
        (r"^(enhancer.+)\.norms\.0\.", r"\1.norm1."),
        (r"^(enhancer.+)\.norms\.1\.", r"\1.norm2."),
        (r"^memory_trans_fc\.", r"query_selection.output."),
        (r"^memory_trans_norm\.", r"query_selection.norm."),
        (r"^query_embedding\.", r"query_selection.content."),
        (r"^query_selection\.reg_branch\.", r"query_selection.box_head."),
        (r"^query_selection\.cls_branch\.", r"query_selection.class_head."),
        (r"^bbox_head\.reg_branches\.(\d+)\.", r"decoder.box_heads.\1."),
        (r"^bbox_head\.cls_branches\.(\d+)\.", r"decoder.class_heads.\1."),
        # of linear layers and ReLUs in turns
        (r"(\.box_heads?.*)\.0\.(weight|bias)$", r"\1.layers.0.\2"),
        (r"(\.box_heads?.*)\.2\.(weight|bias)$", r"\1.layers.1.\2"),
        (r"(\.box_heads?.*)\.4\.(weight|bias)$", r"\1.layers.2.\2"),
        (r"^decoder\.ref_point_head\.", r"decoder.position_head."),
        (r"^(decoder.+)\.norms\.0\.", r"\1.self_norm."),
        (r"^(decoder.+)\.norms\.1\.", r"\1.text_norm."),
        (r"^(decoder.+)\.norms\.2\.", r"\1.image_norm."),
        (r"^(decoder.+)\.norms\.3\.", r"\1.ffn_norm."),
        (r"^(decoder.+)\.cross_attn_text\.", r"\1.text_attn."),
        (r"^(decoder.+)\.cross_attn\.", r"\1.image_attn."),
        (r"_attn\.attn\.", r"_attn."),
        (r"^((?:enhancer|decoder).+)\.ffn\.layers\.0\.0\.", r"\1.ffn.linear1."),
        (r"^((?:enhancer|decoder).+)\.ffn\.layers\.1\.", r"\1.ffn.linear2."),
    ),
    prepared=_prepare_mmdetection,
)
