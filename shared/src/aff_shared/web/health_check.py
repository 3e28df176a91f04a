"""The health check of the images: `python -m aff_shared.web.health_check AFF_QUERY_PORT AFF_INDEX_PORT`.

Each argument is the variable of a service's port; the process ends with status 0 where all of them are ready.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Iterable

_TIMEOUT_S = 4.0


def all_ready(ports: Iterable[int]) -> bool:
    """Return whether the services at these ports of this machine all answer `/readyz` with 200."""
    return all(map(_is_ready, ports))


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"port {port} does not answer: {error}\n")
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not all_ready(int(os.environ[name]) for name in sys.argv[1:]))
