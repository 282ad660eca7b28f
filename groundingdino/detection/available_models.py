"""The detectors that have a name: what they are, where they come from, which settings suit them.

Nothing here needs torch, so that a wrong name is reported at once.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from groundingdino.files import hub
from groundingdino.files.assets import DRAWINGS, MODEL_ASSETS, PHOTOGRAPHS
from groundingdino.files.downloads import Progress
from groundingdino.files.hub import HubFile
from groundingdino.inputs.image_files import named
from groundingdino.model.config import EMBEDDED, SWIN_B, SWIN_T, GroundingDINOConfig, SwinConfig

EMBEDDED_FILE = MODEL_ASSETS / "detector" / "model.safetensors"
_WEIGHT_FILES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")


@dataclass(frozen=True)
class ModelCard:
    """What a user should know of a model before and after choosing it.

    `source` is None for a model that is a file or folder on this machine. The thresholds differ per checkpoint: scores
    of the larger models are lower for the same objects. `knows` says what it is for.
    """

    name: str
    title: str
    config: GroundingDINOConfig
    box_threshold: float
    text_threshold: float
    size_bytes: int
    description: str
    source: HubFile | None = None
    knows: tuple[str, ...] = (PHOTOGRAPHS,)

    @property
    def reads_sentences(self) -> bool:
        """Whether it learnt from sentences; else each thing that a sentence names is read as a phrase by itself.

        The published models are Swin Transformers and did. Our own training, of other backbones, shows phrases alone.
        """
        return isinstance(self.config.backbone, SwinConfig)


MODELS: dict[str, ModelCard] = {
    card.name: card
    for card in (
        ModelCard(
            name="embedded",
            title="Embedded (emoji scenes)",
            config=EMBEDDED,
            box_threshold=0.71,
            text_threshold=0.25,
            size_bytes=11_111_072,
            description="Comes with the program. Knows everyday things drawn as emoji, and their colours; no photos.",
            knows=(DRAWINGS,),
        ),
        ModelCard(
            name="swin-t",
            title="Grounding DINO Swin-T",
            config=SWIN_T,
            box_threshold=0.35,
            text_threshold=0.25,
            size_bytes=693_997_677,
            description="The authors' OGC weights. Photos, any English phrase; COCO AP 48.4 without training on it.",
            source=HubFile(
                repository="ShilongLiu/GroundingDINO",
                filename="groundingdino_swint_ogc.pth",
                revision="a94c9b567a2a374598f05c584e96798a170c56fb",
                size=693_997_677,
                sha256="3b3ca2563c77c69f651d7bd133e97139c186df06231157a64c507099c52bc799",
            ),
        ),
        ModelCard(
            name="swin-b",
            title="Grounding DINO Swin-B",
            config=SWIN_B,
            box_threshold=0.30,
            text_threshold=0.25,
            size_bytes=938_057_991,
            description="The authors' CogCoOR weights. More accurate and slower; COCO AP 56.7, with COCO in training.",
            source=HubFile(
                repository="ShilongLiu/GroundingDINO",
                filename="groundingdino_swinb_cogcoor.pth",
                revision="a94c9b567a2a374598f05c584e96798a170c56fb",
                size=938_057_991,
                sha256="46270f7a822e6906b655b729c90613e48929d0f2bb8b9b76fd10a856f3ac6ab7",
            ),
        ),
    )
}


def is_cached(name: str) -> bool:
    """Whether a model of `MODELS` can be loaded without the network."""
    source = MODELS[name].source
    return EMBEDDED_FILE.is_file() if source is None else hub.cached(source) is not None


def find_detector(
    name_or_path: str | Path, local_files_only: bool = False, progress: Progress | None = None
) -> tuple[Path, ModelCard | None]:
    """The weight file or folder of a detector, fetched where it is not there, and its card if it has a name.

    Args and errors are those of `checkpoints.load_pretrained`, without what is in the files.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if card := MODELS.get(name):
        return (EMBEDDED_FILE if card.source is None else hub.fetch(card.source, local_files_only, progress)), card
    if os.path.exists(path):  # where `Path.exists` raises, as for a name that is too long, this says no
        return path, None
    if hub.is_repository(name) and path.suffix not in _WEIGHT_FILES:
        return hub.fetch_model_folder(name, local_files_only, progress), None
    raise ValueError(
        f"There is no model {named(name)}: expected {', '.join(MODELS)}, the path of a weight file or folder, or a "
        "Hugging Face repository as owner/name."
    )
