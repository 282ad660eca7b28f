"""Segmenters of transformers behind segment-anything's interface: SAM 2.1, EdgeTAM, SAM 3's tracker and SAM-HQ.

They are Segment Anything models: a picture is encoded once, prompts become tokens, and two-way attention between both
draws masks. Their modules are transformers' own; here is how they are asked, so that `Segmenter` need not know which it
has. Mask decoders are put together anew because transformers' choose among the four masks before they return them, and
because of two differences from the authors' code in transformers 5.23, where this follows the authors:

- `SamHQMaskDecoder` draws masks on the embedding as it was before it had read the prompt, with rows for columns.
- `Sam3TrackerModel` adds the embedding of "no memory" to a map that it does not use.

Several maps of a picture, of finer cells each, are packed into one tensor, as the embedded encoder does: see `packing`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as pictures

from groundingdino.segmentation.packing import pack, unpack


class Fit(ResizeLongestSide):
    """Fits a picture into the square by its long side, with transformers' arithmetic, which rounds otherwise."""

    def apply_image(self, image: np.ndarray) -> np.ndarray:
        """A picture (H, W, 3) uint8 as the model sees it, before it is normalised and padded."""
        size = self.get_preprocess_shape(*image.shape[:2], self.target_length)
        pixels = torch.tensor(image).permute(2, 0, 1)  # a copy: the picture may be read-only
        return pictures.resize(pixels, list(size), antialias=True).permute(1, 2, 0).numpy()


class Stretch(Fit):
    """Stretches a picture to the square, whatever its proportions, as SAM 2 and 3 see it."""

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:  # noqa: ARG004
        """(height, width) of what the model sees."""
        return long_side_length, long_side_length


class TransformersSam(Sam):
    """A `Sam` that says itself how pictures are fitted into its square."""

    def __init__(
        self,
        image_encoder: nn.Module,
        prompt_encoder: nn.Module,
        mask_decoder: nn.Module,
        transform: Fit,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
    ):
        super().__init__(image_encoder, prompt_encoder, mask_decoder, list(pixel_mean), list(pixel_std))
        self.transform = transform

    def postprocess_masks(self, masks: Tensor, input_size: tuple[int, ...], original_size: tuple[int, ...]) -> Tensor:
        """Logits (N, M, h, w) at the size of the picture, (N, M, H, W); sizes are (height, width)."""
        if isinstance(self.transform, Stretch):  # nothing is padded, and nothing enlarged twice
            return F.interpolate(masks, original_size, mode="bilinear", align_corners=False)
        return super().postprocess_masks(masks, input_size, original_size)


def transform_of(model: Sam) -> ResizeLongestSide:
    """How pictures, places and boxes get into the square that a model sees."""
    if isinstance(model, TransformersSam):
        return model.transform
    return ResizeLongestSide(model.image_encoder.img_size)


def predictor_of(model: Sam) -> SamPredictor:
    """segment-anything's predictor, whose pictures are fitted as the model needs it."""
    predictor = SamPredictor(model)
    predictor.transform = transform_of(model)
    return predictor


class PromptEncoder(nn.Module):
    """In the place of segment-anything's: the same arguments, shapes and results for N prompts."""

    dense_pe: Tensor

    def __init__(self, model: Any):
        super().__init__()
        self.encoder: Any = model.prompt_encoder
        self.register_buffer("dense_pe", model.get_image_wide_positional_embeddings().detach(), persistent=False)

    def forward(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Sparse embeddings (N, T, C) and dense ones (N, C, h, w)."""
        coordinates, labels = (None, None) if points is None else points
        # transformers has batches of pictures with several prompts each; here each prompt comes with its own picture.
        sparse, dense = self.encoder(
            input_points=None if coordinates is None else coordinates[:, None].float(),
            input_labels=None if labels is None else labels[:, None],
            input_boxes=None if boxes is None else boxes[:, None].float(),
            input_masks=masks,
        )
        return sparse[:, 0], dense

    def get_dense_pe(self) -> Tensor:
        """Position encodings of the embedding's cells, (1, C, h, w)."""
        return self.dense_pe


class MaskDecoder(nn.Module):
    """In the place of segment-anything's: the same arguments, shapes and results for N prompts."""

    def __init__(self, decoder: Any):
        super().__init__()
        self.decoder: Any = decoder

    def forward(self, multimask_output: bool, **embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, M, 4 h, 4 w) and predicted IoU (N, M) of three masks or one."""
        logits, quality = self.predict_masks(**embeddings)
        chosen = slice(1, None) if multimask_output else slice(0, 1)
        return logits[:, chosen], quality[:, chosen]

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Logits (N, 4, 4 h, 4 w) and predicted IoU (N, 4) of all four masks.

        Args:
            image_embeddings: (1, D, h, w) of the picture, see `pack`.
            image_pe: (1, C, h, w)
            sparse_prompt_embeddings: (N, T, C)
            dense_prompt_embeddings: (N, C, h, w)
        """
        raise NotImplementedError

    def attend(
        self, own: Sequence[nn.Embedding], coarse: Tensor, places: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The decoder's own tokens (N, T, C), and the picture's embedding (N, C, h, w), once they know the prompt."""
        tokens = torch.cat([one.weight for one in own]).expand(len(sparse), -1, -1)
        tokens, image = self.decoder.transformer(
            point_embeddings=torch.cat([tokens, sparse], dim=1)[:, None],
            image_embeddings=coarse + dense,
            image_positional_embeddings=places,
            attention_similarity=None,
            target_embedding=None,
        )
        return tokens[:, 0], image[:, 0].transpose(1, 2).unflatten(2, coarse.shape[2:])


class Sam2Encoder(nn.Module):
    """Pictures as SAM 2, EdgeTAM and SAM 3's tracker see them, without a memory of earlier ones."""

    def __init__(self, model: Any, side: int):
        super().__init__()
        self.img_size = side  # `Sam` and `SamPredictor` read it under this name
        self.model: Any = model

    def forward(self, pixels: Tensor) -> Tensor:
        """(1, 3, H, W) to (1, 4 C, h, w): the embedding and the two finer maps that `Sam2Decoder` adds."""
        maps = self.model.get_image_features(
            pixels, return_dict=True
        ).fpn_hidden_states  # (h w, 1, C) each, finest first
        finest, finer, coarse = (
            one.permute(1, 2, 0).unflatten(2, tuple(size))
            for one, size in zip(maps[:3], self.model.backbone_feature_sizes, strict=True)
        )
        return pack(coarse + self.model.no_memory_embedding.view(1, -1, 1, 1), finer, finest)


class Sam2Decoder(MaskDecoder):
    """The mask decoder of SAM 2, EdgeTAM and SAM 3's tracker."""

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """As `MaskDecoder.predict_masks`."""
        decoder = self.decoder
        width = decoder.hidden_size
        coarse, finer, finest = unpack(image_embeddings, (width // 4, 2), (width // 8, 4))
        own = (decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens)
        tokens, image = self.attend(own, coarse, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings)
        image = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(image) + finer))
        image = decoder.activation(decoder.upscale_conv2(image) + finest)
        filters = [mlp(tokens[:, 2 + index]) for index, mlp in enumerate(decoder.output_hypernetworks_mlps)]
        return _masks(filters, image), decoder.iou_prediction_head(tokens[:, 1])


class HqEncoder(nn.Module):
    """Pictures as SAM-HQ sees them, with the map that its masks of high quality are drawn on."""

    def __init__(self, model: Any, side: int):
        super().__init__()
        self.img_size = side  # `Sam` and `SamPredictor` read it under this name
        self.model: Any = model

    def forward(self, pixels: Tensor) -> Tensor:
        """(1, 3, H, W) to (1, 3 C, h, w): the embedding, and the fine map that `HqDecoder` adds.

        transformers computes the fine map for each prompt again, from 768 to 1,280 channels that would have to be kept.
        """
        coarse, inner = self.model.get_image_embeddings(pixels)
        decoder = self.model.mask_decoder
        fine = decoder.encoder_conv2(decoder.activation(decoder.encoder_norm(decoder.encoder_conv1(coarse))))
        early = decoder.compress_vit_conv1(inner[0].permute(0, 3, 1, 2))  # of the first layer that sees all
        early = decoder.compress_vit_conv2(decoder.activation(decoder.compress_vit_norm(early)))
        return pack(coarse, fine + early)


class HqDecoder(MaskDecoder):
    """SAM's mask decoder with one token more, whose mask of finer edges is added to each of the four."""

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """As `MaskDecoder.predict_masks`."""
        decoder = self.decoder
        coarse, fine = unpack(image_embeddings, (decoder.hidden_size // 8, 4))
        own = (decoder.iou_token, decoder.mask_tokens, decoder.hq_token)
        tokens, image = self.attend(own, coarse, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings)
        image = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(image)))
        image = decoder.activation(decoder.upscale_conv2(image))
        refined = decoder.mask_conv2(decoder.activation(decoder.mask_norm(decoder.mask_conv1(image)))) + fine
        mlps = decoder.output_hypernetworks_mlps
        filters = [mlp(tokens[:, 1 + index]) for index, mlp in enumerate(mlps)]
        finer = _masks([decoder.hq_mask_mlp(tokens[:, 1 + len(mlps)])], refined)
        return _masks(filters, image) + finer, decoder.iou_prediction_head(tokens[:, 0])


def _masks(filters: Sequence[Tensor], image: Tensor) -> Tensor:
    """Logits (N, M, H, W): M filters (N, F) over each cell of (N, F, H, W)."""
    return torch.einsum("nmf,nfhw->nmhw", torch.stack(list(filters), dim=1), image)
