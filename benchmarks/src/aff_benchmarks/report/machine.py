"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from aff_shared.resource_limits import usable_cores

_PACKAGES = (
    "faiss-cpu",
    "fastapi",
    "litserve",
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "pillow",
    "qdrant-client",
    "qdrant-edge-py",
    "torch",
    "transformers",
    "uvicorn",
)
_MIB = 2**20


class Machine(BaseModel):
    """The machine and its software.

    Attributes:
        processor: Its name.
        cores: That this process may use.
        memory_mib: In all.
        system: Operating system and kernel.
        python: Version.
        packages: Versions of what the figures depend on, where it is installed.
        card: Graphics card, or None.
        commit: Of the repository, marked where the working tree differs; None outside of one.
    """

    model_config = ConfigDict(frozen=True)

    processor: str
    cores: int
    memory_mib: int
    system: str
    python: str
    packages: dict[str, str]
    card: str | None
    commit: str | None


def this_machine() -> Machine:
    """Return a description of this machine."""
    import torch  # noqa: PLC0415 - a while to import

    return Machine(
        processor=_processor(),
        cores=usable_cores(),
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MIB,
        system=f"{platform.system()} {platform.release()}",
        python=sys.version.split()[0],
        packages=_versions(),
        card=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        commit=_commit(),
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None
