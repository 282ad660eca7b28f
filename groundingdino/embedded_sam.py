"""The embedded segmenter: a Segment Anything model (arXiv 2304.02643) small enough to train and run on a CPU.

segment-anything's own prompt encoder and mask decoder on the detector's small residual backbone, where published models
have a ViT: convolutions learn edges from far fewer pictures. Edges come from a fine map of the picture beside its
embedding, which the decoder adds while it enlarges a mask, as HQ-SAM (arXiv 2306.01567) and SAM 2 do.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from timm.layers import ConvNormAct
from torch import Tensor, nn

from groundingdino.config import EMBEDDED_BACKBONE
from groundingdino.model.backbone import ResNet
from groundingdino.weight_files import half_state, write_weights

IMAGE_SIZE = 512  # pixels of the long side; masks have half as many cells, which scales as the picture does
STRIDE = 8  # of the embedding
DEEPEST_STRIDE = 32  # of the backbone: sides of parts of a picture are multiples of it
FINE_STRIDE = 2  # of the fine map and of masks
DIM = 96
FINE_DIM = DIM // 8  # what the mask decoder's enlarging ends with
FINE_WIDTH = 16
BACKBONE = EMBEDDED_BACKBONE  # so that training starts from what the embedded detector has learned to see


class ObjectHead(nn.Module):
    """Reads from features, without a prompt, what is an object, where one ends and how far each reaches.

    Training teaches it, so that every pixel teaches the image encoder, not only those pointed at; `proposals` uses it.
    """

    WIDTH = 32
    UNIT = 64.0  # pixels

    def __init__(self) -> None:
        super().__init__()
        self.outline = nn.Conv2d(FINE_DIM, 2, 1)
        self.around = nn.Conv2d(DIM, self.WIDTH, 3, padding=1)
        self.cell = nn.Conv2d(self.WIDTH, 5, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the features of B pictures (B, C + 16 (F + 3), H / 8, W / 8).

        Returns:
            Logits (B, 2, H / 2, W / 2) of being object, and of being at the edge of one; logits (B, H / 8, W / 8) of a
            cell's centre lying on an object; and (B, 4, H / 8, W / 8) pixels from there to the left, top, right and
            bottom of what is seen of that object.
        """
        coarse, fine, _ = split_features(features)
        cells = self.cell(F.relu(self.around(coarse)))
        return self.outline(fine), cells[:, 4], self.UNIT * cells[:, :4]


class ImageEncoder(nn.Module):
    """In the place of segment-anything's `ImageEncoderViT`."""

    def __init__(self, img_size: int):
        super().__init__()
        self.img_size = img_size  # `Sam` and `SamPredictor` read it under this name
        self.backbone = ResNet(BACKBONE)
        self.neck = nn.Sequential(nn.Conv2d(BACKBONE.pyramid_dim, DIM, 1), LayerNorm2d(DIM))
        self.fine_stem = ConvNormAct(BACKBONE.stem_width, FINE_WIDTH, 3)
        self.fine_shallow = ConvNormAct(BACKBONE.channels[0], FINE_WIDTH, 3)
        self.fine_deep = ConvNormAct(BACKBONE.pyramid_dim, FINE_WIDTH, 1)
        # As loud as what the prompt adds to it in the decoder: a louder map drowns the prompt, and is all that learns.
        self.fine_out = nn.Sequential(nn.Conv2d(FINE_WIDTH, FINE_DIM, 3, padding=1), LayerNorm2d(FINE_DIM))
        self.objects = ObjectHead()  # not run with the others: what reads the features beside the mask decoder

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W), sides multiples of 8, to (B, C + 16 (F + 3), H / 8, W / 8): see `split_features`."""
        half = self.backbone.stem[0](pixels.contiguous(memory_format=torch.channels_last))
        quarter = self.backbone.stages[0](self.backbone.stem[1](half))
        levels, x = {}, quarter
        for index, stage in enumerate(self.backbone.stages[1:]):
            x = levels[str(index)] = stage(x)
        finest, *others = self.backbone.pyramid(levels).values()
        for level in others:
            finest = finest + F.interpolate(level, finest.shape[2:], mode="bilinear")
        fine = self.fine_shallow(quarter) + _double(self.fine_deep(finest))
        fine = self.fine_out(self.fine_stem(half) + _double(fine))
        fine = torch.cat([fine, F.avg_pool2d(pixels, FINE_STRIDE)], dim=1)
        return torch.cat([self.neck(finest), F.pixel_unshuffle(fine, STRIDE // FINE_STRIDE)], dim=1)


def split_features(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What `ImageEncoder` packs into one tensor, because `SamPredictor` keeps one.

    Args:
        features: (B, C + 16 (F + 3), H / 8, W / 8).

    Returns:
        The embedding (B, C, H / 8, W / 8), the fine map (B, F, H / 2, W / 2) and the picture itself as small
        (B, 3, H / 2, W / 2).
    """
    coarse, fine = features.split([DIM, features.shape[1] - DIM], dim=1)
    fine, colours = F.pixel_shuffle(fine, STRIDE // FINE_STRIDE).split([FINE_DIM, 3], dim=1)
    return coarse, fine, colours


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
            dense = dense[..., *window]
        return sparse, dense + self.drawing(self.draw(points, boxes)[..., *window])

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


class ColourModel(nn.Module):
    """Corrects masks by what colours are inside them and around them, as GrabCut does (Rother et al. 2004).

    Every cell is shared among learned bins; how often a bin occurs inside a mask and beside it says how likely each
    cell is part of the object. So the sky between the arms of an anchor is told from the anchor, however thin they are.
    """

    BINS = 32
    WIDTH = 12
    RARE = 0.01  # added to shares: a colour seen nowhere says nothing
    AROUND = 8  # cells of a block; what is beside a mask lies in blocks up to two away from it

    def __init__(self, masks: int):
        super().__init__()
        self.palette = nn.Conv2d(FINE_DIM + 3, self.BINS, 1)
        self.read = nn.Conv2d(2 * masks, self.WIDTH, 3, padding=1)
        self.context = nn.Conv2d(FINE_DIM, self.WIDTH, 1)
        self.correct = nn.Conv2d(self.WIDTH, masks, 3, padding=1)
        with torch.no_grad():
            self.palette.weight[:, FINE_DIM:] *= 4  # a fresh one tells colours apart
        _silence(self.correct)  # and corrects nothing

    def forward(self, logits: Tensor, image: Tensor, fine: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
        """Corrected logits, and by how much each cell's colour is likelier inside the masks; see `likelier`.

        Args:
            logits: (N, M, H, W) of N prompts' masks.
            image: (N, F, H, W), what the decoder knows of each cell when it is asked for an object.
            fine: (1 or N, F, H, W) and colours: (1 or N, 3, H, W) of the picture, or of each prompt's own.
        """
        bins = self.palette(torch.cat([fine, colours], dim=1)).softmax(1).flatten(2)  # (1 or N, K, H W)
        bins = bins[0] if len(bins) == 1 else bins
        # Padding is nothing else, since colours are those of normalised pixels, to which it is added.
        shown = (colours != 0).any(1, keepdim=True)
        told = self.likelier(logits.detach().float(), bins.float(), shown).to(logits.dtype)
        read = self.read(torch.cat([logits.clamp(-8, 8) / 4, told], dim=1))
        return logits + self.correct(F.gelu(read + self.context(image))), told

    def likelier(self, logits: Tensor, bins: Tensor, shown: Tensor) -> Tensor:
        """How much likelier each cell's colour is inside a mask than beside it, as logarithms.

        Args:
            logits: (N, M, H, W) of masks.
            bins: (K, H * W), or (N, K, H * W), in [0, 1], the cells' shares in bins.
            shown: (1 or N, 1, H, W) bool, where the picture is; cells beside it count nothing.
        """
        # From -1 to 1, so that many cells which are hardly part of an object do not outweigh the few that are.
        belongs = (logits / 2).tanh() * shown
        blocks = F.max_pool2d((belongs > 0).to(logits.dtype), self.AROUND)
        near = F.interpolate(F.max_pool2d(blocks, 5, 1, 2), logits.shape[2:])
        shares = []
        for part in (belongs.clamp(min=0), near * (-belongs).clamp(min=0)):
            counts = part.flatten(2) @ bins.mT  # (N, M, K)
            shares.append(((counts / counts.sum(2, keepdim=True).clamp(min=1)) @ bins).view_as(logits) + self.RARE)
        return (shares[0] / shares[1]).log()


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut; fresh, it passes its input through."""

    def __init__(self, dim: int):
        super().__init__()
        self.inner = nn.Conv2d(dim, dim, 3, padding=1)
        self.outer = nn.Conv2d(dim, dim, 3, padding=1)
        _silence(self.outer)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x + self.outer(F.relu(self.inner(x)))


class MaskRefiner(nn.Module):
    """Looks at first masks, the picture and the prompt together, at four scales, and corrects the masks (a U-Net).

    The decoder's cells learn of each other through the prompt's tokens alone: what covers an object, or shows through
    it, is found by looking from each cell to those around it, once it is known what is asked for.
    """

    WIDTHS = (24, 48, 64)  # at strides of 4, 8 and 16

    def __init__(self, masks: int):
        super().__init__()
        quarter, eighth, sixteenth = self.WIDTHS
        self.into_quarter = nn.Conv2d(2 * masks + FINE_DIM, quarter, 3, stride=2, padding=1)
        self.into_eighth = nn.Conv2d(quarter, eighth, 3, stride=2, padding=1)
        self.embedding = nn.Conv2d(DIM, eighth, 1)
        self.into_sixteenth = nn.Conv2d(eighth, sixteenth, 3, stride=2, padding=1)
        self.down_quarter, self.up_quarter = ResidualBlock(quarter), ResidualBlock(quarter)
        self.down_eighth, self.up_eighth = ResidualBlock(eighth), ResidualBlock(eighth)
        self.deepest = nn.Sequential(ResidualBlock(sixteenth), ResidualBlock(sixteenth))
        self.from_sixteenth = nn.Conv2d(sixteenth, eighth, 1)
        self.from_eighth = nn.Conv2d(eighth, quarter, 1)
        self.from_quarter = nn.Conv2d(quarter, FINE_DIM, 1)
        self.correct = nn.Conv2d(FINE_DIM, masks, 3, padding=1)
        _silence(self.correct)  # a fresh one corrects nothing

    def forward(self, logits: Tensor, told: Tensor, image: Tensor, embedding: Tensor) -> Tensor:
        """Corrected logits.

        Args:
            logits: (N, M, H, W) of N prompts' masks.
            told: (N, M, H, W), how much likelier each cell's colour is inside them, of `ColourModel`.
            image: (N, F, H, W), what the decoder knows of each cell when it is asked for an object.
            embedding: (N, C, H / 4, W / 4), the same of each cell of the embedding.
        """
        quarter = self.down_quarter(self.into_quarter(torch.cat([logits.clamp(-8, 8) / 4, told, image], dim=1)))
        eighth = self.down_eighth(self.into_eighth(F.relu(quarter)) + self.embedding(embedding))
        deepest = self.deepest(self.into_sixteenth(F.relu(eighth)))
        eighth = self.up_eighth(eighth + _double(self.from_sixteenth(deepest)))
        quarter = self.up_quarter(quarter + _double(self.from_eighth(eighth)))
        return logits + self.correct(F.relu(image + _double(self.from_quarter(quarter))))


class FineMaskDecoder(MaskDecoder):
    """segment-anything's mask decoder, which also sees the fine map and the picture's colours."""

    def __init__(self) -> None:
        super().__init__(
            transformer_dim=DIM,
            transformer=TwoWayTransformer(depth=2, embedding_dim=DIM, num_heads=4, mlp_dim=256),
            iou_head_depth=3,
            iou_head_hidden_dim=DIM,
        )
        self.refinement = nn.Sequential(
            nn.Conv2d(FINE_DIM, FINE_WIDTH, 3, padding=1), nn.GELU(), nn.Conv2d(FINE_WIDTH, FINE_DIM, 3, padding=1)
        )
        self.colour_model = ColourModel(self.num_mask_tokens)
        self.refiner = MaskRefiner(self.num_mask_tokens)
        with torch.no_grad():
            self.output_upscaling[3].weight *= 3  # what it adds to the fine map, which is normalised, is as loud
        _silence(self.refinement[-1])

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Masks of N prompts on one picture, or of each on its own.

        Args:
            image_embeddings: (1 or N, C + 16 (F + 3), h, w) of `ImageEncoder`.
            image_pe: (1, C, h, w).
            sparse_prompt_embeddings: (N, P, C).
            dense_prompt_embeddings: (N, C, h, w).

        Returns:
            Logits (N, 4, 4 h, 4 w) and the predicted IoU (N, 4).
        """
        coarse, fine, colours = split_features(image_embeddings)
        fine = fine.contiguous(memory_format=torch.channels_last)  # and what it is added to: a third of the time less
        count, _, height, width = dense_prompt_embeddings.shape
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(count, -1, -1)
        tokens, image = self.transformer(
            coarse + dense_prompt_embeddings,
            image_pe.expand(count, -1, -1, -1),
            torch.cat([own, sparse_prompt_embeddings], dim=1),
        )
        enlarge, norm, activate, enlarge_again, activate_again = self.output_upscaling
        embedding = image.transpose(1, 2).unflatten(2, (height, width)) + dense_prompt_embeddings
        embedding = embedding.contiguous(memory_format=torch.channels_last)
        image = activate_again(enlarge_again(activate(norm(enlarge(embedding)))) + fine)
        # Each cell looks at its neighbours once it knows what is asked for: legs, handles and strings are thinner than
        # the embedding's cells, and only the fine map shows where they go on.
        image = image + self.refinement(image)
        filters = torch.stack([mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1)
        logits, told = self.colour_model(torch.einsum("nmf,nfhw->nmhw", filters, image), image, fine, colours)
        return self.refiner(logits, told, image, embedding), self.iou_prediction_head(tokens[:, 0])


def build_embedded_sam(image_size: int = IMAGE_SIZE) -> Sam:
    """The architecture with fresh weights, whose shapes do not depend on the size.

    Args:
        image_size: pixels of the square that pictures are fitted into, a multiple of 32.
    """
    return Sam(
        image_encoder=ImageEncoder(image_size),
        prompt_encoder=DrawingPromptEncoder(image_size),
        mask_decoder=FineMaskDecoder(),
    )


def save_embedded_sam(model: Sam, path: Path) -> None:
    """Save trained weights as the embedded segmenter is shipped, its parameters in half precision."""
    write_weights(half_state(model), {}, path)


def _silence(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()


def _double(image: Tensor) -> Tensor:
    return F.interpolate(image, scale_factor=2, mode="bilinear")
