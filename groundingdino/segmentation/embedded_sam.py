"""The embedded segmenter: a Segment Anything model (arXiv 2304.02643) small enough to train and run on a CPU.

segment-anything's own prompt encoder and mask decoder on the backbone of an embedded detector, where published models
have a ViT: convolutions learn edges from far fewer pictures. Edges come from a fine map of the picture beside its
embedding, which the decoder adds while it enlarges a mask, as HQ-SAM (arXiv 2306.01567) and SAM 2 do.
"""

from pathlib import Path

import torch
from segment_anything.modeling import PromptEncoder, Sam
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from groundingdino.files.weight_files import half_state, write_weights
from groundingdino.model.config import ResNetConfig, TimmConfig
from groundingdino.segmentation.embedded_decoder import FineMaskDecoder
from groundingdino.segmentation.embedded_encoder import DIM, IMAGE_SIZE, STRIDE, ImageEncoder


class DrawingPromptEncoder(PromptEncoder):
    """segment-anything's prompt encoder, which also draws boxes and clicks into the dense embedding.

    Each cell is told where the prompt lies from its own place, as interactive segmentation by clicks does (RITM, arXiv
    2102.06583): what attention finds out from position encodings after many pictures, a convolution reads off.
    """

    MAPS = 11
    UNIT = 64.0  # pixels
    FARTHEST = 4.0  # units: beyond it is far

    def __init__(self, image_size: int):
        grid = (image_size // STRIDE, image_size // STRIDE)
        super().__init__(DIM, image_embedding_size=grid, input_image_size=(image_size, image_size), mask_in_chans=16)
        # Encodings that tell places half as far apart: things here fill less of a picture than in photographs.
        self.pe_layer.positional_encoding_gaussian_matrix *= 2
        self.drawing = nn.Sequential(
            nn.Conv2d(self.MAPS, DIM // 2, 1), nn.GELU(), nn.Conv2d(DIM // 2, DIM, 1), LayerNorm2d(DIM)
        )

    def forward(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """As `PromptEncoder`: sparse embeddings (N, P, C) and dense ones (N, C, h, w) of N prompts."""
        everywhere = slice(None)
        return self.embed(points, boxes, masks, (everywhere, everywhere))

    def embed(
        self,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        masks: Tensor | None,
        window: tuple[slice, slice],
    ) -> tuple[Tensor, Tensor]:
        """The same for some rows and columns of the embedding, which are all that `masks` shows."""
        sparse, dense = super().forward(points, boxes, masks)
        if masks is None:
            dense = dense[..., window[0], window[1]]
        return sparse, dense + self.drawing(self.draw(points, boxes)[..., window[0], window[1]])

    def draw(self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None) -> Tensor:
        """Where N prompts lie from the centre of each cell, (N, 11, h, w), distances in `UNIT`.

        How far the cell is inside each of the box's edges, and 1 if there is a box; then for clicks that include and
        for those that exclude the way to the nearest (x, y), and 1 if there is one. 0 where there is none.
        """
        places = [STRIDE * (torch.arange(side, device=self._get_device()) + 0.5) for side in self.image_embedding_size]
        y, x = places[0][:, None], places[1][None, :]
        count = self._get_batch_size(points, boxes, None)
        maps = torch.zeros(count, self.MAPS, *self.image_embedding_size, device=x.device)
        if boxes is not None:
            left, top, right, bottom = boxes.reshape(-1, 4, 1, 1).unbind(1)
            for index, inside in enumerate((x - left, y - top, right - x, bottom - y)):
                maps[:, index] = inside / self.UNIT
            maps[:, 4] = 1
        if points is not None:
            coordinates, labels = points
            way_x, way_y = ((coordinates[..., axis] + 0.5)[..., None, None] - (x, y)[axis] for axis in (0, 1))
            for start, label in ((5, 1), (8, 0)):
                of_label = labels == label  # (N, P)
                distance = torch.where(of_label[..., None, None], way_x**2 + way_y**2, torch.inf)  # (N, P, h, w)
                nearest = distance.argmin(1, keepdim=True)
                any_there = of_label.any(1)[:, None, None]
                for offset, way in enumerate((way_x, way_y)):
                    way = way.expand_as(distance).gather(1, nearest)[:, 0] / self.UNIT
                    maps[:, start + offset] = torch.where(any_there, way, 0)
                maps[:, start + 2] = any_there.to(maps.dtype)
        return maps.clamp(-self.FARTHEST, self.FARTHEST)


DRAWING_BACKBONE, PHOTOGRAPHIC_BACKBONE = ResNetConfig(), TimmConfig()


def build_embedded_sam(image_size: int = IMAGE_SIZE, backbone: ResNetConfig | TimmConfig = DRAWING_BACKBONE) -> Sam:
    """The architecture with fresh weights, whose shapes do not depend on the size.

    Args:
        image_size: pixels of the square that pictures are fitted into, a multiple of 32.
        backbone: of the image encoder.
    """
    return Sam(
        image_encoder=ImageEncoder(image_size, backbone),
        prompt_encoder=DrawingPromptEncoder(image_size),
        mask_decoder=FineMaskDecoder(),
    )


def save_embedded_sam(model: Sam, path: Path) -> None:
    """Save trained weights as the embedded segmenter is shipped, its parameters in half precision."""
    write_weights(half_state(model), {}, path)
