"""Models that follow by memory, in transformers' layout: what `config.json` describes, built and loaded strictly.

They are the segmenters SAM 2.1, EdgeTAM and SAM 3's tracker with what these leave out: see `transformers_segmenters`,
which reads the same files.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from groundingdino.files.downloads import Progress, first_line
from groundingdino.files.model_folders import read_folder_weights, read_json
from groundingdino.files.weight_files import check_finite, load_strictly
from groundingdino.inputs.image_files import named
from groundingdino.runtime.devices import check_device, find_device
from groundingdino.segmentation.transformers_segmenters import (
    Pixels,
    check_sizes,
    check_timm,
    named_weights,
    pixels_of,
    recognise,
)
from groundingdino.tracking.available_trackers import EMBEDDED, TrackerCard, find_tracker

WITH_MEMORY = ("sam2_video", "edgetam_video", "sam3_tracker_video", "sam3_video")  # by the `model_type` of config.json

# In a configuration these say where it was made, or how it is computed; the latter would fetch code.
_ASIDE = ("attn_implementation", "_attn_implementation", "architectures", "auto_map", "dtype", "torch_dtype")


class VideoModel(NamedTuple):
    """A model that follows by memory."""

    model: Any  # transformers' `Sam2VideoModel` or another of its kind, in eval mode
    session: type[Any]  # of what it remembers
    pixels: Pixels
    card: TrackerCard

    @property
    def side(self) -> int:
        """Pixels of a side of the square in which it sees a frame."""
        return int(self.model.image_size)


def load_video_model(
    name_or_path: str | Path,
    device: str | torch.device | None = None,
    local_files_only: bool = False,
    progress: Progress | None = None,
) -> VideoModel:
    """Load a model that follows by memory.

    Args:
        name_or_path: a name of `TRACKERS` with a repository; a folder in transformers' layout, or a hub repository
            "owner/name" of one.
        device: by default the GPU if there is one.
        local_files_only, progress: as of `segmenter_models.load_segmenter`.

    Raises:
        ValueError: one sentence: there is no such model, it is not on this machine and may not or cannot be downloaded,
            or its files are damaged, of another architecture or do not fit; or there is no such device.
    """
    device = device or find_device()
    check_device(device)
    folder, card = find_tracker(name_or_path, local_files_only, progress)
    if folder is None:
        raise ValueError(f"The tracker '{EMBEDDED}' is no model: it follows by what the detector finds.")
    file = folder / "config.json"
    if not file.is_file():
        raise ValueError(f"'{folder}' is no model folder: expected config.json and model.safetensors in it.")
    kind, whole = read_json(file, lambda values: (values["model_type"], dict(values)))
    if kind not in WITH_MEMORY:
        raise ValueError(f"'{file}' describes a {named(str(kind))}: expected a tracker, {', '.join(WITH_MEMORY)}.")
    architecture, values = recognise(whole, file)
    weights = read_folder_weights(folder)
    check_finite(weights.state, f"'{folder}'")
    model, session = _build(architecture.name, values, file)
    state = named_weights(architecture._replace(dropped=()), weights.state)
    load_strictly(model, state, f"'{folder}'")
    name = str(name_or_path)
    card = card or TrackerCard(name, name, weights.size_bytes, "Your own weights.")
    return VideoModel(model.to(device).eval(), session, pixels_of(folder, model.image_size, architecture), card)


def _build(name: str, values: Mapping[str, Any], file: Path) -> tuple[Any, type[Any]]:
    """The model that a configuration describes, with fresh weights, and the class of its sessions."""
    import transformers

    try:
        config = getattr(transformers, f"{name}VideoConfig")(
            **{key: value for key, value in values.items() if key not in _ASIDE}
        )
        check_timm(getattr(config.vision_config, "backbone_config", None))
        check_sizes(config)
        if config.image_size != config.prompt_encoder_config.image_size:
            raise ValueError(f"image_size {config.image_size} instead of {config.prompt_encoder_config.image_size}")
        model = getattr(transformers, f"{name}VideoModel")(config)
    except Exception as error:  # whatever transformers stumbles over in a configuration that is none
        raise ValueError(
            f"'{file}' does not describe a model ({type(error).__name__}: {first_line(error)}): download it again."
        ) from error
    model._use_mask_as_output = partial(_with_score, model._use_mask_as_output)
    return model, getattr(transformers, f"{name}VideoInferenceSession")


def _with_score(use_mask_as_output: Callable[..., Any], *inputs: Any) -> Any:
    """What becomes of a mask that begins an object, with a score of the shape (1, 1, 1) that those of others have.

    EdgeTAM's has one axis less in transformers 5.23, which then cannot join the two where an object begins beside
    others. No number changes.
    """
    output = use_mask_as_output(*inputs)
    output.object_score_logits = output.object_score_logits.reshape(1, 1, 1)
    return output
