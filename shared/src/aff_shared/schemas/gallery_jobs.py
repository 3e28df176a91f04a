"""Work on the gallery that goes on when the request that started it is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from aff_shared.schemas import examples
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.gallery import Backup, CollectionComparison
from aff_shared.schemas.problem import Problem

JobKind = Literal["backup", "restore", "verify", "remix"]


class FusedCollection(BaseModel):
    """What came of `POST /gallery/remix`.

    Attributes:
        space: Of the collection that is filled.
        missing: Images without kept tokens; `missing_ids` names the first 1,000. Index their sources again.
    """

    model_config = ConfigDict(frozen=True)

    space: EmbeddingSpace
    missing: int = 0
    missing_ids: list[str] = []


JobResult = FusedCollection | CollectionComparison | Backup


class GalleryJob(BaseModel):
    """A job: answer of `GET /gallery/jobs/{id}`, and of the requests that start one.

    Attributes:
        kind: What it does.
        item: What with: the name of a backup or a bundle, or the id of a space as it was given.
        state: `running`, and then `finished` or `failed`.
        ended_at: Null while it runs.
        done: Images that are done.
        total: Images that there were at its beginning; null where that is not known.
        result: Of `verify`, `backup` and `remix`; that of `remix` while it runs, too. Null for `restore`.
        problem: Why it failed.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.GALLERY_JOB))

    id: str
    kind: JobKind
    item: str
    state: Literal["running", "finished", "failed"] = "running"
    started_at: datetime
    ended_at: datetime | None = None
    done: int = 0
    total: int | None = None
    result: JobResult | None = None
    problem: Problem | None = None
