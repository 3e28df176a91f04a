"""How to reach a Qdrant server, as the settings say, in the words of its client."""

from __future__ import annotations

import math
import ssl
from typing import Any

from aff_contracts.errors import StoreUnavailableError
from aff_contracts.gallery_store.settings import StoreSettings


def client_arguments(settings: StoreSettings) -> dict[str, Any]:
    """Return the arguments of `AsyncQdrantClient`; a client made with them leaves the network alone.

    So the client's own version check is off: it calls the server from a thread while the client is made. A
    server that is too old refuses what it does not know, which is reported like any refusal.

    Raises:
        StoreUnavailableError: The key's file or the authority's certificate cannot be read.
    """
    arguments: dict[str, Any] = {
        "url": settings.url,
        "api_key": _key(settings),
        "grpc_port": settings.grpc_port,
        "prefer_grpc": settings.prefer_grpc,
        "timeout": math.ceil(settings.timeout_s),
        "check_compatibility": False,
    }
    if settings.ca_cert_path is None:
        return arguments
    try:
        certificates = settings.ca_cert_path.read_bytes()
        context = ssl.create_default_context(cadata=certificates.decode())
    except (OSError, ValueError) as error:
        raise StoreUnavailableError(f"cannot use {settings.ca_cert_path}: {error}") from error
    return arguments | {"verify": context, "grpc_options": {"root_certificates": certificates}}


def _key(settings: StoreSettings) -> str | None:
    if settings.api_key is not None:
        return settings.api_key.get_secret_value() or None
    if settings.api_key_file is None:
        return None
    try:
        return settings.api_key_file.read_text().strip() or None
    except (OSError, ValueError) as error:
        raise StoreUnavailableError(f"cannot read {settings.api_key_file}: {error}") from error
