"""The grid trains each variant once, and compares only trained variants."""

from __future__ import annotations

import tomllib

import pytest

from aff_benchmarks.ablation.ablation_config import AblationConfig, UnusableGridError
from aff_benchmarks.ablation.grid import Grid
from aff_shared.bundles.bundle import FeatureSpec
from tests.support.tiny_ablation import TINY_ABLATION_TOML

FEATURES = (
    FeatureSpec(name="cnn_a_gem", kind="global", dimension=16, max_tokens=1),
    FeatureSpec(name="cnn_a_attention", kind="local", dimension=8, max_tokens=4),
    FeatureSpec(name="rootsift", kind="local", dimension=130, max_tokens=4),
    FeatureSpec(name="noise", kind="global", dimension=8, max_tokens=1),
)


def config(**changes: object) -> AblationConfig:
    return AblationConfig.model_validate(tomllib.loads(TINY_ABLATION_TOML) | changes)


def test_every_comparison_is_between_variants_that_are_trained_once() -> None:
    grid = Grid(config(), FEATURES)
    names = [variant.name for variant in grid.variants]
    assert len(names) == len(set(names))
    compared = {
        name
        for finding in grid.findings
        for comparison in (*finding.comparisons, *finding.informative)
        for name in (comparison.first, comparison.second)
    }
    assert compared == set(names)


def test_the_findings_are_the_papers_first_eight_and_then_our_own() -> None:
    findings = Grid(config(), FEATURES).findings
    assert [finding.number for finding in findings] == [1, 2, 3, 4, 5, 6, 7, 8, None]
    assert all(finding.comparisons for finding in findings)


def test_features_are_added_in_the_order_of_the_configuration() -> None:
    second = Grid(config(), FEATURES).findings[1]
    steps = [(c.second, c.first) for c in second.comparisons if c.label.startswith("+")]
    assert steps == [("single_cnn_a_gem", "first_2"), ("first_2", "full")]


def test_variants_differ_in_the_subject_of_their_finding() -> None:
    variants = {variant.name: variant for variant in Grid(config(), FEATURES).variants}
    assert variants["full"].features == ("cnn_a_gem", "cnn_a_attention", "rootsift")
    assert variants["noise"].features == (*variants["full"].features, "noise")
    assert (variants["raw_cnn_a_gem"].mixer, variants["mlp"].mixer) == ("identity", "mlp")
    assert [variants[f"arcface_{alpha}"].update.alpha for alpha in ("0", "0.99")] == [0.0, 0.99]
    assert [variants[name].update.kind for name in ("arcface_two_stage", "csd", "csd_coupled")] == [
        "two_stage",
        "momentum",
        "coupled",
    ]
    assert variants["csd"].losses == variants["csd_coupled"].losses


def test_the_global_features_alone_are_trained_once_under_any_name() -> None:
    second = FeatureSpec(name="cnn_b_gem", kind="global", dimension=16, max_tokens=1)
    for names, expected in (
        (["cnn_a_gem", "rootsift"], "single_cnn_a_gem"),
        (["cnn_a_gem", "cnn_b_gem", "rootsift"], "first_2"),
        (["cnn_a_gem", "rootsift", "cnn_b_gem"], "globals"),
        (["cnn_a_gem", "cnn_b_gem"], "full"),
    ):
        grid = Grid(config(features=names), (*FEATURES, second))
        globals_alone = tuple(name for name in names if name != "rootsift")
        like_it = [v.name for v in grid.variants if v.features == globals_alone and v.mixer == "transformer"]
        default = [v.name for v in grid.variants if v.name in like_it and v.losses == grid.variants[0].losses]
        assert expected in default
        assert len([name for name in default if not name.startswith("arcface")]) == 1


def test_the_papers_own_loss_and_momentum_are_the_full_variant_and_are_not_trained_twice() -> None:
    document = tomllib.loads(TINY_ABLATION_TOML)
    document["recipe"]["joint"]["losses"] = [{"kind": "arcface", "scale": 12.0}]
    grid = Grid(AblationConfig.model_validate(document), FEATURES)
    names = [variant.name for variant in grid.variants]
    assert [name for name in names if name.startswith("arcface")] == ["arcface_0", "arcface_two_stage"]
    assert [(c.first, c.second) for c in grid.findings[3].comparisons] == [("full", "arcface_0")]
    assert [finding.number for finding in grid.findings] == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("features", [["cnn_a_gem", "colour"], ["rootsift", "rootsift"]])
def test_unknown_and_repeated_features_are_rejected(features: list[str]) -> None:
    with pytest.raises(UnusableGridError):
        Grid(config(features=features), FEATURES)
