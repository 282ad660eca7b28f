"""What a Grounding DINO is made of: sizes as frozen dataclasses, and the sizes that exist.

Shapes elsewhere in the package use one legend: `B` batch, `Q` queries, `T` text tokens, `S` image tokens, `L` levels,
`C` channels.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar

# Of ImageNet's pictures: mean and standard deviation of red, green and blue in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class SwinConfig:
    """Swin Transformer backbone (arXiv 2103.14030); the maps of its last stages are used."""

    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window_size: int = 7
    first_stage: int = 1  # whose map is used, as those of all stages behind it; counted from 0

    @property
    def finest_stride(self) -> int:
        """Pixels between two places of the finest map that is used."""
        return 4 * 2**self.first_stage


@dataclass(frozen=True)
class ResNetConfig:
    """A small residual backbone from timm's blocks, cheap enough to train on a CPU; the last three stages are used.

    A pyramid brings what the deep stages know down to the fine maps: six convolutions alone cannot name what is small.
    """

    channels: tuple[int, ...] = (48, 96, 192, 288)
    depths: tuple[int, ...] = (1, 1, 2, 1)
    stem_width: int = 24
    pyramid_dim: int = 128
    finest_stride: ClassVar[int] = 8


@dataclass(frozen=True)
class TimmConfig:
    """A network of timm, pretrained for ImageNet's names, whose maps shrink by 2, 4, 8, 16 and 32, with a pyramid."""

    name: str = "tf_efficientnet_lite0"
    pyramid_dim: int = 128
    finest_stride: ClassVar[int] = 8


@dataclass(frozen=True)
class TextConfig:
    """BERT's sizes (arXiv 1810.04805); the defaults are those of `bert-base-uncased`."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    vocab_size: int = 30522
    max_position_embeddings: int = 512


@dataclass(frozen=True)
class GroundingDINOConfig:
    """Sizes of the whole model (arXiv 2303.05499); the defaults are those of the published Swin-T model."""

    backbone: SwinConfig | ResNetConfig | TimmConfig = field(default_factory=SwinConfig)
    text: TextConfig = field(default_factory=TextConfig)
    hidden_dim: int = 256
    num_heads: int = 8
    ffn_dim: int = 2048
    enhancer_layers: int = 6
    decoder_layers: int = 6
    num_queries: int = 900
    num_levels: int = 4  # feature maps; beyond the backbone's own each is a stride-2 convolution of the one before
    num_points: int = 4  # sampling points per head and level in deformable attention
    max_tokens: int = 256  # text tokens of one pass, special tokens included
    short_side: int = 800  # pixels; pictures are scaled to this short side ...
    long_side: int = 1333  # ... unless the long side would exceed this
    image_mean: tuple[float, float, float] = IMAGENET_MEAN  # of red, green and blue in [0, 1]; taken off each pixel ...
    image_std: tuple[float, float, float] = IMAGENET_STD  # ... which is divided by this
    # The authors clamp probabilities at 1e-3 before taking logits; the transformers port at 1e-5. Boxes differ by it.
    logit_eps: float = 1e-3
    # What MM Grounding DINO (arXiv 2401.02361) does otherwise than the paper, and LLMDet with it:
    own_heads: bool = False  # each decoder layer has a box head and a class head of its own; else one serves them all
    scaled_scores: bool = False  # class heads divide a token's score by sqrt(hidden_dim) and add a learned bias

    @property
    def fusion_dim(self) -> int:
        """Width of the image-text attention: half the FFN's, as published."""
        return self.ffn_dim // 2

    @property
    def fusion_heads(self) -> int:
        """Heads of the image-text attention and of the text layers: half the model's, as published."""
        return self.num_heads // 2


SWIN_T = GroundingDINOConfig()
SWIN_B = GroundingDINOConfig(
    backbone=SwinConfig(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), window_size=12),
)
# The paper's was never released; MM Grounding DINO's has four maps and five levels.
SWIN_L = GroundingDINOConfig(
    backbone=SwinConfig(embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48), window_size=12, first_stage=0),
    num_levels=5,
)
# MM Grounding DINO and LLMDet, as transformers has them: with its own `logit_eps`.
MM_SWIN_T, MM_SWIN_B, MM_SWIN_L = (
    replace(config, own_heads=True, scaled_scores=True, logit_eps=1e-5) for config in (SWIN_T, SWIN_B, SWIN_L)
)
EMBEDDED = GroundingDINOConfig(
    backbone=ResNetConfig(),
    text=TextConfig(
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        vocab_size=2048,
        max_position_embeddings=256,
    ),
    hidden_dim=128,
    num_heads=4,
    ffn_dim=256,
    enhancer_layers=2,
    decoder_layers=3,
    num_queries=100,
    short_side=384,
    long_side=640,
)
# What a training builds: the embedded detector that is to know photographs as well as drawings.
PHOTOGRAPHIC = replace(
    EMBEDDED,
    backbone=TimmConfig(),
    text=replace(EMBEDDED.text, vocab_size=2304),
    short_side=256,  # as it has learned; at half as many pixels again it names a third fewer of the animals right
    long_side=448,
)
