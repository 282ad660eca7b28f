"""How one kind of file names its tensors, as one table of substitutions.

All of them are applied to every name, from the top: first the place in the model, then the part within it. A name that
none of them fits stays as it is, and a strict load reports it as left over.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Layout(NamedTuple):
    """One kind of file."""

    name: str
    mark: str  # pattern of a name that every file of this layout has and no other
    dropped: tuple[str, ...]  # patterns of tensors that inference does not use
    renamed: tuple[tuple[str, str], ...]  # pattern, replacement; "[i]" in a result marks part i of a stacked tensor
    prepared: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict  # what no pattern can do, before all of them


# The parts of the fusion as the authors call them, and mmdetection after them.
FUSION = (
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
)
