"""Train an embedded segmenter on synthetic scenes, whose masks are exact, and on photographs that have outlines.

    python -m groundingdino.training.segmenter.train --photographs DATA --output runs/segmenter

trains it, from the embedded detector's backbone: DATA holds folders in COCO's layout, as the detector's training takes
them. With `--detector embedded-photos` it trains the one for photographs. Started again with the same folder, it goes
on.
"""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.modeling import Sam
from torch import Tensor, nn

from groundingdino.artwork.drawings import Artwork
from groundingdino.detection.precision import multiplies_bfloat16
from groundingdino.runtime.allocation import keep_freed_memory
from groundingdino.runtime.devices import find_device
from groundingdino.segmentation.embedded_encoder import DEEPEST_STRIDE, STRIDE
from groundingdino.segmentation.embedded_sam import save_embedded_sam
from groundingdino.training.detector.mixture import SETTINGS, read_settings
from groundingdino.training.detector.targets import mix
from groundingdino.training.loop import follow, numbers, rate, read_options, update
from groundingdino.training.scenes.scenes import SceneMaker
from groundingdino.training.segmenter.mask_batches import MaskBatch, MaskBatches, Plan, Source
from groundingdino.training.segmenter.mask_losses import mask_iou, mask_losses, object_losses
from groundingdino.training.segmenter.photographs import MaskedPhotographs, outlined
from groundingdino.training.segmenter.plans import PLANS
from groundingdino.training.segmenter.pointing import Pointing, draw_kind
from groundingdino.training.segmenter.starting import imitation_step, start_from


def training_step(
    sam: Sam, batch: MaskBatch, optimizer: torch.optim.Optimizer, plan: Plan, step: int
) -> dict[str, float]:
    """One update of the weights; returns the losses and the mean IoU of what was answered, by kind of prompt.

    Objects are pointed at once, or corrected one to `most_corrections` times as well; the last round teaches. What is
    not pointed at teaches what is an object.
    """
    rng = np.random.default_rng([plan.seed, step, 1])
    stage = plan.stage_at(step)
    device = sam.device
    batch = batch.to(device)
    sam.train(not stage.proposals_alone).requires_grad_(not stage.proposals_alone)
    if not stage.stages_learn:
        for part in sam.image_encoder.backbone.network:
            part.eval().requires_grad_(False)
    for name, parameter in sam.named_parameters():
        if any(part in name for part in plan.frozen):
            parameter.requires_grad_(False)
    sam.image_encoder.objects.train().requires_grad_()
    for module in sam.modules():
        if isinstance(module, nn.BatchNorm2d) and not stage.measured:
            module.eval()
    padded = (batch.pixels.float() - sam.pixel_mean) / sam.pixel_std
    owners, extents = batch.owners, batch.extents
    if stage.whole:
        side = sam.image_encoder.img_size
        padding = (0, side - padded.shape[3], 0, side - padded.shape[2])
        padded, owners = F.pad(padded, padding), F.pad(owners, padding)
        extents = F.pad(extents, [side // STRIDE for side in padding], value=torch.nan)
    corrections = int(rng.integers(1, plan.most_corrections + 1)) if rng.random() < plan.corrected else 0
    places = sam.prompt_encoder.get_dense_pe()
    corner = _draw_corner(padded.shape[2:], sam.image_encoder.img_size, rng)
    terms: list[dict[str, Tensor]] = []
    overlaps: dict[str, Tensor] = {}
    # Not where a convolution's result is one pixel wide: see `model.layers.convolving`.
    fast = multiplies_bfloat16(device) and min(padded.shape[2:]) > DEEPEST_STRIDE
    in_bfloat16 = partial(torch.autocast, device.type, torch.bfloat16, enabled=fast)
    with in_bfloat16():
        features = sam.image_encoder(padded)
    features = features.float()
    for kind, pictures in _deal_kinds(batch.masks, plan.kinds, rng).items():
        masks = torch.cat([batch.masks[picture] for picture in pictures])
        prompts_each = [len(batch.masks[picture]) for picture in pictures]
        own = features[pictures]
        pointing = Pointing(masks.numpy(), kind, rng)
        for _ in range(corrections):
            with torch.no_grad(), in_bfloat16():
                logits, qualities = decode(sam, own, pointing, places, corner, prompts_each)
            pointing.correct(_pick(logits.float(), pointing.answer(qualities)))
        with in_bfloat16():
            answers = decode(sam, own, pointing, places, corner, prompts_each)
        logits, qualities = (x.float() for x in answers)
        targets, inside = coverage(masks.to(device), padded.shape[2:])
        share = len(masks) / sum(map(len, batch.masks))
        terms.append({name: share * term for name, term in mask_losses(logits, qualities, targets, inside).items()})
        answer = _pick(logits.detach(), pointing.answer(qualities))
        overlaps[f"overlap/{kind}{corrections}"] = mask_iou(answer[:, None], targets[:, None]).mean()
    losses = {name: torch.stack([term[name] for term in terms]).sum() for name in (terms[0] if terms else ())}
    with in_bfloat16():
        outlines, taken, reach = (x.float() for x in sam.image_encoder.objects(features))
    losses |= object_losses(outlines, taken, reach, owners, extents)
    norm = update(sam, optimizer, torch.stack(list(losses.values())).sum(), plan.clip)
    return numbers(losses | {"gradient": norm} | overlaps)


def _deal_kinds(
    masks: list[Tensor], shares: tuple[float, float, float], rng: np.random.Generator
) -> dict[str, list[int]]:
    """Which of the pictures that show objects are pointed at with what: those of a kind are decoded at once."""
    dealt: dict[str, list[int]] = {}
    for picture, own in enumerate(masks):
        if len(own):
            dealt.setdefault(draw_kind(rng, shares), []).append(picture)
    return dealt


def decode(
    model: Sam,
    features: Tensor,
    pointing: Pointing,
    places: Tensor,
    corner: tuple[int, int],
    prompts_each: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Logits (N, 4, h, w) and predicted IoU (N, 4) of N objects.

    Args:
        features: (P, C + 16 (F + 3), h / 4, w / 4) of a window of the square that the prompt encoder knows, of each
            picture.
        places: position encoding of the whole square.
        corner: (x, y) pixels of the window's upper left corner, multiples of 8.
        prompts_each: how many of the objects are in each picture, in order.
    """
    left, top = (place // STRIDE for place in corner)
    window = slice(top, top + features.shape[2]), slice(left, left + features.shape[3])
    sparse, dense = model.prompt_encoder.embed(*pointing.tensors(corner, features.device), window)
    logits, qualities = model.mask_decoder.predict_masks(
        features, places[..., window[0], window[1]], sparse, dense, prompts_each
    )
    return logits, qualities


def coverage(masks: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(N, H, W) bool, padded to (height, width), to the share of each mask cell that is object, and whether the cell is
    picture; (N, height / 2, width / 2) each."""
    padding = (0, size[1] - masks.shape[2], 0, size[0] - masks.shape[1])
    shares = F.avg_pool2d(F.pad(masks.float(), padding), 2)
    inside = F.avg_pool2d(F.pad(torch.ones_like(masks[:1], dtype=torch.float), padding), 2) > 0.5
    return shares, inside.expand_as(shares)


def photographs(folder: Path, settings: Mapping[str, Any], seed: int = 0) -> MaskedPhotographs:
    """Training pictures of what has outlines in the sets of the settings, which are folders under one folder.

    Raises:
        ValueError: a set is not there or not in COCO's layout; nothing has outlines.
    """
    return MaskedPhotographs(outlined([folder / name for name in settings["sets"]], seed), seed)


def make_optimizer(model: Sam, plan: Plan) -> torch.optim.AdamW:
    """AdamW with a rate of its own for the backbone, and decay on matrices only."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        is_backbone = ".backbone." in name and ".pyramid." not in name
        groups.setdefault((is_backbone, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": plan.learning_rate * (plan.backbone_rate if is_backbone else 1),
                "weight_decay": plan.weight_decay if is_decayed else 0.0,
            }
            for (is_backbone, is_decayed), parameters in sorted(groups.items())
        ],
        betas=(0.9, 0.98),
        fused=True,
    )


def train(
    model: Sam,
    source: Source,
    plan: Plan,
    folder: Path,
    workers: int = 1,
    first_stage: int = 0,
    before: nn.Module | None = None,
) -> Sam:
    """Follow the plan from a stage on, where the rate begins anew, or from `folder`'s checkpoint; see `loop.follow`.

    Args:
        before: whose features are to be imitated, in stages that ask for it.
    """
    optimizer = make_optimizer(model, plan)

    def take_step(step: int, batch: MaskBatch) -> dict[str, float]:
        if plan.stage_at(step).imitates:
            assert before is not None
            return imitation_step(model, before, batch, optimizer, plan)
        return training_step(model, batch, optimizer, plan, step)

    restarts = list(map(plan.first_step, (*plan.restarts, first_stage)))
    return follow(
        model,
        optimizer,
        MaskBatches(source, plan),
        plan.steps,
        take_step,
        partial(rate, restarts=restarts, last=plan.steps, warm_up=plan.warm_up),
        plan.average,
        folder,
        workers,
        first=plan.first_step(first_stage),
    )


def _draw_corner(window: tuple[int, int], square: int, rng: np.random.Generator) -> tuple[int, int]:
    """(x, y) pixels where a window of (height, width) lies in a square of that side."""
    y, x = (STRIDE * int(rng.integers((square - side) // STRIDE + 1)) for side in window)
    return x, y


def _pick(logits: Tensor, index: Tensor) -> Tensor:
    return logits[torch.arange(len(logits), device=logits.device), index]


def main() -> None:
    """Train an embedded segmenter and write its model file."""
    parser = argparse.ArgumentParser(
        prog="python -m groundingdino.training.segmenter.train",
        description="Train an embedded segmenter, from an embedded detector's backbone.",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/segmenter"), help="folder of checkpoint, log and model"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that make pictures; a GPU empties many")
    parser.add_argument(
        "--detector", choices=PLANS, default="embedded", help="whose backbone it begins with: %(default)s"
    )
    parser.add_argument("--start", help="name or path of an embedded segmenter to go on from")
    parser.add_argument(
        "--photographs", type=Path, help="folder of the sets in the settings; without it, drawings alone"
    )
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="names the sets: %(default)s")
    arguments = read_options(parser, lambda options: len(PLANS[options.detector].stages))
    plan = PLANS[arguments.detector]
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    torch.manual_seed(plan.seed)
    try:
        start, photos = start_from(arguments.start or plan.follows, arguments.detector), None
        if arguments.photographs:
            photos = photographs(arguments.photographs, read_settings(arguments.settings), plan.seed)
    except ValueError as error:
        parser.error(str(error))
    model, before = (part.to(find_device()) for part in start)
    model.mask_decoder.to(memory_format=torch.channels_last)  # as its inputs are
    artwork = Artwork(resolution=320)  # edges are what is learned, and blur with enlarging
    source: Source = SceneMaker(artwork, seed=plan.seed).scene
    if photos:
        source = mix([(plan.scenes, source), (1 - plan.scenes, photos)], plan.seed)
    average = train(
        model, source, plan, arguments.output, arguments.workers, arguments.stage, before=before.image_encoder
    )
    save_embedded_sam(average, arguments.output / "model.safetensors")


if __name__ == "__main__":
    main()
