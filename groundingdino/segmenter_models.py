"""The segmenters that have a name, and how they are loaded: Meta's published files and our own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from segment_anything import build_sam_vit_b, build_sam_vit_h, build_sam_vit_l
from segment_anything.modeling import Sam
from torch import Tensor

from groundingdino import downloads
from groundingdino.downloads import Progress, WebFile
from groundingdino.embedded_sam import build_embedded_sam
from groundingdino.model_cards import MODEL_ASSETS
from groundingdino.weight_files import check_device, load_strictly, read_weights

EMBEDDED_SEGMENTER = MODEL_ASSETS / "segmenter" / "model.safetensors"


@dataclass(frozen=True)
class SegmenterCard:
    """What a user should know of a segmenter before and after choosing it.

    The last three are what `Segmenter.everything` starts from. `source` is None for a file on this machine.
    """

    name: str
    title: str
    size_bytes: int
    description: str
    source: WebFile | None = None
    points_per_side: int = 32
    min_quality: float = 0.88
    min_stability: float = 0.95


class LoadedSegmenter(NamedTuple):
    """A model ready to segment."""

    model: Sam  # in eval mode
    card: SegmenterCard


def _published(name: str, title: str, filename: str, size: int, sha256: str, description: str) -> SegmenterCard:
    url = f"https://dl.fbaipublicfiles.com/segment_anything/{filename}"
    return SegmenterCard(name, title, size, description, WebFile(url, size, sha256))


SEGMENTERS: dict[str, SegmenterCard] = {
    card.name: card
    for card in (
        SegmenterCard(
            name="embedded",
            title="Embedded (emoji scenes)",
            size_bytes=8_000_000,
            description="Comes with the program. Cuts out things drawn as emoji; photos only roughly.",
        ),
        # The six digits in Meta's file names begin the files' MD5.
        _published(
            "vit_b",
            "Segment Anything ViT-B",
            "sam_vit_b_01ec64.pth",
            375_042_383,
            "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            "Meta's smallest. Any object in photos; seconds for a new picture without a GPU.",
        ),
        _published(
            "vit_l",
            "Segment Anything ViT-L",
            "sam_vit_l_0b3195.pth",
            1_249_524_607,
            "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            "Meta's middle one. Cleaner edges, three times slower for a new picture.",
        ),
        _published(
            "vit_h",
            "Segment Anything ViT-H",
            "sam_vit_h_4b8939.pth",
            2_564_550_879,
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            "Meta's largest and best, six times slower for a new picture; for a GPU.",
        ),
    )
}

# Meta's files do not say their size; the width of the image encoder tells.
_PUBLISHED: dict[int, Callable[[], Sam]] = {768: build_sam_vit_b, 1024: build_sam_vit_l, 1280: build_sam_vit_h}


def has_segmenter(name: str) -> bool:
    """Whether a model of `SEGMENTERS` can be loaded without the network."""
    source = SEGMENTERS[name].source
    return EMBEDDED_SEGMENTER.is_file() if source is None else downloads.cached(source) is not None


def load_segmenter(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> LoadedSegmenter:
    """Load a trained segmenter.

    Args:
        name_or_path: a name of `SEGMENTERS`, or a weight file in Meta's layout or our own.
        local_files_only: never ask the network, as the environment variable `HF_HUB_OFFLINE` says too.
        progress: called during a download with the bytes done, the bytes in all (or None) and a few words.

    Raises:
        ValueError: one sentence: there is no such model, it is not on this machine and may not or cannot be downloaded,
            or its file is damaged, of another architecture or does not fit; or there is no such device.
    """
    check_device(device)
    name, path = str(name_or_path), Path(name_or_path)
    card = SEGMENTERS.get(name)
    if card is not None:
        path = EMBEDDED_SEGMENTER if card.source is None else downloads.fetch(card.source, local_files_only, progress)
    elif not path.is_file():
        raise ValueError(
            f"There is no segmenter '{name}': expected {', '.join(SEGMENTERS)} or the path of a weight file."
        )
    loaded = _load_file(path, card)
    loaded.model.to(device)
    return loaded


def _load_file(path: Path, card: SegmenterCard | None) -> LoadedSegmenter:
    state, _ = read_weights(path)
    model = _recognise(state, path)().eval()
    load_strictly(model, state, f"'{path}'")
    return LoadedSegmenter(model, card or SegmenterCard(path.stem, path.stem, path.stat().st_size, "Your own weights."))


def _recognise(state: Mapping[str, Tensor], path: Path) -> Callable[[], Sam]:
    """What builds the architecture of a weight file, which does not name it."""
    if any(name.startswith("image_encoder.backbone.") for name in state):
        return build_embedded_sam
    position = state.get("image_encoder.pos_embed")
    width = None if position is None else position.shape[-1]
    if width not in _PUBLISHED:
        raise ValueError(
            f"'{path}' is no segmenter of a published size: expected an image encoder of width 768 (ViT-B), 1024 "
            f"(ViT-L) or 1280 (ViT-H), found {width}."
        )
    return _PUBLISHED[width]
