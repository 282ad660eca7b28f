"""Files that the page and the endpoints hand out."""

import errno
import logging
import os
from pathlib import Path
from tempfile import TemporaryFile, mkstemp

import gradio as gr
from gradio.processing_utils import hash_bytes

NO_SPACE = "The server's disk is full: please try again later, or tell who runs it."
NOT_WRITTEN = "The server cannot write files: please tell who runs it."
# What a disk refuses to take, or a folder: who asked can do nothing about it.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO, errno.ENOENT)
_LONGEST_NAME = 240  # bytes; file systems take 255

logger = logging.getLogger(__name__)


def write_file(data: bytes, name: str) -> str:
    """Path of a file with that content and name, where Gradio looks for what it hands out.

    Gradio's `save_bytes_to_cache` writes the same content again, in place, while others are being sent it.

    Raises:
        ValueError: one sentence: the disk is full, or nothing can be written to it.
    """
    path = Path(gr.utils.get_upload_folder()).resolve() / hash_bytes(data) / short(Path(name))
    if path.exists():
        os.utime(path)  # Gradio clears old ones away
        return str(path)
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number, partial = mkstemp(dir=path.parent)
        with open(number, "wb") as file:
            file.write(data)
        os.replace(partial, path)
    except OSError as error:
        if partial:
            Path(partial).unlink(missing_ok=True)
        raise refusal(error, path) from error
    return str(path)


def check_folder() -> None:
    """A ValueError in one sentence for who starts the server, if nothing can be written where `write_file` does."""
    folder = Path(gr.utils.get_upload_folder())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        raise ValueError(
            f"nothing can be written to '{folder}' ({error.strerror}), where what visitors send lies: "
            "set GRADIO_TEMP_DIR to a folder of its own that can be written."
        ) from error


def refusal(error: OSError, path: Path) -> ValueError:
    """What visitors are told of a file that cannot be written; the log has the rest."""
    logger.error("Nothing can be written to %s: %s", path.parent, error)
    return ValueError(NO_SPACE if error.errno in (errno.ENOSPC, errno.EDQUOT) else NOT_WRITTEN)


def short(path: Path) -> str:
    """The name without its folder, and without the middle of its stem where a visitor's name and a phrase are long."""
    stem, ending = os.fsencode(path.stem), path.suffix
    half = (_LONGEST_NAME - len(os.fsencode(ending))) // 2
    if len(stem) <= 2 * half:
        return path.name
    # Halves of letters are dropped.
    return "".join(part.decode(errors="ignore") for part in (stem[:half], stem[-half:])) + ending
