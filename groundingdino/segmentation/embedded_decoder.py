"""How the embedded segmenter draws masks: segment-anything's decoder first, then what corrects its masks."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from torch import Tensor, nn

from groundingdino.segmentation.embedded_encoder import DIM, FINE_DIM, FINE_WIDTH, split_features


class ColourModel(nn.Module):
    """Corrects masks by what colours are inside them and around them, as GrabCut does (Rother et al. 2004).

    Every cell is shared among learned bins; how often a bin occurs inside a mask and beside it says how likely each
    cell is part of the object. So the sky between the arms of an anchor is told from the anchor, however thin they are.
    """

    BINS = 32
    WIDTH = 12
    RARE = 0.01  # added to shares, so that a colour found in neither is no evidence
    AROUND = 8  # cells of a block; what is beside a mask lies in blocks up to two away from it

    def __init__(self, masks: int):
        super().__init__()
        self.palette = nn.Conv2d(FINE_DIM + 3, self.BINS, 1)
        self.read = nn.Conv2d(2 * masks, self.WIDTH, 3, padding=1)
        self.context = nn.Conv2d(FINE_DIM, self.WIDTH, 1)
        self.correct = nn.Conv2d(self.WIDTH, masks, 3, padding=1)
        with torch.no_grad():
            self.palette.weight[:, FINE_DIM:] *= 4  # untrained, it already parts colours among bins ...
        _set_to_zero(self.correct)  # ... and corrects nothing

    def forward(
        self, logits: Tensor, image: Tensor, fine: Tensor, colours: Tensor, prompts_each: Sequence[int]
    ) -> Tensor:
        """Corrected logits, (N, M, H, W).

        Args:
            logits: (N, M, H, W) of N prompts' masks.
            image: (N, F, H, W), the decoder's features of each cell once it has read the prompt.
            fine: (P, F, H, W) and colours: (P, 3, H, W) of the pictures.
            prompts_each: how many of the prompts are on each of them, in order.
        """
        bins = self.palette(torch.cat([fine, colours], dim=1)).softmax(1).flatten(2).float()  # (P, K, H W)
        # Padding alone is exactly 0: normalised colours never are in all three channels.
        shown = (colours != 0).any(1, keepdim=True)
        by_picture = zip(logits.detach().float().split(list(prompts_each)), bins, shown, strict=True)
        likelier = torch.cat([self.likelier(*of_one) for of_one in by_picture]).to(logits.dtype)  # (N, M, H, W)
        read = self.read(torch.cat([logits.clamp(-8, 8) / 4, likelier], dim=1))
        return logits + self.correct(F.gelu(read + self.context(image)))

    def likelier(self, logits: Tensor, bins: Tensor, shown: Tensor) -> Tensor:
        """How much likelier each cell's colour is inside a mask than beside it, as logarithms.

        Args:
            logits: (N, M, H, W) of masks on one picture.
            bins: (K, H * W) in [0, 1], the cells' shares in bins.
            shown: (1, H, W) bool, where the picture is; cells beside it count nothing.
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
        with torch.no_grad():
            self.output_upscaling[3].weight *= 3  # to the scale of the fine map, to which it is added
        _set_to_zero(self.refinement[-1])

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        prompts_each: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Masks of N prompts.

        Args:
            image_embeddings: (P, C + 16 (F + 3), h, w) of `ImageEncoder`.
            image_pe: (1, C, h, w).
            sparse_prompt_embeddings: (N, P, C).
            dense_prompt_embeddings: (N, C, h, w).
            prompts_each: how many of the prompts are on each picture, in order; by default there is one picture.

        Returns:
            Logits (N, 4, 4 h, 4 w) and the predicted IoU (N, 4).
        """
        coarse, fine, colours = split_features(image_embeddings)
        # Channels last, as what it is added to below: convolutions take a third less time.
        fine = fine.contiguous(memory_format=torch.channels_last)
        count, _, height, width = dense_prompt_embeddings.shape
        prompts_each = [count] if prompts_each is None else prompts_each
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(count, -1, -1)
        tokens, image = self.transformer(
            _for_each(coarse, prompts_each) + dense_prompt_embeddings,
            image_pe.expand(count, -1, -1, -1),
            torch.cat([own, sparse_prompt_embeddings], dim=1),
        )
        enlarge, norm, activate, enlarge_again, activate_again = self.output_upscaling
        embedding = image.transpose(1, 2).unflatten(2, (height, width)) + dense_prompt_embeddings
        embedding = embedding.contiguous(memory_format=torch.channels_last)
        image = activate_again(enlarge_again(activate(norm(enlarge(embedding)))) + _for_each(fine, prompts_each))
        # Once the prompt is known each cell looks at its neighbours: legs, handles and strings are thinner than the
        # embedding's cells, and only the fine map shows where they go on.
        image = image + self.refinement(image)
        filters = torch.stack([mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1)
        logits = torch.einsum("nmf,nfhw->nmhw", filters, image)
        logits = self.colour_model(logits, image, fine, colours, prompts_each)
        return logits, self.iou_prediction_head(tokens[:, 0])


def _for_each(pictures: Tensor, prompts_each: Sequence[int]) -> Tensor:
    """(P, ...) to (N, ...), each picture's for all of its prompts; one picture stays (1, ...), which broadcasts."""
    if len(pictures) == 1:
        return pictures
    return pictures.repeat_interleave(torch.tensor(prompts_each, device=pictures.device), dim=0)


def _set_to_zero(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
