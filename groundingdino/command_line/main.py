"""Run a command: on a picture, on a folder of them, on labels, on a video, or on a model.

What the commands need is imported when they run, so that help and mistakes are answered at once.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence

from groundingdino.command_line.options import BAD_INPUT, build_parser
from groundingdino.command_line.output import (
    check_folder,
    check_output,
    reporting_errors_of,
    say,
    write_edit,
    write_results,
)
from groundingdino.command_line.search import (
    check_models,
    ground,
    load_model,
    load_picture,
    nothing_found,
    read_search,
    search_picture,
)

OK, INTERRUPTED = 0, 130


def run() -> None:
    """The console script `groundingdino`."""
    # PyTorch's threads meet after each of a forward's thousand operations, and by OpenMP's default wait for each other
    # spinning. Where another program takes a core, that wastes what it left: two threads are then slower than one.
    # OpenMP reads this when PyTorch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' advice to programmers; python -W default shows it
    sys.exit(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0, also where nothing was found; 1 where some of many pictures could not be read; 2 for bad
        input, with one line on standard error.
    """
    options = build_parser().parse_args(arguments)

    from groundingdino.command_line.evaluate import evaluate
    from groundingdino.command_line.export import export
    from groundingdino.command_line.finetune import finetune
    from groundingdino.command_line.label import label
    from groundingdino.command_line.models import list_models
    from groundingdino.command_line.review import review
    from groundingdino.command_line.track import track
    from groundingdino.files.downloads import DownloadsOff

    commands: dict[str, Callable[[argparse.Namespace], int | None]] = {
        "models": list_models,
        "segment": segment,
        "inpaint": inpaint,
        "detect": detect,
        "label": label,
        "review": review,
        "evaluate": evaluate,
        "track": track,
        "finetune": finetune,
        "export": export,
    }
    status = None
    try:
        status = commands[options.command](options)
        with reporting_errors_of("standard output"):
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of the results closed the pipe
        _silence()
    except ValueError as error:
        # Of two places where downloads are switched off this is one.
        say(error.on_the_command_line() if isinstance(error, DownloadsOff) else error)
        _silence()
        return BAD_INPUT
    except OSError as error:  # of a file that is read: errors of written ones come from `reporting_errors_of`
        say(f"'{error.filename or 'a file'}' cannot be read: {error.strerror or error}.")
        _silence()
        return BAD_INPUT
    except (RuntimeError, MemoryError) as error:
        from groundingdino.editing.out_of_memory import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        say("memory does not suffice: close other programs, or take a smaller picture or model, or another device")
        _silence()
        return BAD_INPUT
    except KeyboardInterrupt:
        print(file=sys.stderr)  # after the terminal's ^C
        say("stopped; a download or another long run continues next time where it stopped")
        return INTERRUPTED
    return status or OK


def detect(options: argparse.Namespace) -> None:
    """Find the prompt's phrases and write the results."""
    image = load_picture(options)

    from groundingdino.inputs.prompt import Prompt

    if not Prompt.parse(options.prompt).phrases:
        raise ValueError("The prompt names nothing: expected phrases such as 'cat . remote control'.")
    check_models(options, "model")
    write_results(options, image, ground(options, image))


def segment(options: argparse.Namespace) -> None:
    """Cut out what the prompt names and what is pointed at, and write the results."""
    image = load_picture(options)
    search = read_search(options, image.size, options.everything)

    from groundingdino.segmentation.masks import SPECKS

    least = SPECKS if options.fill is None else options.fill
    write_results(options, image, search_picture(options, image, search, least))


def inpaint(options: argparse.Namespace) -> None:
    """Edit what the prompt names and what is pointed at, or the regions, and write the results."""
    from groundingdino.command_line.inpaint import candidate_path, read_edit, result_mode, show_steps
    from groundingdino.editing.tasks import PLACED
    from groundingdino.inputs.image import load_image

    edit = read_edit(options)
    if options.output is None:
        raise ValueError("There is nowhere to put the picture: give --output, as in --output out.png.")
    picture = load_picture(options, with_alpha=True)
    check_output(options.output, result_mode(edit.task, picture))
    for number in range(2, options.candidates + 1):
        check_folder(candidate_path(options.output, number))
    mask = load_image(options.mask) if options.mask else None
    search = None
    if not isinstance(edit.task, PLACED) and mask is None:
        search = read_search(options, picture.size, with_masks=not edit.mask.boxes)
    if edit.task.needs_model:
        check_models(options, "inpainter")

    from groundingdino.editing.perform import edit_picture, unchanged
    from groundingdino.segmentation.masks import SPECKS

    found, own = nothing_found(), None
    if mask is not None:
        from groundingdino.editing.mask import own_mask

        own = own_mask(mask, picture.size)
    elif search is not None:
        found = search_picture(options, load_image(picture), search, SPECKS)
        if len(found.objects) == 0:
            say("nothing was found, so the picture stays as it is")
            return write_edit(options, unchanged(picture), found)

    from groundingdino.editing.few_steps import fetch_few_steps
    from groundingdino.editing.inpainter import Inpainter

    painter = None
    if edit.task.needs_model:
        painter = load_model(Inpainter.from_pretrained, options.inpainter, options)
        few_steps = edit.sampling.few_steps
        if few_steps and few_steps in getattr(painter, "few_steps", ()):
            load_model(fetch_few_steps, few_steps, options)
    edited = edit_picture(picture, found.objects if own is None else own, edit, painter, show_steps)
    for note in edited.notes:
        say(note)
    return write_edit(options, edited, found)


def _silence() -> None:
    """What could not be written to stdout is not written at the end, either, which would end with a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
