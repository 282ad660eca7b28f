"""The embedded segmenter: a Segment Anything model (arXiv 2304.02643) small enough to train and run on a CPU.

segment-anything's own prompt encoder and mask decoder on the detector's small residual backbone, where published models
have a ViT: convolutions learn edges from far fewer pictures.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from groundingdino.config import ResNetConfig
from groundingdino.model.backbone import ResNet
from groundingdino.weight_files import write_weights

IMAGE_SIZE = 384  # pixels of the long side; masks have half as many cells, which scales as the picture does
STRIDE = 8
DIM = 96
BACKBONE = ResNetConfig(channels=(32, 64, 128, 192), depths=(1, 1, 2, 1), stem_width=16, pyramid_dim=DIM)


class ImageEncoder(nn.Module):
    """In the place of segment-anything's `ImageEncoderViT`."""

    def __init__(self, img_size: int):
        super().__init__()
        self.img_size = img_size  # `Sam` and `SamPredictor` read it under this name
        self.backbone = ResNet(BACKBONE)
        self.neck = nn.Sequential(nn.Conv2d(DIM, DIM, 1), nn.GroupNorm(1, DIM))

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, C, H / 8, W / 8)."""
        finest, *others = (level.permute(0, 3, 1, 2) for level in self.backbone(pixels))
        for level in others:
            finest = finest + F.interpolate(level, finest.shape[2:], mode="bilinear")
        return self.neck(finest)


def build_embedded_sam(image_size: int = IMAGE_SIZE) -> Sam:
    """The architecture with fresh weights, whose shapes do not depend on the size: training starts with a small one.

    Args:
        image_size: pixels of the square that pictures are fitted into, a multiple of 32.
    """
    grid = (image_size // STRIDE, image_size // STRIDE)
    return Sam(
        image_encoder=ImageEncoder(image_size),
        prompt_encoder=PromptEncoder(
            embed_dim=DIM, image_embedding_size=grid, input_image_size=(image_size, image_size), mask_in_chans=16
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=DIM,
            transformer=TwoWayTransformer(depth=2, embedding_dim=DIM, num_heads=4, mlp_dim=256),
            iou_head_depth=3,
            iou_head_hidden_dim=DIM,
        ),
    )


def save_embedded_sam(model: Sam, path: Path) -> None:
    """Save trained weights as the embedded segmenter is shipped, in half precision."""
    state = {name: x.to(torch.float16) if x.is_floating_point() else x for name, x in model.state_dict().items()}
    write_weights(state, {}, path)
