"""Segmenters by name or path, loaded strictly: Meta's published files, our own, and folders in transformers' layout."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from segment_anything import build_sam_vit_b, build_sam_vit_h, build_sam_vit_l
from segment_anything.modeling import Sam
from torch import Tensor

from groundingdino.detection.key_names import strip_prefix
from groundingdino.files.downloads import Progress
from groundingdino.files.weight_files import check_finite, load_strictly, read_weights
from groundingdino.runtime.devices import check_device
from groundingdino.segmentation.available_models import SEGMENTERS, SegmenterCard, find_segmenter
from groundingdino.segmentation.embedded_sam import PHOTOGRAPHIC_BACKBONE, build_embedded_sam
from groundingdino.segmentation.transformers_segmenters import load_folder


class LoadedSegmenter(NamedTuple):
    """A model ready to segment."""

    model: Sam  # in eval mode
    card: SegmenterCard


_MARK = r"image_encoder\.(?:pos_embed|backbone\..+)"  # pattern of a name that every segmenter has

# Meta's files do not say their size; the width of the image encoder tells.
_PUBLISHED: dict[int, Callable[[], Sam]] = {768: build_sam_vit_b, 1024: build_sam_vit_l, 1280: build_sam_vit_h}

# Our own differ in the backbone; a weight that only one of them has.
_EMBEDDED: dict[str, Callable[[], Sam]] = {
    "image_encoder.backbone.stem.0.conv.weight": build_embedded_sam,
    "image_encoder.backbone.features.conv_stem.weight": partial(build_embedded_sam, backbone=PHOTOGRAPHIC_BACKBONE),
}


def load_segmenter(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> LoadedSegmenter:
    """Load a trained segmenter.

    Args:
        name_or_path: a name of `SEGMENTERS`; a weight file in Meta's layout or our own; a folder in transformers'
            layout, or a hub repository "owner/name" of one.
        local_files_only: never ask the network, as the environment variable `HF_HUB_OFFLINE` says too.
        progress: called during a download with the bytes done, the bytes in all (or None) and a few words.

    Raises:
        ValueError: one sentence: there is no such model, it is not on this machine and may not or cannot be downloaded,
            or its file is damaged, of another architecture or does not fit; or there is no such device.
    """
    check_device(device)
    path, card = find_segmenter(name_or_path, local_files_only, progress)
    loaded = _load_folder(path, str(name_or_path), card) if path.is_dir() else _load_file(path, card)
    loaded.model.to(device)
    return loaded


def _load_file(path: Path, card: SegmenterCard | None) -> LoadedSegmenter:
    state = strip_prefix(read_weights(path)[0], (_MARK,))
    check_finite(state, f"'{path}'")
    build = _recognise(state, path)
    model = build().eval()
    load_strictly(model, state, f"'{path}'")
    if card is None:
        alike = "embedded" if build in _EMBEDDED.values() else "vit_b"
        card = _nameless_card(alike, path.stem, path.stat().st_size)
    return LoadedSegmenter(model, card)


def _load_folder(folder: Path, name: str, card: SegmenterCard | None) -> LoadedSegmenter:
    found = load_folder(folder)
    card = card or _nameless_card(found.alike, name, found.size_bytes)
    return LoadedSegmenter(found.model, replace(card, stable_single=found.stable_single))


def _nameless_card(alike: str, name: str, size_bytes: int) -> SegmenterCard:
    """A card for weights that say nothing of themselves, which are asked as those that learned alike."""
    own = SegmenterCard(name, name, size_bytes, "Your own weights.")
    known = SEGMENTERS[alike]
    return replace(
        own,
        knows=known.knows,
        points_per_side=known.points_per_side,
        min_quality=known.min_quality,
        min_stability=known.min_stability,
        single_for_box=known.single_for_box,
        close_ups=known.close_ups,
        proposes=known.proposes,
    )


def _recognise(state: Mapping[str, Tensor], path: Path) -> Callable[[], Sam]:
    """What builds the architecture of a weight file, which does not name it."""
    for mark, build in _EMBEDDED.items():
        if mark in state:
            return build
    position = state.get("image_encoder.pos_embed")
    width = None if position is None else position.shape[-1]
    if width not in _PUBLISHED:
        raise ValueError(
            f"'{path}' is no segmenter of a published size: expected an image encoder of width 768 (ViT-B), 1024 "
            f"(ViT-L) or 1280 (ViT-H), found {width}."
        )
    return _PUBLISHED[width]
