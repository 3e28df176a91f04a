"""The variants of an ablation, and the findings that compare them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from aff_benchmarks.ablation.ablation_config import AblationConfig, UnusableGridError
from aff_benchmarks.ablation.comparison import HARMLESS, Comparison, Finding
from aff_benchmarks.ablation.materials import NOISE
from aff_benchmarks.ablation.variant import Variant
from aff_shared.bundles.bundle import FeatureSpec
from aff_toolkit.training.engine.joint_model import UpdateRule
from aff_toolkit.training.losses import (
    ArcFace,
    CompatibilityLoss,
    CompatibleEmbeddings,
    ContextualSimilarity,
    Regression,
)

FULL = "full"
RETENTION = 0.88

_ALONE: dict[str, CompatibilityLoss] = {
    "reg": Regression(weight=20.0),
    "csd": ContextualSimilarity(),
    "lce": CompatibleEmbeddings(),
}
_MIXERS = ("mlp", "laff", "orthogonal")
_SLOW = 0.99  # the paper's range of momenta begins here
_CLAIMS = {  # of the paper, by number
    1: "The fused gallery beats every single-feature gallery, for the same query encoder",
    2: "Adding features one by one never hurts; global and local ones both help (mixer on both sides)",
    3: "The transformer beats MLP, LAFF and orthogonal fusion (mixer on both sides)",
    4: "A momentum of 0.99 to 0.999 beats none",
    5: "Joint training beats two stages",
    6: "Decoupling helps other compatibility losses too",
    7: "A useless extractor hardly hurts: less than one point",
    8: f"Asymmetric search keeps at least {RETENTION:.0%} of symmetric search",
}
_Compared = tuple[list[Comparison], list[Comparison]]  # those that decide, and informative ones


def single(feature: str) -> str:
    """Return the name of the variant with one feature through the mixer."""
    return f"single_{feature}"


def raw(feature: str) -> str:
    """Return the name of the variant with one unchanged global feature as the gallery, and regression (AML)."""
    return f"raw_{feature}"


def first(count: int, total: int) -> str:
    """Return the name of the variant with the first features."""
    return FULL if count == total else f"first_{count}"


def momentum(alpha: float, losses: Sequence[CompatibilityLoss] = ()) -> str:
    """Return the name of the variant with the paper's loss and a momentum; that of the full one if it is the same."""
    same = alpha == UpdateRule().alpha and [loss.kind for loss in losses] == ["arcface"]
    return FULL if same else f"arcface_{alpha:g}"


class Grid:
    """Distinct variants of a configuration, and findings in the paper's order, then the project's own questions."""

    def __init__(self, config: AblationConfig, features: Sequence[FeatureSpec]) -> None:
        """Create the grid over the features of the extractors.

        Raises:
            UnusableGridError: A feature of the configuration is not one of the extractors', or is listed twice.
        """
        known = {feature.name: feature for feature in features}
        unknown = [name for name in config.features if name not in known]
        if unknown or len(set(config.features)) < len(config.features):
            raise UnusableGridError(
                f"unknown features: {', '.join(unknown)}; known: {', '.join(known)}"
                if unknown
                else "a feature is listed twice",
                item="features",
            )
        self._config = config
        arcface = (loss for loss in config.recipe.joint.losses if isinstance(loss, ArcFace))
        self._arcface: tuple[CompatibilityLoss, ...] = (next(arcface, ArcFace()),)
        self._names = config.features
        self._global = tuple(name for name in self._names if known[name].kind == "global")
        self._local = tuple(name for name in self._names if known[name].kind == "local")
        self._parts = {kind: part for kind, part in (("globals", self._global), ("locals", self._local)) if part}
        self._raw = tuple(name for name in self._global if known[name].dimension == config.recipe.dimension)
        self.variants = tuple({variant.name: variant for variant in self._variants()}.values())
        self.findings = self._findings()

    def _momentum(self, alpha: float) -> str:
        return momentum(alpha, self._config.recipe.joint.losses)

    def _of(self, part: tuple[str, ...]) -> str:
        """Return the name of the variant with the features of one kind, which may exist under another name."""
        if len(part) == 1:
            return single(part[0])
        if part == self._names[: len(part)]:
            return first(len(part), len(self._names))
        return "globals" if part == self._global else "locals"

    def _variants(self) -> list[Variant]:
        names, losses = self._names, self._config.recipe.joint.losses
        total = len(names)
        variants = [Variant(name=FULL, features=names, losses=losses)]
        variants += [Variant(name=single(name), features=(name,), losses=losses) for name in names]
        variants += [
            Variant(name=raw(name), features=(name,), mixer="identity", losses=(_ALONE["reg"],)) for name in self._raw
        ]
        variants += [Variant(name=first(n, total), features=names[:n], losses=losses) for n in range(2, total)]
        variants += [Variant(name=self._of(part), features=part, losses=losses) for part in self._parts.values()]
        variants += [Variant(name=kind, features=names, mixer=kind, losses=losses) for kind in _MIXERS]
        variants += [
            Variant(name=self._momentum(alpha), features=names, losses=self._arcface, update=UpdateRule(alpha=alpha))
            for alpha in self._config.alphas
        ]
        two_stage = UpdateRule(kind="two_stage")
        variants.append(Variant(name="arcface_two_stage", features=names, losses=self._arcface, update=two_stage))
        for name, loss in _ALONE.items():
            coupled = UpdateRule(kind="coupled")
            variants.append(Variant(name=name, features=names, losses=(loss,)))
            variants.append(Variant(name=f"{name}_coupled", features=names, losses=(loss,), update=coupled))
        variants.append(Variant(name=NOISE, features=(*names, NOISE), losses=losses))
        return variants

    def _findings(self) -> tuple[Finding, ...]:
        compared = {**self._of_features(), **self._of_training()}
        findings = [
            Finding(number=number, claim=_CLAIMS[number], comparisons=tuple(deciding), informative=tuple(informative))
            for number, (deciding, informative) in compared.items()
        ]
        return (*findings, *self._own_questions())

    def _of_features(self) -> dict[int, _Compared]:
        singles = [single(name) for name in self._names] + [raw(name) for name in self._raw]
        total = len(self._names)
        steps = [single(self._names[0]), *(first(n, total) for n in range(2, total + 1))]
        added = [
            (f"+ {name}", after, before) for name, (before, after) in zip(self._names[1:], pairwise(steps), strict=True)
        ]
        kinds = [_symmetric(f"all > {kind} alone", FULL, self._of(part)) for kind, part in self._parts.items()]
        return {
            1: ([_pair(f"fused > {other}", FULL, other) for other in singles], []),
            2: (
                [*(_symmetric(*step, -HARMLESS) for step in added), *kinds],
                [_pair(f"{label}, asymmetric", after, before, -HARMLESS) for label, after, before in added],
            ),
            3: (
                [_symmetric(f"transformer > {kind}", FULL, kind) for kind in _MIXERS],
                [_pair(f"transformer > {kind}, asymmetric", FULL, kind) for kind in _MIXERS],
            ),
        }

    def _of_training(self) -> dict[int, _Compared]:
        slow = [(f"alpha {alpha:g}", self._momentum(alpha)) for alpha in self._config.alphas if alpha >= _SLOW]
        retention = Comparison(
            label="asymmetric / symmetric",
            first=FULL,
            second=FULL,
            second_pairing="symmetric",
            statistic="ratio",
            threshold=RETENTION,
        )
        return {
            4: ([_pair(f"{label} > 0", name, momentum(0)) for label, name in slow], []),
            5: ([_pair(f"{label} > two stages", name, "arcface_two_stage") for label, name in slow], []),
            6: ([_pair(f"{name} > {name} coupled", name, f"{name}_coupled") for name in _ALONE], []),
            7: (
                [_pair("with noise", NOISE, FULL, -HARMLESS)],
                [_symmetric("with noise, mixer on both sides", NOISE, FULL, -HARMLESS)],
            ),
            8: ([retention], []),
        }

    def _own_questions(self) -> list[Finding]:
        if len(self._config.recipe.joint.losses) == 1:
            return []
        others = (momentum(max(alpha for alpha in self._config.alphas if alpha < 0.999)), "reg")  # noqa: PLR2004
        claim = "The sum of ArcFace and decoupled regression beats each of them alone"
        pairs = tuple(_pair(f"sum > {other}", FULL, other) for other in others)
        return [Finding(number=None, claim=claim, comparisons=pairs)]


def _pair(label: str, favoured: str, other: str, threshold: float = 0.0) -> Comparison:
    return Comparison(label=label, first=favoured, second=other, threshold=threshold)


def _symmetric(label: str, favoured: str, other: str, threshold: float = 0.0) -> Comparison:
    pairings = {"first_pairing": "symmetric", "second_pairing": "symmetric"}
    return _pair(label, favoured, other, threshold).model_copy(update=pairings)
