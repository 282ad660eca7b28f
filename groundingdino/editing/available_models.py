"""The inpainters that have a name: what they are, where they come from, which settings suit them.

Nothing here needs torch, so that a wrong name is reported at once.
"""

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from groundingdino.editing.edits import Edit, MaskSettings, Sampling
from groundingdino.editing.few_steps import SD15, SDXL, family_of
from groundingdino.editing.inpainter_files import cached_pipeline, fetch_pipeline, lacking, unet_config, whole_progress
from groundingdino.editing.tasks import Replace, Task
from groundingdino.files import hub
from groundingdino.files.assets import ASSETS, DRAWINGS, PHOTOGRAPHS
from groundingdino.files.downloads import Progress
from groundingdino.files.hub import HubFile
from groundingdino.inputs.image_files import named

EMBEDDED_DRAWINGS = ASSETS / "artwork"
# What says how noise is taken away.
PAINTED_BY_STEPS = ("steps", "guidance", "strength", "negative_prompt", "scheduler", "few_steps")


@dataclass(frozen=True)
class InpainterCard:
    """What a user should know of an inpainter before and after choosing it.

    Attributes:
        about: What it paints, in a sentence or two.
        size_bytes: Of what is fetched: half-precision weights where they are published.
        repository: On the hub, in diffusers' layout; None for a folder on this machine, and for "embedded", which is no
            model.
        file: The one file of a repository that is no pipeline.
        family: Of models whose weights are alike, by which `few_steps` fit it; "" if none do.
        licence: Of its weights, and what must be done to get them where that is more than to ask.
        knows: What it is for.
        steps, guidance: The defaults.
        context: How much of the surroundings the model gets, as a share of its longer side, on each side.
        one_by_one: It paints one object at a time best.
        boxes: Where an object is replaced, its whole box is best painted anew, not its outline.
        ignores: Names of what `Sampling` says and means nothing to it.
        removes_only: It continues what is around, and reads no text.
    """

    name: str
    title: str
    size_bytes: int
    about: str
    repository: str | None = None
    file: HubFile | None = None
    licence: str = ""
    family: str = ""
    knows: tuple[str, ...] = (PHOTOGRAPHS,)
    steps: int = 30
    guidance: float = 7.5
    context: float = 0.5
    one_by_one: bool = False
    boxes: bool = False
    ignores: tuple[str, ...] = ()
    removes_only: bool = False

    @property
    def description(self) -> str:
        """What it paints and under which licence."""
        return f"{self.about} Licence: {self.licence}." if self.licence else self.about

    def mask_for(self, task: Task) -> MaskSettings:
        """The model's default mask settings for a task."""
        return MaskSettings(one_by_one=self.one_by_one, boxes=self.boxes and isinstance(task, Replace))

    def heeded(self, sampling: Sampling) -> Sampling:
        """The same without what the model ignores."""
        return replace(sampling, **{name: _USUAL[name] for name in self.ignores})

    def refuse_ignored(self, sampling: Sampling) -> None:
        """Check that nothing is asked for that the model ignores.

        Raises:
            ValueError: something is.
        """
        unread = [name.replace("_", " ") for name in self.ignores if getattr(sampling, name) != _USUAL[name]]
        if unread:
            raise ValueError(f"{self.title} makes no use of {', '.join(unread)}: leave that out.")


_USUAL: dict[str, Any] = {each.name: each.default for each in fields(Sampling)}


INPAINTERS: dict[str, InpainterCard] = {
    card.name: card
    for card in (
        InpainterCard(
            name="embedded",
            title="Stickers (offline)",
            size_bytes=4_100_000,
            about="Comes with the program, no model. Fills what goes from around it, and lays drawings of 630 "
            "everyday things; seed and candidates choose among them.",
            knows=(DRAWINGS,),
            steps=1,
            guidance=1,
            one_by_one=True,
            boxes=True,
            ignores=PAINTED_BY_STEPS,
        ),
        # OpenCV's own publication. The others are TorchScript, which is code, pickles, or of unknown hands.
        InpainterCard(
            name="lama",
            title="LaMa",
            size_bytes=92_591_623,
            about="Photos at 512 pixels: removes, and puts nothing there. Needs no GPU.",
            repository="opencv/inpainting_lama",
            file=HubFile(
                repository="opencv/inpainting_lama",
                filename="inpainting_lama_2025jan.onnx",
                size=92_591_623,
                sha256="7df918ac3921d3daf0aae1d219776cf0dc4e4935f035af81841b40adcf74fdf2",
            ),
            licence="Apache-2.0",
            steps=1,
            guidance=1,
            ignores=PAINTED_BY_STEPS,
            removes_only=True,
        ),
        InpainterCard(
            name="sd15",
            title="Stable Diffusion 1.5 inpainting",
            size_bytes=2_740_000_000,
            about="Photos at 512 pixels. The smallest of the published ones; wants a GPU.",
            repository="stable-diffusion-v1-5/stable-diffusion-inpainting",
            family=SD15,
            licence="CreativeML Open RAIL-M",
        ),
        InpainterCard(
            name="sd2",
            title="Stable Diffusion 2 inpainting",
            size_bytes=2_580_000_000,
            about="Photos at 512 pixels, trained on larger masks; wants a GPU.",
            repository="sd2-community/stable-diffusion-2-inpainting",
            licence="CreativeML Open RAIL++-M",
            ignores=("few_steps",),
        ),
        InpainterCard(
            name="sdxl",
            title="Stable Diffusion XL inpainting",
            size_bytes=6_940_000_000,
            about="Photos at 1024 pixels, the finest; wants a GPU of 12 GB, or of less and patience.",
            repository="diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
            family=SDXL,
            licence="CreativeML Open RAIL++-M",
        ),
        # The authors' own repository, gligen/diffusers-inpainting-text-box, holds pickles alone, which can run code.
        InpainterCard(
            name="gligen",
            title="GLIGEN inpainting",
            size_bytes=2_550_000_000,
            about="Several boxes at once, each by its own text, at 512 pixels; wants a GPU.",
            repository="masterful/gligen-1-4-inpainting-text-box",
            licence="CreativeML Open RAIL-M",
            ignores=("strength", "few_steps"),
        ),
        InpainterCard(
            name="flux-fill",
            title="FLUX.1 Fill",
            size_bytes=33_900_000_000,
            about="Photos at 1024 pixels, made for filling and growing pictures; takes no negative prompt; wants a GPU "
            "of 40 GB, or of less and patience.",
            repository="black-forest-labs/FLUX.1-Fill-dev",
            licence="FLUX.1 [dev], not for commercial use; accept it on the hub and log in before you download",
            steps=50,
            guidance=30,
            ignores=("negative_prompt", "scheduler", "few_steps"),
        ),
        InpainterCard(
            name="qwen-image-edit",
            title="Qwen-Image-Edit",
            size_bytes=57_700_000_000,
            about="Photos at 1024 pixels, by instructions such as 'make the cat a dog', letters too; wants a GPU of 64 "
            "GB, or of less and patience.",
            repository="Qwen/Qwen-Image-Edit",
            licence="Apache-2.0",
            steps=50,
            guidance=4,
            ignores=("scheduler", "few_steps"),
        ),
        InpainterCard(
            name="z-image",
            title="Z-Image-Turbo",
            size_bytes=32_880_000_000,
            about="Photos at 1024 pixels in 9 steps; wants a GPU of 24 GB, or of less and patience.",
            repository="Tongyi-MAI/Z-Image-Turbo",
            licence="Apache-2.0",
            steps=9,
            guidance=1,
            ignores=("scheduler", "few_steps"),
        ),
    )
}


def has_inpainter(name: str) -> bool:
    """Whether a model of `INPAINTERS` can be loaded without the network."""
    repository, file = INPAINTERS[name].repository, INPAINTERS[name].file
    if file is not None:
        return hub.cached(file) is not None
    return repository is None or cached_pipeline(repository) is not None


def mask_settings_for(
    card: InpainterCard | None,
    task: Task,
    grow: int | None = None,
    feather: int | None = None,
    one_by_one: bool | None = None,
    boxes: bool | None = None,
) -> MaskSettings:
    """The mask settings given; those left out suit the task and the inpainter, if one is known."""
    suited = card.mask_for(task) if card and task.needs_model else MaskSettings()
    return MaskSettings(
        grow,
        feather,
        suited.one_by_one if one_by_one is None else one_by_one,
        suited.boxes if boxes is None else boxes,
    )


def edit_of(
    task: Task,
    card: InpainterCard | None,
    sampling: Sampling,
    grow: int | None = None,
    feather: int | None = None,
    one_by_one: bool | None = None,
    boxes: bool | None = None,
    own_mask: bool = False,
) -> Edit:
    """An edit as programs and the command line ask for it.

    Args:
        card: Of the inpainter, if it is known; see `mask_settings_for`.
        own_mask: The mask comes from the caller and is taken as it is, but for a `grow` that is given.
    """
    if own_mask:
        grow, boxes = grow or 0, False
    return Edit(task, mask_settings_for(card, task, grow, feather, one_by_one, boxes), (), sampling)


def find_inpainter(
    name_or_path: str | Path, local_files_only: bool = False, progress: Progress | None = None
) -> tuple[Path, InpainterCard]:
    """The folder of an inpainter in diffusers' layout, fetched where it is not there; of "embedded" its drawings'.

    Of LaMa it is the file.
    """
    name, card = str(name_or_path), find_inpainter_card(name_or_path)
    if card is not None and card.file is not None:
        return hub.fetch(card.file, local_files_only, progress), card
    if card is not None and card.removes_only:
        return Path(name_or_path), card
    if card is not None and card.repository is not None:
        whole = whole_progress(progress, card.size_bytes) if progress else None
        return fetch_pipeline(card.repository, local_files_only, whole), card
    if card is not None and name in INPAINTERS:
        return EMBEDDED_DRAWINGS, card
    if card is not None:
        path = Path(name_or_path)
        if problem := lacking(path):
            raise ValueError(f"'{path}' {problem}: expected a pipeline in diffusers' layout.")
        return path, card
    if hub.is_repository(name) and not os.path.exists(name):
        folder = fetch_pipeline(name, local_files_only, progress)
        family = family_of(unet_config(folder))
        return folder, InpainterCard(name, name, 0, "From the hub.", repository=name, family=family)
    raise ValueError(
        f"There is no inpainter {named(name)}: expected {', '.join(INPAINTERS)}, a folder in diffusers' layout, LaMa's "
        ".onnx file or a repository 'owner/name'."
    )


def find_inpainter_card(name_or_path: str | Path) -> InpainterCard | None:
    """What is known of a model of `INPAINTERS`, a folder or LaMa's file before it is loaded; None of any other."""
    name, path = str(name_or_path), Path(name_or_path)
    if name in INPAINTERS:
        return INPAINTERS[name]
    if path.suffix == ".onnx" and os.path.isfile(name):
        size = path.stat().st_size
        lama = replace(INPAINTERS["lama"], repository=None, file=None, licence="")
        return replace(lama, name=path.name, title=path.name, size_bytes=size, about="Your own weights.")
    if not os.path.isdir(name):
        return None
    size = sum(file.stat().st_size for file in path.glob("*/*.safetensors"))
    return InpainterCard(path.name, path.name, size, "Your own weights.", family=family_of(unet_config(path)))
