"""The better of two bundles, the one that was trained and its base, by photographs held out of the training.

The rule. Asymmetric search is measured with both on the same queries, by mAP and by recall@1, and each difference has a
95 % interval by the paired bootstrap over the things that were held out. Training gained something where the whole
interval of the mAP is above 0, and recall@1 did not fall; otherwise the base is kept. Fewer than five things judge
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from aff_toolkit.evaluation.paired_bootstrap import bootstrap_interval, difference
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.evaluation.retrieval_scores import QueryScores

FEWEST_INSTANCES = 5
_POINTS = 100


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Difference(_Model):
    """A figure before and after the training, from 0 to 1.

    Attributes:
        before: With the base.
        after: With the trained bundle.
        low: Lower end of the 95 % interval of after - before.
        high: Its upper end.
    """

    before: float
    after: float
    low: float
    high: float

    def describe(self) -> str:
        """Return the figures in words, in percent."""
        gain, low, high = (_POINTS * value for value in (self.after - self.before, self.low, self.high))
        return (
            f"{_POINTS * self.before:.1f} before, {_POINTS * self.after:.1f} after: {gain:+.1f} points, 95 % interval "
            f"{low:+.1f} to {high:+.1f}"
        )


class Judgement(_Model):
    """Which of the two bundles is kept, and why.

    Attributes:
        kept: The trained bundle, or its base.
        protocol: What it was judged by, in words.
        queries: Number of queries.
        instances: Number of things that they ask for.
        map: Of asymmetric search; so is `recall_at_1`.
        steps: Steps after which the weights of each training stage were taken, and all of its steps.
    """

    kept: Literal["trained", "base"]
    protocol: str
    queries: int
    instances: int
    map: Difference
    recall_at_1: Difference
    steps: Mapping[str, tuple[int, int]] = {}

    def describe(self) -> str:
        """Return the outcome in a sentence."""
        kept = "Kept: the trained bundle." if self.kept == "trained" else "Nothing was gained: the base is kept."
        return (
            f"{kept} mAP {self.map.describe()}; recall@1 {self.recall_at_1.describe()} ({self.queries} queries for "
            f"{self.instances} things held out)"
        )


def can_judge(protocol: Protocol) -> bool:
    """Return whether a protocol asks for enough things, with other photographs of them in its gallery, to judge by."""
    if protocol.originals is not None:
        return len(protocol.originals) >= FEWEST_INSTANCES
    relevant = protocol.relevance().relevant
    asked = {query.instance for query, rows in zip(protocol.queries, relevant, strict=True) if len(rows)}
    return len(asked) >= FEWEST_INSTANCES


def judge(
    protocol: Protocol, before: QueryScores, after: QueryScores, steps: Mapping[str, tuple[int, int]]
) -> Judgement:
    """Compare a base with what was trained on it, by the module's rule.

    Args:
        protocol: What both were measured on.
        before: Of the base, asymmetric.
        after: Of the trained bundle, likewise.
        steps: See Judgement.
    """
    instances = [protocol.queries[query].instance for query in before.queries]
    precision = _difference(before.average_precisions, after.average_precisions, instances)
    recall = _difference(before.found_first, after.found_first, instances)
    return Judgement(
        kept="trained" if precision.low > 0 and recall.after >= recall.before else "base",
        protocol=protocol.description,
        queries=len(instances),
        instances=len(set(instances)),
        map=precision,
        recall_at_1=recall,
        steps=steps,
    )


def _difference(before: NDArray[np.float64], after: NDArray[np.float64], instances: Sequence[str]) -> Difference:
    low, high = bootstrap_interval(after, before, difference, groups=instances)
    return Difference(before=float(before.mean()), after=float(after.mean()), low=low, high=high)
