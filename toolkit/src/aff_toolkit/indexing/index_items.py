"""Sends the images of a source to the gallery indexer: concurrently, in bounded memory, with retries."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from aff_client import ForeignAnswerError, NotFoundError, ServiceError
from aff_client.index_calls import BATCH_IMAGES, Upload, batches
from aff_client.index_client import IndexerClient
from aff_client.retries import patiently
from aff_shared.errors import AffError, BodyTooLargeError
from aff_shared.images.details import photograph_details
from aff_shared.schemas.indexing import IndexSummary, JsonObject, LookupImage
from aff_shared.schemas.problem import problem_of
from aff_toolkit.indexing.indexing_record import IndexingRecord
from aff_toolkit.indexing.source_item import SourceError, SourceItem

_Result = TypeVar("_Result")
_Image = TypeVar("_Image", SourceItem, Upload)

_READERS = 16


@dataclass(frozen=True, slots=True)
class IndexingOptions:
    """Options of an indexing run.

    Attributes:
        concurrency: Requests in flight.
        give_up_after_s: Longest time that the indexer may be unreachable or overloaded, in seconds.
        trust_ids: Whether to skip images whose ID is in the gallery, without reading them.
        replace: Whether an image replaces another one with its ID in the gallery; otherwise it fails.
        details: Whether to add details of the photographs to their payloads; see photograph_details.
        location: Whether the position is one of the details.
    """

    concurrency: int = 4
    give_up_after_s: float = 300.0
    trust_ids: bool = False
    replace: bool = True
    details: bool = False
    location: bool = True


class IdTakenError(AffError):
    """The gallery holds another image under an id."""

    code = "id_taken"
    status = 409
    title = "Id taken by another image"


def index_items(
    client: IndexerClient,
    items: Iterator[SourceItem],
    record: IndexingRecord,
    options: IndexingOptions,
    on_progress: Callable[[int], None],
    on_replace: Callable[[Sequence[str]], None] = lambda _: None,
) -> None:
    """Index a source; images that the gallery has with the same content and payload are not sent.

    No more than `concurrency` batches of 32 images are in memory. An interrupt (Ctrl-C) waits for the requests in
    progress, and is recorded in the summary.

    Args:
        client: Connected to the indexer; used by several threads.
        items: Images of the source.
        record: Records the result of each image.
        options: Options of the run.
        on_progress: Called with the number of images done since the last call.
        on_replace: Called with ids under which the gallery holds other content, before that is replaced; by several
            threads.

    Raises:
        SourceError: The source cannot be read.
        ServiceError: A batch was rejected for another reason than its size (large batches are sent image by image).
        ServiceUnreachableError: The indexer was unreachable for too long, or another server answers; indexed images are
            kept.
    """
    pending: set[Future[int]] = set()
    with (
        _Sender(client, record, options, on_replace) as sender,
        ThreadPoolExecutor(options.concurrency, thread_name_prefix="send") as pool,
    ):
        try:
            while batch := list(islice(items, BATCH_IMAGES)):
                pending.add(pool.submit(sender.send, batch))
                pending = _settle(pending, options.concurrency - 1, on_progress)
            _settle(pending, 0, on_progress)
        except KeyboardInterrupt:
            record.summary.interrupted = True
            sender.stop.set()
            _settle(pending, 0, on_progress)
        except BaseException:
            sender.stop.set()
            raise


def _settle(pending: set[Future[int]], most: int, on_progress: Callable[[int], None]) -> set[Future[int]]:
    """Wait until no more than `most` are pending, and return those."""
    while len(pending) > most:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            on_progress(future.result())
    return pending


class _Sender:
    """Reads, looks up and sends batches; `stop` ends the wait for an unreachable service."""

    def __init__(
        self,
        client: IndexerClient,
        record: IndexingRecord,
        options: IndexingOptions,
        on_replace: Callable[[Sequence[str]], None],
    ) -> None:
        self.stop = threading.Event()
        self._client = client
        self._record = record
        self._options = options
        self._on_replace = on_replace
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="read")

    def __enter__(self) -> _Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._readers.shutdown(cancel_futures=True)

    def send(self, batch: Sequence[SourceItem]) -> int:
        """Index a batch; returns the number of its images."""
        unknown = batch
        if self._options.trust_ids:
            unknown = self._without_known(batch, [LookupImage(id=item.id) for item in batch])
        read = list(self._readers.map(self._read, unknown))
        uploads = [
            Upload(id=item.id, name=item.location, data=data, payload=self._payload(item, data))
            for item, data in zip(unknown, read, strict=True)
            if data is not None
        ]
        if uploads and not self._options.trust_ids:
            uploads = self._without_known(uploads, [_lookup(upload) for upload in uploads])
            uploads = self._with_stored_payloads(uploads, {item.id for item in unknown if not item.payload})
            uploads = self._that_may_replace(uploads)
        for part in batches(uploads):
            self._index(part)
        return len(batch)

    def _payload(self, item: SourceItem, data: bytes) -> JsonObject:
        if not self._options.details:
            return item.payload
        return {**photograph_details(data, item.id, location=self._options.location), **item.payload}

    def _read(self, item: SourceItem) -> bytes | None:
        """Read an image; drivers of file systems raise what they like, and it concerns this image alone."""
        try:
            return item.read()
        except AffError as error:
            problem = problem_of(error)
        except Exception as error:  # noqa: BLE001 - see above
            problem = problem_of(SourceError(f"cannot be read: {error}", item=item.id))
        self._record.fail(item.id, item.location, problem, item.payload)
        return None

    def _without_known(self, images: Sequence[_Image], asked: Sequence[LookupImage]) -> list[_Image]:
        known = self._known(asked)
        self._record.add(IndexSummary.of(["duplicate"] * len(known)))
        return [image for image in images if image.id not in known]

    def _known(self, asked: Sequence[LookupImage]) -> set[str]:
        try:
            return set(self._patiently(lambda: self._client.lookup(asked)))
        except (ServiceError, ForeignAnswerError) as error:
            if error.problem.status != BodyTooLargeError.status:
                raise
            # A single image that is too large is sent, and then rejected by name.
            return set().union(*(self._known([image]) for image in asked)) if len(asked) > 1 else set()

    def _with_stored_payloads(self, uploads: list[Upload], bare: set[str]) -> list[Upload]:
        """Return the uploads that differ from the gallery; those of `bare` ids keep the keys that it has stored."""
        asked = [LookupImage(id=upload.id) for upload in uploads if upload.id in bare]
        there = self._known(asked) if asked else set()
        if not there:
            return uploads
        kept = [self._with_stored_payload(upload) if upload.id in there else upload for upload in uploads]
        return self._without_known(kept, [_lookup(upload) for upload in kept])

    def _with_stored_payload(self, upload: Upload) -> Upload:
        with suppress(NotFoundError):  # deleted in the meantime
            stored = self._patiently(lambda: self._client.image(upload.id)).payload
            return replace(upload, payload={**upload.payload, **stored})
        return upload

    def _that_may_replace(self, uploads: list[Upload]) -> list[Upload]:
        """Return the uploads that may be sent; uploads that replace other content are reported or fail."""
        taken = self._taken(uploads)
        if taken and self._options.replace:
            self._on_replace(sorted(taken))
            return uploads
        for upload in uploads:
            if upload.id in taken:
                error = IdTakenError("the gallery holds another image under this id", item=upload.id)
                self._record.fail(upload.id, upload.name, problem_of(error), upload.payload)
        return [upload for upload in uploads if upload.id not in taken]

    def _taken(self, uploads: Sequence[Upload]) -> set[str]:
        """Return the ids under which the gallery holds other content than that of the uploads."""
        there = self._known([LookupImage(id=upload.id) for upload in uploads]) if uploads else set()
        asked = [_lookup(upload).model_copy(update={"payload": None}) for upload in uploads if upload.id in there]
        return there - self._known(asked) if asked else set()

    def _index(self, uploads: Sequence[Upload]) -> None:
        try:
            answer = self._patiently(lambda: self._client.index(uploads))
        except (ServiceError, ForeignAnswerError) as error:  # a proxy's limit may be the lower one
            if error.problem.status != BodyTooLargeError.status:
                raise
            if len(uploads) == 1:
                self._record.fail(uploads[0].id, uploads[0].name, error.problem, uploads[0].payload)
            else:
                for upload in uploads:
                    self._index([upload])
            return
        self._record.add(answer)
        for receipt in answer.receipts:
            if receipt.error is not None:
                upload = uploads[receipt.index]
                self._record.fail(upload.id, upload.name, receipt.error, upload.payload)

    def _patiently(self, call: Callable[[], _Result]) -> _Result:
        return patiently(call, give_up_after_s=self._options.give_up_after_s, stop=self.stop)


def _lookup(upload: Upload) -> LookupImage:
    return LookupImage(id=upload.id, content_sha256=hashlib.sha256(upload.data).hexdigest(), payload=upload.payload)
