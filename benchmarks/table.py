"""What benchmarks share: weights, and tables in GitHub's Markdown with the machine and the versions above."""

import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

PACKAGES = ("torch", "transformers", "numpy")
PROMPT = "cat . remote control . sofa ."
EVERY_LENGTH = (4, 16, 64, 128, 256)


def machine() -> str:
    """One line: processor or GPU, threads, versions."""
    cpu = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else (names or [platform.processor()])[0]
    used = (*PACKAGES, "triton") if torch.cuda.is_available() else PACKAGES
    packages = ", ".join(f"{package} {version(package)}" for package in used)
    return f"{name}, {torch.get_num_threads()} threads, Python {platform.python_version()}, {packages}"


class Case(NamedTuple):
    """One size of a picture, prompt and batch, to see how the time grows."""

    name: str
    size: tuple[int, int]  # height and width
    batch: int
    prompt: str


def growing_cases() -> list[Case]:
    """Pictures, then prompts, then batches."""
    return [
        *(Case(f"{side} x {side}, short prompt", (side, side), 1, PROMPT) for side in (256, 512, 1024, 2048)),
        *(Case(f"480 x 640, {n} tokens", (480, 640), 1, "cat . " * (n // 2 - 1)) for n in EVERY_LENGTH),
        *(Case(f"480 x 640, batch of {batch}", (480, 640), batch, PROMPT) for batch in (1, 2, 4, 8)),
    ]


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as what is in them."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    print(f"\n## {title}\n")
    for line in lines:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |", flush=True)


def boxes_apart(ours: Tensor, theirs: Tensor) -> str:
    """How far boxes are from the nearest of theirs: the middle one, the worst of 99%, and the share within 2e-2.

    Not by index: a query's rank goes by its score, and scores that tie may be ranked either way.
    """
    nearest = torch.cdist(ours[0].float(), theirs[0].float(), p=torch.inf).amin(1)
    return f"{nearest.median():.0e}, {nearest.quantile(0.99):.0e}, {(nearest < 2e-2).float().mean():.1%}"


def spread(model: nn.Module) -> None:
    """Random weights under which every part of the model matters: fresh gains and offsets would hide most of it."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        else:
            nn.init.uniform_(parameter, 0.2, 0.8)
