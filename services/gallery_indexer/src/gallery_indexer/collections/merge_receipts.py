"""Merges the receipts of several collections into one per image."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence

from aff_shared.errors import GalleryMissingError
from aff_shared.schemas.indexing import Receipt

_Done = tuple[int, Receipt | None]


async def merge_receipts(streams: Sequence[AsyncGenerator[Receipt, None]]) -> AsyncGenerator[Receipt, None]:
    """Yield a receipt for an image as soon as every stream has yielded one.

    A collection that is dropped meanwhile no longer counts.

    Args:
        streams: Streams of one receipt per image, in any order; the first one is the live collection's.

    Raises:
        AffError: A stream failed, or all collections were dropped; the streams are closed.
    """
    done: asyncio.Queue[_Done] = asyncio.Queue()
    tasks = [asyncio.create_task(_drain(place, stream, done)) for place, stream in enumerate(streams)]
    answers: defaultdict[int, dict[int, Receipt]] = defaultdict(dict)
    waited_for, running = set(range(len(streams))), len(streams)
    try:
        while running:
            place, receipt = await done.get()
            if receipt is not None:
                answers[receipt.index][place] = receipt
            else:
                running -= 1
                if await tasks[place]:  # raises what the stream raised
                    waited_for.discard(place)
            for index in [index for index, found in answers.items() if waited_for and waited_for <= found.keys()]:
                found = answers.pop(index)
                yield _merged([found[place] for place in sorted(found)])
        if not waited_for:
            raise GalleryMissingError("every collection was dropped meanwhile")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _drain(place: int, stream: AsyncGenerator[Receipt, None], done: asyncio.Queue[_Done]) -> bool:
    """Put the receipts of a stream into the queue, then None; return whether its collection was dropped meanwhile."""
    try:
        async for receipt in stream:
            done.put_nowait((place, receipt))
    except GalleryMissingError:
        return True
    finally:
        await stream.aclose()
        done.put_nowait((place, None))
    return False


def _merged(receipts: Sequence[Receipt]) -> Receipt:
    """Merge the receipts of an image: rejected if one collection rejected it, a duplicate if none changed."""
    for receipt in receipts:
        if receipt.status == "rejected":
            return receipt
    live = receipts[0]
    changes = [receipt.status for receipt in receipts if receipt.status != "duplicate"]
    return live.model_copy(update={"status": changes[0]}) if changes else live
