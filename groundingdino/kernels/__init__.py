"""Multi-scale deformable attention: one definition (`reference`), faster kernels, and the choice between them."""

from groundingdino.kernels.choice import Choice, choose, deformable_attention_of_offsets

__all__ = ["Choice", "choose", "deformable_attention_of_offsets"]
