"""The work directory of a training: feature stores and results that are made once, by one process."""

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
    """Where a training keeps what it has made. Under `accelerate launch` the main process makes it, the others wait.

    Attributes:
        path: The directory.
        log: Shows and records what goes on.
        accelerator: Tells the processes apart.
    """

    path: Path
    log: TrainingLog
    accelerator: Accelerator

    def tell(self, message: str) -> None:
        """Show a line, once."""
        if self.accelerator.is_main_process:
            self.log.console.print(message)

    def tell_left_out(self, instances: Sequence[str]) -> None:
        """Show which instances have no two photographs."""
        if instances:
            self.tell(f"left out, fewer than two readable photographs ({len(instances)}): {name_some(instances)}")

    def tell_unreadable(self, reasons: Sequence[str], photographs: int) -> None:
        """Show which of so many photographs cannot be read, and why."""
        if reasons:
            shown = "; ".join(reasons[:_SHOWN]) + ("; ..." if len(reasons) > _SHOWN else "")
            self.tell(f"{len(reasons)} of {photographs} photographs cannot be read and are left out: {shown}")

    def once(self, make: Callable[[], None]) -> None:
        """Let the main process make something, and return in every process when it is there."""
        if self.accelerator.is_main_process:
            make()
        self.accelerator.wait_for_everyone()

    def remember(self, name: str, key: str, make: Callable[[], Any]) -> Any:
        """Return a JSON document: from the file `name`, where it was made for the same key, or by making it."""
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
        """Return the feature store `name`, made or gone on with; tell which photographs cannot be read.

        Raises:
            FeatureStoreError: See extract_features.
        """
        directory = self.path / name

        def make() -> None:
            with self.log.stage(name, len(photographs), "images") as bar:
                extract_features(photographs, extractors, extract, directory, settings, bar.advance)

        self.once(make)
        store = FeatureStore.open(directory)
        self.tell_unreadable(list(store.unreadable().values()), len(photographs))
        return store


def _key_of(path: Path) -> str | None:
    """Return what a remembered result was made for; None where there is none, or it is damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return str(document["key"]) if "content" in document else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
