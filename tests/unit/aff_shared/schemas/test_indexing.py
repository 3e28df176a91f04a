from __future__ import annotations

from collections import Counter
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from aff_shared.schemas.indexing import IndexItem, IndexRequest, IndexSummary, ReceiptStatus
from aff_shared.schemas.item_id import ItemId


def test_an_item_may_be_empty() -> None:
    item = IndexItem.model_validate({})
    assert item.id is None
    assert item.payload is None


@pytest.mark.parametrize("item_id", ["", "a\nb", "\x00", "x" * 513])
def test_an_id_is_short_printable_text(item_id: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(ItemId).validate_python(item_id)


@pytest.mark.parametrize("item_id", ["a/b c.jpg", "Zürich 北京", "x" * 512])
def test_an_id_may_be_any_name(item_id: str) -> None:
    assert IndexItem(id=item_id).id == item_id


@pytest.mark.parametrize("document", [{"payload": []}, {"payload": "x"}, {"labels": {}}, {"id": 7}])
def test_an_item_of_another_form_is_rejected(document: Any) -> None:
    with pytest.raises(ValidationError):
        IndexItem.model_validate(document)


def test_a_request_without_images_is_rejected() -> None:
    with pytest.raises(ValidationError):
        IndexRequest(images=[])


def test_a_summary_counts_every_status_of_receipts() -> None:
    assert list(IndexSummary.model_fields) == list(get_args(ReceiptStatus))
    summary = IndexSummary.of(["updated", "rejected", "updated"])
    assert summary.model_dump() == {"indexed": 0, "updated": 2, "duplicate": 0, "rejected": 1}
    assert IndexSummary.of(Counter(updated=2, rejected=1)) == summary
