"""The configuration of an ablation, read from a TOML file, and the errors of ablations.

```
AblationError                     500  ablation_failed
├── BenchmarkNotFoundError        404  benchmark_not_found
├── UnusableGridError             422  grid_unusable
├── RunsNotComparableError        500  runs_not_comparable
└── ResultNotWrittenError         507  result_not_written
```
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from aff_benchmarks.records import StrictModel
from aff_shared.errors.requests import AffError
from aff_shared.schemas.payload_filter import describe_validation_error
from aff_toolkit.data.training_source import TrainingSource
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.recipe_sections import CompactCnnSection, RootSiftSection

_INSTALLED = Path(__file__).parents[1] / "configs"
_CONFIGS = (_INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[3] / "configs") / "ablation"


class AblationError(AffError):
    """An ablation failed."""

    code = "ablation_failed"
    title = "Ablation failed"


class BenchmarkNotFoundError(AblationError):
    """No configuration has the benchmark's name."""

    code = "benchmark_not_found"
    status = 404
    title = "Benchmark not found"


class UnusableGridError(AblationError):
    """The features or losses of a configuration do not define distinct variants."""

    code = "grid_unusable"
    status = 422
    title = "Unusable grid of variants"


class RunsNotComparableError(AblationError):
    """Two runs have different queries."""

    code = "runs_not_comparable"
    title = "Runs cannot be compared"


class ResultNotWrittenError(AblationError):
    """A run or a report could not be written."""

    code = "result_not_written"
    status = 507
    title = "Result not written"


class NetworkSection(StrictModel):
    """A compact network that is trained as an extractor.

    Attributes:
        seed: Seed of weights and training, different for each network.
        sources: Training photographs; None for those of the recipe's pretraining.
    """

    seed: int
    sources: tuple[TrainingSource, ...] | None = Field(default=None, min_length=1)
    compact_cnn: CompactCnnSection


class FrozenTrunkSection(StrictModel):
    """A query encoder with a frozen trunk and a trained head.

    Attributes:
        feature: Name of a global feature of the recipe's extractors: the trunk's vectors.
        copies: Stored versions of each training photograph: the original, and augmented ones.
    """

    feature: str
    copies: int = Field(default=6, ge=2)
    augmented_size: int = Field(default=128, ge=32)


class AblationConfig(StrictModel):
    """The trainings and benchmarks of an ablation.

    Attributes:
        features: Names of the full mixer's features, in the order in which they are added one by one:
            `cnn_<network>_gem`, `cnn_<network>_attention`, `rootsift`, and those of the recipe's extractors.
        alphas: Compared momenta, ascending from 0.
        networks: Compact networks that are trained as extractors, by a name of one letter.
        frozen_trunk: Frozen trunk of the query encoder; None to train the recipe's query encoder from pixels.
        curve_interval_epochs: Epochs between measurements during the training, with the first seed; None for none.
        recipe: Everything else: photographs, pretraining, pretrained extractors, mixer, query encoder, joint training,
            evaluation. Each scene or open set of the evaluation is a benchmark with a separate report. The variants
            with ArcFace alone use the first ArcFace of `joint.losses`.
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
            raise ValueError("recipe.evaluation: set scenes or open_sets")
        anchor, trunk = self.recipe.mixer.anchor, self.frozen_trunk
        if anchor is not None and (trunk is None or trunk.feature != anchor):
            raise ValueError("recipe.mixer.anchor: only the feature of frozen_trunk can be the anchor")
        if self.alphas[0] != 0 or list(self.alphas) != sorted(set(self.alphas)):
            raise ValueError("alphas: ascending from 0")
        return self


def load_ablation_config(benchmark: str) -> AblationConfig:
    """Read a configuration of this project by name, or a TOML file by path.

    Raises:
        BenchmarkNotFoundError: The file does not exist.
        UnusableGridError: The file is not TOML, or a setting is unknown or out of range.
    """
    path = Path(benchmark) if benchmark.endswith(".toml") else _CONFIGS / f"{benchmark}.toml"
    try:
        return AblationConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        known = ", ".join(sorted(found.stem for found in _CONFIGS.glob("*.toml"))) or "none"
        raise BenchmarkNotFoundError(f"cannot be read: {error.strerror}; known: {known}", item=benchmark) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnusableGridError(f"is not TOML: {error}", item=str(path)) from error
    except ValidationError as error:
        raise UnusableGridError(describe_validation_error(error), item=str(path)) from error
