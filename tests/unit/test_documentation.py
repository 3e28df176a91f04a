"""Commands, settings, links and figures in the documentation match the code."""

import re
import shlex
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel
from pydantic_settings import BaseSettings
from typer.main import get_command

import gallery_indexer.features.shards  # noqa: F401 - registers its errors
from aff_benchmarks.report.report import read_report, shown
from aff_shared.bundles.bundle import MixerKind, load_manifest
from aff_shared.errors import AffError
from aff_shared.store.settings import StoreSettings
from aff_shared.web.settings import AccessSettings, ObserveSettings
from aff_toolkit.cli.main import app as cli
from aff_toolkit.evaluation import BenchmarkName
from aff_toolkit.training.engine.joint_model import UpdateRule
from aff_toolkit.training.losses import CompatibilityLoss
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.recipe_sections import JointSection, MixerSection, QueryEncoderSection
from gallery_indexer.settings import IndexerSettings
from query_api.settings import QuerySettings
from tests.support.photos_bundle import PHOTOS_BUNDLE, needs_photos_bundle

ROOT = Path(__file__).parents[2]
LOSSES = get_args(get_args(CompatibilityLoss)[0])


@pytest.mark.parametrize("settings", [AccessSettings, ObserveSettings, StoreSettings, IndexerSettings, QuerySettings])
def test_every_setting_is_documented(settings: type[BaseSettings]) -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    prefix = settings.model_config["env_prefix"]
    names = settings.model_fields.keys() - {"store", "access", "observe"}
    variables = [f"`{prefix}{name.upper()}`" for name in names]
    assert [variable for variable in variables if variable not in text] == []


def test_the_readme_fits_on_two_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


def test_every_make_target_named_for_users_exists() -> None:
    pages = [ROOT / "README.md", ROOT / "docs" / "getting-started.md"]
    named = {name for page in pages for name in re.findall(r"\bmake ([a-z-]+)", page.read_text())}
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert named <= set(re.findall(r"make ([a-z-]+)", listed)) | {"help"}


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub derives from the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]), ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_link_in_the_documentation_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors_of(file), (target, anchor)


def test_every_python_file_that_the_guides_name_exists() -> None:
    sources = (*ROOT.glob("*/**/src/**/*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "docs").rglob("*.py"))
    existing = {path.name for path in sources}
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    texts = {page.name: re.sub(r"^New file .*$", "", page.read_text(), flags=re.MULTILINE) for page in pages}
    named = {(page, name) for page, text in texts.items() for name in re.findall(r"`(?:[\w/]*/)?(\w+\.py)`", text)}
    assert len(named) > 10
    assert {(page, name) for page, name in named if name not in existing} == set()


def test_the_ci_script_calls_the_readmes_test_command_and_the_linters() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "make test" in script
    assert "make lint" in script


@needs_photos_bundle
def test_the_readmes_accuracy_on_real_photographs_is_that_of_the_bundles_manifest() -> None:
    metrics = load_manifest(PHOTOS_BUNDLE).metrics
    readme = (ROOT / "README.md").read_text()
    section = readme.split("### Accuracy on real photographs")[1].split("\n#")[0]
    rows = re.findall(r"^\| .*?\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| `(\w+)` \|$", section, re.MULTILINE)
    assert len(rows) >= 1
    claims = re.findall(r"\*\*([\d.]+) %\*\*: .*? reaches ([\d.]+) %, and .*?\s([\d.]+) %\.", readme, re.DOTALL)
    ((asymmetric, light_only, symmetric),) = claims
    for *shown_figures, protocol in [*rows, (asymmetric, symmetric, light_only, "open_set")]:
        scores = metrics[protocol]["scores"]
        pairings = ("asymmetric", "symmetric", "light_only")
        assert shown_figures == [f"{100 * scores[pairing]['map']:.1f}" for pairing in pairings], protocol


@pytest.mark.parametrize(
    ("target", "command"),
    [
        (["serve"], "/aff serve"),
        (["demo"], "/aff demo --out out/demo"),
        (["demo", "IMAGES=my folder", "QUERY=photo.jpg"], '/aff demo --images "my folder" --query "photo.jpg"'),
    ],
)
def test_a_make_target_of_the_readme_runs_its_command(target: list[str], command: str) -> None:
    printed = subprocess.run(["make", "-n", *target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert command in " ".join(printed.split())


TRAINING_GUIDE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
INDEXING_GUIDE = (ROOT / "docs" / "indexing.md").read_text(encoding="utf-8")
EVALUATION_GUIDE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")


def rows_of_table(first_heading: str) -> list[list[str]]:
    """Return the cells of the guide's table whose first column has this heading."""
    table = TRAINING_GUIDE.split(f"| {first_heading} |")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def sections_of(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Return the names of the sections of a recipe below `prefix`: fields that are tables or lists of them."""
    found = set()
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        if any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds):
            found.add(prefix + name)
    return found


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def test_the_training_guide_has_every_section_of_a_recipe() -> None:
    documented = set().union(*(quoted(cells[0]) for cells in rows_of_table("section")))
    joint = sections_of(JointSection, "joint.") - {"joint.discriminative"} | {"joint.losses"}  # a list of several kinds
    settings = {f"joint.{name}" for name in JointSection.model_fields}
    settings |= {f"mixer.{name}" for name in MixerSection.model_fields}
    settings |= {f"query_encoder.{name}" for name in QueryEncoderSection.model_fields}
    needed = sections_of(TrainingRecipe) | joint
    assert needed <= documented <= needed | settings


@pytest.mark.parametrize(
    ("section", "kinds"),
    [
        ("mixer", set(get_args(MixerKind))),
        ("joint.losses", {get_args(loss.model_fields["kind"].annotation)[0] for loss in LOSSES}),
        ("joint.update", set(get_args(UpdateRule.model_fields["kind"].annotation))),
    ],
)
def test_the_training_guide_names_every_part_that_can_be_chosen(section: str, kinds: set[str]) -> None:
    (row,) = [cells for cells in rows_of_table("section") if cells[0] == f"`{section}`"]
    assert quoted(row[1]) == kinds


def test_the_recipe_of_the_training_guide_is_one() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", TRAINING_GUIDE, re.DOTALL)
    recipe = TrainingRecipe.model_validate(tomllib.loads(text))
    assert recipe.joint.optimisation.optimiser == "sgd"


def test_every_code_of_the_training_guide_is_that_of_an_error() -> None:
    codes = set().union(*(quoted(cells[1]) for cells in rows_of_table("input")))
    assert codes - {error.code for error in all_errors(AffError)} == set()


def test_every_option_and_benchmark_of_aff_evaluate_stands_in_its_guide() -> None:
    parameters = get_command(cli).commands["evaluate"].load().params  # type: ignore[attr-defined]
    options = {name for one in parameters for name in one.opts if name.startswith("--")}
    assert options - set(re.findall(r"--[a-z-]+", EVALUATION_GUIDE)) <= {"--help"}
    assert [name for name in get_args(BenchmarkName) if f"`{name}`" not in EVALUATION_GUIDE] == []


def test_every_option_of_aff_index_and_nothing_else_stands_in_its_guide() -> None:
    parameters = get_command(cli).commands["index"].load().params  # type: ignore[attr-defined]
    options = [{name for name in (*one.opts, *one.secondary_opts) if name.startswith("--")} for one in parameters]
    of_others = {"--data-urlencode", "--dereference", "--hard-dereference"}  # of curl and tar
    documented = set(re.findall(r"--[a-z][a-z-]+", INDEXING_GUIDE)) - of_others
    assert documented - set().union(*options) == set()
    assert [names for names in options if names and not names & (documented | {"--help"})] == []


def test_every_command_of_the_evaluation_guide_takes_its_options() -> None:
    command = get_command(cli).commands["evaluate"].load()  # type: ignore[attr-defined]
    lines = re.findall(r"^aff evaluate (.*?)(?: +#.*)?$", EVALUATION_GUIDE, re.MULTILINE)
    assert len(lines) > 5
    for line in lines:
        command.make_context("evaluate", shlex.split(line))


def test_every_code_of_the_evaluation_guide_is_that_of_an_error() -> None:
    table = EVALUATION_GUIDE.split("| input | `code` |")[1]
    codes = {code for line in table.splitlines()[2:] if line for code in quoted(line.split("|")[2])}
    assert codes - {error.code for error in all_errors(AffError)} == set()


def all_errors(root: type[AffError]) -> set[type[AffError]]:
    return {root}.union(*(all_errors(error) for error in root.__subclasses__()))


def test_every_metric_of_the_deployment_guide_is_one() -> None:
    sources = "".join(path.read_text() for path in ROOT.glob("*/**/src/**/*.py"))
    named = set(re.findall(r"`(aff_[a-z_]+)", (ROOT / "docs" / "deployment.md").read_text()))
    assert len(named) > 8
    assert [name for name in named if f'"{name.removesuffix("_total")}"' not in sources] == []


def test_every_variable_of_the_compose_table_is_read_there() -> None:
    table = (ROOT / "docs" / "deployment.md").read_text().split("| variable |")[1].split("\n\n")[0]
    named = " ".join(row.split(" | ")[0] for row in table.splitlines())
    variables = set(re.findall(r"`([A-Z_]+)`", named))
    compose = (ROOT / "docker-compose.yml").read_text()
    assert len(variables) > 10
    # Without a value, Compose passes a variable on where it is set.
    passed_on = set(re.findall(r"^ +([A-Z_]+):(?: #.*)?$", compose, re.MULTILINE))
    read = set(re.findall(r"\$\{([A-Z_]+):?-", compose))
    assert variables - passed_on - read == set()


def test_the_citation_names_the_version_that_the_packages_have() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    packages = ("shared", "client", "query-api", "gallery-indexer", "toolkit", "benchmarks")
    assert {version(f"aff-{package}") for package in packages} == {citation["version"]}


def test_every_command_in_the_guides_is_one() -> None:
    group = get_command(cli)
    commands = {name: group.commands[name].load() for name in group.list_commands(None)}  # type: ignore[attr-defined]
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    blocks = [block for page in pages for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)]
    lines = re.findall(r"^(?:\.venv/bin/)?aff (.+?)(?: +#.*)?$", "\n".join(blocks), re.MULTILINE)
    assert len(lines) > 30
    for line in lines:
        name, *rest = shlex.split(line.rstrip("\\"))
        command = commands[name]
        if hasattr(command, "commands") and not rest[0].startswith("-"):
            command, rest = command.commands[rest[0]], rest[1:]
        options = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
        given = {word.split("=")[0] for word in rest if word.startswith("--")}
        assert given <= options | {"--help"}, line


def test_the_figures_of_readme_and_performance_guide_are_those_of_the_committed_report() -> None:
    report = read_report(ROOT / "docs" / "results" / "bench")
    guide = (ROOT / "docs" / "performance.md").read_text()
    section = guide.split("## Compared with other systems")[1].split("\n## ")[0]
    rows = re.findall(r"\| ([\d.,]+)[^|]* \| `(\w+)\.(\w+)` \|$", section, re.MULTILINE)
    assert len(rows) >= 8
    readme = (ROOT / "README.md").read_text()
    ((ratio,),) = [re.findall(r"1/(\d+) of the processor time", readme)]
    for value, key, figure in [*rows, (ratio, "query_cost", "clip_cpu_over_ours")]:
        assert value == shown(report.sections[key].figures[figure].median), (key, figure)


def test_a_goal_that_the_report_misses_has_its_reason_beside_it() -> None:
    report = read_report(ROOT / "docs" / "results" / "bench")
    silent = [
        (key, name)
        for key, section in report.sections.items()
        for name, figure in section.figures.items()
        if figure.met is False and not figure.note
    ]
    assert silent == []
