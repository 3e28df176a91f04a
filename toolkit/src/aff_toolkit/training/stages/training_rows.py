"""Selects the photographs of a feature store that are trained on, their instances, and the validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from aff_toolkit.data.augmentation import augment, stretch
from aff_toolkit.data.photograph import single_image_instances
from aff_toolkit.errors import TooFewPhotographsError
from aff_toolkit.evaluation.retrieval_scores import score_embeddings
from aff_toolkit.training.engine.pseudo_instances import (
    PseudoInstancesSection,
    group_photographs,
    name_pseudo_instances,
)
from aff_toolkit.training.engine.training_loop import SELECTED
from aff_toolkit.training.features.feature_store import FeatureStore, embed_rows
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.stages.held_out import choose_held_out, split_queries

_NONE = ""
_FEWEST_ASKED = 5
_LEAST_GROUPED = 0.1
_SAMPLE = 2000
# Measured on 150 to 2,958 photographs of groceries: by the median nearly all of a small folder are alone, by a tenth
# half of its pairs are wrong.
_UNLIKE_THEMSELVES = 0.2
_MOST_DISTRACTORS = 5000
_BATCH = 64
_SEED = 11


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Instance of every training row of a store, empty for other rows, and the validation, if rows are held out."""

    instances: list[str]
    validation: Validation | None


def labelled_rows(store: FeatureStore, recipe: TrainingRecipe) -> tuple[TrainingRows, list[str]]:
    """Use the store's instances; those with one readable photograph are left out, unless the recipe keeps them.

    If the recipe's share would hold out fewer than 5 instances, none is held out. Also returns the sorted names of
    instances that were left out for having fewer than two readable photographs.

    Raises:
        TooFewPhotographsError: No photographs are left.
    """
    names = np.where(store.readable, np.asarray(store.instances), _NONE)
    unreadable = sorted(set(store.instances) - set(names.tolist()))
    single = single_image_instances(name for name in names.tolist() if name)
    in_pairs = ~np.isin(names, [*single, _NONE])
    held_out = choose_held_out(names[in_pairs].tolist(), recipe.joint.validation_share, recipe.seed)
    if recipe.joint.single_photographs == "keep":
        single = []
    names[np.isin(names, single)] = _NONE
    _require_some(store, names != _NONE)
    # The best of thirty figures over two instances is a matter of chance.
    asked = np.flatnonzero(np.isin(names, sorted(held_out))) if len(held_out) >= _FEWEST_ASKED else np.arange(0)
    queries = split_queries(names[asked].tolist())
    validation = Validation(
        store, asked[queries], asked[~queries], names, recipe.query_encoder.input_size, augmented=False
    )
    names = names.copy()
    names[asked] = _NONE
    return TrainingRows(names.tolist(), validation if len(asked) else None), sorted([*single, *unreadable])


def unlabelled_rows(store: FeatureStore, groups: NDArray[np.int64], recipe: TrainingRecipe) -> TrainingRows:
    """Use groups (N,) of similar photographs (see group_rows), and single photographs, as instances.

    The validation's queries are augmented versions of single photographs.

    Raises:
        TooFewPhotographsError: No photograph can be read.
    """
    _require_some(store, store.readable)
    rows = np.flatnonzero(store.readable)
    chosen = choose_held_out([str(row) for row in rows], recipe.joint.validation_share, recipe.seed)
    asked = np.flatnonzero(np.isin(np.arange(len(store)).astype(str), sorted(chosen)))
    others = np.setdiff1d(rows, asked)[:_MOST_DISTRACTORS]
    names = np.asarray(store.names)
    gallery = np.concatenate([asked, others])
    validation = Validation(store, asked, gallery, names, recipe.query_encoder.input_size, augmented=True)
    instances = np.asarray(name_pseudo_instances(store.names, groups))
    instances[asked] = _NONE
    instances[~store.readable] = _NONE
    return TrainingRows(instances.tolist(), validation if len(asked) else None)


def group_rows(store: FeatureStore, mixer: nn.Module, section: PseudoInstancesSection, seed: int) -> list[int]:
    """Group the readable photographs of a store by their gallery embeddings; unreadable ones are single.

    The mixer is that of a trained bundle, or an UntrainedFusion. The store has its features, also of an augmented copy
    unless the section sets a bound, which is otherwise measured on a sample.

    Raises:
        TooFewPhotographsError: No photograph can be read.
    """
    rows = np.flatnonzero(store.readable)
    _require_some(store, store.readable)
    embeddings = embed_rows(store, rows, mixer)
    bound = section.min_similarity
    if bound is None:
        sample = np.sort(np.random.default_rng(seed).permutation(len(rows))[:_SAMPLE])
        versions = embed_rows(store, rows[sample], mixer, copy=min(1, store.copies - 1))
        bound = float(np.quantile(np.sum(versions * embeddings[sample], axis=1), _UNLIKE_THEMSELVES))
    groups = np.arange(len(store)) + len(rows)
    groups[rows] = group_photographs(embeddings, section.neighbours, bound)
    return [int(group) for group in groups]


def describe_groups(groups: Sequence[int]) -> str:
    """Return a description of groups (N,) of photographs.

    Raises:
        TooFewPhotographsError: Too few photographs are similar to others for a training with groups.
    """
    sizes = [size for size in Counter(groups).values() if size > 1]
    grouped = sum(sizes)
    if grouped < _LEAST_GROUPED * len(groups):
        detail = f"{grouped} of {len(groups)} photographs are similar to another; lower min_similarity, or use labels"
        raise TooFewPhotographsError(detail, item="joint.pseudo_instances")
    return f"{grouped} photographs are in {len(sizes)} groups, {len(groups) - grouped} are single"


def _require_some(store: FeatureStore, left: NDArray[np.bool_]) -> None:
    if left.any():
        return
    reasons = list(store.unreadable().values())
    why = f"{len(reasons)} of {len(store)} cannot be read" + (f", the first: {reasons[0]}" if reasons else "")
    raise TooFewPhotographsError(f"no photographs are left to train on; {why}", item="photographs")


@dataclass(frozen=True, slots=True)
class Validation:
    """Queries (Q,) and gallery (G,), both rows of a store, which score the current models.

    Attributes:
        store: Feature store with pixels and every feature of the mixer.
        labels: Instance name of each row of the store; equal names are positives.
        size: Side in pixels of the query encoder's input.
        augmented: Whether the queries are augmented versions of their photographs.
    """

    store: FeatureStore
    queries: NDArray[np.int64]
    gallery: NDArray[np.int64]
    labels: NDArray[np.str_]
    size: int
    augmented: bool

    def scores(self, mixer: nn.Module, query_encoder: nn.Module) -> dict[str, float]:
        """Return `asymmetric_map`, from 0 to 1, of two models in evaluation mode."""
        gallery = embed_rows(self.store, self.gallery, mixer)
        queries = self._embed_queries(query_encoder)
        scores = score_embeddings(
            queries, gallery, self.labels[self.queries].tolist(), self.labels[self.gallery].tolist()
        )
        return {SELECTED: scores.map}

    @torch.inference_mode()
    def _embed_queries(self, query_encoder: nn.Module) -> NDArray[np.float32]:
        device = next(query_encoder.parameters()).device
        embeddings = []
        for start in range(0, len(self.queries), _BATCH):
            pixels = torch.from_numpy(self.store.read_pixels(self.queries[start : start + _BATCH])).to(device)
            images = augment(pixels, self.size, _SEED + start) if self.augmented else stretch(pixels, self.size)
            embeddings.append(query_encoder(images).float().cpu().numpy())
        return np.concatenate(embeddings)
