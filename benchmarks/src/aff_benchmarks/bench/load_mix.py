"""Mixed traffic as a gallery in use has it: searches of every kind, and images that come and go."""

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
from aff_shared.errors import InvalidParameterError

_HITS = 20
_IMAGES_OF_A_BATCH = 4


class Kind(enum.StrEnum):
    """What is asked for."""

    PHOTOGRAPH = "photograph"
    EMBEDDING = "embedding"
    SIMILAR = "similar"
    INDEX = "index"
    DELETE = "delete"


CHANGES = (Kind.INDEX, Kind.DELETE)
_SEARCHES = {Kind.PHOTOGRAPH: 0.6, Kind.EMBEDDING: 0.2, Kind.SIMILAR: 0.2}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    Attributes:
        kind: What it asks for.
        data: The whole of it, as HTTP has it.
        item_ids: Of the images that it indexes.
    """

    kind: Kind
    data: bytes
    item_ids: tuple[str, ...] = ()


class LoadMix:
    """Draws requests; what was indexed is deleted next, so that the gallery keeps its size.

    Args:
        searches: Requests of each kind of search.
        photographs: Encoded files that are indexed.
        index_share: Share of the requests that index images, or delete them.
        headers: Of every request to the indexer.
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

    def draw(self) -> Asked:
        """Return the next request."""
        if self._rng.random() < self._index_share:
            return self._deletion(self._indexed.popleft()) if self._indexed else self._batch()
        kind = self._rng.choice(list(_SEARCHES), p=list(_SEARCHES.values()))
        requests = self._searches[Kind(kind)]
        return Asked(Kind(kind), requests[int(self._rng.integers(len(requests)))])

    def settle(self, asked: Asked, status: int) -> None:
        """Take note of an answer: what may have been indexed is to be deleted, what was not deleted likewise."""
        indexed = asked.kind is Kind.INDEX and status != HTTPStatus.TOO_MANY_REQUESTS
        left = asked.kind is Kind.DELETE and status != HTTPStatus.OK
        if indexed or left:
            self._indexed.append(asked.item_ids)

    def last_deletions(self) -> Iterator[Asked]:
        """Give the requests that delete what is left."""
        while self._indexed:
            yield self._deletion(self._indexed.popleft())

    def _batch(self) -> Asked:
        ids = tuple(f"aff-bench-load/{self._run}/{self._batches}/{place}" for place in range(_IMAGES_OF_A_BATCH))
        chosen = self._rng.integers(len(self._photographs), size=len(ids))
        files = [("images", "image.jpg", self._photographs[int(number)]) for number in chosen]
        items = json.dumps([{"id": item_id, "payload": {"batch": self._batches}} for item_id in ids])
        self._batches += 1
        body = multipart([*files, ("items", None, items.encode())])
        request = http_request("/index", body, MULTIPART, headers=self._headers)
        return Asked(Kind.INDEX, request, ids)

    def _deletion(self, ids: tuple[str, ...]) -> Asked:
        body = json.dumps({"ids": ids}).encode()
        return Asked(Kind.DELETE, http_request("/images/delete", body, "application/json", headers=self._headers), ids)


def mix_of_gallery(
    query_url: str, indexer_url: str, photographs: Sequence[bytes], index_share: float, key: str | None
) -> LoadMix:
    """Prepare traffic for running services; embeddings and ids come from searches with the photographs.

    Args:
        query_url: Address of the query service.
        indexer_url: Address of the indexer.
        photographs: Encoded files.
        index_share: Share of the requests that index images, or delete them.
        key: Of both services, where they have keys.

    Raises:
        InvalidParameterError: The gallery is empty.
        ServiceError: A search was refused.
        ServiceUnreachableError: No answer.
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
            asked = search_embedding(answer.embedding, answer.fingerprint, {})
            body = json.dumps(asked.options["json"]).encode()
            searches[Kind.EMBEDDING].append(http_request(asked.path, body, "application/json", headers=headers))
            for hit in answer.hits:
                asked = search_similar(hit.id, {})
                target = f"{asked.path}?{urlencode(asked.options['params'])}"
                searches[Kind.SIMILAR].append(http_request(target, b"", "application/json", headers=headers))
    return LoadMix(searches, photographs, index_share, {**key_header(key), "Host": urlsplit(indexer_url).netloc})
