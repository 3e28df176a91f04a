"""The work directory of a training: feature stores and results that one process computes once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.accelerator import Accelerator

from aff_toolkit.data.describe_source import name_some
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.training.engine.training_log import TrainingLog
from aff_toolkit.training.features.extract_features import Extract, extract_features
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_description import ExtractorSet, StoreSettings

_SHOWN = 3


@dataclass(frozen=True)
class WorkDirectory:
    """Storage of a training. Under `accelerate launch` the main process writes, and the others wait.

    Attributes:
        path: The directory.
        log: Log of the training.
        accelerator: Accelerator, which distinguishes the processes.
    """

    path: Path
    log: TrainingLog
    accelerator: Accelerator

    def report(self, message: str) -> None:
        """Print a message in the main process."""
        if self.accelerator.is_main_process:
            self.log.console.print(message)

    def report_left_out(self, instances: Sequence[str]) -> None:
        """Print the instances with fewer than two photographs."""
        if instances:
            self.report(f"left out, fewer than two readable photographs ({len(instances)}): {name_some(instances)}")

    def report_unreadable(self, reasons: Sequence[str], photographs: int) -> None:
        """Print which of a number of photographs cannot be read, and why."""
        if reasons:
            shown = "; ".join(reasons[:_SHOWN]) + ("; ..." if len(reasons) > _SHOWN else "")
            self.report(f"{len(reasons)} of {photographs} photographs cannot be read and are left out: {shown}")

    def once(self, make: Callable[[], None]) -> None:
        """Run a function in the main process, and return in every process when it has finished."""
        if self.accelerator.is_main_process:
            make()
        self.accelerator.wait_for_everyone()

    def remember(self, name: str, key: str, make: Callable[[], Any]) -> Any:
        """Return a JSON document: from the file `name` if it was written for the same key, else by computing it."""
        path = self.path / f"{name}.json"

        def write() -> None:
            if _key_of(path) != key:
                partial = path.with_suffix(".partial")
                partial.write_text(json.dumps({"key": key, "content": make()}), encoding="utf-8")
                partial.rename(path)

        self.once(write)
        return json.loads(path.read_text(encoding="utf-8"))["content"]

    def store(
        self,
        name: str,
        photographs: Sequence[Photograph],
        extractors: ExtractorSet,
        extract: Extract,
        settings: StoreSettings,
    ) -> FeatureStore:
        """Return the feature store `name`, after creating or completing it; print which photographs cannot be read.

        Raises:
            FeatureStoreError: See extract_features.
        """
        directory = self.path / name

        def make() -> None:
            with self.log.stage(name, len(photographs), "images") as bar:
                extract_features(photographs, extractors, extract, directory, settings, bar.advance)

        self.once(make)
        store = FeatureStore.open(directory)
        self.report_unreadable(list(store.unreadable().values()), len(photographs))
        return store


def _key_of(path: Path) -> str | None:
    """Return the key of a stored result; None if there is none, or if it is damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return str(document["key"]) if "content" in document else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
