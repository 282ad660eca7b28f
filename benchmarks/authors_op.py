"""The authors' CUDA op, to compare with; needs nvcc, and no part of the package needs it.

groundingdino-py on the package index carries no CUDA source; mmcv's source archive carries the op that the authors took
from Deformable DETR, with another launch. What `MENDS` changes brings back the authors' launch and lets today's PyTorch
build it.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

SOURCE = "mmcv==2.2.0"
FOLDER = "mmcv/ops/csrc"
FILES = (
    "pytorch/cuda/ms_deform_attn_cuda.cu",
    "common/cuda/ms_deform_attn_cuda_kernel.cuh",
    "common/cuda/common_cuda_helper.hpp",
    "common/pytorch_cuda_helper.hpp",
)
MENDS = (
    ("common_cuda_helper.hpp", "#define THREADS_PER_BLOCK 512", "#define THREADS_PER_BLOCK 1024"),
    ("common_cuda_helper.hpp", "int max_block_num = 4096;", "int max_block_num = 2147483647;"),
    ("pytorch_cuda_helper.hpp", "<THC/THCAtomics.cuh>", "<ATen/cuda/Atomic.cuh>"),
    ("ms_deform_attn_cuda.cu", "<THC/THCAtomics.cuh>", "<ATen/cuda/Atomic.cuh>"),
)
BINDING = """
#include <torch/extension.h>
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("forward", &ms_deform_attn_cuda_forward);
  m.def("backward", &ms_deform_attn_cuda_backward);
}
"""


def download(folder: Path) -> Path:
    """The source archive from the package index."""
    constraint = folder / "constraint.txt"
    constraint.write_text("setuptools<81\n")  # mmcv's setup imports pkg_resources, which later ones lack
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", folder, SOURCE],
        env={**os.environ, "PIP_CONSTRAINT": str(constraint), "PIP_BUILD_CONSTRAINT": str(constraint)},
        capture_output=True,
        check=True,
    )
    return next(folder.glob("*.tar.gz"))


def unpack(archive: Path, folder: Path) -> None:
    """Write the op's files, mended, into the folder.

    Raises:
        ValueError: The archive is not the one that `MENDS` was written for.
    """
    with tarfile.open(archive) as files:
        for member in files.getmembers():
            if member.name.endswith(tuple(f"{FOLDER}/{file}" for file in FILES)):
                source = files.extractfile(member)
                assert source is not None, "a file, not a folder"
                (folder / Path(member.name).name).write_bytes(source.read())
    for name, old, new in MENDS:
        file = folder / name
        text = file.read_text() if file.exists() else ""
        if text.count(old) != 1:
            raise ValueError(f"'{archive}' is not the source of {SOURCE}: {name} does not have '{old}' once.")
        file.write_text(text.replace(old, new))
    with (folder / "ms_deform_attn_cuda.cu").open("a") as module:
        module.write(BINDING)


def build(archive: Path | None) -> Any:
    """A module with the authors' `forward` and `backward`, from this archive or the package index.

    Raises:
        RuntimeError: There is no compiler, no archive, or it does not build; says which.
    """
    from torch.utils import cpp_extension

    if cpp_extension.CUDA_HOME is None or shutil.which("nvcc", path=f"{cpp_extension.CUDA_HOME}/bin") is None:
        raise RuntimeError("there is no nvcc")
    folder = Path(tempfile.mkdtemp(prefix="authors-op-"))
    try:
        unpack(archive or download(folder), folder)
        return cpp_extension.load(
            "authors_op",
            [str(folder / "ms_deform_attn_cuda.cu")],
            build_directory=str(folder),
            extra_include_paths=[str(folder)],
            extra_cuda_cflags=["-O3"],
        )
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{SOURCE} could not be downloaded, give --authors-source ({error})") from error
