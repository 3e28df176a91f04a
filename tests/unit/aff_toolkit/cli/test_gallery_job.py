"""Waiting for a job of the indexer, over connections that break."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from aff_client import ServiceError, ServiceUnreachableError
from aff_client import retries as patience
from aff_client.index_client import IndexerClient
from aff_shared.errors import BackupError, JobNotFoundError
from aff_shared.schemas.gallery import GalleryJob
from aff_shared.schemas.problem import problem_of
from aff_toolkit.cli import gallery_job
from aff_toolkit.cli.gallery_job import JobFailedError, ended_job

RUNNING = GalleryJob(id="j", kind="backup", item="b", started_at=datetime(2026, 1, 2, tzinfo=UTC))
FINISHED = RUNNING.model_copy(update={"state": "finished", "done": 3, "total": 3})
GONE = problem_of(JobNotFoundError("there is no such job since the service was started", item="j"))


class _Answering(IndexerClient):
    """Answers what it is given, or raises it."""

    def __init__(self, *answers: GalleryJob | Exception) -> None:
        super().__init__("http://127.0.0.1:9")
        self._answers = list(answers)

    def job(self, job_id: str) -> GalleryJob:
        assert job_id == "j"
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_job, "_POLL_S", 0.0)
    monkeypatch.setattr(patience, "_FIRST_PAUSE_S", 0.0)


def test_a_job_is_waited_for_over_connections_that_break() -> None:
    away = ServiceUnreachableError("no answer")
    with _Answering(RUNNING, away, away, RUNNING, FINISHED) as client:
        assert ended_job(client, RUNNING, "backing up") == FINISHED


def test_a_job_that_fails_is_reported_by_its_problem() -> None:
    failed = RUNNING.model_copy(update={"state": "failed", "problem": problem_of(BackupError("the disk is full"))})
    with _Answering(failed) as client, pytest.raises(JobFailedError, match="the disk is full") as caught:
        ended_job(client, RUNNING, "backing up")
    assert caught.value.problem.code == "backup_impossible"


def test_a_service_that_was_started_again_does_not_let_the_command_wait_for_ever() -> None:
    with _Answering(ServiceError(GONE)) as client, pytest.raises(ServiceError, match="since the service was started"):
        ended_job(client, RUNNING, "backing up")


def test_a_start_whose_connection_breaks_is_sent_again_as_the_same_request(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []

    def request(*_: Any, headers: dict[str, str], **__: Any) -> httpx.Response:
        keys.append(headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.ReadError("reset")
        return httpx.Response(202, content=RUNNING.model_dump_json())

    with IndexerClient("http://127.0.0.1:9") as client:
        monkeypatch.setattr(client._http, "request", request)
        assert client.backup("b") == RUNNING
        client.backup("b")
    assert keys[0] == keys[1] != keys[2]
