"""Files that the page and the endpoints hand out."""

import os
from pathlib import Path
from tempfile import mkstemp

import gradio as gr
from gradio.processing_utils import hash_bytes


def write_file(data: bytes, name: str) -> str:
    """Path of a file with that content and name, where Gradio looks for what it hands out.

    Gradio's `save_bytes_to_cache` writes the same content again, in place, while others are being sent it.
    """
    path = Path(gr.utils.get_upload_folder()).resolve() / hash_bytes(data) / Path(name).name
    if path.exists():
        os.utime(path)  # Gradio clears old ones away
        return str(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    number, partial = mkstemp(dir=path.parent)
    with open(number, "wb") as file:
        file.write(data)
    os.replace(partial, path)
    return str(path)
