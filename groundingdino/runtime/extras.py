"""Libraries that only some tasks need, so that an installation may lack them."""

from importlib.util import find_spec

# What is imported, by the extra of pyproject.toml that brings it. Of `cpu` nothing has to be there: it is for speed.
LIBRARIES = {
    "demo": ("gradio",),
    "inpaint": ("diffusers", "accelerate"),
    "evaluate": ("pycocotools",),
    "export": ("onnx", "onnxscript"),
    "train": ("pycocotools",),
    "ray": ("ray", "pyarrow", "pandas"),
}


def missing(task: str, extra: str, *also: str) -> str | None:
    """A sentence that says what to install for a task, or None where all is there.

    Args:
        task: What needs it, the subject of the sentence.
        extra: A key of `LIBRARIES`.
        also: Further libraries that the extra brings, which not all of its tasks need.
    """
    absent = [name for name in (*LIBRARIES[extra], *also) if find_spec(name) is None]
    if not absent:
        return None
    are = "is" if len(absent) == 1 else "are"
    return f"{task} needs {' and '.join(absent)}, which {are} not installed: pip install {' '.join(absent)}."
