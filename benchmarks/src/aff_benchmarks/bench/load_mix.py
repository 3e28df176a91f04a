"""The mixed traffic of a gallery in use: searches of every kind, indexing and deletions."""

from __future__ import annotations

import enum
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import numpy as np

from aff_benchmarks.bench.load import MULTIPART, http_request, multipart
from aff_client import SearchClient
from aff_client.answers import key_header
from aff_client.search_calls import search_embedding, search_similar
from aff_shared.errors.requests import InvalidParameterError

_HITS = 20
_IMAGES_PER_BATCH = 4


class Kind(enum.StrEnum):
    """The kind of a request."""

    PHOTOGRAPH = "photograph"
    EMBEDDING = "embedding"
    SIMILAR = "similar"
    INDEX = "index"
    DELETE = "delete"


CHANGES = (Kind.INDEX, Kind.DELETE)
_SEARCHES = {Kind.PHOTOGRAPH: 0.6, Kind.EMBEDDING: 0.2, Kind.SIMILAR: 0.2}


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """A complete HTTP request, and the ids of the images that it indexes or deletes."""

    kind: Kind
    data: bytes
    item_ids: tuple[str, ...] = ()


class LoadMix:
    """A random sequence of requests; indexed images are deleted next, so that the gallery keeps its size.

    `headers` are those of every request to the indexer.
    """

    def __init__(
        self,
        searches: Mapping[Kind, Sequence[bytes]],
        photographs: Sequence[bytes],
        index_share: float,
        headers: Mapping[str, str],
    ) -> None:
        self._searches = searches
        self._photographs = photographs
        self._index_share = index_share
        self._headers = headers
        self._rng = np.random.default_rng(1)
        self._run = uuid4().hex[:8]
        self._batches = 0
        self._indexed: deque[tuple[str, ...]] = deque()

    def draw(self) -> LoadRequest:
        """Return the next request."""
        if self._rng.random() < self._index_share:
            return self._deletion(self._indexed.popleft()) if self._indexed else self._batch()
        kind = Kind(self._rng.choice(list(_SEARCHES), p=list(_SEARCHES.values())))
        requests = self._searches[kind]
        return LoadRequest(kind, requests[int(self._rng.integers(len(requests)))])

    def settle(self, request: LoadRequest, status: int) -> None:
        """Record a response: images that may be in the gallery are queued for deletion."""
        indexed = request.kind is Kind.INDEX and status != HTTPStatus.TOO_MANY_REQUESTS
        left = request.kind is Kind.DELETE and status != HTTPStatus.OK
        if indexed or left:
            self._indexed.append(request.item_ids)

    def last_deletions(self) -> Iterator[LoadRequest]:
        """Yield the requests that delete the remaining images."""
        while self._indexed:
            yield self._deletion(self._indexed.popleft())

    def _batch(self) -> LoadRequest:
        ids = tuple(f"aff-bench-load/{self._run}/{self._batches}/{place}" for place in range(_IMAGES_PER_BATCH))
        chosen = self._rng.integers(len(self._photographs), size=len(ids))
        files = [("images", "image.jpg", self._photographs[int(number)]) for number in chosen]
        items = json.dumps([{"id": item_id, "payload": {"batch": self._batches}} for item_id in ids])
        self._batches += 1
        body = multipart([*files, ("items", None, items.encode())])
        return LoadRequest(Kind.INDEX, http_request("/index", body, MULTIPART, headers=self._headers), ids)

    def _deletion(self, ids: tuple[str, ...]) -> LoadRequest:
        body = json.dumps({"ids": ids}).encode()
        request = http_request("/images/delete", body, "application/json", headers=self._headers)
        return LoadRequest(Kind.DELETE, request, ids)


def mix_of_gallery(
    query_url: str, indexer_url: str, photographs: Sequence[bytes], index_share: float, key: str | None
) -> LoadMix:
    """Prepare traffic for running services, with embeddings and ids from searches with the photographs.

    Raises:
        InvalidParameterError: The gallery is empty.
        ServiceError: A search was rejected.
        ServiceUnreachableError: The query service did not respond.
    """
    headers = {**key_header(key), "Host": urlsplit(query_url).netloc}
    searches: dict[Kind, list[bytes]] = {kind: [] for kind in _SEARCHES}
    with SearchClient(query_url, key=key) as client:
        for photograph in photographs:
            answer = client.search(photograph, limit=_HITS, with_embedding=True)
            if not answer.hits or answer.embedding is None:
                raise InvalidParameterError("the gallery is empty: index some images first", item="--query-url")
            form = multipart([("image", "image.jpg", photograph)])
            searches[Kind.PHOTOGRAPH] += [
                http_request("/search", photograph, "image/jpeg", headers=headers),
                http_request("/search", form, MULTIPART, headers=headers),
            ]
            call = search_embedding(answer.embedding, answer.fingerprint, {})
            body = json.dumps(call.options["json"]).encode()
            searches[Kind.EMBEDDING].append(http_request(call.path, body, "application/json", headers=headers))
            for hit in answer.hits:
                call = search_similar(hit.id, {})
                target = f"{call.path}?{urlencode(call.options['params'])}"
                searches[Kind.SIMILAR].append(http_request(target, b"", "application/json", headers=headers))
    return LoadMix(searches, photographs, index_share, {**key_header(key), "Host": urlsplit(indexer_url).netloc})
