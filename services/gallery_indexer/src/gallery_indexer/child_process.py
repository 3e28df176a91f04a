"""Processes beside the service that end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.context import ForkServerContext

_PRELOADED = "gallery_indexer.preparation_pool"  # without torch: it comes only into the process that needs it


def process_context() -> ForkServerContext:
    """Return how processes are started: from one that has no threads, and nothing of a card."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_PRELOADED])
    return context


def end_with_parent() -> None:
    """End this process when its parent ends, however that ends; Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "this runs in a child"
    parent.join()
    os._exit(1)
