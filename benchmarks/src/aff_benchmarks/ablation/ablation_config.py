"""The configuration of an ablation, read from a TOML file: its extractors, its benchmarks, and what is varied."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aff_shared.errors import AffError
from aff_shared.schemas.payload_filter import describe_validation_error
from aff_toolkit.data.training_source import TrainingSource
from aff_toolkit.training.recipe.training_recipe import CompactCnnSection, RootSiftSection, TrainingRecipe

_CONFIGS = Path(__file__).parents[3] / "configs" / "ablation"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkSection(_Section):
    """A compact network that is trained as an extractor.

    Attributes:
        seed: Of its weights and its training; two networks of one ablation differ at least in it.
        compact_cnn: Its size and its training.
        sources: Its photographs; those of the recipe's pretraining when None.
    """

    seed: int
    sources: tuple[TrainingSource, ...] | None = Field(default=None, min_length=1)
    compact_cnn: CompactCnnSection


class FrozenTrunkSection(_Section):
    """A query encoder whose trunk is frozen; its head is all that learns.

    Attributes:
        feature: The trunk's vectors: a global feature of one of the recipe's extractors.
        copies: Versions of each training photograph whose vectors are kept: itself, and augmented ones.
        augmented_size: Side in pixels at which a photograph is augmented for them.
    """

    feature: str
    copies: int = Field(default=6, ge=2)
    augmented_size: int = Field(default=128, ge=32)


class AblationConfig(_Section):
    """What an ablation trains and measures.

    Attributes:
        name: Of the benchmark; also names the report.
        seeds: One training of each variant for each.
        features: Names of the features that the full mixer takes, in the order in which they are added one by one:
            `cnn_<network>_gem`, `cnn_<network>_attention`, `rootsift`, and those of the recipe's extractors.
        noise_dimension: Width of the useless feature.
        alphas: Momenta that are compared, ascending; the first is 0.
        networks: Compact networks that are trained as extractors, by name, a letter each.
        rootsift: Size and number of the SIFT keypoints; no feature of theirs when None.
        frozen_trunk: Of the query encoder; None trains the recipe's query encoder from pixels.
        curve_interval_epochs: Epochs between two measurements of the first seed's runs during the training; none when
            None.
        recipe: Everything else: photographs, pretraining, extractors that somebody else trained, mixer, query encoder,
            joint training, evaluation. Each scene or open set of the evaluation is a benchmark with a report of its
            own. The first ArcFace of `joint.losses` is the one of the variants that are trained by ArcFace alone.
    """

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    seeds: tuple[int, ...] = Field(default=(1, 2, 3), min_length=1)
    features: tuple[str, ...] = Field(min_length=2)
    noise_dimension: int = Field(default=128, ge=1)
    alphas: tuple[float, ...] = Field(default=(0.0, 0.9, 0.99, 0.999), min_length=2)
    networks: Mapping[str, NetworkSection] = Field(default_factory=dict)
    rootsift: RootSiftSection | None = None
    frozen_trunk: FrozenTrunkSection | None = None
    curve_interval_epochs: int | None = Field(default=None, ge=1)
    recipe: TrainingRecipe

    @model_validator(mode="after")
    def _measures_something(self) -> AblationConfig:
        evaluation = self.recipe.evaluation
        if evaluation.scenes is None and not evaluation.open_sets:
            raise ValueError("recipe.evaluation: name scenes, or an open set")
        anchor, trunk = self.recipe.mixer.anchor, self.frozen_trunk
        if anchor is not None and (trunk is None or trunk.feature != anchor):
            raise ValueError("recipe.mixer.anchor: only the feature of frozen_trunk can be the anchor")
        if self.alphas[0] != 0 or list(self.alphas) != sorted(set(self.alphas)):
            raise ValueError("alphas: ascending from 0")
        return self


def load_ablation_config(benchmark: str) -> AblationConfig:
    """Read the configuration of a benchmark that comes with the project, or of a path to a TOML file.

    Raises:
        BenchmarkNotFoundError: There is none of that name, and no such file.
        UnusableGridError: It is not TOML, or a setting is unknown or out of range.
    """
    path = Path(benchmark) if benchmark.endswith(".toml") else _CONFIGS / f"{benchmark}.toml"
    try:
        return AblationConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        known = ", ".join(sorted(found.stem for found in _CONFIGS.glob("*.toml"))) or "none here"
        raise BenchmarkNotFoundError(f"cannot be read: {error.strerror}; known: {known}", item=benchmark) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnusableGridError(f"is not TOML: {error}", item=str(path)) from error
    except ValidationError as error:
        raise UnusableGridError(describe_validation_error(error), item=str(path)) from error


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
