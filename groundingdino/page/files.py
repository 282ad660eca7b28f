"""Files that the page and the endpoints hand out."""

import os
from pathlib import Path
from tempfile import mkstemp

import gradio as gr
from gradio.processing_utils import hash_bytes

_LONGEST_NAME = 240  # bytes; file systems take 255


def write_file(data: bytes, name: str) -> str:
    """Path of a file with that content and name, where Gradio looks for what it hands out.

    Gradio's `save_bytes_to_cache` writes the same content again, in place, while others are being sent it.
    """
    path = Path(gr.utils.get_upload_folder()).resolve() / hash_bytes(data) / _short(Path(name))
    if path.exists():
        os.utime(path)  # Gradio clears old ones away
        return str(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    number, partial = mkstemp(dir=path.parent)
    with open(number, "wb") as file:
        file.write(data)
    os.replace(partial, path)
    return str(path)


def _short(path: Path) -> str:
    """The name without its folder, and without the middle of its stem where a visitor's name and a phrase are long."""
    stem, ending = os.fsencode(path.stem), path.suffix
    half = (_LONGEST_NAME - len(os.fsencode(ending))) // 2
    if len(stem) <= 2 * half:
        return path.name
    # Halves of letters are dropped.
    return "".join(part.decode(errors="ignore") for part in (stem[:half], stem[-half:])) + ending
