"""What can go wrong in an ablation, apart from a training of its own.

```
AblationError                     500  ablation_failed
├── BenchmarkNotFoundError        404  benchmark_not_found
├── UnusableGridError             422  grid_unusable
├── RunsNotComparableError        500  runs_not_comparable
└── ResultNotWrittenError         507  result_not_written
```
"""

from __future__ import annotations

from aff_shared.errors import AffError


class AblationError(AffError):
    """An ablation cannot go on."""

    code = "ablation_failed"
    title = "Ablation failed"


class BenchmarkNotFoundError(AblationError):
    """No configuration bears the benchmark's name."""

    code = "benchmark_not_found"
    status = 404
    title = "Benchmark not found"


class UnusableGridError(AblationError):
    """The features or losses do not make variants that can be told apart."""

    code = "grid_unusable"
    status = 422
    title = "Unusable grid of variants"


class RunsNotComparableError(AblationError):
    """Two runs were not scored on the same queries."""

    code = "runs_not_comparable"
    title = "Runs cannot be compared"


class ResultNotWrittenError(AblationError):
    """A run or a report could not be written."""

    code = "result_not_written"
    status = 507
    title = "Result not written"
