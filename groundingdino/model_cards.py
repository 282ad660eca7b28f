"""The models that have a name: what they are, where they come from, which settings suit them."""

from dataclasses import dataclass
from pathlib import Path

from groundingdino import downloads, hub
from groundingdino.config import EMBEDDED, SWIN_B, SWIN_T, GroundingDINOConfig, SwinConfig
from groundingdino.downloads import WebFile
from groundingdino.editing.edits import MaskSettings, Replace, Task
from groundingdino.editing.inpainter_files import cached_pipeline
from groundingdino.hub import HubFile

MODEL_ASSETS = Path(__file__).resolve().parent.parent / "assets" / "models"
DRAWINGS, PHOTOGRAPHS = "drawings", "photographs"  # what a model knows, and is to be chosen for
EMBEDDED_FILE = MODEL_ASSETS / "detector" / "model.safetensors"
EMBEDDED_DRAWINGS = MODEL_ASSETS.parent / "artwork"
EMBEDDED_SEGMENTER = MODEL_ASSETS / "segmenter" / "model.safetensors"


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
            # It tells how good a mask is by looking at it; what changes with the cut-off is seldom worse for that.
            min_quality=0.6,
            min_stability=0.25,
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


@dataclass(frozen=True)
class InpainterCard:
    """What a user should know of an inpainter before and after choosing it.

    Attributes:
        size_bytes: Of what is fetched: half-precision weights where they are published.
        repository: On the hub, in diffusers' layout; None for a folder on this machine, and for "embedded", which is no
            model.
        knows: What it is for.
        steps, guidance: What suits it where nothing else is asked for.
        context: How much is seen around what is painted, as a share of its longer side, on each side.
        one_by_one: It paints one object at a time best.
        boxes: Where an object is replaced, its whole box is best painted anew, not its outline.
    """

    name: str
    title: str
    size_bytes: int
    description: str
    repository: str | None = None
    knows: tuple[str, ...] = (PHOTOGRAPHS,)
    steps: int = 30
    guidance: float = 7.5
    context: float = 0.5
    one_by_one: bool = False
    boxes: bool = False

    def mask_for(self, task: Task) -> MaskSettings:
        """The mask that suits the model where nothing else is asked for."""
        return MaskSettings(one_by_one=self.one_by_one, boxes=self.boxes and isinstance(task, Replace))


INPAINTERS: dict[str, InpainterCard] = {
    card.name: card
    for card in (
        InpainterCard(
            name="embedded",
            title="Stickers (offline)",
            size_bytes=4_100_000,
            description="Comes with the program, no model. Fills what goes from around it, and lays drawings of 630 "
            "everyday things; seed and candidates choose among them.",
            knows=(DRAWINGS,),
            steps=1,
            guidance=1,
            one_by_one=True,
            boxes=True,
        ),
        InpainterCard(
            name="sd15",
            title="Stable Diffusion 1.5 inpainting",
            size_bytes=2_740_000_000,
            description="Photos at 512 pixels. The smallest of the published ones; wants a GPU.",
            repository="stable-diffusion-v1-5/stable-diffusion-inpainting",
        ),
        InpainterCard(
            name="sd2",
            title="Stable Diffusion 2 inpainting",
            size_bytes=2_580_000_000,
            description="Photos at 512 pixels, trained on larger masks; wants a GPU.",
            repository="sd2-community/stable-diffusion-2-inpainting",
        ),
        InpainterCard(
            name="sdxl",
            title="Stable Diffusion XL inpainting",
            size_bytes=6_940_000_000,
            description="Photos at 1024 pixels, the finest; wants a GPU of 12 GB, or of less and patience.",
            repository="diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
        ),
        # The authors' own repository, gligen/diffusers-inpainting-text-box, holds pickles alone, which can run code.
        InpainterCard(
            name="gligen",
            title="GLIGEN inpainting",
            size_bytes=2_550_000_000,
            description="Several boxes at once, each by its own text, at 512 pixels; wants a GPU.",
            repository="masterful/gligen-1-4-inpainting-text-box",
        ),
    )
}


def has_inpainter(name: str) -> bool:
    """Whether a model of `INPAINTERS` can be loaded without the network."""
    repository = INPAINTERS[name].repository
    return repository is None or cached_pipeline(repository) is not None


def mask_settings_for(
    card: InpainterCard | None,
    task: Task,
    grow: int | None = None,
    feather: int | None = None,
    one_by_one: bool | None = None,
    boxes: bool | None = None,
) -> MaskSettings:
    """The mask that is asked for; where nothing is, it suits the task and the inpainter, if one is known."""
    suited = card.mask_for(task) if card and task.needs_model else MaskSettings()
    return MaskSettings(
        grow,
        feather,
        suited.one_by_one if one_by_one is None else one_by_one,
        suited.boxes if boxes is None else boxes,
    )
