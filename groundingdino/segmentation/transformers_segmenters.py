"""Segmenters in transformers' layout: what `config.json` describes, built and loaded strictly.

The published repositories of SAM 2.1, EdgeTAM and SAM 3 hold a model of videos, of which a picture needs a part: what
is left out is listed here by name, and all else must fit.
"""

import math
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from groundingdino.files.downloads import first_line
from groundingdino.files.model_folders import read_folder_weights, read_json
from groundingdino.files.weight_files import check_finite, load_strictly
from groundingdino.segmentation.transformers_sam import (
    Fit,
    HqDecoder,
    HqEncoder,
    MaskDecoder,
    PromptEncoder,
    Sam2Decoder,
    Sam2Encoder,
    Stretch,
    TransformersSam,
)


class Pixels(NamedTuple):
    """How pixels from 0 to 1 are normalised, for each colour."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CENTRED = Pixels((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
BILINEAR = 2  # of PIL
PARTS = ("vision_config", "prompt_encoder_config", "mask_decoder_config")  # of a configuration
TIMM_ARGUMENTS = {"features_only", "in_chans", "out_indices"}  # timm takes others that name files to read

# What is remembered of earlier frames; names begin with one of these.
VIDEO = (
    r"memory_attention\.",
    r"memory_encoder\.",
    r"memory_temporal_positional_encoding$",
    r"no_memory_positional_encoding$",
    r"mask_downsample\.",
    r"object_pointer_proj\.",
    r"temporal_positional_encoding_projection_layer\.",
    r"no_object_pointer$",
    r"occlusion_spatial_embedding_parameter$",
)


class Architecture(NamedTuple):
    """How one architecture of transformers is built and asked."""

    name: str  # of its classes in transformers
    alike: str  # the named segmenter whose settings suit others of it
    encoder: type[Sam2Encoder | HqEncoder]
    decoder: type[MaskDecoder]
    fit: type[Fit]
    pixels: Pixels = IMAGENET
    dropped: tuple[str, ...] = ()  # patterns of the beginnings of names that a picture does not need
    others: tuple[str, ...] = ()  # of another model's in the same file, which a video does not need either
    renamed: tuple[tuple[str, str], ...] = ()  # pattern, replacement; before anything is dropped
    same: tuple[str, ...] = ()  # names of one tensor, of which a file has some or all


_SAM2 = Architecture("Sam2", "sam2.1-tiny", Sam2Encoder, Sam2Decoder, Stretch, dropped=VIDEO)
_EDGETAM = Architecture(
    "EdgeTam",
    "edgetam",
    Sam2Encoder,
    Sam2Decoder,
    Stretch,
    dropped=(*VIDEO, r"spatial_perceiver\."),
    renamed=((r"^vision_encoder\.backbone\.(?!timm_model\.)", r"vision_encoder.backbone.timm_model."),),
)
_SAM3 = Architecture(
    "Sam3Tracker",
    "sam3-tracker",
    Sam2Encoder,
    Sam2Decoder,
    Stretch,
    CENTRED,
    dropped=VIDEO,
    others=(r"detector_model\.",),  # but for the backbone, which is shared
    renamed=(
        (r"^tracker_model\.", ""),
        (r"^detector_model\.vision_encoder\.backbone\.", "vision_encoder.backbone."),
        (r"^tracker_neck\.", "vision_encoder.neck."),
    ),
)
_SAM_HQ = Architecture(
    "SamHQ",
    "sam-hq-base",
    HqEncoder,
    HqDecoder,
    Fit,
    # How places are encoded; under which name it is stored depends on the version that saved it.
    same=("shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding"),
)

# By the `model_type` of config.json.
ARCHITECTURES = {
    "sam2": _SAM2,
    "sam2_video": _SAM2,
    "edgetam": _EDGETAM,
    "edgetam_video": _EDGETAM,
    "sam3_tracker": _SAM3,
    "sam3_tracker_video": _SAM3,
    "sam3_video": _SAM3,
    "sam_hq": _SAM_HQ,
}


class TransformersSegmenter(NamedTuple):
    """What a folder holds."""

    model: TransformersSam  # in eval mode
    alike: str  # the named segmenter whose settings suit it
    stable_single: tuple[float, float] | None  # see `SegmenterCard`
    size_bytes: int


def load_folder(folder: Path) -> TransformersSegmenter:
    """A segmenter as `save_pretrained` writes it, and as it is published.

    Raises:
        ValueError: one sentence: it is no such folder, of another architecture, damaged, or does not fit.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise ValueError(f"'{folder}' is no model folder: expected config.json and model.safetensors in it.")
    architecture, values = read_json(file, lambda values: recognise(values, file))
    weights = read_folder_weights(folder)
    check_finite(weights.state, f"'{folder}'")
    model, config = _build(architecture, values, file)
    load_strictly(model, named_weights(architecture, weights.state), f"'{folder}'")
    side, decoder = config.prompt_encoder_config.image_size, config.mask_decoder_config
    pixels = pixels_of(folder, side, architecture)
    sam = TransformersSam(
        architecture.encoder(model, side),
        PromptEncoder(model),
        architecture.decoder(model.mask_decoder),
        architecture.fit(side),
        [255 * value for value in pixels.mean],
        [255 * value for value in pixels.std],
    )
    stable = None
    if getattr(decoder, "dynamic_multimask_via_stability", False):
        stable = decoder.dynamic_multimask_stability_delta, decoder.dynamic_multimask_stability_thresh
    return TransformersSegmenter(sam.eval(), architecture.alike, stable, weights.size_bytes)


def recognise(values: Mapping[str, Any], file: Path) -> tuple[Architecture, Mapping[str, Any]]:
    """The architecture that a configuration names, and the part of it that describes the model of pictures."""
    kind = values["model_type"]
    if kind not in ARCHITECTURES:
        raise ValueError(f"'{file}' describes a '{kind}': expected a segmenter, {', '.join(ARCHITECTURES)}.")
    tracker = values.get("tracker_config")
    return ARCHITECTURES[kind], values if tracker is None else tracker


def _build(architecture: Architecture, values: Mapping[str, Any], file: Path) -> tuple[Any, Any]:
    """The model that a configuration describes, with fresh weights, and the configuration as transformers reads it."""
    import transformers

    try:
        config = getattr(transformers, f"{architecture.name}Config")(
            **{part: values[part] for part in PARTS if part in values}
        )
        check_timm(getattr(config.vision_config, "backbone_config", None))
        check_sizes(config)
        return getattr(transformers, f"{architecture.name}Model")(config), config
    except Exception as error:  # whatever transformers stumbles over in a configuration that is none
        raise ValueError(
            f"'{file}' does not describe a model ({type(error).__name__}: {first_line(error)}): download it again."
        ) from error


def check_timm(backbone: Any) -> None:
    """That timm is asked for one of its own architectures, and for nothing from elsewhere."""
    if backbone is None or backbone.model_type != "timm_wrapper":
        return
    import timm

    unknown = sorted((backbone.model_args or {}).keys() - TIMM_ARGUMENTS)
    if unknown or not timm.is_model(backbone.architecture):
        raise ValueError(f"no backbone of timm is '{backbone.architecture}' with {unknown}")


def check_sizes(config: Any) -> None:
    """That a picture's embedding has the cells that prompts are placed on."""
    prompts, vision = config.prompt_encoder_config, config.vision_config
    cells = prompts.image_size // prompts.patch_size
    found = getattr(vision, "backbone_feature_sizes", None)
    expected: Any = [[4 * cells] * 2, [2 * cells] * 2, [cells] * 2]
    if found is None:
        found, expected = [vision.image_size, prompts.image_embedding_size], [prompts.image_size, cells]
    if [list(one) if isinstance(one, tuple) else one for one in found] != expected:
        raise ValueError(f"sizes {found} instead of {expected}")


def named_weights(architecture: Architecture, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in any layout of an architecture by the names of its model, without those that no picture needs."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for pattern, replacement in architecture.renamed:
            name = re.sub(pattern, replacement, name)
        if not any(re.match(pattern, name) for pattern in (*architecture.dropped, *architecture.others)):
            renamed[name] = tensor
    for tensor in [renamed[name] for name in architecture.same if name in renamed][:1]:
        renamed = dict.fromkeys(architecture.same, tensor) | renamed
    return renamed


def pixels_of(folder: Path, side: int, architecture: Architecture) -> Pixels:
    """How a folder's image processor normalises pixels, or its architecture's does if the folder has none.

    Raises:
        ValueError: pictures are prepared in a way that ours does not implement.
    """
    # A processor is saved as one file or as one file of each part; transformers asks for the first first.
    for name, part in (("processor_config.json", "image_processor"), ("preprocessor_config.json", None)):
        file = folder / name
        read = partial(_read_pixels, part=part, side=side, usual=architecture.pixels, file=file)
        if file.is_file() and (found := read_json(file, read)) is not None:
            return found
    return architecture.pixels


def _read_pixels(values: Mapping[str, Any], part: str | None, side: int, usual: Pixels, file: Path) -> Pixels | None:
    """What a file says of an image processor, if it does; `part` is where it stands in the file."""
    if part is not None:
        if part not in values:
            return None
        values = values[part]
    where = f"'{file}' sets "
    for name, expected in (("do_resize", True), ("do_rescale", True), ("do_normalize", True), ("resample", BILINEAR)):
        if values.get(name) not in (None, expected):
            raise ValueError(f"{where}{name} to {values[name]!r}: only {expected!r} is supported.")
    factor = values.get("rescale_factor", 1 / 255)
    if not math.isclose(factor, 1 / 255, rel_tol=1e-6):
        raise ValueError(f"{where}rescale_factor to {factor!r}: only 1/255 is supported.")
    size = values.get("size")
    if size is not None and set(size.values()) - {None} != {side}:
        raise ValueError(f"{where}size to {size!r}: the model beside it sees {side} pixels a side.")
    mean, std = (values.get(name) or one for name, one in (("image_mean", usual.mean), ("image_std", usual.std)))
    if (
        len(mean) != 3
        or len(std) != 3
        or not all(map(math.isfinite, mean))
        or not all(0 < one < math.inf for one in std)
    ):
        raise ValueError(
            f"{where}image_mean to {mean} and image_std to {std}: expected three numbers each, no std of 0."
        )
    return Pixels(tuple(mean), tuple(std))
