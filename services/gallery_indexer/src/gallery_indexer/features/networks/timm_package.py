"""timm: an optional package, imported only where a network of it is asked for."""

from __future__ import annotations

from typing import Any

import torch

from aff_shared.errors import MissingExtraError

_EXTRA = "aff-gallery-indexer[timm]"
_WHEELS = "https://download.pytorch.org/whl"


def import_timm(wanted_by: str) -> Any:
    """Return the module.

    Args:
        wanted_by: What needs it, for the message.

    Raises:
        MissingExtraError: It is not installed, or cannot be loaded beside the torch that is; names the command.
    """
    try:
        import timm  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingExtraError(f"needs timm: pip install '{_EXTRA}'", item=wanted_by) from error
    except (RuntimeError, OSError) as error:  # torchvision's operators, of another build than torch
        detail = f"timm cannot be loaded ({error}); torchvision has to be of torch's build: {_torchvision_command()}"
        raise MissingExtraError(detail, item=wanted_by) from error
    return timm


def _torchvision_command() -> str:
    """Return what brings the torchvision that fits the installed torch: `+cpu` and the like name an index."""
    build = torch.__version__.partition("+")[2]
    index = f" --index-url {_WHEELS}/{build}" if build else ""
    return f"pip uninstall -y torchvision && pip install torch=={torch.__version__} torchvision{index}"
