"""A few figures of an extractor's features for fresh weights and one photograph."""

from __future__ import annotations

from pathlib import Path

import torch

from aff_toolkit.weights.checkpoint_formats import CheckpointFormat
from gallery_indexer.features.extractors.load_extractor import load_extractor
from tests.support.released_checkpoints import installed_with_fresh_weights, photograph

GOLDEN_FILE = Path(__file__).parents[1] / "golden" / "extractors.json"
GOLDEN_FORMATS = (
    "delg-r50",
    "dolg-r50",
    "dolg-r50-ma",
    "cvnet-r50",
    "superglobal-r50",
    "token-r50",
    "gem-r50",
    "gem-r50-lw",
    "how-r18",
    "how-r50",
)
_SHOWN = 6


def golden_of(form: CheckpointFormat, directory: Path) -> dict[str, dict[str, list[float]]]:
    """Extract, and keep of every feature its first values, moments, and where and how strong its tokens are."""
    spec = installed_with_fresh_weights(form, directory)
    features = load_extractor(spec, directory, torch.device("cpu")).extract([photograph(96, 120)])
    golden = {}
    for name, batch in features.items():
        tokens = batch.values[0][batch.mask[0]]
        figures = {
            "first": tokens[0, :_SHOWN],
            "last": tokens[-1, -_SHOWN:],
            "moments": torch.stack([tokens.mean(), tokens.std(), tokens.abs().max()]),
            "tokens": batch.mask[0].sum()[None],
        }
        if batch.strengths is not None and batch.positions is not None:
            figures["strengths"] = batch.strengths[0, :_SHOWN]
            figures["positions"] = batch.positions[0, :_SHOWN].flatten()
        golden[name] = {
            figure: [float(f"{float(value):.6g}") for value in values] for figure, values in figures.items()
        }
    return golden
