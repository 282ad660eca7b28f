"""Tables that a benchmark prints: GitHub's Markdown, with the machine and the versions above."""

import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

PACKAGES = ("torch", "transformers", "numpy")


def machine() -> str:
    """One line: processor or GPU, threads, versions."""
    cpu = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else (names or [platform.processor()])[0]
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return f"{name}, {torch.get_num_threads()} threads, Python {platform.python_version()}, {packages}"


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
