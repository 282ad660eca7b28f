"""What the embedded segmenter sees of a picture before any prompt: an embedding, and a fine map for the edges."""

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import LayerNorm2d
from timm.layers import ConvNormAct
from torch import Tensor, nn

from groundingdino.model.backbones import ResNet, TimmBackbone, build_backbone
from groundingdino.model.config import ResNetConfig, TimmConfig
from groundingdino.segmentation.packing import pack, unpack

IMAGE_SIZE = 512  # pixels of the long side; masks have half as many cells, which scales as the picture does
STRIDE = 8  # of the embedding
DEEPEST_STRIDE = 32  # of the backbone: sides of parts of a picture are multiples of it
FINE_STRIDE = 2  # of the fine map and of masks
DIM = 96
FINE_DIM = DIM // 8  # what the mask decoder's enlarging ends with
FINE_WIDTH = 16


class ObjectHead(nn.Module):
    """Reads from features, without a prompt, what is an object, where one ends and how far each reaches.

    Training teaches it, so that every pixel teaches the image encoder, not only those pointed at; `proposals` uses it.
    Where an object lies on another, its end is an edge among many: it takes edges and a look far around to tell.
    """

    WIDTH = 96
    EDGES = 32
    UNIT = 64.0  # pixels

    def __init__(self) -> None:
        super().__init__()
        self.outline = nn.Conv2d(FINE_DIM, 2, 1)
        self.edges = ConvNormAct((STRIDE // FINE_STRIDE) ** 2 * (FINE_DIM + 3), self.EDGES, 1)
        self.around = nn.Sequential(
            ConvNormAct(DIM + self.EDGES, self.WIDTH, 3),
            ConvNormAct(self.WIDTH, self.WIDTH, 3, dilation=2),
            ConvNormAct(self.WIDTH, self.WIDTH, 3, dilation=4),
        )
        self.cell = nn.Conv2d(self.WIDTH, 5, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the features of B pictures (B, C + 16 (F + 3), H / 8, W / 8).

        Returns:
            Logits (B, 2, H / 2, W / 2) of being object, and of being at the edge of one; logits (B, H / 8, W / 8) of a
            cell's centre lying on an object; and (B, 4, H / 8, W / 8) pixels from there to the left, top, right and
            bottom of what is seen of that object.
        """
        coarse, fine, _ = split_features(features)
        edges = self.edges(features[:, DIM:])  # as it is packed: all that lies in a cell
        cells = self.cell(self.around(torch.cat([coarse, edges], dim=1)))
        return self.outline(fine), cells[:, 4], self.UNIT * cells[:, :4]


class ImageEncoder(nn.Module):
    """In the place of segment-anything's `ImageEncoderViT`.

    Args:
        img_size: pixels of the square that pictures are fitted into.
        backbone: that of an embedded detector, so that training starts from what that has learned to see.
    """

    def __init__(self, img_size: int, backbone: ResNetConfig | TimmConfig):
        super().__init__()
        self.img_size = img_size  # `Sam` and `SamPredictor` read it under this name
        built = build_backbone(backbone)
        assert isinstance(built, ResNet | TimmBackbone)
        self.backbone = built
        half, quarter, *_ = built.level_channels
        self.neck = nn.Sequential(nn.Conv2d(backbone.pyramid_dim, DIM, 1), LayerNorm2d(DIM))
        self.fine_stem = ConvNormAct(half, FINE_WIDTH, 3)
        self.fine_shallow = ConvNormAct(quarter, FINE_WIDTH, 3)
        self.fine_deep = ConvNormAct(backbone.pyramid_dim, FINE_WIDTH, 1)
        # Normalised to the scale of what the decoder adds to it for the prompt: were it larger, the sum would hardly
        # depend on the prompt, and training would go into the fine map alone.
        self.fine_out = nn.Sequential(nn.Conv2d(FINE_WIDTH, FINE_DIM, 3, padding=1), LayerNorm2d(FINE_DIM))
        self.objects = ObjectHead()  # not part of `forward`: it reads the features beside the mask decoder

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W), sides multiples of 8, to (B, C + 16 (F + 3), H / 8, W / 8): see `split_features`."""
        levels = self.backbone.levels(pixels)
        half, quarter, *_ = levels
        finest, *others = self.backbone.merge_levels(levels)
        for level in others:
            finest = finest + F.interpolate(level, finest.shape[2:], mode="bilinear")
        fine = self.fine_shallow(quarter) + _double(self.fine_deep(finest))
        fine = self.fine_out(self.fine_stem(half) + _double(fine))
        fine = torch.cat([fine, F.avg_pool2d(pixels, FINE_STRIDE)], dim=1)
        return pack(self.neck(finest), fine)


def split_features(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What `ImageEncoder` packs into one tensor, because `SamPredictor` keeps one.

    Args:
        features: (B, C + 16 (F + 3), H / 8, W / 8).

    Returns:
        The embedding (B, C, H / 8, W / 8), the fine map (B, F, H / 2, W / 2) and the picture itself as small
        (B, 3, H / 2, W / 2).
    """
    coarse, fine = unpack(features, (FINE_DIM + 3, STRIDE // FINE_STRIDE))
    return coarse, *fine.split([FINE_DIM, 3], dim=1)


def _double(image: Tensor) -> Tensor:
    return F.interpolate(image, scale_factor=2, mode="bilinear")
