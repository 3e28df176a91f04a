"""The process that decodes and encodes photographs for the query service.

`python -m query_api.embedding_worker LIMITS 1 5 6` answers requests on the sockets 5 and 6, in a thread for each.
LIMITS are those of a photograph, as JSON; 1 is the number of threads that ONNX Runtime uses for one request. It ends
when the service closes the sockets, and with the service however that ends.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections import OrderedDict

import numpy as np

from aff_contracts.bundle import load_manifest, verify_files
from aff_contracts.errors import AffError, BundleIntegrityError, EncoderError
from aff_contracts.image_decoding import ImageLimits
from aff_contracts.web.logs import configure_logging
from aff_contracts.web.observe_settings import ObserveSettings
from query_api.embedding_messages import LENGTHS, answer_of, read_request
from query_api.onnx_query_encoder import OnnxQueryEncoder
from query_api.photograph_embedder import EmbeddedPhotographs, EncoderGraph, embed_photographs

_KEPT = 2  # the former encoder is still asked for a moment when another collection becomes live

_logger = logging.getLogger(__name__)


class LoadedEncoders:
    """The encoders that were asked for last.

    Args:
        onnx_threads: That ONNX Runtime uses for one request.
    """

    def __init__(self, onnx_threads: int) -> None:
        self._onnx_threads = onnx_threads
        self._one_at_a_time = threading.Lock()
        self._loaded: OrderedDict[EncoderGraph, OnnxQueryEncoder] = OrderedDict()

    def get(self, graph: EncoderGraph) -> OnnxQueryEncoder:
        """Return an encoder, verified and warm.

        Raises:
            BundleError: It cannot be used, or another bundle lies there now.
        """
        with self._one_at_a_time:
            if graph not in self._loaded:
                self._loaded[graph] = self._load(graph)
            self._loaded.move_to_end(graph)
            while len(self._loaded) > _KEPT:
                self._loaded.popitem(last=False)
            return self._loaded[graph]

    def _load(self, graph: EncoderGraph) -> OnnxQueryEncoder:
        manifest = load_manifest(graph.bundle_path)
        if manifest.fingerprint != graph.fingerprint:
            raise BundleIntegrityError("another bundle has taken its place", item=str(graph.bundle_path))
        verify_files(graph.bundle_path, manifest, manifest.query_files)
        return OnnxQueryEncoder.load(graph.bundle_path, manifest, threads=self._onnx_threads, precision=graph.precision)


def answer(head: bytes, body: bytes, encoders: LoadedEncoders, limits: ImageLimits) -> bytes:
    """Answer a request."""
    try:
        photographs, graph = read_request(head, body)
        encoder = encoders.get(graph)
        if not photographs:
            return answer_of(EmbeddedPhotographs(np.empty((0, 0), np.float32), 0.0, 0.0))
        return answer_of(embed_photographs(photographs, encoder, limits))
    except AffError as error:
        return answer_of(error)
    except Exception as error:
        _logger.exception("embedding failed")
        return answer_of(EncoderError(f"{type(error).__name__}: {error}"))


def _serve(channel: socket.socket, encoders: LoadedEncoders, limits: ImageLimits) -> None:
    while lengths := channel.recv(LENGTHS.size, socket.MSG_WAITALL):
        head, body = (channel.recv(length, socket.MSG_WAITALL) for length in LENGTHS.unpack(lengths))
        channel.sendall(answer(head, body, encoders, limits))
    os._exit(0)


def main() -> None:
    """Serve until the other side closes its ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's business
    configure_logging(ObserveSettings())
    limits = ImageLimits.model_validate_json(sys.argv[1])
    onnx_threads, *descriptors = map(int, sys.argv[2:])
    encoders = LoadedEncoders(onnx_threads)
    for descriptor in descriptors:
        threading.Thread(target=_serve, args=(socket.socket(fileno=descriptor), encoders, limits)).start()


if __name__ == "__main__":
    main()
