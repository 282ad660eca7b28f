"""Florence-2 (arXiv 2311.06242): it writes down what is in a picture, and where, without being asked for anything."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from typing_extensions import Self

from groundingdino.detection.transformers_detectors import read_folder
from groundingdino.files import hub
from groundingdino.files.assets import PHOTOGRAPHS
from groundingdino.files.downloads import Progress
from groundingdino.inputs.image import ImageSource, load_image
from groundingdino.runtime.devices import check_device, find_device
from groundingdino.runtime.interruption import StopCheck, interrupt_before, unless_stopped

REPOSITORY = "florence-community/Florence-2-base"  # MIT, 0.5 GB
NAMES, CAPTIONS = "<OD>", "<DENSE_REGION_CAPTION>"  # what it is told to write: a name of each object, or a description
_MOST_TOKENS = 1024
_BEAMS = 3  # as its authors ask it


@dataclass(frozen=True)
class NamerCard:
    """What a user should know of a model that names what is in pictures."""

    title: str
    size_bytes: int
    description: str
    knows: tuple[str, ...] = ()


NAMERS = {
    "florence-2": NamerCard(
        "Florence-2",
        500_000_000,
        "Writes down what is in a picture, in any words; takes seconds on a processor. Licence: MIT.",
        (PHOTOGRAPHS,),
    )
}


def is_here(_: str = "florence-2") -> bool:
    """Whether the published model is on this machine."""
    return hub.cached_model_folder(REPOSITORY, whole=False) is not None


def load_namer(
    _: str, device: str | None = None, local_files_only: bool = False, progress: Progress | None = None
) -> "Florence2":
    """The published model, see `Florence2.from_pretrained`."""
    return Florence2.from_pretrained(REPOSITORY, device, local_files_only, progress)


class Florence2:
    """Names what is in pictures; safe to share between threads."""

    def __init__(self, model: Any, processor: Any):
        self.model, self.processor = model, processor
        self.device = next(model.parameters()).device
        interrupt_before(model.model.language_model.decoder.layers)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = REPOSITORY,
        device: str | torch.device | None = None,
        local_files_only: bool = False,
        progress: Progress | None = None,
    ) -> Self:
        """Load a model by repository, or from a folder in transformers' layout; by default on the GPU if there is one.

        Raises:
            ValueError: one sentence: it is not on this machine and may not or cannot be downloaded, or its files are
                damaged or of another architecture; or there is no such device.
        """
        device = device or find_device()
        check_device(device)
        folder = Path(name_or_path)
        if not folder.is_dir():
            if not hub.is_repository(str(name_or_path)):
                raise ValueError(f"There is no folder '{name_or_path}', and a repository is named as owner/name.")
            folder = hub.fetch_model_folder(str(name_or_path), local_files_only, progress)
        model, processor, _ = read_folder(
            folder, "Florence-2", "Florence2ForConditionalGeneration", "Florence2Processor"
        )
        return cls(model.to(device), processor)

    def names(self, image: ImageSource, task: str = NAMES, stop: StopCheck | None = None) -> list[str]:
        """What is in a picture, each once, in the order in which it was written.

        Args:
            task: `NAMES` or `CAPTIONS`.
            stop: called between layers; once it returns True, `Stopped` is raised.

        Raises:
            ValueError: Another task; or it is no picture.
        """
        if task not in (NAMES, CAPTIONS):
            raise ValueError(f"What is in a picture is told by {NAMES} or {CAPTIONS}, not by '{task}'.")
        picture = load_image(image)
        return unless_stopped(lambda: self._write(picture, task), stop)

    def _write(self, image: Image.Image, task: str) -> list[str]:
        inputs = self.processor(text=task, images=image, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            (written,) = self.model.generate(**inputs, max_new_tokens=_MOST_TOKENS, num_beams=_BEAMS, do_sample=False)
        text = self.processor.tokenizer.decode(written, skip_special_tokens=False)
        found = self.processor.post_process_generation(text=text, task=task, image_size=image.size)[task]
        return [*dict.fromkeys(label.strip().lower() for label in found["labels"] if label.strip())]
