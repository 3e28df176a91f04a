"""Ports of this machine for services that are started for a while."""

from __future__ import annotations

import errno
import random
import socket

# Below the range that systems take outgoing connections from (Linux: 32768 upwards): between our look and the
# service's start nothing but another service can take one of these.
_FIRST, _LAST = 20_000, 32_000


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nothing listens on, all different.

    Raises:
        OSError: There are not as many.
    """
    found: list[int] = []
    for port in random.sample(range(_FIRST, _LAST), _LAST - _FIRST):
        if len(found) == count:
            return found
        if _is_free(port):
            found.append(port)
    raise OSError(errno.EADDRINUSE, f"fewer than {count} ports of {_FIRST} to {_LAST} are free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
