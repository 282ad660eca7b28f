"""The options of the command line; `values` reads what is given to them."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from groundingdino.command_line import values
from groundingdino.editing.few_steps import FEW_STEPS
from groundingdino.editing.schedulers import SCHEDULERS

BAD_INPUT = 2  # the exit status
_A_MODEL = "a name that `models` lists, or a path"  # as a choice is described
_LONGEST_LINE = 300  # letters of a mistake that are repeated
BY_TEXT = (
    "model",
    "box_threshold",
    "text_threshold",
    "nms_threshold",
    "best_only",
    "each",
    "tiles",
    "like",
    "unlike",
    "like_in",
)  # what finds what the prompt names


class Parser(argparse.ArgumentParser):
    """Answers a mistake with one line rather than with the whole usage."""

    def error(self, message: str) -> NoReturn:
        line = "".join(letter if letter.isprintable() else "?" for letter in message)  # it repeats what was typed
        if len(line) > _LONGEST_LINE:
            line = f"{line[: _LONGEST_LINE // 2]}…{line[-_LONGEST_LINE // 2 :]}"
        self.exit(BAD_INPUT, f"{self.prog}: {line} (see --help)\n")


def build_parser() -> Parser:
    """The commands and their options."""
    parser = Parser(prog="groundingdino", description="Find what a line of text names in a picture.")
    commands = parser.add_subparsers(dest="command", required=True)
    detect = commands.add_parser("detect", help="boxes around what the prompt names")
    _add_options(detect, "boxes")
    segment = commands.add_parser("segment", help="masks of what the prompt names, and of what you point at")
    _add_options(segment, "masks")
    _add_pointing(segment)
    segment.add_argument("--everything", action="store_true", help="also all other objects the segmenter sees")
    segment.add_argument(
        "--fill",
        type=values.area,
        metavar="AREA",
        help="remove specks and fill holes of fewer pixels; below 1: specks of a smaller share of their object, and "
        "holes a third as large (0.015); 0 leaves masks as they are",
    )
    inpaint = commands.add_parser(
        "inpaint", help="replace or remove what the prompt names, or change what is behind it"
    )
    _add_options(inpaint, "edit")
    _add_pointing(inpaint)
    _add_task(inpaint)
    _add_painting(inpaint)
    label = commands.add_parser("label", help="boxes or masks of what the prompt names in all pictures of a folder")
    _add_labelling(label)
    review = commands.add_parser("review", help="go through labels in the browser: accept, reject, move, rename, add")
    _add_review(review)
    evaluate = commands.add_parser("evaluate", help="how well a model finds what is marked in a data set")
    _add_evaluation(evaluate)
    track = commands.add_parser("track", help="follow what the prompt names through a video")
    _add_tracking(track)
    finetune = commands.add_parser("finetune", help="teach a model the names of your own pictures")
    _add_finetuning(finetune)
    export = commands.add_parser("export", help="write a detector as ONNX, which runs without PyTorch")
    _add_export(export)
    commands.add_parser("models", help="the models there are, and which of them are on this machine")
    return parser


def refuse_unread(options: argparse.Namespace, task: str, unread: Iterable[str]) -> None:
    """Check that no option was given that a command does not read; one that says what holds without it may be.

    Args:
        task: What has no use for the options, the subject of the sentence.
        unread: Their names in `options`.

    Raises:
        ValueError: one was given.
    """
    usual = {name: options.parser.get_default(name) for name in unread}
    given = {name: value for name in unread if (value := getattr(options, name, usual[name])) != usual[name]}
    if given:
        names = [f"--{'no-' if value is False else ''}{name.replace('_', '-')}" for name, value in given.items()]
        raise ValueError(f"{task} makes no use of {', '.join(names)}: run it without.")


def _add_options(command: argparse.ArgumentParser, what: str) -> None:
    """The options that all commands on pictures share."""
    command.set_defaults(parser=command)  # which knows what holds for an option that is not given
    command.add_argument("image", metavar="IMAGE", help="path of a picture, or - to read it from standard input")
    _add_prompt(command)
    _add_examples(command)
    command.add_argument("--output", type=Path, metavar="OUT.png", help=f"save the picture with its {what}")
    command.add_argument("--json", metavar="OUT.json|-", help="write the record as JSON, - to standard output")
    _add_model(command)


def _add_model(command: argparse.ArgumentParser) -> None:
    """What finds what the prompt names, and where."""
    _add_name_of_model(command)
    for name, type, meaning in (
        ("box", values.fraction, "keep boxes whose best score is greater"),
        ("text", values.fraction, "of a sentence: keep boxes whose noun scores more"),
        (
            "nms",
            values.fraction_or_off,
            "of two boxes of one phrase that overlap more keep the better; 'off' keeps both",
        ),
    ):
        # Without the option the model's own threshold holds, so it must not be passed on.
        command.add_argument(f"--{name}-threshold", type=type, default=argparse.SUPPRESS, metavar="0..1", help=meaning)
    command.add_argument(
        "--best-only", action="store_true", help="keep only the best box of each phrase, as for 'left lion'"
    )
    _add_care(command)
    _add_machine(command)


def _add_examples(command: argparse.ArgumentParser) -> None:
    """Boxes in the place of words."""
    for option, what in (("--like", "an example of what is to be found"), ("--unlike", "an example of what is not")):
        command.add_argument(
            option,
            type=values.box,
            action="append",
            default=[],
            metavar="X0,Y0,X1,Y1",
            help=f"a box around {what}, with a model that takes such: PROMPT is then what it is called",
        )
    command.add_argument(
        "--like-in", type=Path, metavar="IMAGE", help="the picture that the examples are in, if it is another one"
    )


def _add_care(command: argparse.ArgumentParser) -> None:
    """What takes more passes to find more."""
    command.add_argument(
        "--each", action="store_true", help="look for one phrase after the other: finds more of what is described"
    )
    command.add_argument(
        "--tiles",
        action="store_true",
        help="look at up to 3 x 3 tiles of a large picture, too: finds smaller things, takes a pass for each",
    )


class _Choice(argparse.Action):
    """A model that is asked for by its name is taken, whatever the picture is."""

    def __call__(self, _: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *__: Any) -> None:
        setattr(namespace, self.dest, values)
        setattr(namespace, f"{self.dest}_is_chosen", True)


def _add_name_of_model(command: argparse.ArgumentParser, option: str = "--model", kind: str = "model") -> None:
    command.set_defaults(**{f"{kind}_is_chosen": False})
    command.add_argument(option, dest=kind, default="embedded", action=_Choice, metavar="NAME", help=_A_MODEL)


def _add_prompt(command: argparse.ArgumentParser) -> None:
    command.add_argument("prompt", metavar="PROMPT", help="phrases such as 'cat . remote control', or a sentence")


def _add_pictures(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="where they are, if not beside the annotations"
    )


def _add_machine(command: argparse.ArgumentParser) -> None:
    """Where a model runs, and whether it may be fetched."""
    command.add_argument("--device", metavar="DEVICE", help="cpu, cuda, ...; by default the GPU if there is one")
    command.add_argument("--local-files-only", action="store_true", help="never download anything")


def _add_pointing(command: argparse.ArgumentParser) -> None:
    """What is pointed at, and what cuts it out."""
    _add_segmenter(command)
    command.add_argument(
        "--point",
        type=values.point,
        action="append",
        default=[],
        metavar="X,Y,1|0",
        help="a pixel in (1) or outside (0) an object; all points together mean one object",
    )
    command.add_argument(
        "--box",
        type=values.box,
        action="append",
        default=[],
        metavar="X0,Y0,X1,Y1",
        help="a box around one object; with a minus in front it takes an equals sign: --box=-5,0,40,40",
    )


def _add_segmenter(command: argparse.ArgumentParser) -> None:
    _add_name_of_model(command, "--segmenter", "segmenter")


def _add_labelling(command: argparse.ArgumentParser) -> None:
    """Which pictures become which data set."""
    command.set_defaults(parser=command)
    command.add_argument("folder", type=Path, metavar="FOLDER", help="all pictures in it, and in folders in it")
    _add_prompt(command)
    command.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="what is written: a COCO file such as coco.json, ODVG as odvg.jsonl, CVAT as cvat.xml, or a folder",
    )
    formats = ("coco", "odvg", "cvat", "label-studio", "yolo", "voc")
    command.add_argument(
        "--format",
        choices=formats,
        help="needed for a folder, yolo or voc, and for label-studio, whose name is .json, too",
    )
    command.add_argument(
        "--map",
        type=values.class_of,
        action="append",
        default=[],
        metavar="PHRASES=NAME",
        help="phrases of the prompt that are one class, as dog,puppy=animal; may be given several times",
    )
    command.add_argument("--masks", action="store_true", help="masks, too")
    _add_segmenter(command)
    _add_model(command)
    _add_batch_size(command)
    command.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="in this process, or by those of a Ray cluster"
    )
    command.add_argument("--workers", type=values.count, metavar="N", help="of --engine ray: how many processes (1)")
    command.add_argument(
        "--restart", action="store_true", help="forget what an earlier run found, and write over its output"
    )


def _add_batch_size(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--batch-size",
        type=values.count,
        metavar="N",
        help="pictures that are looked at at once (8 on a GPU, 1 elsewhere)",
    )


def _add_evaluation(command: argparse.ArgumentParser) -> None:
    """Which model is measured on which pictures, and what is told."""
    command.set_defaults(parser=command)
    command.add_argument(
        "data",
        type=Path,
        metavar="DATA",
        help="labels in any layout that `label` writes, or LVIS': a file, a folder with one, or a folder of such",
    )
    _add_name_of_model(command)
    command.add_argument(
        "--segmenter", metavar="NAME", help="measure masks, too: a name that `models` lists, or a path"
    )
    _add_pictures(command)
    command.add_argument("--count", type=values.count, metavar="N", help="only the first pictures of each set")
    command.add_argument(
        "--as-shown",
        action="store_true",
        help="count boxes as `detect` shows them, each once under its best name, instead of the published way",
    )
    command.add_argument(
        "--box-threshold",
        type=values.fraction,
        metavar="0..1",
        help="show boxes whose score is greater (the model's own)",
    )
    _add_care(command)
    command.add_argument(
        "--output", type=Path, metavar="OUT.html", help="a page with all figures and the worst pictures"
    )
    command.add_argument("--json", metavar="OUT.json|-", help="write the figures as JSON, - to standard output")
    _add_machine(command)
    _add_batch_size(command)
    command.add_argument("--restart", action="store_true", help="forget what an earlier run found")


def _add_export(command: argparse.ArgumentParser) -> None:
    """Which model becomes graphs, for which pictures."""
    command.set_defaults(parser=command)
    command.add_argument("model", metavar="MODEL", help=_A_MODEL)
    command.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where the graphs are written")
    command.add_argument(
        "--size",
        type=values.size,
        metavar="WxH",
        help="pixels of the largest picture that it takes, such as 800x800 (the model's largest landscape)",
    )
    command.add_argument("--local-files-only", action="store_true", help="never download anything")


def _add_tracking(command: argparse.ArgumentParser) -> None:
    """What is followed through which video, and what becomes of it."""
    command.set_defaults(parser=command)
    command.add_argument("video", metavar="VIDEO", help="path of a video: MP4, MOV, WebM, MKV, AVI, GIF, ...")
    _add_prompt(command)
    command.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="what is written: out.mp4, out.json, MOTChallenge's out.txt, or pictures in out.zip",
    )
    command.add_argument(
        "--format",
        choices=("video", "frames", "json", "mot", "youtube-vis", "masks"),
        help="where the name does not say it: youtube-vis (.json) or masks (.zip)",
    )
    command.add_argument(
        "--tracker", default="embedded", metavar="NAME", help="embedded, or edgetam, sam2.1-tiny, ...: by outlines"
    )
    command.add_argument(
        "--every", type=values.count, metavar="K", help="look at one frame of K (six a second; by outlines one)"
    )
    command.add_argument(
        "--backward",
        action="store_true",
        help="by outlines: follow what a look finds first back to the look before, too",
    )
    command.add_argument("--start", type=values.seconds, default=0.0, metavar="SECONDS", help="begin there (0)")
    command.add_argument("--end", type=values.seconds, metavar="SECONDS", help="end there (with the video)")
    command.add_argument(
        "--corrections",
        type=Path,
        metavar="FILE.json",
        help='what is in some frames, as /track takes it: [{"seconds": 1.5, "objects": [{"phrase", "box"}]}, ...]',
    )
    command.add_argument("--masks", action="store_true", help="masks, too; edits then follow outlines")
    command.add_argument("--segmenter", metavar="NAME", help=f"{_A_MODEL} (the tracker, if it is one)")
    _add_model(command)
    _add_effects(command.add_mutually_exclusive_group())
    command.add_argument("--restart", action="store_true", help="forget what an earlier run followed")


def _add_finetuning(command: argparse.ArgumentParser) -> None:
    """Which model learns what from which pictures."""
    command.set_defaults(parser=command)
    command.add_argument(
        "data", type=Path, metavar="DATA", help="a data set in any layout that `label` writes: a file or a folder"
    )
    _add_name_of_model(command, "--from")
    command.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="the model, with its report")
    _add_pictures(command)
    command.add_argument("--count", type=values.count, metavar="N", help="learn from so many pictures only")
    command.add_argument(
        "--replay",
        metavar="own|scenes|DATA",
        help="what it must not forget: what it finds of common names in the same pictures (own), drawings, or a set",
    )
    command.add_argument("--no-replay", action="store_true", help="let it forget")
    command.add_argument(
        "--old",
        type=Path,
        action="append",
        default=[],
        metavar="DATA|scenes",
        help="a set of names it knew, or drawings, measured as well; may be given several times",
    )
    command.add_argument(
        "--train",
        type=values.parts,
        default=(),
        metavar="names|backbone,text",
        help="what the set's names mean, and nothing else; or these parts, too, which else stay as they are",
    )
    command.add_argument(
        "--lora", type=values.count, metavar="RANK", help="they learn by adapters of that rank instead"
    )
    length = command.add_mutually_exclusive_group()
    length.add_argument(
        "--epochs", type=values.count, metavar="N", help="how often each picture is shown, on average (12)"
    )
    length.add_argument("--steps", type=values.count, metavar="N", help="how many batches are shown instead")
    command.add_argument(
        "--batch-size", type=values.count, metavar="N", help="pictures of a batch (8 on a GPU, 4 elsewhere)"
    )
    command.add_argument(
        "--rate", type=values.rate, metavar="R", help="the learning rate (1e-4, of small models 4e-4, of names 1e-2)"
    )
    command.add_argument(
        "--short-side",
        type=values.count,
        metavar="PIXELS",
        help="to which pictures are scaled, at most (the model's own)",
    )
    command.add_argument("--save-memory", action="store_true", help="compute layers twice rather than keep them")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed learns the same (%(default)s)")
    command.add_argument(
        "--workers", type=values.whole, metavar="N", help="processes that make pictures (8 for a GPU, else 0)"
    )
    command.add_argument("--json", choices=("-",), metavar="-", help="write the report as JSON to standard output")
    _add_machine(command)
    command.add_argument("--restart", action="store_true", help="forget the run in the folder and begin anew")


def _add_review(command: argparse.ArgumentParser) -> None:
    """What is reviewed, by what help, and where."""
    command.set_defaults(parser=command)
    command.add_argument(
        "labels",
        type=Path,
        metavar="LABELS",
        help="a file or folder in any layout that `label` writes; corrected there",
    )
    _add_pictures(command)
    command.add_argument("--host", default="127.0.0.1", metavar="HOST", help="address to listen on (%(default)s)")
    command.add_argument(
        "--port", type=values.count, metavar="PORT", help="port to listen on (the first free from 7860)"
    )
    command.add_argument("--no-browser", action="store_true", help="only print the address")
    _add_model(command)


def _add_task(command: argparse.ArgumentParser) -> None:
    """What an edit does."""
    task = command.add_mutually_exclusive_group(required=True)
    task.add_argument("--replace", metavar="TEXT", help="paint this in their place")
    task.add_argument(
        "--remove",
        nargs="?",
        const="model",
        choices=("model", "fill", "opencv"),
        help="fill their place from around it: by the inpainter, or (fill) by patches from around, without a model",
    )
    task.add_argument("--background", metavar="TEXT", help="keep them and paint this behind them")
    _add_effects(task)
    task.add_argument("--picture", type=Path, metavar="IMAGE", help="keep them before another picture")
    task.add_argument(
        "--region",
        type=values.region,
        action="append",
        metavar="X0,Y0,X1,Y1,TEXT",
        help="paint the text in the box, with an empty prompt; may be given several times",
    )
    task.add_argument(
        "--outpaint",
        type=values.margins,
        metavar="MARGINS",
        help="grow the picture, with an empty prompt: by pixels or per cent, for all sides or as LEFT,TOP,RIGHT,BOTTOM",
    )
    command.add_argument("--text", default="", metavar="TEXT", help="of --outpaint: what the new part shows (the same)")


def _add_effects(task: argparse._MutuallyExclusiveGroup) -> None:
    """Edits that need no model."""
    task.add_argument("--transparent", action="store_true", help="keep them and make all else transparent")
    task.add_argument("--color", metavar="COLOR", help="keep them before a colour: a name, or #rrggbb")
    task.add_argument("--blur", action="store_true", help="blur them, so that nothing of them is recognised")
    task.add_argument("--pixelate", action="store_true", help="show them as a few large pixels")
    task.add_argument("--recolor", metavar="COLOR", help="give them a colour, keep their shading: a name, or #rrggbb")
    task.add_argument("--blur-background", action="store_true", help="keep them sharp and blur all else")
    task.add_argument(
        "--spotlight",
        nargs="?",
        const="grey",
        choices=("grey", "dark"),
        help="keep them and make all else grey or dark",
    )
    task.add_argument(
        "--sticker", nargs="?", const="white", metavar="COLOR", help="cut them out with an edge of a colour (white)"
    )


def _add_painting(command: argparse.ArgumentParser) -> None:
    """Where and how an edit paints; what is not given suits the inpainter and the picture."""
    command.add_argument(
        "--inpainter", default="embedded", metavar="NAME", help="a name that `models` lists, a folder or a repository"
    )
    command.add_argument("--mask", type=Path, metavar="IMAGE", help="edit what is white in it, whatever is found")
    yes_or_no = argparse.BooleanOptionalAction
    command.add_argument("--grow", type=int, metavar="PIXELS", help="grow the masks, or shrink them if negative")
    command.add_argument("--feather", type=int, metavar="PIXELS", help="width of the soft edge around what is painted")
    command.add_argument("--one-by-one", action=yes_or_no, help="paint each object by itself")
    command.add_argument("--boxes", action=yes_or_no, help="paint whole boxes instead of outlines")
    command.add_argument("--steps", type=int, metavar="N", help="denoising steps")
    command.add_argument("--guidance", type=float, metavar="G", help="how closely to follow the text; 1 is not at all")
    command.add_argument(
        "--strength", type=float, default=1.0, metavar="0..1", help="how much is forgotten (%(default)s)"
    )
    command.add_argument("--seed", type=int, metavar="N", help="the same seed paints the same picture (by lot)")
    command.add_argument("--negative-prompt", default="", metavar="TEXT", help="what must not appear")
    command.add_argument(
        "--candidates", type=int, default=1, metavar="1..4", help="pictures to make: OUT.png, OUT-2.png, ..."
    )
    names = ", ".join(FEW_STEPS)
    command.add_argument("--few-steps", choices=FEW_STEPS, metavar="NAME", help=f"paint in a few, by one of {names}")
    names = ", ".join(SCHEDULERS)
    command.add_argument("--scheduler", choices=SCHEDULERS, metavar="NAME", help=f"one of {names} (the model's own)")
