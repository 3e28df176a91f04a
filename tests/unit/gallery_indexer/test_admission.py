from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from aff_contracts.errors import ServiceOverloadedError
from gallery_indexer.admission import Admission
from gallery_indexer.index_metrics import IndexMetrics


def _admission(registry: CollectorRegistry | None = None) -> Admission:
    return Admission(100, largest_bytes=70, metrics=IndexMetrics(registry or CollectorRegistry()))


def test_requests_are_admitted_while_their_bytes_fit() -> None:
    admission = _admission()
    with admission.admit(60):
        with admission.admit(40):
            pass
        with pytest.raises(ServiceOverloadedError), admission.admit(41):
            pass
    with admission.admit(41):
        pass


def test_a_request_that_comes_alone_is_admitted_whatever_its_size() -> None:
    admission = _admission()
    with admission.admit(1000), pytest.raises(ServiceOverloadedError), admission.admit(1):
        pass


def test_a_body_of_unknown_length_counts_as_the_largest_one() -> None:
    admission = _admission()
    with admission.admit(None), admission.admit(30), pytest.raises(ServiceOverloadedError), admission.admit(1):
        pass


def test_what_a_failed_request_held_is_free_again() -> None:
    admission = _admission()
    with pytest.raises(KeyError), admission.admit(100):
        raise KeyError
    with admission.admit(50), admission.admit(50):
        pass


def test_a_refusal_says_when_to_come_back_and_is_counted() -> None:
    registry = CollectorRegistry()
    admission = _admission(registry)
    with admission.admit(100):
        for _ in range(2):
            with pytest.raises(ServiceOverloadedError) as refused, admission.admit(10):
                pass
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 60
    assert registry.get_sample_value("aff_index_overloads_total") == 2
