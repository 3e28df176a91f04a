"""`aff train --images`, and `aff train --gallery-bundle`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Literal

import pytest
from click.testing import Result
from typer.testing import CliRunner

from aff_shared.bundles.bundle import MANIFEST_NAME, BundleManifest, load_manifest, verify_files
from aff_shared.store.settings import StoreSettings
from aff_toolkit.cli import train as train_command
from aff_toolkit.cli.main import app
from aff_toolkit.training.stages import bundle_writer
from aff_toolkit.training.stages.train_bundle import TrainBundle, TrainingOutcome
from query_api.settings import QuerySettings
from tests.support.gallery_points import make_point
from tests.support.images import jpeg_bytes
from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.photograph_folder import write_photographs
from tests.support.query_service import QueryService
from tests.support.tiny_training import TinyTraining

cli = CliRunner()


def aff_train(directory: Path, *options: object) -> Result:
    """Run `aff train` into `directory / "bundle"`."""
    ways = ["--out", directory / "bundle", "--work-dir", directory / "work"]
    return cli.invoke(app, [str(word) for word in ("train", *options, *ways)])


def trained(directory: Path, *options: object) -> BundleManifest:
    result = aff_train(directory, *options)
    assert result.exit_code == 0, result.output
    manifest = load_manifest(directory / "bundle")
    verify_files(directory / "bundle", manifest)
    return manifest


def int8_of(manifest: BundleManifest) -> str:
    """Return `with` or `without`: whether a bundle has an int8 query encoder."""
    return "with" if manifest.query_encoder.int8_model else "without"


def keep(patch: pytest.MonkeyPatch, which: Literal["trained", "base"]) -> None:
    """Make a bundle the better one, whatever is measured."""
    measure = bundle_writer.judge
    patch.setattr(bundle_writer, "judge", lambda *measured: measure(*measured).model_copy(update={"kept": which}))


@pytest.fixture
def gaining(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every trained bundle better than its base."""
    keep(monkeypatch, "trained")


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_photographs(tmp_path_factory.mktemp("unlabelled"), 24, 2, labelled=False)
    (folder / "broken.jpg").write_bytes(jpeg_bytes()[:200])
    return folder


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("labelled"), 12, 4, labelled=True)


@pytest.fixture(scope="module")
def query_side(
    unlabelled: Path, tiny_training: TinyTraining, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    """Directory of a query encoder that is trained on the unlabelled photographs, and the result of the command."""
    directory = tmp_path_factory.mktemp("query-side")
    with pytest.MonkeyPatch.context() as patch:
        keep(patch, "trained")
        result = aff_train(directory, "--images", unlabelled, "--base", tiny_training.bundle, "--epochs", 1)
    return directory, result


@pytest.fixture(scope="module")
def pair(labelled: Path, tiny_training: TinyTraining, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a pair that is trained on the labelled photographs."""
    directory = tmp_path_factory.mktemp("pair")
    with pytest.MonkeyPatch.context() as patch:
        keep(patch, "trained")
        trained(directory, "--images", labelled, "--base", tiny_training.bundle, "--epochs", 1)
    return directory


def test_photographs_without_labels_train_a_query_encoder_for_galleries_of_the_base(
    unlabelled: Path, tiny_training: TinyTraining, query_side: tuple[Path, Result]
) -> None:
    directory, result = query_side
    assert result.exit_code == 0, result.output
    assert "cannot be read and are left out: broken.jpg" in result.stderr
    assert "asymmetric, before" in result.stdout
    manifest = load_manifest(directory / "bundle")
    verify_files(directory / "bundle", manifest)
    assert manifest.name == "bundle"
    assert manifest.space == tiny_training.manifest.space
    assert manifest.fingerprint != tiny_training.manifest.fingerprint
    assert f"{unlabelled}: 49 photographs without labels\n" in result.stderr
    assert "will take about" in result.stderr
    assert "Kept: the trained bundle. mAP" in result.stdout
    judged = manifest.metrics["held_out_neighbours"]
    assert "without labels" in judged["protocol"]
    assert judged["before"]["symmetric"] == judged["scores"]["symmetric"]
    assert manifest.metrics["export"]["int8"]["protocol"] == "held_out_neighbours"
    assert f"{int8_of(manifest)} an int8 query encoder: mAP" in result.stderr


def test_labelled_photographs_train_the_pair_and_judge_it_by_instances_that_it_has_not_seen(
    pair: Path, tiny_training: TinyTraining
) -> None:
    manifest = load_manifest(pair / "bundle")
    assert manifest.space.id != tiny_training.manifest.space.id
    assert manifest.metrics["held_out"]["scores"]["asymmetric"]["queries"] == 5 * 4
    assert "5 instances held out" in manifest.metrics["held_out"]["protocol"]
    assert manifest.prototypes is not None


def test_folders_that_cannot_be_read_are_named_and_have_a_separate_status(
    labelled: Path, tiny_training: TinyTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = TrainingOutcome(tiny_training.manifest, None)
    monkeypatch.setattr(TrainBundle, "run", lambda *_: outcome)
    photographs = shutil.copytree(labelled, tmp_path / "photographs")
    way = ["--images", photographs, "--base", tiny_training.bundle]
    assert aff_train(tmp_path, *way).exit_code == 0
    (photographs / "closed").symlink_to("nowhere")
    for labels in ("--labelled", "--unlabelled"):
        result = aff_train(tmp_path, *way, labels)
        assert result.exit_code == 4
        assert "left out, cannot be read (1): closed" in result.stderr
        assert "1 folders could not be read; their photographs were left out" in result.stderr


@pytest.mark.usefixtures("gaining")
def test_the_mixer_is_trained_on_groups_of_alike_photographs_if_requested_and_judged_by_labels(
    unlabelled: Path, tiny_training: TinyTraining, tmp_path: Path
) -> None:
    rows = "".join(f"{unlabelled}/{n}-{view}.png,{n}\n" for n in range(500, 510) for view in range(2))
    (tmp_path / "labels.csv").write_text("path,instance\n" + rows, encoding="utf-8")
    options = ["--gallery", "train", "--epochs", 1, "--labels", tmp_path / "labels.csv"]
    result = aff_train(tmp_path, "--images", unlabelled, "--base", tiny_training.bundle, *options)
    assert result.exit_code == 0, result.output
    assert "groups" in result.stderr
    manifest = load_manifest(tmp_path / "bundle")
    assert manifest.recipe["base"]["mixer"] == "start"
    assert manifest.extractors == tiny_training.manifest.extractors
    remembered = json.loads((tmp_path / "work" / "pseudo_instances.json").read_text(encoding="utf-8"))
    assert len(remembered["content"]) == len(list(unlabelled.iterdir())) - 5
    assert manifest.metrics["labels"]["scores"]["asymmetric"]["queries"] == 20
    assert manifest.metrics["export"]["int8"]["protocol"] == "labels"
    assert "each of 20 photographs against the other 19" in manifest.metrics["labels"]["protocol"]


@pytest.mark.anyio
async def test_another_query_encoder_searches_a_gallery_that_was_indexed_before(
    unlabelled: Path, tiny_training: TinyTraining, tmp_path: Path
) -> None:
    way = ["--gallery-bundle", tiny_training.bundle, "--query-backbone", "residual-16"]
    manifest = trained(tmp_path, *way, "--images", unlabelled, "--epochs", 1)
    assert ("asymmetric_int8" in manifest.metrics["held_out_neighbours"]["scores"]) == (int8_of(manifest) == "with")
    old = tiny_training.manifest
    assert manifest.query_encoder.architecture == "residual network of width 16, GeM, whitening"
    assert manifest.space == old.space
    assert manifest.fingerprint != old.fingerprint
    for path in (*old.gallery_files, old.prototypes or ""):
        assert (tmp_path / "bundle" / path).read_bytes() == (tiny_training.bundle / path).read_bytes()
    store = MemoryGalleryStore()
    await store.create(old.space)
    await store.upsert([make_point("one", [1.0] + [0.0] * 15, {})])
    stores = StoreSettings(url="", edge_path=tmp_path / "gallery")
    service = QueryService(QuerySettings(bundle_path=tmp_path / "bundle", store=stores), manifest)
    async with service.running(store) as client:
        assert (await client.get("/readyz")).status_code == 200
        found = await client.post("/search", files={"image": ("q.jpg", jpeg_bytes(), "image/jpeg")})
    assert found.status_code == 200
    assert [hit["id"] for hit in found.json()["hits"]] == ["one"]


@pytest.mark.usefixtures("gaining")
def test_a_query_encoder_learns_from_the_prototypes_of_a_bundle_that_saw_the_same_photographs(
    labelled: Path, pair: Path, tmp_path: Path
) -> None:
    way = ["--gallery-bundle", pair / "bundle", "--query-backbone", "residual-16"]
    manifest = trained(tmp_path, *way, "--images", labelled, "--epochs", 1)
    assert [loss["kind"] for loss in manifest.recipe["joint"]["losses"]] == ["arcface", "csd", "reg"]
    assert manifest.space == load_manifest(pair / "bundle").space


def test_each_bundle_has_a_separate_work_directory_unless_set_otherwise(
    unlabelled: Path, tiny_training: TinyTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    in_the_way = tmp_path / "out" / "train" / "own"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_bytes(b"")
    options = ["--images", str(unlabelled), "--base", str(tiny_training.bundle), "--json"]
    result = cli.invoke(app, ["train", *options, "--out", "bundles/own"])
    assert json.loads(result.stdout)["item"] == "out/train/own"


def test_where_nothing_was_gained_the_base_is_written_with_a_report_and_a_separate_status(
    labelled: Path, tiny_training: TinyTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(monkeypatch, "base")
    result = aff_train(tmp_path, "--images", labelled, "--base", tiny_training.bundle, "--epochs", 1)
    assert result.exit_code == 3, result.output
    assert "Nothing was gained: the base is kept. mAP" in result.stdout
    assert result.stdout.strip().endswith(f"Next: aff serve --bundle {tiny_training.bundle}")
    assert result.stdout.count("aff serve") == 1
    manifest = load_manifest(tmp_path / "bundle")
    verify_files(tmp_path / "bundle", manifest)
    assert manifest == tiny_training.manifest
    assert load_manifest(tmp_path / "work" / "trained").fingerprint != manifest.fingerprint
    report = (tmp_path / "bundle" / "training-report.md").read_text(encoding="utf-8")
    assert f"{labelled}: 12 subfolders taken for 12 things, 48 photographs" in report
    assert "5 instances held out of the training: each of 20 photographs against the other 19" in report
    assert "kept: the base" in report
    assert "joint: weights after step" in report
    result = aff_train(tmp_path, "--images", labelled, "--base", tiny_training.bundle, "--epochs", 1, "--json")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert document["fingerprint"] == tiny_training.manifest.fingerprint
    judged = document["judgement"]
    assert (judged["kept"], judged["queries"], judged["instances"]) == ("base", 20, 5)
    assert judged["map"]["low"] <= judged["map"]["after"] - judged["map"]["before"] <= judged["map"]["high"]


def album_tree(root: Path) -> Path:
    """Move drawn photographs into the folders of two years."""
    drawn = write_photographs(root / "drawn", 24, 2, labelled=False)
    for number, path in enumerate(sorted(drawn.iterdir())):
        year = root / "albums" / str(2018 + number % 2)
        year.mkdir(parents=True, exist_ok=True)
        path.rename(year / path.name)
    return root / "albums"


def test_folders_that_look_like_albums_are_rejected_without_a_terminal(
    tiny_training: TinyTraining, tmp_path: Path
) -> None:
    albums = album_tree(tmp_path)
    result = aff_train(tmp_path, "--images", albums, "--base", tiny_training.bundle)
    assert result.exit_code == 1
    first, error = result.stderr.splitlines()
    assert first == f"{albums}: 2 subfolders taken for 2 things, 48 photographs; --unlabelled if they are albums"
    assert "its subfolders look like albums (2018, 2019): use --unlabelled if they are, or --labelled" in error
    assert rejected(tmp_path, albums, tiny_training.bundle) == "labels_unclear"


@pytest.mark.parametrize(("answer", "said"), [("n", "48 photographs without labels"), ("y", "can be held out")])
def test_folders_that_look_like_albums_prompt_at_a_terminal(
    tiny_training: TinyTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, said: str
) -> None:
    monkeypatch.setattr(train_command, "_can_prompt", lambda: True)
    albums = album_tree(tmp_path)
    (tmp_path / "work").write_bytes(b"")  # the training ends as soon as it has started
    if answer == "y":
        (tmp_path / "work").unlink()
    command = ["train", "--images", str(albums), "--base", str(tiny_training.bundle), "--out", str(tmp_path / "bundle")]
    result = cli.invoke(app, [*command, "--work-dir", str(tmp_path / "work")], input=answer)
    assert result.exit_code == 1
    assert "These look like albums. Does each subfolder contain photographs of one thing? [y/N]" in result.stderr
    assert said in result.stderr


def test_fewer_than_five_things_are_rejected_before_anything_is_trained_and_folders_of_no_use_named(
    tiny_training: TinyTraining, tmp_path: Path
) -> None:
    few = write_photographs(tmp_path / "few", 8, 6, labelled=True)
    for name in ("empty", ".hidden", "single"):
        (few / name).mkdir()
    for name in ("single/a.jpg", ".hidden/a.jpg", ".hidden/b.jpg", "cover.jpg"):
        (few / name).write_bytes(jpeg_bytes())
    assert rejected(tmp_path, few, tiny_training.bundle) == "too_few_photographs"
    assert not (tmp_path / "work" / "features").exists()
    result = aff_train(tmp_path, "--images", few, "--base", tiny_training.bundle)
    assert "4 instances can be held out, but 5 are needed" in result.stderr
    first, *others = result.stderr.splitlines()
    assert first == f"{few}: 9 subfolders taken for 9 things, 49 photographs; --unlabelled if they are albums"
    assert "left out, in no subfolder (1): cover.jpg" in others
    assert "left out, without images (1): empty" in others
    assert "left out, fewer than two readable photographs (1): single" in others


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "pass a recipe; or --images"),
        (["recipe.toml", "--images", "."], "pass a recipe; or --images"),
        (["--images", ".", "--query-backbone", "residual-8"], "--gallery-bundle"),
        (["recipe.toml", "--gallery-bundle", ".", "--query-backbone", "residual-8"], "--gallery-bundle"),
        (["recipe.toml", "--epochs", "3"], "--epochs: has no effect with a recipe"),
        (
            ["--images", ".", "--gallery-bundle", ".", "--query-backbone", "residual-8", "--gallery-side", "train"],
            "--gallery-side: has no effect with a recipe",
        ),
    ],
)
def test_options_that_do_not_go_together_are_reported(tmp_path: Path, options: list[str], words: str) -> None:
    result = aff_train(tmp_path, *options)
    assert result.exit_code == 1
    assert words in result.stderr


def rejected(directory: Path, images: Path, base: Path, *more: object) -> str:
    """Return the code of the problem that `aff train --images` ends with."""
    result = aff_train(directory, "--images", images, "--base", base, "--epochs", 1, "--json", *more)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    code: str = json.loads(result.stdout)["code"]
    return code


def test_photographs_that_cannot_be_trained_on_are_rejected(tiny_training: TinyTraining, tmp_path: Path) -> None:
    empty, few, unreadable, single = (tmp_path / name for name in ("empty", "few", "unreadable", "single"))
    empty.mkdir()
    write_photographs(few, 3, 2, labelled=False)
    unreadable.mkdir()
    for number in range(50):
        (unreadable / f"{number}.jpg").write_bytes(b"no photograph")
    write_photographs(single, 45, 1, labelled=True)
    base = tiny_training.bundle
    assert rejected(tmp_path / "1", empty, base) == "folder_unusable"
    assert rejected(tmp_path / "2", few, base) == "too_few_photographs"
    assert rejected(tmp_path / "3", unreadable, base) == "too_few_photographs"
    assert rejected(tmp_path / "4", single, base) == "too_few_images"
    assert rejected(tmp_path / "5", tmp_path / "none", base) == "photograph_source_invalid"
    (tmp_path / "wrong.csv").write_text("file,label\na.jpg,pear\n", encoding="utf-8")
    assert rejected(tmp_path / "6", tmp_path / "wrong.csv", base) == "photograph_list_invalid"


def test_a_bundle_that_cannot_be_started_from_is_rejected(
    unlabelled: Path, tiny_training: TinyTraining, tmp_path: Path
) -> None:
    newer = shutil.copytree(tiny_training.bundle, tmp_path / "newer")
    document = json.loads((newer / MANIFEST_NAME).read_text(encoding="utf-8"))
    (newer / MANIFEST_NAME).write_text(json.dumps({**document, "format_version": 9}), encoding="utf-8")
    assert rejected(tmp_path / "1", unlabelled, newer) == "bundle_format"
    assert rejected(tmp_path / "2", unlabelled, tmp_path / "none") == "bundle_not_found"
    itself = shutil.copytree(tiny_training.bundle, tmp_path / "3" / "bundle")
    assert rejected(tmp_path / "3", unlabelled, itself) == "recipe_invalid"
    verify_files(itself, tiny_training.manifest)


def test_an_unknown_backbone_is_reported_with_those_that_there_are(
    unlabelled: Path, tiny_training: TinyTraining, tmp_path: Path
) -> None:
    way = ["--gallery-bundle", tiny_training.bundle, "--query-backbone", "resnet-9000"]
    result = aff_train(tmp_path, "--images", unlabelled, *way)
    assert result.exit_code == 1
    assert "residual-16" in result.stderr


def test_a_work_directory_of_other_photographs_or_settings_is_rejected(
    unlabelled: Path, tiny_training: TinyTraining, query_side: tuple[Path, Result], tmp_path: Path
) -> None:
    shutil.copytree(query_side[0] / "work", tmp_path / "work")
    assert rejected(tmp_path, unlabelled, tiny_training.bundle, "--epochs", 2) == "checkpoint_mismatch"
    other = write_photographs(tmp_path / "other", 20, 2, labelled=False, first=900)
    assert rejected(tmp_path, other, tiny_training.bundle) == "feature_store_mismatch"


def test_a_work_directory_that_cannot_be_made_is_reported(
    unlabelled: Path, tiny_training: TinyTraining, tmp_path: Path
) -> None:
    (tmp_path / "work").write_bytes(b"")
    assert rejected(tmp_path, unlabelled, tiny_training.bundle) == "training_not_written"
