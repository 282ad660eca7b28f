"""Paint inside a mask what a text describes, at the picture's own resolution; by diffusers' pipelines."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from typing_extensions import Self

from groundingdino.editing.available_models import InpainterCard, find_inpainter, find_inpainter_card
from groundingdino.editing.crops import Crop, enlarged_much
from groundingdino.editing.edits import Sampling
from groundingdino.editing.few_steps import FEW_STEPS, FewStepsCard, fetch_few_steps, few_steps_for
from groundingdino.editing.inpainter_models import LoadedInpainter, load_inpainter
from groundingdino.editing.lama import LaMa
from groundingdino.editing.latent_preview import LatentPreview
from groundingdino.editing.out_of_memory import free_memory, is_out_of_memory
from groundingdino.editing.perform import BoxText, HeldBack, Painted
from groundingdino.editing.pipeline_kinds import (
    CONTINUE,
    encoded,
    follows_instructions,
    heeds_negative_prompt,
    is_read_to_its_end,
    knows_guidance,
    leading,
    most_tokens,
    parameters,
    steps_of,
    unpacked,
    working_size,
)
from groundingdino.editing.preview import PaintStep
from groundingdino.editing.schedulers import make_scheduler, schedulers_for
from groundingdino.editing.stickers import Stickers
from groundingdino.files.downloads import Progress, first_line
from groundingdino.runtime.devices import check_device, find_device
from groundingdino.runtime.interruption import StopCheck, interrupt_before, raise_if, stopping
from groundingdino.runtime.quiet import quietly

SMALLEST = 128  # pixels: below it a smaller working size is not tried when memory runs out
_TICK = 0.1  # seconds between two looks at whether somebody who waits still does

Report = Callable[[PaintStep], None]


class Inpainter:
    """Paints inside masks. Safe to share between threads: they paint one after the other."""

    def __init__(self, loaded: LoadedInpainter, local_files_only: bool = False):
        self.pipeline, self.card, self.device = loaded
        self._local_files_only = local_files_only
        self._switched_on: str | None = None  # of `few_steps`, whose LoRA is in the pipeline
        self._published_scheduler = self.pipeline.scheduler
        self._dtype = next(self.pipeline.vae.parameters()).dtype
        self._cell: int = self.pipeline.vae_scale_factor  # pixels of a side that one latent pixel stands for
        self._turn = Lock()
        for part in self.pipeline.components.values():
            if isinstance(part, nn.Module):
                lists = [module for module in part.modules() if isinstance(module, nn.ModuleList)]
                # diffusers keeps None where a block goes without attention.
                interrupt_before(layer for layers in lists for layer in layers if layer is not None)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "embedded",
        device: str | torch.device | None = None,
        local_files_only: bool = False,
        progress: Progress | None = None,
    ) -> "Self | Stickers | LaMa":
        """Load a model by name or path, see `load_inpainter`; by default on the GPU if there is one.

        "embedded" is no model and needs no device: it gives `Stickers`, which paint through the same call. So does
        `LaMa`, which "lama" and the path of its file give; it runs on the processor.
        """
        device = device or find_device()
        card = find_inpainter_card(name_or_path)
        if card is not None and card.removes_only:
            check_device(device)
            return LaMa(*find_inpainter(name_or_path, local_files_only, progress))
        if name_or_path == "embedded":
            check_device(device)
            return Stickers()
        return cls(load_inpainter(name_or_path, device, local_files_only, progress), local_files_only)

    @property
    def name(self) -> str:
        """That of its card: of a folder its last part, so that recipes do not contain paths of this machine."""
        return self.card.name

    @property
    def working_size(self) -> int:
        """Pixels of the side of the square that the model was trained on."""
        return working_size(self.pipeline)

    @property
    def schedulers(self) -> tuple[str, ...]:
        """Names of `SCHEDULERS` that suit the model, beside its own."""
        return schedulers_for(self.pipeline)

    @property
    def few_steps(self) -> tuple[str, ...]:
        """Names of `FEW_STEPS` that fit the model."""
        return few_steps_for(self.card.family)

    @property
    def lays_drawings(self) -> bool:
        """It paints anew what is in the mask."""
        return False

    @property
    def paints_regions(self) -> bool:
        """Whether one pass paints several boxes, each by its own text: GLIGEN does."""
        return hasattr(self.pipeline, "enable_fuser")

    def paint(
        self,
        pixels: np.ndarray,
        mask: np.ndarray,
        alpha: np.ndarray,
        texts: tuple[BoxText, ...],
        sampling: Sampling,
        report: Report,
        stop: StopCheck | None = None,
    ) -> Painted:
        """Paint what is in a mask anew.

        Args:
            pixels: (H, W, 3) uint8.
            mask: (H, W) bool, what the model paints.
            alpha: (H, W) uint8, the mask with its soft edge: all of it will be in the result.
            texts: What to paint where; a model that does not paint regions takes the first text for all.
            sampling: With a seed.
            report: Called before the first step and after each.
            stop: Called before each layer; once it returns True, `interruption.Stopped` is raised.

        Raises:
            HeldBack: The model's safety checker did not let the picture pass, or it came out black.
            ValueError: Scheduler, negative prompt or few steps do not suit the model; the strength leaves no step; the
                LoRA of few steps is not here or cannot be loaded; memory does not suffice, even for a smaller working
                size.
        """
        few = None if sampling.few_steps is None else FEW_STEPS[sampling.few_steps]
        steps = self._check(sampling)
        file = fetch_few_steps(few.name, self.device, self._local_files_only) if few else None
        if follows_instructions(self.pipeline):
            texts = tuple(BoxText(box, text or CONTINUE) for box, text in texts)
        with self._my_turn(stop), stopping(stop), quietly:
            self._switch(few, file)
            for size in self._sizes():
                crop = Crop.around(alpha, size, self.card.context, 2 * self._cell)
                try:
                    painted = self._run(
                        crop, crop.cut(pixels), crop.cut_mask(mask, self._cell), texts, sampling, steps, report
                    )
                except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
                    if not is_out_of_memory(error):
                        raise
                else:
                    notes = self._notes(crop, size, texts, sampling)
                    return Painted(crop, crop.uncut(painted), notes, self._settings(crop, texts, sampling))
                free_memory()
        raise ValueError(
            f"There is not enough memory for {self.card.title}, even at a working size of {size} pixels: close other "
            "programs, or choose a smaller model."
        )

    def _check(self, sampling: Sampling) -> int:
        """The number of steps; a ValueError where the model cannot do what the sampling settings ask."""
        self.card.refuse_ignored(sampling)
        title = self.card.title
        if sampling.scheduler is not None and sampling.scheduler not in self.schedulers:
            others = f"choose one of {', '.join(self.schedulers)}" if self.schedulers else "choose none, it has its own"
            raise ValueError(f"The scheduler '{sampling.scheduler}' does not suit {title}: {others}.")
        if sampling.few_steps is not None and sampling.few_steps not in self.few_steps:
            others = f"choose {' or '.join(self.few_steps)}" if self.few_steps else "there are none for it"
            raise ValueError(f"'{sampling.few_steps}' does not fit {title}: {others}.")
        if sampling.negative_prompt and not heeds_negative_prompt(self.pipeline):
            raise ValueError(f"{title} cannot be led away from a text: leave the negative prompt empty.")
        steps = sampling.steps or self._suited(sampling).steps
        if steps_of(self.pipeline, steps, sampling.strength) < 1:
            least = ceil(100 / steps) / 100
            raise ValueError(
                f"A strength of {sampling.strength:g} leaves none of {steps} steps: expected at least {least:g}."
            )
        return steps

    def _suited(self, sampling: Sampling) -> InpainterCard | FewStepsCard:
        """What says which settings suit."""
        return self.card if sampling.few_steps is None else FEW_STEPS[sampling.few_steps]

    def _switch(self, few: FewStepsCard | None, file: Path | None) -> None:
        """Puts a LoRA into the pipeline, or takes it out again, which leaves the weights as they were to the bit."""
        name = few.name if few else None
        if name == self._switched_on:
            return
        if self._switched_on is not None:
            self.pipeline.unload_lora_weights()
            self._switched_on = None
        if few is None or file is None:
            return
        try:
            self.pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name="few_steps")
        except Exception as error:  # whatever a damaged file, or one for other weights, provokes
            self.pipeline.unload_lora_weights()
            raise ValueError(
                f"{few.title} cannot be loaded into {self.card.title}: {first_line(error)}; paint without it."
            ) from error
        self._switched_on = name

    def _sizes(self) -> Iterator[int]:
        size = self.working_size
        yield size
        while size // 2 >= SMALLEST:
            size //= 2
            yield size

    @contextmanager
    def _my_turn(self, stop: StopCheck | None) -> Iterator[None]:
        """Waits until nobody else paints with this model: a pipeline keeps state while it runs."""
        while not self._turn.acquire(timeout=_TICK):
            raise_if(stop)
        try:
            yield
        finally:
            self._turn.release()

    def _run(
        self,
        crop: Crop,
        canvas: np.ndarray,
        hole: np.ndarray,
        texts: tuple[BoxText, ...],
        sampling: Sampling,
        steps: int,
        report: Report,
    ) -> np.ndarray:
        """The canvas (h, w, 3) uint8 with what was painted in the hole (h, w) bool."""
        arguments: dict[str, Any] = {
            **leading(self.pipeline, self._guidance(texts, sampling), sampling.negative_prompt),
            "num_inference_steps": steps,
            "height": canvas.shape[0],
            "width": canvas.shape[1],
            # On the processor, so that a seed means the same on every machine.
            "generator": torch.Generator("cpu").manual_seed(sampling.seed or 0),
        }
        scheduler = FEW_STEPS[sampling.few_steps].scheduler if sampling.few_steps else sampling.scheduler
        self.pipeline.scheduler = make_scheduler(self._published_scheduler, scheduler)
        try:
            if self.paints_regions:
                report(PaintStep(0, steps, crop, None))
                result = self._call_gligen(crop, canvas, hole, texts, sampling, arguments, report)
            else:
                report(PaintStep(0, steps_of(self.pipeline, steps, sampling.strength), crop, None))
                result = self._call(crop, canvas, hole, texts[0].text, sampling, arguments, report)
        except BaseException:
            # A run that was left in the middle leaves parts on the GPU, and SDXL's decoder in another precision.
            self.pipeline.maybe_free_model_hooks()
            self.pipeline.vae.to(dtype=self._dtype)
            raise
        painted = np.asarray(result.images[0])
        if any(getattr(result, "nsfw_content_detected", None) or ()):
            raise HeldBack(f"The safety checker of {self.card.title} held the picture back: change text or seed.")
        if not painted.any():
            raise HeldBack(f"What {self.card.title} painted came out black: change text, seed or scheduler.")
        return painted

    def _call(
        self,
        crop: Crop,
        canvas: np.ndarray,
        hole: np.ndarray,
        text: str,
        sampling: Sampling,
        arguments: dict[str, Any],
        report: Report,
    ) -> Any:
        offered = [
            name for name in ("latents", "masked_image_latents") if name in self.pipeline._callback_tensor_inputs
        ]
        # Where the pipeline encodes the picture around the hole, that need not be done again to see its latents.
        previews = [] if "masked_image_latents" in offered else [self._preview_of(canvas)]

        def on_step(pipeline: Any, index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            latents = unpacked(pipeline, tensors["latents"], canvas)
            known = tensors.get("masked_image_latents")
            if not previews and known is not None and known.shape[1:] == latents.shape[1:]:
                previews.append(LatentPreview(known, np.where(hole[..., None], np.uint8(127), canvas)))
            shown = previews[0].show(latents) if previews else None
            report(PaintStep(index + 1, max(index + 1, pipeline.num_timesteps), crop, shown))
            return {}

        arguments |= {
            "prompt": text,
            "image": Image.fromarray(canvas),
            "mask_image": Image.fromarray(hole.view(np.uint8) * 255),
            "strength": sampling.strength,
            "max_sequence_length": most_tokens(self.pipeline) or 512,
            "callback_on_step_end": on_step,
            "callback_on_step_end_tensor_inputs": offered,
        }
        taken = parameters(self.pipeline)
        return self.pipeline(**{name: value for name, value in arguments.items() if name in taken})

    def _call_gligen(
        self,
        crop: Crop,
        canvas: np.ndarray,
        hole: np.ndarray,
        texts: tuple[BoxText, ...],
        sampling: Sampling,
        arguments: dict[str, Any],
        report: Report,
    ) -> Any:
        steps, preview = arguments["num_inference_steps"], self._preview_of(canvas)

        def on_step(index: int, _timestep: Any, latents: torch.Tensor) -> None:
            report(PaintStep(index + 1, max(index + 1, steps), crop, preview.show(latents)))

        cells = hole[:: self._cell, :: self._cell]
        return self.pipeline.paint(
            torch.from_numpy(cells.copy()),
            sampling.seed or 0,
            [text for _, text in texts],
            **arguments,
            gligen_boxes=[list(crop.box_on_canvas(box)) for box, _ in texts],
            gligen_inpaint_image=Image.fromarray(canvas),
            gligen_scheduled_sampling_beta=1.0,
            callback=on_step,
        )

    @torch.inference_mode()
    def _preview_of(self, canvas: np.ndarray) -> LatentPreview:
        return LatentPreview(encoded(self.pipeline, Image.fromarray(canvas), self.device), canvas)

    def _guidance(self, texts: tuple[BoxText, ...], sampling: Sampling) -> float:
        is_led = sampling.negative_prompt or any(text for _, text in texts) or knows_guidance(self.pipeline)
        if not is_led:
            return 1.0  # there is nothing to be led to, or away from: guidance would double the work for nothing
        return self._suited(sampling).guidance if sampling.guidance is None else sampling.guidance

    def _settings(self, crop: Crop, texts: tuple[BoxText, ...], sampling: Sampling) -> dict[str, Any]:
        settings = {
            "steps": sampling.steps or self._suited(sampling).steps,
            "guidance": self._guidance(texts, sampling),
            "scheduler": sampling.scheduler or type(self.pipeline.scheduler).__name__,
            "painted_at": list(crop.scaled),
        }
        return settings | ({"few_steps": sampling.few_steps} if sampling.few_steps else {})

    def _notes(self, crop: Crop, size: int, texts: tuple[BoxText, ...], sampling: Sampling) -> tuple[str, ...]:
        notes: list[str] = []
        if self.paints_regions and sampling.strength < 1:
            notes.append(f"{self.card.title} forgets all of what was there: the strength has no effect.")
        if size < self.working_size:
            notes.append(f"Memory ran out, so it was painted at {size} instead of {self.working_size} pixels.")
        notes += enlarged_much(crop, size)
        few = FEW_STEPS[sampling.few_steps] if sampling.few_steps else None
        if few and few.has_fixed_steps and sampling.steps not in (None, few.steps):
            notes.append(f"{few.title} was made for {few.steps} steps: other numbers give poorer pictures.")
        if sampling.negative_prompt and self._guidance(texts, sampling) <= 1:
            notes.append("Nothing was led away from the negative prompt: that takes a guidance over 1.")
        for _, text in texts:
            if not is_read_to_its_end(self.pipeline, text):
                most = most_tokens(self.pipeline)
                notes.append(f"The model reads {most} tokens, so the end of the text was left out.")
        return tuple(notes)
