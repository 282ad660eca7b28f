"""The segmenters that have a name: what they are, where they come from, which settings suit them.

Nothing here needs torch, so that a wrong name is reported at once.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from groundingdino.files import downloads, hub
from groundingdino.files.assets import DRAWINGS, MODEL_ASSETS, PHOTOGRAPHS
from groundingdino.files.downloads import Progress, WebFile
from groundingdino.inputs.image_files import named

EMBEDDED_SEGMENTER = MODEL_ASSETS / "segmenter" / "model.safetensors"
PHOTOGRAPHS_SEGMENTER = MODEL_ASSETS / "segmenter" / "photographs.safetensors"
COME_ALONG = {"embedded": EMBEDDED_SEGMENTER, "embedded-photos": PHOTOGRAPHS_SEGMENTER}
_WEIGHT_FILES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class SegmenterCard:
    """What a user should know of a segmenter before and after choosing it.

    Attributes:
        about: What it cuts out, in a sentence or two.
        size_bytes: Of its weights.
        source: Its one file; None for a file or folder on this machine, and where there is a repository.
        repository: On the hub, in transformers' layout.
        licence: Of its weights, and what must be done to get them where that is more than to ask.
        knows: What it is for.
        points_per_side, min_quality, min_stability: What `Segmenter.everything` starts from.
        single_for_box: A box alone is answered by the mask that other prompts of several parts get, as the model was
            trained; else it is chosen among three.
        stable_single: (offset of logits, least stability): that mask counts only if it is as stable as that, see
            `Candidates.stability`; else it is chosen among three, too. Read from a model's configuration.
        close_ups: Small objects are looked at once more, enlarged, which costs a pass of the image encoder for each:
            seconds with the published models.
        proposes: The picture's embedding tells where objects are, so that "everything" need not click everywhere.
    """

    name: str
    title: str
    size_bytes: int
    about: str
    source: WebFile | None = None
    repository: str | None = None
    licence: str = ""
    knows: tuple[str, ...] = (PHOTOGRAPHS,)
    points_per_side: int = 32
    min_quality: float = 0.88
    min_stability: float = 0.95
    single_for_box: bool = False
    stable_single: tuple[float, float] | None = None
    close_ups: bool = False
    proposes: bool = False

    @property
    def description(self) -> str:
        """What it cuts out and under which licence."""
        return f"{self.about} Licence: {self.licence}." if self.licence else self.about


def _embedded(
    name: str, title: str, size_bytes: int, about: str, knows: tuple[str, ...] = (PHOTOGRAPHS,)
) -> SegmenterCard:
    """One of those that come along."""
    return SegmenterCard(
        name,
        title,
        size_bytes,
        about,
        knows=knows,
        points_per_side=64,  # all cells of its embedding
        min_quality=0.54,
        min_stability=0.6,
        single_for_box=True,
        close_ups=True,
        proposes=True,
    )


def _sam1(name: str, title: str, filename: str, size: int, sha256: str, about: str) -> SegmenterCard:
    url = f"https://dl.fbaipublicfiles.com/segment_anything/{filename}"
    return SegmenterCard(name, title, size, about, WebFile(url, size, sha256), licence="Apache-2.0")


def _sam2(
    name: str, title: str, repository: str, megabytes: int, about: str, licence: str = "Apache-2.0"
) -> SegmenterCard:
    """One of SAM 2's kind, which learnt to answer a box by one mask; "everything" as its authors' generator has it."""
    return SegmenterCard(
        name,
        title,
        megabytes * 1_000_000,
        about,
        repository=repository,
        licence=licence,
        min_quality=0.8,
        single_for_box=True,
    )


def _sam_hq(size: str, megabytes: int, about: str) -> SegmenterCard:
    """A SAM 1 whose masks a further token corrects, which learnt from single masks."""
    return SegmenterCard(
        f"sam-hq-{size}",
        f"SAM-HQ ViT-{size[0].upper()}",
        megabytes * 1_000_000,
        about,
        repository=f"syscv-community/sam-hq-vit-{size}",
        licence="Apache-2.0",
        single_for_box=True,
    )


SEGMENTERS: dict[str, SegmenterCard] = {
    card.name: card
    for card in (
        _embedded(
            name="embedded",
            title="Embedded (emoji scenes)",
            size_bytes=7_838_686,
            about="Comes with the program. Cuts out things drawn as emoji; no photos.",
            knows=(DRAWINGS,),
        ),
        _embedded(
            name="embedded-photos",
            title="Embedded (photographs)",
            size_bytes=8_554_670,
            about="Comes with the program. Small: cuts out of photos what is boxed or found, with rough edges.",
        ),
        _sam2(
            "sam2.1-tiny",
            "SAM 2.1 tiny",
            "facebook/sam2.1-hiera-tiny",
            156,
            "Any object in photos, several times quicker than SAM 1 where there is no GPU.",
        ),
        _sam2(
            "sam2.1-small",
            "SAM 2.1 small",
            "facebook/sam2.1-hiera-small",
            184,
            "A little slower than tiny, a little better.",
        ),
        _sam2(
            "sam2.1-base-plus",
            "SAM 2.1 base+",
            "facebook/sam2.1-hiera-base-plus",
            323,
            "The middle one: cleaner edges than small, half as quick.",
        ),
        _sam2(
            "sam2.1-large",
            "SAM 2.1 large",
            "facebook/sam2.1-hiera-large",
            898,
            "The largest and best of its kind; for a GPU.",
        ),
        _sam2(
            "edgetam",
            "EdgeTAM",
            "yonigozlan/EdgeTAM-hf",
            56,
            "SAM 2 made small, for telephones: the quickest for photos without a GPU.",
        ),
        _sam_hq("base", 379, "SAM 1 with finer edges, for thin and intricate things; as slow for a new picture."),
        _sam_hq("large", 1250, "The same of the middle size, three times slower for a new picture."),
        _sam_hq("huge", 2570, "The same of the largest size; for a GPU."),
        # The six digits in Meta's file names begin the files' MD5.
        _sam1(
            "vit_b",
            "Segment Anything ViT-B",
            "sam_vit_b_01ec64.pth",
            375_042_383,
            "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            "Meta's smallest. Any object in photos; seconds for a new picture without a GPU.",
        ),
        _sam1(
            "vit_l",
            "Segment Anything ViT-L",
            "sam_vit_l_0b3195.pth",
            1_249_524_607,
            "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            "Meta's middle one. Cleaner edges, three times slower for a new picture.",
        ),
        _sam1(
            "vit_h",
            "Segment Anything ViT-H",
            "sam_vit_h_4b8939.pth",
            2_564_550_879,
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            "Meta's largest and best, six times slower for a new picture; for a GPU.",
        ),
        _sam2(
            "sam3-tracker",
            "SAM 3 tracker",
            "facebook/sam3",
            3440,
            "The part of SAM 3 that boxes and clicks ask; for a GPU.",
            "SAM License, gated; ask for access at https://huggingface.co/facebook/sam3 and, once it is granted, log "
            "in by hf auth login, or set HF_TOKEN, before you download",
        ),
    )
}


def gives_way(name: str) -> bool:
    """Whether a segmenter comes along: of a detector that makes masks with its boxes, those are taken instead.

    Whoever chooses another one wants that one's masks.
    """
    card = SEGMENTERS.get(name)
    return card is not None and card.source is None and card.repository is None


def has_segmenter(name: str) -> bool:
    """Whether a model of `SEGMENTERS` can be loaded without the network."""
    card = SEGMENTERS[name]
    if card.repository is not None:
        return hub.cached_model_folder(card.repository, whole=False) is not None
    return COME_ALONG[name].is_file() if card.source is None else downloads.cached(card.source) is not None


def find_segmenter(
    name_or_path: str | Path, local_files_only: bool = False, progress: Progress | None = None
) -> tuple[Path, SegmenterCard | None]:
    """The weight file or folder of a segmenter, fetched where it is not there, and its card if it has a name.

    Args and errors are those of `segmenter_models.load_segmenter`, without what is in the files.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if card := SEGMENTERS.get(name):
        if card.repository is not None:
            return hub.fetch_model_folder(card.repository, local_files_only, progress), card
        source = card.source
        return (COME_ALONG[name] if source is None else downloads.fetch(source, local_files_only, progress)), card
    if os.path.exists(path):  # where `Path.exists` raises, as for a name that is too long, this says no
        return path, None
    if hub.is_repository(name) and path.suffix not in _WEIGHT_FILES:
        return hub.fetch_model_folder(name, local_files_only, progress), None
    raise ValueError(
        f"There is no segmenter {named(name)}: expected {', '.join(SEGMENTERS)}, the path of a weight file or folder, "
        "or a Hugging Face repository as owner/name."
    )
