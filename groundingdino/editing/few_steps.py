"""LoRAs (arXiv 2106.09685) by which a model paints in a few steps: which there are, and what suits them.

They are small differences to a model's weights, in files of their own, which come and go while the model stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groundingdino.files.downloads import Progress
    from groundingdino.files.hub import HubFile

SD15, SDXL = "sd15", "sdxl"  # families of models whose weights they fit


@dataclass(frozen=True)
class FewStepsCard:
    """What a user should know of such a LoRA before and after choosing it.

    Attributes:
        size_bytes: Of the file.
        about: What it does, in a sentence.
        family: Of the models that it fits.
        repository, filename: Its file on the hub.
        steps, guidance: What suits it where nothing else is asked for.
        scheduler: A name of `schedulers.make_scheduler`: what it was distilled for.
        has_fixed_steps: It was distilled for that number of steps alone.
    """

    name: str
    title: str
    size_bytes: int
    about: str
    family: str
    repository: str
    filename: str
    steps: int
    scheduler: str
    guidance: float = 1.0
    has_fixed_steps: bool = True
    licence: str = "CreativeML Open RAIL++-M"
    knows: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """What it does and under which licence."""
        return f"{self.about} Licence: {self.licence}."

    @property
    def source(self) -> "HubFile":
        """Its file on the hub."""
        from groundingdino.files.hub import HubFile

        return HubFile(self.repository, self.filename)


def _lcm(family: str, title: str, repository: str, size: int) -> FewStepsCard:
    """Latent consistency (arXiv 2311.05556)."""
    about, filename = "Paints in 4 to 8 steps.", "pytorch_lora_weights.safetensors"
    name = f"lcm-{family}"
    return FewStepsCard(name, title, size, about, family, repository, filename, 6, "lcm", has_fixed_steps=False)


def _distilled(name: str, title: str, filename: str, size: int, steps: int, scheduler: str) -> FewStepsCard:
    """SDXL-Lightning (arXiv 2402.13929) and Hyper-SD (arXiv 2404.13686), by ByteDance."""
    repository = "ByteDance/SDXL-Lightning" if name.startswith("lightning") else "ByteDance/Hyper-SD"
    family = name.partition("-")[2]
    return FewStepsCard(name, title, size, f"Paints in {steps} steps.", family, repository, filename, steps, scheduler)


FEW_STEPS: Mapping[str, FewStepsCard] = {
    card.name: card
    for card in (
        _lcm(SD15, "LCM for Stable Diffusion 1.5", "latent-consistency/lcm-lora-sdv1-5", 135_000_000),
        _distilled(
            "hyper-sd15",
            "Hyper for Stable Diffusion 1.5",
            "Hyper-SD15-8steps-lora.safetensors",
            269_000_000,
            8,
            "ddim-trailing",
        ),
        _lcm(SDXL, "LCM for Stable Diffusion XL", "latent-consistency/lcm-lora-sdxl", 394_000_000),
        _distilled(
            "lightning-sdxl",
            "Lightning for Stable Diffusion XL",
            "sdxl_lightning_4step_lora.safetensors",
            394_000_000,
            4,
            "euler-trailing",
        ),
        _distilled(
            "hyper-sdxl",
            "Hyper for Stable Diffusion XL",
            "Hyper-SDXL-8steps-lora.safetensors",
            787_000_000,
            8,
            "ddim-trailing",
        ),
    )
}


def family_of(unet: Mapping[str, Any]) -> str:
    """Of a model by the settings of its UNet; "" of one that no such LoRA fits."""
    if unet.get("attention_type") == "gated":
        return ""
    width = unet.get("cross_attention_dim")  # of what a text becomes
    return {"768": SD15, "2048": SDXL}.get(str(width), "")


def few_steps_for(family: str) -> tuple[str, ...]:
    """Names of those that fit a family of models."""
    return tuple(name for name, card in FEW_STEPS.items() if card.family == family)


def has_few_steps(name: str) -> bool:
    """Whether one of them can be used without the network."""
    from groundingdino.files import hub

    return hub.cached(FEW_STEPS[name].source) is not None


def fetch_few_steps(
    name: str,
    device: Any = None,  # noqa: ARG001  # as all that is fetched by name is asked for
    local_files_only: bool = False,
    progress: "Progress | None" = None,
) -> Path:
    """The file of one of them, fetched first where it is not there; it suits any device.

    Raises:
        ValueError: as `hub.fetch`.
    """
    from groundingdino.files import hub

    return hub.fetch(FEW_STEPS[name].source, local_files_only, progress)
