"""The segmenters that have a name: what they are, where they come from, which settings suit them.

Nothing here needs torch, so that a wrong name is reported at once.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from groundingdino.files import downloads
from groundingdino.files.assets import DRAWINGS, MODEL_ASSETS, PHOTOGRAPHS
from groundingdino.files.downloads import Progress, WebFile
from groundingdino.inputs.image_files import named

EMBEDDED_SEGMENTER = MODEL_ASSETS / "segmenter" / "model.safetensors"


@dataclass(frozen=True)
class SegmenterCard:
    """What a user should know of a segmenter before and after choosing it.

    `source` is None for a file on this machine. `knows` says what it is for. The next three are what
    `Segmenter.everything` starts from. `single_for_box` says that a box alone is answered by the mask that other
    prompts of several parts get, as the model was trained; published models choose among three. `close_ups` says that
    small objects are looked at once more, enlarged, which costs a pass of the image encoder for each: seconds with
    the published models. `proposes` says that the picture's embedding tells where objects are, so that "everything"
    need not click everywhere.
    """

    name: str
    title: str
    size_bytes: int
    description: str
    source: WebFile | None = None
    knows: tuple[str, ...] = (PHOTOGRAPHS,)
    points_per_side: int = 32
    min_quality: float = 0.88
    min_stability: float = 0.95
    single_for_box: bool = False
    close_ups: bool = False
    proposes: bool = False


def _published(name: str, title: str, filename: str, size: int, sha256: str, description: str) -> SegmenterCard:
    url = f"https://dl.fbaipublicfiles.com/segment_anything/{filename}"
    return SegmenterCard(name, title, size, description, WebFile(url, size, sha256))


SEGMENTERS: dict[str, SegmenterCard] = {
    card.name: card
    for card in (
        SegmenterCard(
            name="embedded",
            title="Embedded (emoji scenes)",
            size_bytes=7_878_048,
            description="Comes with the program. Cuts out things drawn as emoji; photos only roughly.",
            knows=(DRAWINGS,),
            points_per_side=64,  # all cells of its embedding
            min_quality=0.54,
            min_stability=0.6,
            single_for_box=True,
            close_ups=True,
            proposes=True,
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


def has_segmenter(name: str) -> bool:
    """Whether a model of `SEGMENTERS` can be loaded without the network."""
    source = SEGMENTERS[name].source
    return EMBEDDED_SEGMENTER.is_file() if source is None else downloads.cached(source) is not None


def find_segmenter(
    name_or_path: str | Path, local_files_only: bool = False, progress: Progress | None = None
) -> tuple[Path, SegmenterCard | None]:
    """The weight file of a segmenter, fetched where it is not there, and its card if it has a name."""
    name, path = str(name_or_path), Path(name_or_path)
    if card := SEGMENTERS.get(name):
        source = card.source
        return (EMBEDDED_SEGMENTER if source is None else downloads.fetch(source, local_files_only, progress)), card
    if os.path.isfile(path):
        return path, None
    raise ValueError(
        f"There is no segmenter {named(name)}: expected {', '.join(SEGMENTERS)} or the path of a weight file."
    )
