"""`bench doctor`: what works on this machine and what to do about the rest."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import rich_click as click
from click.exceptions import Exit

from headbench.harness.console import say
from headbench.harness.errors import BenchError
from headbench.harness.problems import Problem, Severity, Where, grouped

__all__ = ["doctor", "examine"]


_MARKS = {"note": ("ok", "green"), "warning": ("--", "yellow"), "error": ("!!", "red")}
_SEVERITY: dict[str, Severity] = {"good": "note", "missing": "warning", "bad": "error"}


@click.command()
def doctor() -> None:
    """Say what works (torch, CUDA, toolkit, rasterizers, assets, plugins) and what to do.

    Exit code 2 if something that is needed cannot work.
    """
    findings = examine()
    for finding in findings:
        mark, colour = _MARKS[finding.severity]
        say(f" {finding.where}: {finding.message}", mark=click.style(mark, fg=colour))
        if finding.help:
            say(f"     do: {finding.help}")
    if any(finding.severity == "error" for finding in findings):
        raise Exit(2)


def examine() -> list[Problem]:
    """Examine this machine: findings on torch, CUDA, rasterizers, assets and plugins, in this order.

    A part that fails to be examined is a finding itself.

    A note is something that works, a warning something optional that is not there, an error something that cannot work.
    """
    findings: list[Problem] = []
    parts: tuple[tuple[str, Callable[[], list[Problem]]], ...] = (
        ("python", _python),
        ("torch", _torch),
        ("CUDA toolkit", _toolkit),
        ("rasterizers", _rasterizers),
        ("assets", _assets),
        ("plugins", _plugins),
    )
    for name, part in parts:
        try:
            findings += part()
        except BenchError as error:
            findings.append(_finding(name, "bad", str(error.args[0]), error.help))
        except Exception as error:
            # Whatever is broken here is what the user wants to hear about.
            findings.append(_finding(name, "bad", f"{type(error).__name__}: {error}"))
    return findings


def _finding(what: str, state: str, text: str, help: str = "") -> Problem:
    """Finding of `bench doctor` on one part of the machine.

    Args:
        what: the part, such as torch.
        state: good, missing (something optional is not there) or bad (something cannot work).
        text: what was found.
        help: what to do about it; empty where nothing is to be done.
    """
    return Problem(_SEVERITY[state], Where(what), text, help)


def _python() -> list[Problem]:
    version = ".".join(map(str, sys.version_info[:3]))
    mine = importlib.metadata.version("headbench")
    return [_finding("headbench", "good", f"{mine} on Python {version}, {os.cpu_count()} CPU cores")]


def _torch() -> list[Problem]:
    import torch

    findings = [_finding("torch", "good", f"{torch.__version__}, {torch.get_num_threads()} threads")]
    if not torch.cuda.is_available():
        has_gpu = shutil.which("nvidia-smi") is not None
        text = "torch finds no usable NVIDIA GPU; everything runs on the CPU"
        help = "install a torch build with CUDA, or update the driver" if has_gpu else ""
        return [*findings, _finding("CUDA", "bad" if has_gpu else "missing", text, help)]
    built = torch.cuda.get_arch_list()
    for index in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_name(index)
        major, minor = torch.cuda.get_device_capability(index)
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        text = f"{name}, {memory:.0f} GiB, sm_{major}{minor}, CUDA {torch.version.cuda}"
        # Code for an older minor version of the same generation runs; so does PTX of any older generation.
        fits = any(a == f"sm_{major}{m}" for a in built for m in range(minor + 1)) or any("compute" in a for a in built)
        help = "" if fits else f"install a torch built for sm_{major}{minor}; this one has {', '.join(built)}"
        findings.append(_finding(f"GPU {index}", "good" if fits else "bad", text, help))
    return findings


def _toolkit() -> list[Problem]:
    home = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
    nvcc = shutil.which("nvcc") or (str(home / "bin" / "nvcc") if (home / "bin" / "nvcc").is_file() else None)
    if nvcc is None:
        text = "no nvcc; gsplat cannot build its kernels, the CPU rasterizers do not need it"
        return [
            _finding("CUDA toolkit", "missing", text, "where there is a GPU: install the CUDA toolkit, set CUDA_HOME")
        ]
    done = subprocess.run([nvcc, "--version"], capture_output=True, text=True, timeout=20, check=False)
    release = [line.strip() for line in done.stdout.splitlines() if "release" in line]
    return [_finding("CUDA toolkit", "good", f"{nvcc}: {release[0] if release else 'no version printed'}")]


def _rasterizers() -> list[Problem]:
    from headbench.harness.splat import backend_report

    findings = []
    for name, usable, reason in backend_report():
        findings.append(_finding(f"rasterizer {name}", "good" if usable else "missing", reason))
    if not any(finding.severity == "note" for finding in findings):
        findings.append(_finding("rasterizers", "bad", "none works", "reinstall headbench"))
    return findings


def _assets() -> list[Problem]:
    from headbench.harness.assets import KINDS, home, records, verify
    from headbench.harness.files import writable

    writable(home(), folder=True)
    findings = [_finding("assets", "good", f"in {home()}")]
    there = records()
    for kind in KINDS:
        if kind.name not in there:
            findings.append(_finding(kind.name, "missing", f"{kind.what}; for {kind.used_by}", kind.command))
            continue
        try:
            faults = verify(kind.name)
        except BenchError as error:
            faults = [str(error.args[0])]
        state = "bad" if faults else "good"
        findings.append(_finding(kind.name, state, "; ".join(faults) or "registered", kind.command if faults else ""))
    return findings


def _plugins() -> list[Problem]:
    from headbench.harness.plugins import registry
    from headbench.harness.plugins.kinds import KINDS

    found = registry()
    text = ", ".join(f"{len(found.specs(kind))} {kind.plural}" for kind in KINDS)
    problems = found.check()
    findings = [_finding("plugins", "good", text)] if not problems else []
    lines = [group.text("plugin") for group in grouped(problems)]
    return findings + [_finding("plugins", "bad", text, "bench plugins --check") for text in lines]
