"""The trackers that have a name: what they are, where they come from.

Nothing here needs torch, so that a wrong name is reported at once.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from groundingdino.files import hub
from groundingdino.files.assets import DRAWINGS, PHOTOGRAPHS
from groundingdino.files.downloads import Progress
from groundingdino.inputs.image_files import named
from groundingdino.segmentation.available_models import SEGMENTERS, find_segmenter, has_segmenter

EMBEDDED = "embedded"  # needs no files: the detector looks, and between looks boxes are moved
FORWARD_ONLY = (
    f"The tracker '{EMBEDDED}' makes no backward pass: it looks often, and fills in its boxes from where it first saw "
    "a thing. Leave the pass out, or choose a tracker by outlines, such as edgetam."
)


@dataclass(frozen=True)
class TrackerCard:
    """What a user should know of a tracker before and after choosing it.

    Attributes:
        about: How it follows, in a sentence or two.
        size_bytes: Of its weights.
        repository: On the hub, in transformers' layout; the segmenter of that name is of the same files.
        licence: Of its weights, and what must be done to get them where that is more than to ask.
        knows: What it is for.
    """

    name: str
    title: str
    size_bytes: int
    about: str
    repository: str | None = None
    licence: str = ""
    knows: tuple[str, ...] = (PHOTOGRAPHS,)

    @property
    def goes_back(self) -> bool:
        """Whether it can make a backward pass."""
        return self.name != EMBEDDED

    @property
    def description(self) -> str:
        """How it follows and under which licence."""
        return f"{self.about} Licence: {self.licence}." if self.licence else self.about


def _with_memory(name: str, about: str) -> TrackerCard:
    """One whose files hold a segmenter with a memory of earlier frames."""
    segmenter = SEGMENTERS[name]
    return TrackerCard(name, segmenter.title, segmenter.size_bytes, about, segmenter.repository, segmenter.licence)


TRACKERS: dict[str, TrackerCard] = {
    card.name: card
    for card in (
        TrackerCard(
            EMBEDDED,
            "Looks and motion",
            0,
            "Comes with the program. The detector looks six times a second, boxes are moved between.",
            knows=(PHOTOGRAPHS, DRAWINGS),
        ),
        _with_memory(
            "edgetam", "Remembers what each thing looked like and draws its outline in every frame; the quickest."
        ),
        _with_memory("sam2.1-tiny", "Remembers what each thing looked like and draws its outline in every frame."),
        _with_memory("sam2.1-small", "A little slower than tiny, a little better."),
        _with_memory("sam2.1-base-plus", "Cleaner edges than small, half as quick; for a GPU."),
        _with_memory("sam2.1-large", "The largest and best of its kind; for a GPU."),
        _with_memory("sam3-tracker", "SAM 3's tracker, without its words: a detector finds what is new; for a GPU."),
    )
}


def has_tracker(name: str) -> bool:
    """Whether a tracker of `TRACKERS` can be used without the network."""
    return name == EMBEDDED or has_segmenter(name)


def find_tracker(
    name_or_path: str | Path, local_files_only: bool = False, progress: Progress | None = None
) -> tuple[Path | None, TrackerCard | None]:
    """The folder of a tracker, fetched where it is not there, and its card if it has a name; `EMBEDDED` has no folder.

    Args and errors are those of `video_models.load_video_model`, without what is in the files.
    """
    name = str(name_or_path)
    card = TRACKERS.get(name)
    if name == EMBEDDED:
        return None, card
    if card or (
        name not in SEGMENTERS and (os.path.isdir(name) or (hub.is_repository(name) and not os.path.exists(name)))
    ):
        return find_segmenter(name, local_files_only, progress)[0], card
    raise ValueError(
        f"There is no tracker {named(name)}: expected {', '.join(TRACKERS)}, the path of a folder, or a Hugging Face "
        "repository as owner/name."
    )
