"""Trackers of a stage's figures: TensorBoard's files, and Weights & Biases through accelerate."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from accelerate.tracking import WandBTracker
from torch.utils.tensorboard import SummaryWriter

from aff_shared.errors import InvalidParameterError, MissingExtraError
from aff_toolkit.errors import TrackerError

TrackerName = Literal["tensorboard", "wandb"]

_WANDB_ADVICE = "`wandb login`, or WANDB_MODE=offline to record on this machine only"


class Tracker(Protocol):
    """Receives the figures of one stage."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Record figures of a step.

        Raises:
            TrackerError: The tracker has failed, and records nothing more.
        """

    def close(self) -> None:
        """Write what is not written yet.

        Raises:
            TrackerError: See log.
        """


class TensorBoardTracker:
    """Writes TensorBoard's files; figures of later steps, of a run that was killed, are removed."""

    def __init__(self, directory: Path, step: int) -> None:
        self._writer = SummaryWriter(str(directory), purge_step=step + 1)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Record figures of a step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class WandbTracker:
    """Records one run of Weights & Biases per stage; a resumed stage continues its run.

    W&B's own variables are used: WANDB_PROJECT (default: `aff`), WANDB_MODE, WANDB_ENTITY and others. Its files are in
    the directory `wandb`.
    """

    def __init__(self, directory: Path, stage: str, configuration: Mapping[str, Any]) -> None:
        """Start a run.

        Raises:
            TrackerError: W&B cannot start it, for example without a login.
        """
        import wandb  # noqa: PLC0415 - an optional extra

        self._tracker = WandBTracker(
            wandb.Settings().project or "aff",
            name=f"{directory.name}/{stage}",
            group=directory.name,
            dir=str(directory),
            id=_run_id(directory / "wandb" / f"{stage}.id"),
            resume="allow",
            config=dict(configuration),
        )
        try:
            self._tracker.start()
        except Exception as error:  # of the login, of the network
            raise TrackerError(f"wandb cannot start a run: {error}. Use {_WANDB_ADVICE}", item="wandb") from error

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Record figures of a step."""
        with _recording():
            self._tracker.log(dict(values), step=step)

    def close(self) -> None:
        """Wait until everything is sent, or written in offline mode."""
        with _recording():
            self._tracker.finish()


@contextmanager
def _recording() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of the network, or of its process
        raise TrackerError(f"wandb records no further figures: {error}", item="wandb") from error


def _run_id(path: Path) -> str:
    """Return the ID of a stage's run: that of the file, or a new one."""
    if path.exists() and (known := path.read_text(encoding="utf-8").strip()):  # empty after a full disk
        return known
    path.parent.mkdir(parents=True, exist_ok=True)
    identity = uuid.uuid4().hex[:16]
    path.write_text(identity, encoding="utf-8")
    return identity


def require_trackers(names: Sequence[str]) -> None:
    """Reject an unknown tracker, and one whose package is missing, before hours of training.

    Raises:
        InvalidParameterError: There is no such tracker.
        MissingExtraError: wandb is not installed.
    """
    known = get_args(TrackerName)
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise InvalidParameterError(f"{unknown!r} is not one of {', '.join(known)}", item="tracker")
    if "wandb" in names and find_spec("wandb") is None:
        raise MissingExtraError("the tracker wandb needs Weights & Biases: pip install 'aff-toolkit[wandb]'")


def open_trackers(
    names: Sequence[str], directory: Path, stage: str, step: int, configuration: Mapping[str, Any]
) -> list[Tracker]:
    """Return the trackers of a stage.

    Args:
        names: Which ones.
        directory: Work directory of the training.
        stage: Name of the stage.
        step: Step from which the stage continues.
        configuration: Settings of the training, which W&B displays.

    Raises:
        TrackerError: A tracker cannot be started.
    """
    trackers: list[Tracker] = []
    if "tensorboard" in names:
        trackers.append(TensorBoardTracker(directory / "tensorboard" / stage, step))
    if "wandb" in names:
        trackers.append(WandbTracker(directory, stage, configuration))
    return trackers
