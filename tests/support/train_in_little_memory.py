"""A process that trains on a feature store within a limit of anonymous memory, and then without mapping the files.

Called as `python -m tests.support.train_in_little_memory STORE LIMIT_MB`; prints what it saw as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from accelerate.accelerator import Accelerator
from torch import Tensor, nn

from aff_toolkit.training.engine.optimisation import OptimisationSection, Side, Trainable, TrainingPlan
from aff_toolkit.training.engine.training_loop import TrainingLoop
from aff_toolkit.training.engine.training_set import Batch, TrainingSet, generator_of, shuffled_batches
from aff_toolkit.training.features.feature_store import FeatureStore
from gallery_indexer.features import shards
from tests.support.private_memory_limit import limit_private_memory

BATCH = 32


class Counter(Trainable):
    """Adds up what the loop shows it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.photographs = 0
        self.pixels = 0
        self.tokens = 0

    def sides(self) -> list[Side]:
        return [Side([self.weight])]

    def after_step(self) -> None:
        pass

    def forward(self, batch: Batch, seed: int) -> dict[str, Tensor]:  # noqa: ARG002 - nothing is random here
        self.photographs += len(batch)
        self.pixels += int(batch.pixels.numpy().sum(dtype=np.int64))  # torch would hold an int64 copy
        self.tokens += sum(int(feature.mask.sum()) for feature in batch.features.values())
        return {"nothing": 0.0 * self.weight}


def prepare(directory: Path, counter: Counter) -> TrainingLoop:
    """Return a training that reads every photograph once, in random order."""
    store = FeatureStore.open(directory)
    photographs = TrainingSet(store, [feature.name for feature in store.features])
    plan = TrainingPlan(
        batches_of_epoch=lambda epoch: shuffled_batches(len(photographs), BATCH, generator_of(1, epoch)),
        training_set=photographs,
        section=OptimisationSection(epochs=1, reading_threads=1, batch_size=BATCH, learning_rate=1.0),
        seed=1,
    )
    return TrainingLoop(counter, plan, Accelerator(cpu=True), None)


def load_instead_of_map(path: Path, dtype: type, mode: str) -> np.ndarray:
    """Replaces np.memmap."""
    return np.fromfile(path, dtype)


def main(directory: Path, limit_bytes: int) -> None:
    torch.set_num_threads(1)
    counter, again = Counter(), Counter()
    # Both are prepared before the limit holds: building an optimiser imports half of torch.
    mapped, loaded = prepare(directory, counter), prepare(directory, again)
    limit_private_memory(limit_bytes)
    mapped.run()
    seen: dict[str, object] = {"photographs": counter.photographs, "pixels": counter.pixels, "tokens": counter.tokens}
    shards.np.memmap = load_instead_of_map
    try:
        loaded.run()
    except MemoryError as error:
        seen["loaded"] = f"MemoryError: {error}"
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) * 2**20)
