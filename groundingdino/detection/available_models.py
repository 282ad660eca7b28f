"""The detectors that have a name: what they are, where they come from, which settings suit them.

Nothing here needs torch, so that a wrong name is reported at once.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from groundingdino.artwork.names import may_mean
from groundingdino.files import hub
from groundingdino.files.assets import DRAWINGS, MODEL_ASSETS, PHOTOGRAPHS
from groundingdino.files.downloads import Progress
from groundingdino.files.hub import HubFile, HubFolder
from groundingdino.inputs.image_files import named
from groundingdino.inputs.prompt import meaning
from groundingdino.model.config import (
    EMBEDDED,
    MM_SWIN_B,
    MM_SWIN_L,
    MM_SWIN_T,
    PHOTOGRAPHIC,
    SWIN_B,
    SWIN_T,
    GroundingDINOConfig,
    SwinConfig,
)

EMBEDDED_FILE = MODEL_ASSETS / "detector" / "model.safetensors"
PHOTOGRAPHS_FILE = MODEL_ASSETS / "photographs" / "model.safetensors"
COME_ALONG = {"embedded": EMBEDDED_FILE, "embedded-photos": PHOTOGRAPHS_FILE}
# What the small model for photographs finds best, see docs/training.md.
PHOTOGRAPHED = (
    *("person", "head", "dog", "cat", "horse", "cow", "sheep"),
    *("milk", "water", "soda", "sugar", "honey", "cereal", "corn", "candy", "tomato sauce"),
)
_WEIGHT_FILES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")


@dataclass(frozen=True)
class Figures:
    """Average precision of boxes, in percent, as somebody published it; none is ours.

    Args:
        coco: on COCO's val2017.
        lvis: on LVIS' minival, "fixed AP".
        saw_coco: COCO's pictures were in training.
        source: where it is published.
    """

    coco: float | None = None
    lvis: float | None = None
    saw_coco: bool = False
    source: str = ""

    def sentence(self) -> str:
        """Such as "COCO AP 50.4, LVIS 41.4, without training on COCO."."""
        found = [f"{name} {value}" for name, value in (("COCO AP", self.coco), ("LVIS AP", self.lvis)) if value]
        if self.saw_coco:
            return f"{', '.join(found)}, with COCO in training."
        return f"{', '.join(found)}, without training on COCO."


@dataclass(frozen=True)
class OtherConfig:
    """Of an architecture that transformers computes, see `families`; a picture becomes a square of `side` pixels."""

    model_type: str  # as config.json has it
    side: int

    @property
    def short_side(self) -> int:
        """As `GroundingDINOConfig` has it: what the longer side of a picture becomes rules."""
        return self.side

    @property
    def long_side(self) -> int:
        """As `short_side`."""
        return self.side


@dataclass(frozen=True)
class ModelCard:
    """What a user should know of a model before and after choosing it.

    `source` is None for a model that is a file or folder on this machine. The thresholds differ per checkpoint: scores
    of the larger models are lower for the same objects. `knows` says what it is for, and `names` lists what a small
    model knows; the others know any phrase. `licence` is of the weights; `gated` ones are for those who have accepted
    it at the hub. It `takes_examples` where boxes can be asked for in the place of words, see `Detector.ground_like`,
    and `makes_masks` where they come with its boxes, see `Grounding.detections`. `likeness_power` makes the likeness of
    our own models to an example fit their box threshold.
    """

    name: str
    title: str
    config: GroundingDINOConfig | OtherConfig
    box_threshold: float
    text_threshold: float
    size_bytes: int
    description: str
    source: HubFile | HubFolder | None = None
    knows: tuple[str, ...] = (PHOTOGRAPHS,)
    names: tuple[str, ...] = ()
    licence: str = "Apache-2.0"
    gated: bool = False
    figures: Figures | None = None
    takes_examples: bool = False
    likeness_power: float = 1.0
    makes_masks: bool = False

    def knows_name(self, phrase: str) -> bool:
        """Whether a phrase names one of `names`, or several: "a black cat", "dogs"; without `names` each does."""
        return not self.names or may_mean(meaning(phrase.lower()), self.names)

    def require_examples(self) -> None:
        """That it takes examples; a ValueError names some that do."""
        if not self.takes_examples:
            takers = [name for name, card in MODELS.items() if card.takes_examples]
            names = f"{', '.join(takers[:-1])} or {takers[-1]}"
            raise ValueError(f"{self.title} finds what words name: for examples choose {names}.")

    @property
    def reads_sentences(self) -> bool:
        """Whether it learnt from sentences; else each thing that a sentence names is read as a phrase by itself.

        The published models are Swin Transformers and did. Our own training, of other backbones, shows phrases alone.
        """
        return isinstance(self.config, GroundingDINOConfig) and isinstance(self.config.backbone, SwinConfig)


_AUTHORS = "https://github.com/IDEA-Research/GroundingDINO"
_MM = "https://github.com/open-mmlab/mmdetection/blob/main/configs/mm_grounding_dino/README.md"
_LLMDET = "https://github.com/iSEE-Laboratory/LLMDet"
_OWL = "https://github.com/google-research/scenic/blob/main/scenic/projects/owl_vit/README.md"
_OMDET = "https://github.com/om-ai-lab/OmDet"
_SAM3 = "https://github.com/facebookresearch/sam3"
_MM_HUB = "openmmlab-community/mm_grounding_dino_"

# Bytes of model.safetensors; the files of one size hold the same tensors.
_MM_BYTES = {"T": 692_015_412, "B": 936_050_000, "L": 1_376_360_000}
_MM_CONFIGS = {"T": MM_SWIN_T, "B": MM_SWIN_B, "L": MM_SWIN_L}


def _mm(
    name: str,
    repository: str,
    size: str,
    data: str,
    figures: Figures,
    family: str = "MM Grounding DINO",
    box_threshold: float = 0.40,
    revision: str = "main",
) -> ModelCard:
    """A card of MM Grounding DINO's family.

    0.40 is what its model cards use: there the two cats and two remote controls of transformers' example score 0.55 to
    0.86. The models that saw everything in training score lower, 0.45 to 0.74 and some below 0.40; they have 0.30,
    mmdetection's own default.
    """
    return ModelCard(
        name=name,
        title=f"{family} Swin-{size}",
        config=_MM_CONFIGS[size],
        box_threshold=box_threshold,
        text_threshold=0.25,
        size_bytes=_MM_BYTES[size],
        description=f"Trained on {data}. Photos, any English phrase; {figures.sentence()}",
        source=HubFolder(repository, revision),
        figures=figures,
    )


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
            takes_examples=True,
            likeness_power=0.27,
        ),
        ModelCard(
            name="embedded-photos",
            title="Embedded (photographs)",
            config=PHOTOGRAPHIC,
            box_threshold=0.50,
            text_threshold=0.25,
            size_bytes=11_899_032,
            description="Comes with the program. Small: in photos it finds three of four animals, half of the people.",
            names=PHOTOGRAPHED,
            takes_examples=True,
            likeness_power=0.68,
        ),
        ModelCard(
            name="swin-t",
            title="Grounding DINO Swin-T",
            config=SWIN_T,
            box_threshold=0.35,
            text_threshold=0.25,
            size_bytes=693_997_677,
            description="The authors' OGC weights. Photos, any English phrase; COCO AP 48.4 without training on it.",
            figures=Figures(coco=48.4, lvis=28.8, source=_MM),
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
            figures=Figures(coco=56.7, saw_coco=True, source=_AUTHORS),
            source=HubFile(
                repository="ShilongLiu/GroundingDINO",
                filename="groundingdino_swinb_cogcoor.pth",
                revision="a94c9b567a2a374598f05c584e96798a170c56fb",
                size=938_057_991,
                sha256="46270f7a822e6906b655b729c90613e48929d0f2bb8b9b76fd10a856f3ac6ab7",
            ),
        ),
        _mm(
            "mm-t",
            f"{_MM_HUB}tiny_o365v1_goldg_grit_v3det",
            size="T",
            data="Objects365, GoldG, GRIT and V3Det",
            figures=Figures(coco=50.4, lvis=41.4, source=_MM),
        ),
        _mm(
            "mm-b",
            f"{_MM_HUB}base_o365v1_goldg_v3det",
            size="B",
            data="Objects365, GoldG and V3Det",
            figures=Figures(coco=52.5, source=_MM),
        ),
        _mm(
            "mm-l",
            f"{_MM_HUB}large_o365v2_oiv6_goldg",
            size="L",
            data="Objects365 v2, Open Images v6 and GoldG",
            figures=Figures(coco=53.0, source=_MM),
        ),
        _mm(
            "llmdet-t",
            "iSEE-Laboratory/llmdet_tiny",
            size="T",
            family="LLMDet",
            data="the data of mm-t and GroundingCap-1M",
            figures=Figures(lvis=44.7, saw_coco=True, source=_LLMDET),
            revision="d05199165a19320a9236396e20fca0a5e065189c",
        ),
        _mm(
            "llmdet-b",
            "iSEE-Laboratory/llmdet_base",
            size="B",
            family="LLMDet",
            data="the data of mm-b and GroundingCap-1M",
            figures=Figures(lvis=48.3, saw_coco=True, source=_LLMDET),
        ),
        _mm(
            "llmdet-l",
            "iSEE-Laboratory/llmdet_large",
            size="L",
            family="LLMDet",
            data="the data of mm-l and GroundingCap-1M",
            figures=Figures(lvis=51.1, saw_coco=True, source=_LLMDET),
            revision="bec37f296f05b22f6c6b39bc05a6c611239f4e31",
        ),
        # Thresholds of the following are those of transformers' own examples.
        *(
            ModelCard(
                name=f"owlv2-{size[0]}",
                title=f"OWLv2 ViT-{size[0].upper()}",
                config=OtherConfig("owlv2", side),
                box_threshold=0.10,
                text_threshold=0.10,
                size_bytes=size_bytes,
                description=f"Of another architecture: {about} Photos, any English phrase; {figures.sentence()}",
                source=HubFolder(f"google/owlv2-{size}-ensemble"),
                figures=figures,
                takes_examples=True,
            )
            for size, side, size_bytes, about, figures in (
                (
                    "base-patch16",
                    960,
                    620_000_000,
                    "a new prompt costs it next to nothing.",
                    Figures(lvis=43.9, saw_coco=True, source=_OWL),
                ),
                (
                    "large-patch14",
                    1008,
                    1_750_000_000,
                    "larger and slower than owlv2-b.",
                    Figures(lvis=44.6, saw_coco=True, source=_OWL),
                ),
            )
        ),
        ModelCard(
            name="omdet-turbo-t",
            title="OmDet-Turbo Swin-T",
            config=OtherConfig("omdet-turbo", 640),
            box_threshold=0.30,
            text_threshold=0.25,
            size_bytes=460_000_000,
            description="Of another architecture, made to be quick. Photos, any English phrase; "
            "COCO AP 42.5, LVIS AP 30.3, without training on COCO.",
            source=HubFolder("omlab/omdet-turbo-swin-tiny-hf"),
            figures=Figures(coco=42.5, lvis=30.3, source=_OMDET),
        ),
        ModelCard(
            name="sam3",
            title="SAM 3",
            config=OtherConfig("sam3", 1008),
            box_threshold=0.50,
            text_threshold=0.25,
            size_bytes=3_440_000_000,
            description="Of another architecture: one pass for each phrase. Photos, any English phrase; COCO AP 56.4, "
            "LVIS AP 53.6, without training on COCO. For a GPU. Gated, under the SAM License: ask for access at "
            "https://huggingface.co/facebook/sam3 and, once it is granted, log in by hf auth login, or set HF_TOKEN, "
            "before you download.",
            source=HubFolder("facebook/sam3"),
            licence="SAM License",
            gated=True,
            figures=Figures(coco=56.4, lvis=53.6, source=_SAM3),
            takes_examples=True,
            makes_masks=True,
        ),
    )
}

# Published weights without a name of ours, and without a place in the page's list: they load by their repository.
OTHER_MODELS: dict[str, ModelCard] = {
    card.name: card
    for card in (
        replace(
            MODELS["swin-t"],
            name="IDEA-Research/grounding-dino-tiny",
            size_bytes=689_000_000,
            source=HubFolder("IDEA-Research/grounding-dino-tiny"),
        ),
        replace(
            MODELS["swin-b"],
            name="IDEA-Research/grounding-dino-base",
            size_bytes=933_000_000,
            source=HubFolder("IDEA-Research/grounding-dino-base"),
        ),
        *(
            _mm(f"{_MM_HUB}{variant}", f"{_MM_HUB}{variant}", size, data, figures, box_threshold=threshold)
            for variant, size, data, figures, threshold in (
                ("tiny_o365v1_goldg", "T", "Objects365 and GoldG", Figures(50.4, 35.7, source=_MM), 0.40),
                ("tiny_o365v1_goldg_grit", "T", "Objects365, GoldG and GRIT", Figures(50.5, 36.5, source=_MM), 0.40),
                ("tiny_o365v1_goldg_v3det", "T", "Objects365, GoldG and V3Det", Figures(50.6, 40.5, source=_MM), 0.40),
                ("base_all", "B", "all of mmdetection's data", Figures(59.5, saw_coco=True, source=_MM), 0.30),
                ("large_all", "L", "all of mmdetection's data", Figures(60.3, saw_coco=True, source=_MM), 0.30),
            )
        ),
    )
}


def is_cached(name: str) -> bool:
    """Whether a model of `MODELS` can be loaded without the network."""
    source = MODELS[name].source
    if isinstance(source, HubFolder):
        return hub.cached_model_folder(source.repository, whole=False, revision=source.revision) is not None
    return COME_ALONG[name].is_file() if source is None else hub.cached(source) is not None


def check_is_ours(name_or_path: str | Path) -> None:
    """A ValueError where a named model is of another architecture; before it is downloaded, or anything is done."""
    name = str(name_or_path)
    card = MODELS.get(name) or (None if os.path.exists(name) else _of_repository(name))
    if card is not None and isinstance(card.config, OtherConfig):
        raise ValueError(
            f"{card.title} is of another architecture and can only detect: for this take a Grounding DINO, such as "
            "'mm-t'."
        )


def find_detector(
    name_or_path: str | Path, local_files_only: bool = False, progress: Progress | None = None
) -> tuple[Path, ModelCard | None]:
    """The weight file or folder of a detector, fetched where it is not there, and its card if it has a name.

    Args and errors are those of `checkpoints.load_pretrained`, without what is in the files.
    """
    name, path = str(name_or_path), Path(name_or_path)
    card = MODELS.get(name)
    if card is None and os.path.exists(
        path
    ):  # where `Path.exists` raises, as for a name that is too long, this says no
        return path, None
    if card := card or _of_repository(name):
        if isinstance(card.source, HubFolder):
            source = card.source
            return hub.fetch_model_folder(source.repository, local_files_only, progress, source.revision), card
        return (COME_ALONG[name] if card.source is None else hub.fetch(card.source, local_files_only, progress)), card
    if hub.is_repository(name) and path.suffix not in _WEIGHT_FILES:
        return hub.fetch_model_folder(name, local_files_only, progress), None
    raise ValueError(
        f"There is no model {named(name)}: expected {', '.join(MODELS)}, the path of a weight file or folder, or a "
        "Hugging Face repository as owner/name."
    )


def _of_repository(name: str) -> ModelCard | None:
    """The card of published weights that are asked for by their repository."""
    for card in (*MODELS.values(), *OTHER_MODELS.values()):
        if isinstance(card.source, HubFolder) and card.source.repository == name:
            return replace(card, name=name)
    return None
