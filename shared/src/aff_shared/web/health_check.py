"""The health check of the images: `python -m aff_shared.web.health_check AFF_QUERY_PORT AFF_INDEX_PORT`.

Each argument is the variable of a service's port; that of its host has the same prefix. The process ends with status 0
where all of them are ready.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Iterable, Mapping
from ipaddress import ip_address

_TIMEOUT_S = 4.0


def all_ready(port_variables: Iterable[str], environment: Mapping[str, str]) -> bool:
    """Return whether the services at these ports all answer `/readyz` with 200."""
    return all(
        _is_ready(_reached(environment.get(f"{name.removesuffix('PORT')}HOST", "")), int(environment[name]))
        for name in port_variables
    )


def _reached(host: str) -> str:
    """Return the address at which this machine reaches a service that listens on an address."""
    host = host.strip("[]") or "127.0.0.1"
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"  # noqa: PLR2004 - IPv4


def _is_ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"{host} does not answer on port {port}: {error}\n")
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not all_ready(sys.argv[1:], os.environ))
