"""Which settings a Qdrant server can do, by its version."""

from __future__ import annotations

import importlib.metadata
import logging
import re

from aff_shared.errors import StoreRejectedError
from aff_shared.store.settings import StoreSettings

_Version = tuple[int, int]

_OLDEST: _Version = (1, 16)
_MEMORY: _Version = (1, 19)
_TURBO: _Version = (1, 18)
_TURBO8: _Version = (1, 20)

_logger = logging.getLogger(__name__)


def require_supported(settings: StoreSettings, server: str) -> None:
    """Check the settings against a server's version and the client's; both have to know what is asked for.

    Args:
        settings: Of the store.
        server: Version, such as `1.19.0`; one that is no number is taken for new enough.

    Raises:
        StoreRejectedError: A setting needs a newer one; names it, the server and the remedy.
    """
    client = importlib.metadata.version("qdrant-client")
    _logger.info("Qdrant server %s, client %s", server, client)
    if settings.vectors_memory == "pinned":
        raise StoreRejectedError(
            f"QDRANT_VECTORS_MEMORY=pinned: the Qdrant server ({server}) pins compressed vectors alone; set "
            "QDRANT_VECTORS_MEMORY=cached, or QDRANT_QUANTIZATION=int8 with QDRANT_QUANTIZED_MEMORY=pinned"
        )
    known = [version for version in (_parsed(server), _parsed(client)) if version is not None]
    for setting, needed, remedy in _demands(settings):
        if any(version < needed for version in known):
            raise StoreRejectedError(
                f"{setting} needs Qdrant {needed[0]}.{needed[1]}, and the server is {server}, this package's client "
                f"{client}: {remedy}, or upgrade"
            )


def _demands(settings: StoreSettings) -> list[tuple[str, _Version, str]]:
    """Return each setting that not every server knows, with the version that does, and what to set instead."""
    demands = [("the gallery's metadata", _OLDEST, "use the embedded engine (no QDRANT_URL)")]
    kind = settings.quantization
    if kind == "turbo8":
        demands.append((f"QDRANT_QUANTIZATION={kind}", _TURBO8, "set QDRANT_QUANTIZATION=int8 or turbo4"))
    elif kind.startswith("turbo"):
        demands.append((f"QDRANT_QUANTIZATION={kind}", _TURBO, "set QDRANT_QUANTIZATION=int8 or binary"))
    for name in ("vectors_memory", "quantized_memory"):
        if placement := getattr(settings, name):
            setting = f"QDRANT_{name.upper()}"
            demands.append((f"{setting}={placement}", _MEMORY, f"leave {setting} out"))
    return demands


def _parsed(version: str) -> _Version | None:
    found = re.match(r"(\d+)\.(\d+)", version)
    return None if found is None else (int(found[1]), int(found[2]))
