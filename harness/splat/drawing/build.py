"""Compiles the kernels on first use, and remembers the result under the hash of what it was made of."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

from headbench.harness.errors import BenchError
from headbench.harness.home import home

__all__ = ["compiled", "compiler", "missing_for_cuda", "sources"]

_FOLDER = Path(__file__).parent
_FLAGS = ("-O3", "-std=c++17", "-shared", "-Xcompiler", "-fPIC")


def sources() -> list[Path]:
    """Return the files that the kernels are compiled from, `library.cu` first."""
    return [_FOLDER / "library.cu", *sorted(_FOLDER.glob("*.cuh"))]


def compiler() -> str | None:
    """Return the path of nvcc: of CUDA_HOME, else of the PATH; None without it."""
    chosen = os.environ.get("CUDA_HOME")
    found = shutil.which("nvcc", path=str(Path(chosen) / "bin")) if chosen else None
    return found or shutil.which("nvcc")


def missing_for_cuda() -> tuple[str, str] | None:
    """Return (what is missing, what helps), or None where the kernels can be compiled and run."""
    if not torch.cuda.is_available():
        return "torch finds no usable NVIDIA GPU", "install a CUDA build of torch and the NVIDIA driver, or use the CPU"
    if compiler() is None:
        return (
            "the kernels are compiled on first use and there is no nvcc",
            "install the CUDA toolkit and set CUDA_HOME",
        )
    return None


def compiled(device: torch.device) -> Path:
    """Return the kernels as a shared library for a GPU, compiled if that has not been done yet.

    Args:
        device: the GPU; its compute capability counts.

    Raises:
        BenchError: there is no nvcc, or it failed.
    """
    nvcc = compiler()
    if nvcc is None:
        raise BenchError("There is no nvcc to compile the kernels.", help="install the CUDA toolkit and set CUDA_HOME")
    major, minor = torch.cuda.get_device_capability(device)
    flags = [*_FLAGS, f"-arch=sm_{major}{minor}"]
    digest = hashlib.sha256("\0".join([*flags, torch.version.cuda or ""]).encode())
    for path in sources():
        digest.update(path.read_bytes())
    target = home() / "kernels" / f"drawing-{digest.hexdigest()[:16]}.so"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        # Under a name of its own first, so that another process never loads half a file.
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            made = Path(folder) / target.name
            done = subprocess.run(
                [nvcc, *flags, "-o", str(made), str(sources()[0])], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise BenchError(
                    f"nvcc could not compile the drawing kernels: {_first_error(done.stderr)}",
                    help="--rasterizer gsplat draws without them",
                )
            made.replace(target)
    return target


def _first_error(output: str) -> str:
    """Return the first line of a compiler's output that speaks of an error, without the folder."""
    lines = [line for line in output.splitlines() if "error" in line.lower()]
    return (lines or output.splitlines() or ["it says nothing"])[0].replace(f"{_FOLDER}/", "").strip()[:300]
