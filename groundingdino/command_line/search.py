"""Find what the options describe in a picture; options are checked first, from the cheapest check to the dearest."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from groundingdino.command_line.options import BY_TEXT, refuse_unread
from groundingdino.command_line.output import Found, check_folder, check_output, say, show_progress

if TYPE_CHECKING:
    from PIL import Image

    from groundingdino.detection.detector import Detector
    from groundingdino.detection.phrases import Grounding
    from groundingdino.segmentation.pointing import Pointing

M = TypeVar("M")


class Search(NamedTuple):
    """What is to be found in a picture."""

    pointing: "Pointing"
    named: bool  # by the prompt
    with_masks: bool  # or with boxes alone


def load_picture(options: argparse.Namespace, with_alpha: bool = False) -> "Image.Image":
    """The picture, after the checks that are cheaper than reading it."""
    from groundingdino.inputs.image import load_editable, load_image

    if not options.like:
        refuse_unread(options, "A search without --like", ("unlike", "like_in"))
    check_output(options.output)
    record = None if options.json in (None, "-") else Path(options.json)
    check_folder(record)
    if record is not None and record == options.output:
        raise ValueError(f"The picture and its record cannot both become '{record}': name two files.")
    source = sys.stdin.buffer.read() if options.image == "-" else options.image
    return load_editable(source) if with_alpha else load_image(source)


def read_search(
    options: argparse.Namespace, size: tuple[int, int], everything: bool = False, with_masks: bool = True
) -> Search:
    """What the prompt names and what is pointed at in a picture of that size, checked before any model is loaded.

    Without `with_masks` what the prompt names has boxes alone, if nothing is pointed at.
    """
    from groundingdino.inputs.prompt import Prompt
    from groundingdino.segmentation.pointing import Pointing

    pointing = Pointing.of(options.point, options.box, everything=everything)
    pointing.check_inside(size)
    has_text = bool(Prompt.parse(options.prompt).phrases)
    if not (has_text or pointing.gestures or everything):
        ways = "--point, --box or --everything" if options.command == "segment" else "--point or --box"
        raise ValueError(f"Nothing is asked for: expected a prompt that names something, {ways}.")
    if not has_text:
        refuse_unread(options, "An empty prompt", BY_TEXT)
    with_masks = with_masks or bool(pointing.gestures)
    if not with_masks:
        refuse_unread(options, "Painting whole boxes", ("segmenter",))
    check_models(options, *(["model"] if has_text else []), *(["segmenter"] if with_masks else []))
    return Search(pointing, has_text, with_masks)


def search_picture(options: argparse.Namespace, image: "Image.Image", search: Search, min_area: float) -> Found:
    """The objects that a search describes; holes and specks of masks below `min_area` go, see `smooth_masks`."""
    from groundingdino.segmentation.available_models import gives_way

    masks = search.with_masks and gives_way(options.segmenter)
    found = ground(options, image, masks) if search.named else nothing_found()
    if not search.with_masks:
        return found

    from groundingdino.segmentation.cutting import cut, is_cut
    from groundingdino.segmentation.segmenter import Segmenter

    if is_cut(found.objects, search.pointing):
        return found._replace(objects=cut(None, None, found.objects, search.pointing, min_area))
    (name,) = suited_models(options, [image], "it looks like a photograph", "segmenter")
    segmenter = load_model(Segmenter.from_pretrained, name, options)
    objects = cut(segmenter, segmenter.encode_image(image), found.objects, search.pointing, min_area)
    return found._replace(objects=objects, models=[*found.models, segmenter.card.name])


def nothing_found() -> Found:
    """What there is where no prompt names anything."""
    from groundingdino.detection.objects import no_objects

    return Found(no_objects(), (), [], {})


def ground(options: argparse.Namespace, image: "Image.Image", masks: bool = False) -> Found:
    """What the prompt names in the picture; with the masks of a detector that makes them, if they are asked for."""
    from groundingdino.detection.detector import Detector
    from groundingdino.detection.phrases import NMS_THRESHOLD

    (name,) = suited_models(options, [image], "it looks like a photograph", "model")
    detector = load_model(Detector.from_pretrained, name, options)
    grounding = _ground_like(options, image, detector) if options.like else _ground_words(options, image, detector)
    for note in grounding.notes:
        say(note)
    thresholds = {
        "box_threshold": grounding.box_threshold,
        "text_threshold": grounding.text_threshold,
        "nms_threshold": NMS_THRESHOLD,
        **{name: value for name, value in vars(options).items() if name.endswith("_threshold")},
        **({"best_only": True} if options.best_only else {}),
    }
    search = thresholds | {name: True for name in ("each", "tiles") if getattr(options, name)}
    search |= {name: value for name in ("like", "unlike") if (value := [[*box] for box in getattr(options, name)])}
    objects = grounding.detections(**thresholds, masks=masks and grounding.masks is not None)
    return Found(objects, grounding.phrases, [detector.card.name], search)


def suited_models(
    options: argparse.Namespace, images: Iterable["Image.Image"], seen: str, *kinds: str
) -> tuple[str, ...]:
    """The models that were asked for, or else those that come along and know most of some pictures.

    Args:
        images: Some, looked at once for all kinds; they are not read where it does not depend on them.
        seen: what is told where they are photographs, as "it looks like a photograph".
        kinds: "model" finds, "segmenter" cuts out.
    """
    from groundingdino.detection.picture_kinds import is_choice, suited
    from groundingdino.segmentation.available_models import COME_ALONG

    asked = {kind: str(getattr(options, kind)) for kind in kinds}
    depend = [
        kind
        for kind, name in asked.items()
        if not getattr(options, f"{kind}_is_chosen") and is_choice(name, COME_ALONG)
    ]
    if not depend:
        return tuple(asked.values())
    votes = Counter(suited(image, asked[depend[0]]) for image in images).most_common(1)
    for kind in depend if votes else ():
        before, asked[kind] = asked[kind], votes[0][0]
        if asked[kind] != before:
            does = "is asked" if kind == "model" else "cuts out"
            say(f"{seen}, so {asked[kind]} {does}: --{kind} asks another")
    return tuple(asked.values())


def _ground_words(options: argparse.Namespace, image: "Image.Image", detector: "Detector") -> "Grounding":
    find = detector.ground_each if options.each else detector.ground
    return find(detector.encode_image(image, tiles=options.tiles), options.prompt)


def _ground_like(options: argparse.Namespace, image: "Image.Image", detector: "Detector") -> "Grounding":
    from groundingdino.inputs.image import load_image

    refuse_unread(options, "A search by examples", ("each", "tiles", "text_threshold"))
    encoded = detector.encode_image(image)
    of = detector.encode_image(load_image(options.like_in)) if options.like_in is not None else None
    name = ", ".join(read_phrases(options.prompt))
    return detector.ground_like(encoded, options.like, options.unlike, of, name)


def check_models(options: argparse.Namespace, *kinds: str) -> None:
    """Check the models' names before PyTorch is imported, which takes seconds."""
    from groundingdino.detection.available_models import find_detector
    from groundingdino.editing.available_models import find_inpainter
    from groundingdino.files.downloads import DownloadsOff, is_offline_mode
    from groundingdino.segmentation.available_models import find_segmenter
    from groundingdino.tracking.available_trackers import find_tracker

    find: dict[str, Callable[..., Any]] = {"model": find_detector, "segmenter": find_segmenter}
    find |= {"inpainter": find_inpainter, "tracker": find_tracker}
    for kind in kinds:
        try:
            find[kind](getattr(options, kind), local_files_only=True)
        except DownloadsOff:
            if options.local_files_only or is_offline_mode():
                raise


def identity(model: str) -> Any:
    """A model's name; of files also what tells whether they changed, as training writes others under that name."""
    path = Path(model)
    if not os.path.exists(path):
        return model
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return [model, *([file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files)]


def load_model(load: Callable[..., M], name: str, options: argparse.Namespace) -> M:
    """A model by name or path, in a process that keeps its memory where the model runs on the CPU."""
    from groundingdino.runtime.allocation import keep_freed_memory
    from groundingdino.runtime.devices import find_device

    device = options.device or find_device()
    if str(device).startswith("cpu"):
        keep_freed_memory()
    return load(name, device, options.local_files_only, show_progress)


def read_phrases(prompt: str) -> tuple[str, ...]:
    from groundingdino.inputs.prompt import Prompt

    phrases = Prompt.parse(prompt).phrases
    if not phrases:
        raise ValueError("The prompt names nothing: expected phrases such as 'cat . remote control'.")
    return phrases


def nms_threshold(options: argparse.Namespace) -> float | None:
    from groundingdino.detection.phrases import NMS_THRESHOLD

    return getattr(options, "nms_threshold", NMS_THRESHOLD)


def read_thresholds(options: argparse.Namespace) -> dict[str, Any]:
    """As `Grounding.detections` takes them; None is the model's own."""
    return {
        "box_threshold": getattr(options, "box_threshold", None),
        "text_threshold": getattr(options, "text_threshold", None),
        "nms_threshold": nms_threshold(options),
        "best_only": options.best_only,
    }
