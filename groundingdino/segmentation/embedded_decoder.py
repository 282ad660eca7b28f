"""How the embedded segmenter draws masks: segment-anything's decoder first, then what corrects its masks."""

from collections.abc import Sequence
from typing import NamedTuple

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

    def forward(
        self, logits: Tensor, image: Tensor, fine: Tensor, colours: Tensor, prompts_each: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Corrected logits, and by how much each cell's colour is likelier inside the masks; see `likelier`.

        Args:
            logits: (N, M, H, W) of N prompts' masks.
            image: (N, F, H, W), what the decoder knows of each cell when it is asked for an object.
            fine: (P, F, H, W) and colours: (P, 3, H, W) of the pictures.
            prompts_each: how many of the prompts are on each of them, in order.
        """
        bins = self.palette(torch.cat([fine, colours], dim=1)).softmax(1).flatten(2).float()  # (P, K, H W)
        # Padding is nothing else, since colours are those of normalised pixels, to which it is added.
        shown = (colours != 0).any(1, keepdim=True)
        by_picture = zip(logits.detach().float().split(list(prompts_each)), bins, shown, strict=True)
        told = torch.cat([self.likelier(*of_one) for of_one in by_picture]).to(logits.dtype)
        read = self.read(torch.cat([logits.clamp(-8, 8) / 4, told], dim=1))
        return logits + self.correct(F.gelu(read + self.context(image))), told

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


class MaskJudge(nn.Module):
    """Corrects the predicted IoU of masks by looking at them (Mask Scoring R-CNN, arXiv 1903.00241).

    The decoder's tokens tell it of what they asked for, and do not see what became of it.
    """

    WIDTH = 64
    CELLS = 1000.0  # of a mask: its size is told as a logarithm of their thousands

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(3 * DIM)
        self.read = nn.Linear(3 * DIM + 4, self.WIDTH)
        self.correct = nn.Linear(self.WIDTH, 1)
        _silence(self.correct)  # a fresh one corrects nothing

    def forward(self, seen: Tensor, measured: Tensor) -> Tensor:
        """How much better each mask is than was told, (N, M), by what `look` saw."""
        return self.correct(F.relu(self.read(torch.cat([self.norm(seen), measured], dim=-1))))[..., 0]

    def look(self, logits: Tensor, told: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """What there is to see of each mask; see the returns.

        It teaches neither masks nor embedding, which would learn to be easy to judge.

        Args:
            logits: (N, M, H, W) of masks.
            told: (N, M, H, W), how much likelier each cell's colour is inside them, of `ColourModel`.
            embedding: (N, C, H / 4, W / 4), what the decoder knows of each cell of the embedding.

        Returns:
            The means of the embedding inside each mask, at its border and beside it, (N, M, 3 C); and (N, M, 4): how
            large it is, how unsure, and how well its colours tell it from what is beside it, there and inside.
        """
        logits, told, embedding = (x.detach().float() for x in (logits, told, embedding))
        shares = logits.sigmoid()
        unsure = shares * (1 - shares)
        inside, border, colours = (F.avg_pool2d(cells, 4) for cells in (shares, unsure, told))
        beside = F.max_pool2d(inside, 3, 1, 1) - inside
        cells = embedding.flatten(2).mT  # (N, h w, C)
        means, colour_means = [], []
        for part in (inside, border, beside):
            weights = part.flatten(2)  # (N, M, h w)
            weights = weights / weights.sum(2, keepdim=True).clamp(min=0.5)
            means.append(weights @ cells)
            colour_means.append((weights * colours.flatten(2)).sum(2))
        area, doubt = (whole.sum((2, 3)) for whole in (shares, unsure))
        measured = [(1 + area / self.CELLS).log(), doubt / area.clamp(min=1), colour_means[0], colour_means[2]]
        return torch.cat(means, dim=2), torch.stack(measured, dim=2)


class _Predicted(NamedTuple):
    """What the decoder makes of N prompts."""

    logits: Tensor  # (N, 4, 4 h, 4 w)
    quality: Tensor  # (N, 4) predicted IoU
    told: Tensor  # (N, 4, 4 h, 4 w), how much likelier each cell's colour is inside, of `ColourModel`
    embedding: Tensor  # (N, C, h, w), what is known of each cell


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
        self.judge = MaskJudge()
        with torch.no_grad():
            self.output_upscaling[3].weight *= 3  # what it adds to the fine map, which is normalised, is as loud
        _silence(self.refinement[-1])

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
        predicted = self._predict(
            image_embeddings, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings, prompts_each
        )
        return predicted.logits, predicted.quality

    def predict_and_judge(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `predict_masks`, with the predicted IoU once more, (N, 4), after the judge has looked at the masks.

        The judge knows the masks of proposed boxes. Of what somebody points at, and corrects, the other one is better.
        """
        logits, quality, told, embedding = self._predict(
            image_embeddings, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings
        )
        return logits, quality, quality + self.judge(*self.judge.look(logits, told, embedding))

    def _predict(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        prompts_each: Sequence[int] | None = None,
    ) -> "_Predicted":
        coarse, fine, colours = split_features(image_embeddings)
        fine = fine.contiguous(memory_format=torch.channels_last)  # and what it is added to: a third of the time less
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
        # Each cell looks at its neighbours once it knows what is asked for: legs, handles and strings are thinner than
        # the embedding's cells, and only the fine map shows where they go on.
        image = image + self.refinement(image)
        filters = torch.stack([mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1)
        logits = torch.einsum("nmf,nfhw->nmhw", filters, image)
        logits, told = self.colour_model(logits, image, fine, colours, prompts_each)
        return _Predicted(logits, self.iou_prediction_head(tokens[:, 0]), told, embedding)


def _for_each(pictures: Tensor, prompts_each: Sequence[int]) -> Tensor:
    """(P, ...) to (N, ...), each picture's for all of its prompts; one picture stays (1, ...), which broadcasts."""
    if len(pictures) == 1:
        return pictures
    return pictures.repeat_interleave(torch.tensor(prompts_each, device=pictures.device), dim=0)


def _silence(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
