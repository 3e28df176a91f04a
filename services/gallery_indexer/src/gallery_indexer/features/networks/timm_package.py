"""timm, an optional package, which is imported only if one of its networks is used."""

from __future__ import annotations

from typing import Any

import torch

from aff_shared.errors import MissingExtraError

_EXTRA = "aff-gallery-indexer[timm]"
_WHEELS = "https://download.pytorch.org/whl"


def import_timm(needed_by: str) -> Any:
    """Return the module.

    Args:
        needed_by: Name of the network, for the message.

    Raises:
        MissingExtraError: timm is not installed, or incompatible with the installed torch; has the command to fix it.
    """
    try:
        import timm  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingExtraError(f"needs timm: pip install '{_EXTRA}'", item=needed_by) from error
    except (RuntimeError, OSError) as error:  # torchvision of another build than torch
        detail = f"timm cannot be loaded ({error}); torchvision has to match torch's build: {_torchvision_command()}"
        raise MissingExtraError(detail, item=needed_by) from error
    return timm


def _torchvision_command() -> str:
    """Return the command that installs a matching torchvision; a suffix such as `+cpu` names the package index."""
    build = torch.__version__.partition("+")[2]
    index = f" --index-url {_WHEELS}/{build}" if build else ""
    return f"pip uninstall -y torchvision && pip install torch=={torch.__version__} torchvision{index}"
