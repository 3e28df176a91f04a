"""What can go wrong in an evaluation, apart from its bundle and its photographs.

```
EvaluationError                   500  evaluation_failed
├── BenchmarkError                422  benchmark_unusable
│   └── NothingToScoreError       422  nothing_to_score
├── ProtocolNotWrittenError       507  protocol_not_written
└── RankingsError                 422  rankings_unusable
    ├── RankingsMismatchError     409  rankings_mismatch
    └── RankingsNotWrittenError   507  rankings_not_written
```
"""

from __future__ import annotations

from aff_contracts.errors import AffError


class EvaluationError(AffError):
    """An evaluation cannot go on."""

    code = "evaluation_failed"
    title = "Evaluation failed"


class BenchmarkError(EvaluationError):
    """The files of a benchmark are missing, or not of the documented form."""

    code = "benchmark_unusable"
    status = 422
    title = "Unusable benchmark"


class NothingToScoreError(BenchmarkError):
    """No query has a positive in the gallery."""

    code = "nothing_to_score"
    title = "Nothing to score"


class ProtocolNotWrittenError(EvaluationError):
    """A file with a protocol could not be written."""

    code = "protocol_not_written"
    status = 507
    title = "Protocol not written"


class RankingsError(EvaluationError):
    """The directory holds no finished rankings of this release."""

    code = "rankings_unusable"
    status = 422
    title = "Unusable rankings"


class RankingsMismatchError(RankingsError):
    """The directory holds rankings of another bundle, benchmark or way of searching."""

    code = "rankings_mismatch"
    status = 409
    title = "Rankings of something else"


class RankingsNotWrittenError(RankingsError):
    """Rankings or a report could not be written."""

    code = "rankings_not_written"
    status = 507
    title = "Rankings not written"
