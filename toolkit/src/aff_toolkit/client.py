"""HTTP clients of both services."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import ValidationError

from aff_contracts.errors import AffError
from aff_contracts.schemas.gallery import (
    Backup,
    CollectionComparison,
    CollectionStatus,
    GalleryStatus,
    RefusingStatus,
)
from aff_contracts.schemas.indexing import (
    IndexResponse,
    JsonObject,
    LookupImage,
    LookupResponse,
)
from aff_contracts.schemas.problem import Problem
from aff_contracts.schemas.searching import SearchResponse

_POLL_S = 0.1
# A proxy of the environment cannot reach the services of this machine.
_DIRECT = ("all://127.0.0.1", "all://localhost", "all://[::1]")


class ServiceError(AffError):
    """A service answered with a problem.

    Attributes:
        problem: What it said.
        retry_after_s: Seconds after which it asks to be asked again; 0 where it does not.
    """

    code = "service_problem"
    title = "The service refused the request"

    def __init__(self, problem: Problem, *, retry_after_s: float = 0.0) -> None:
        super().__init__(f"{problem.detail} ({problem.status} {problem.code})", item=problem.item)
        self.problem = problem
        self.retry_after_s = retry_after_s


class ServiceUnreachableError(AffError):
    """No service answers at that address."""

    code = "service_unreachable"
    status = 503
    title = "Service unreachable"


@dataclass(frozen=True, slots=True)
class Upload:
    """One image to be indexed.

    Attributes:
        id: The item's id.
        name: File name, for receipts and errors.
        data: The encoded image file.
        payload: JSON object kept with the image.
    """

    id: str
    name: str
    data: bytes
    payload: JsonObject = field(default_factory=dict)


class _ServiceClient:
    def __init__(self, url: str, timeout_s: float) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout_s, mounts=dict.fromkeys(_DIRECT))
        self.url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def wait_until_ready(self, timeout_s: float, ended: Callable[[], object] = lambda: None) -> None:
        """Return as soon as the service is ready.

        Args:
            timeout_s: Longest wait.
            ended: Tells by anything but None that the service's process has ended, so waiting is in vain.

        Raises:
            ServiceError: Still not ready after `timeout_s`; carries the service's own words.
            ServiceUnreachableError: Does not answer at all after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._call("GET", "/readyz")
            except (ServiceError, ServiceUnreachableError):
                if time.monotonic() > deadline or ended() is not None:
                    raise
                time.sleep(_POLL_S)
            else:
                return

    def _call(self, method: str, path: str, **options: Any) -> bytes:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise ServiceUnreachableError(f"no answer ({reason}); is `aff serve` running?", item=self.url) from error
        if answer.is_success:
            return answer.content
        retry_after = answer.headers.get("retry-after", "")
        try:
            problem = Problem.model_validate_json(answer.content)
            raise ServiceError(problem, retry_after_s=float(retry_after) if retry_after.isdecimal() else 0.0)
        except ValidationError as error:
            raise ServiceUnreachableError(f"answers {answer.status_code}, not as one of ours", item=self.url) from error


class IndexerClient(_ServiceClient):
    """Client of the gallery indexer."""

    def __init__(self, url: str, timeout_s: float = 300.0) -> None:
        super().__init__(url, timeout_s)

    def index(self, uploads: Sequence[Upload]) -> IndexResponse:
        """Send a batch of images; receipts stand in their order.

        Raises:
            ServiceError: The whole request was refused.
            ServiceUnreachableError: No answer.
        """
        files = [("images", (upload.name, upload.data, "application/octet-stream")) for upload in uploads]
        items = json.dumps([{"id": upload.id, "payload": upload.payload} for upload in uploads])
        return IndexResponse.model_validate_json(self._call("POST", "/index", files=files, data={"items": items}))

    def lookup(self, images: Sequence[LookupImage]) -> list[str]:
        """Return the ids of those images that the gallery holds just so; errors as `index`."""
        answer = self._post("/images/lookup", {"images": [image.model_dump(exclude_none=True) for image in images]})
        return LookupResponse.model_validate_json(answer).up_to_date

    def gallery(self) -> GalleryStatus:
        """Return the state of the gallery; errors as `index`."""
        return GalleryStatus.model_validate_json(self._call("GET", "/gallery"))

    def build(self, bundle: str) -> CollectionStatus:
        """Create the collection of another bundle beside the live one; errors as `index`."""
        return CollectionStatus.model_validate_json(self._post("/gallery/collections", {"bundle": bundle}))

    def refuse(self, bundle: str) -> RefusingStatus:
        """Begin to fill the collection of another mixer from the kept tokens; errors as `index`."""
        return RefusingStatus.model_validate_json(self._post("/gallery/refuse", {"bundle": bundle}))

    def refusing(self) -> RefusingStatus:
        """Return how far that is; errors as `index`."""
        return RefusingStatus.model_validate_json(self._call("GET", "/gallery/refuse"))

    def verify(self, space: str, *, samples: int, neighbours: int) -> CollectionComparison:
        """Compare a collection with the live one; errors as `index`."""
        asked = {"space": space, "samples": samples, "neighbours": neighbours}
        return CollectionComparison.model_validate_json(self._post("/gallery/verify", asked))

    def switch(self, space: str) -> GalleryStatus:
        """Make another collection the live one; errors as `index`."""
        return GalleryStatus.model_validate_json(self._post("/gallery/live", {"space": space}))

    def backup(self, name: str) -> Backup:
        """Write all collections into a new backup; errors as `index`."""
        return Backup.model_validate_json(self._post("/gallery/backups", {"name": name}))

    def restore(self, name: str, *, force: bool) -> GalleryStatus:
        """Replace the gallery by a backup; errors as `index`."""
        return GalleryStatus.model_validate_json(self._post("/gallery/restore", {"name": name, "force": force}))

    def drop(self, space: str) -> None:
        """Remove a collection that is not live; errors as `index`."""
        self._call("DELETE", f"/gallery/collections/{space}")

    def _post(self, path: str, body: Mapping[str, Any]) -> bytes:
        return self._call("POST", path, json=body)


class SearchClient(_ServiceClient):
    """Client of the query service."""

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        super().__init__(url, timeout_s)

    def search(self, data: bytes, *, name: str = "image", **options: Any) -> SearchResponse:
        """Search with one encoded image.

        Args:
            data: The image file.
            name: Its name, for errors.
            options: `limit`, `score_threshold`, `filter` (JSON text), `crop` ("x1,y1,x2,y2"); None is left out.

        Raises:
            ServiceError: The request was refused.
            ServiceUnreachableError: No answer.
        """
        given = {key: value for key, value in options.items() if value is not None}
        body = self._call("POST", "/search", files={"image": (name, data)}, params=given)
        return SearchResponse.model_validate_json(body)
