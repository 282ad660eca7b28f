"""The models that have a name: what they are, where they come from, which thresholds suit them."""

from dataclasses import dataclass
from pathlib import Path

from groundingdino import hub
from groundingdino.config import EMBEDDED, SWIN_B, SWIN_T, GroundingDINOConfig
from groundingdino.hub import HubFile

MODEL_ASSETS = Path(__file__).resolve().parent.parent / "assets" / "models"
EMBEDDED_FILE = MODEL_ASSETS / "detector" / "model.safetensors"


@dataclass(frozen=True)
class ModelCard:
    """What a user should know of a model before and after choosing it.

    `source` is None for a model that is a file or folder on this machine. The thresholds differ per checkpoint: scores
    of the larger models are lower for the same objects.
    """

    name: str
    title: str
    config: GroundingDINOConfig
    box_threshold: float
    text_threshold: float
    size_bytes: int
    description: str
    source: HubFile | None = None


MODELS: dict[str, ModelCard] = {
    card.name: card
    for card in (
        ModelCard(
            name="embedded",
            title="Embedded (emoji scenes)",
            config=EMBEDDED,
            box_threshold=0.35,
            text_threshold=0.25,
            size_bytes=10_752_840,
            description="Comes with the program. Knows everyday things drawn as emoji, and their colours; no photos.",
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
    """Whether a model of `MODELS`, or a hub repository "owner/name", can be loaded without the network."""
    if name not in MODELS:
        return hub.cached_model_folder(name) is not None
    source = MODELS[name].source
    return EMBEDDED_FILE.is_file() if source is None else hub.cached(source) is not None
