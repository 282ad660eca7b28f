"""Inpainters by name or path: pipelines in diffusers' layout, from this machine or the hub."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch

from groundingdino.editing.available_models import EMBEDDED_DRAWINGS, InpainterCard, find_inpainter
from groundingdino.editing.inpainter_files import INDEX, has_half_weights, unet_config
from groundingdino.files.downloads import Progress, first_line
from groundingdino.runtime.devices import check_device
from groundingdino.runtime.extras import missing
from groundingdino.runtime.quiet import quietly

# What a run needs on a GPU beside the weights, in bytes: activations of a denoiser and of the decoder at working size.
_WORKING_BYTES = 3 << 30


class LoadedInpainter(NamedTuple):
    """A pipeline ready to paint."""

    pipeline: Any  # of diffusers, which has no common type for inpainting
    card: InpainterCard
    device: torch.device  # on which it computes; where it was offloaded, the weights lie elsewhere


def load_inpainter(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> LoadedInpainter:
    """Load an inpainting pipeline: in 16 bits on a GPU, part by part where it does not fit on it as a whole.

    Args:
        name_or_path: a name of `INPAINTERS`, a folder in diffusers' layout, or a hub repository "owner/name".
        local_files_only: never ask the network, as the environment variable `HF_HUB_OFFLINE` says too.
        progress: called during a download with the bytes done, the bytes in all (or None) and a few words.

    Raises:
        ValueError: one sentence: there is no such model, it is not on this machine and may not or cannot be downloaded,
            it is damaged or no pipeline that paints inside a mask; or there is no such device, or no diffusers.
    """
    check_device(device)
    if sentence := missing("Painting by a diffusion model", "inpaint"):  # before anything is downloaded
        raise ValueError(sentence)
    folder, card = find_inpainter(name_or_path, local_files_only, progress)
    if folder == EMBEDDED_DRAWINGS or card.removes_only:
        raise ValueError(f"{card.title} is no pipeline: load it with Inpainter.from_pretrained('{card.name}').")
    device = torch.device(device)
    pipeline = _read(folder, _precision(folder, device))
    pipeline.set_progress_bar_config(disable=True)
    _place(pipeline, device)
    return LoadedInpainter(pipeline, card, device)


def _precision(folder: Path, device: torch.device) -> torch.dtype:
    """Transformers' activations are larger than float16 holds; they were trained in bfloat16."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if "transformer" in _index(folder) else torch.float16


def _index(folder: Path) -> dict[str, Any]:
    """What a pipeline says of itself: its class, and library and class of each part."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) else {}


def _kind(folder: Path) -> Any:
    """The class of diffusers that paints by what is in a folder."""
    from diffusers import AutoPipelineForInpainting, FluxFillPipeline

    from groundingdino.editing.gligen import MaskedGLIGENPipeline
    from groundingdino.editing.qwen import SizedQwenImageEditInpaintPipeline

    if unet_config(folder).get("attention_type") == "gated":
        return MaskedGLIGENPipeline
    return {
        "FluxFillPipeline": FluxFillPipeline,
        "QwenImageEditPipeline": SizedQwenImageEditInpaintPipeline,
        "QwenImageEditInpaintPipeline": SizedQwenImageEditInpaintPipeline,
    }.get(str(_index(folder).get("_class_name")), AutoPipelineForInpainting)


def _read(folder: Path, dtype: torch.dtype) -> Any:
    try:
        import diffusers  # noqa: F401  # so that it is quiet, too

        with quietly:
            return _kind(folder).from_pretrained(
                str(folder),
                dtype=dtype,
                variant="fp16" if has_half_weights(folder) else None,
                use_safetensors=True,
                local_files_only=True,
            )
    # Whatever damaged files and configurations provoke.
    except Exception as error:
        raise ValueError(f"'{folder}' cannot be loaded as an inpainting pipeline: {first_line(error)}.") from error


def _place(pipeline: Any, device: torch.device) -> None:
    """On the device as a whole; where its memory is small, one part after the other, or one layer after the other."""
    modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    sizes = [sum(tensor.nbytes for tensor in module.state_dict().values()) for module in modules]
    room = torch.cuda.mem_get_info(device)[0] - _WORKING_BYTES if device.type == "cuda" else float("inf")
    if sum(sizes) <= room:
        pipeline.to(device)
        return
    if max(sizes) <= room:
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_sequential_cpu_offload(device=device)
    pipeline.vae.enable_slicing()
    pipeline.vae.enable_tiling()
