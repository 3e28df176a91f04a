from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from aff_shared.bundles.bundle import (
    MANIFEST_NAME,
    BundleFile,
    BundleManifest,
    ExtractorSpec,
    FeatureSpec,
    MixerSpec,
    QueryEncoderSpec,
    build_manifest,
    describe_imported_space,
    load_manifest,
    load_served_manifest,
    verify_files,
    write_manifest,
)
from aff_shared.errors import BundleError, BundleFormatError, BundleIntegrityError, BundleNotFoundError
from aff_shared.schemas.preprocessing import Preprocessing

FILES = {"query_encoder.onnx": b"query", "mixer.safetensors": b"mixer", "extractors/cnn.safetensors": b"cnn"}
INT8, PROTOTYPES = "query_encoder.int8.onnx", "prototypes.safetensors"


def _write_files(directory: Path) -> None:
    for path, content in FILES.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)


def _manifest(
    directory: Path,
    *,
    architecture: str = "mobile",
    mixer_layers: int = 2,
    int8_model: str | None = None,
    prototypes: str | None = None,
) -> BundleManifest:
    stretched = Preprocessing(resize="stretch", size=96)
    return build_manifest(
        directory,
        name="test",
        dimension=16,
        query_encoder=QueryEncoderSpec(
            model="query_encoder.onnx", int8_model=int8_model, architecture=architecture, preprocessing=stretched
        ),
        mixer=MixerSpec(weights="mixer.safetensors", layers=mixer_layers, heads=2, mlp_ratio=2.0, dropout=0.1),
        extractors=[
            ExtractorSpec(
                name="sift",
                family="rootsift",
                preprocessing=Preprocessing(resize="longest_side", size=512),
                features=(FeatureSpec(name="sift", kind="local", dimension=130, max_tokens=64),),
                weights_source="none: hand-made",
            ),
            ExtractorSpec(
                name="cnn",
                family="compact_cnn",
                preprocessing=stretched,
                features=(
                    FeatureSpec(name="cnn_global", kind="global", dimension=64, max_tokens=1),
                    FeatureSpec(name="cnn_local", kind="local", dimension=32, max_tokens=49),
                ),
                weights="extractors/cnn.safetensors",
                weights_source="trained here",
            ),
        ],
        recipe={"seed": 1},
        metrics={"procedural": {"map": 0.5}},
        licences=("Apache-2.0",),
        prototypes=prototypes,
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Directory of a whole bundle."""
    _write_files(tmp_path)
    write_manifest(tmp_path, _manifest(tmp_path))
    return tmp_path


def _alter(bundle: Path, *place: str, value: Any) -> None:
    document = json.loads((bundle / MANIFEST_NAME).read_text())
    node = document
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    (bundle / MANIFEST_NAME).write_text(json.dumps(document))


def test_a_manifest_is_read_as_it_was_written(bundle: Path) -> None:
    manifest = load_manifest(bundle)
    assert manifest == _manifest(bundle)
    assert manifest.gallery_files == ("mixer.safetensors", "extractors/cnn.safetensors")
    assert manifest.query_files == ("query_encoder.onnx",)
    assert [feature.name for feature in manifest.features] == ["sift", "cnn_global", "cnn_local"]
    verify_files(bundle, manifest)


def test_files_are_listed_with_the_sha256_and_size_of_their_bytes(bundle: Path) -> None:
    listed = {file.path: (file.sha256, file.size_bytes) for file in load_manifest(bundle).files}
    assert listed == {path: (hashlib.sha256(data).hexdigest(), len(data)) for path, data in FILES.items()}


@pytest.mark.parametrize("path", FILES)
def test_a_file_altered_by_one_byte_is_rejected_by_name(bundle: Path, path: str) -> None:
    manifest = load_manifest(bundle)
    (bundle / path).write_bytes(b"X" + FILES[path][1:])
    with pytest.raises(BundleIntegrityError) as caught:
        verify_files(bundle, manifest)
    assert caught.value.item == path


def test_a_side_checks_only_the_files_that_it_loads(bundle: Path) -> None:
    manifest = load_manifest(bundle)
    (bundle / "mixer.safetensors").unlink()
    verify_files(bundle, manifest, manifest.query_files)
    with pytest.raises(BundleNotFoundError) as caught:
        verify_files(bundle, manifest, manifest.gallery_files)
    assert caught.value.item == "mixer.safetensors"


def _lose(file: Path) -> None:
    file.unlink()


def _alter_file(file: Path) -> None:
    file.write_bytes(b"other")


@pytest.mark.parametrize("damage", [_lose, _alter_file])
def test_damaged_weights_are_reported_with_the_repair_command_and_their_source(
    bundle: Path, damage: Callable[[Path], None]
) -> None:
    moved = shutil.copytree(bundle, bundle / "the bundle")
    damage(moved / "extractors/cnn.safetensors")
    with pytest.raises(BundleError) as caught:
        verify_files(moved, load_manifest(moved))
    assert f"aff bundle repair '{moved}' --from FOLDER" in caught.value.detail
    assert caught.value.detail.endswith("(cnn: trained here)")


def test_a_file_that_the_manifest_does_not_list_is_not_vouched_for(bundle: Path) -> None:
    with pytest.raises(BundleIntegrityError, match="not listed"):
        verify_files(bundle, load_manifest(bundle), ["other.onnx"])


@pytest.mark.parametrize(
    ("place", "value", "complaint"),
    [
        (("mixer", "heads"), 4, "space id"),
        (("space", "dimension"), 32, "space id"),
        (("space", "id"), "0" * 64, "space id"),
        (("query_encoder", "architecture"), "other", "fingerprint"),
        (("fingerprint",), "0" * 64, "fingerprint"),
        (("files",), [], "no sha256 for extractors/cnn.safetensors, mixer.safetensors, query_encoder.onnx"),
    ],
)
def test_an_altered_manifest_is_rejected(bundle: Path, place: tuple[str, ...], value: Any, complaint: str) -> None:
    _alter(bundle, *place, value=value)
    with pytest.raises(BundleIntegrityError, match=complaint):
        load_manifest(bundle)


def test_an_altered_hash_of_a_gallery_file_moves_the_space(bundle: Path) -> None:
    files = json.loads((bundle / MANIFEST_NAME).read_text())["files"]
    for file in files:
        file["sha256"] = "0" * 64
    _alter(bundle, "files", value=files)
    with pytest.raises(BundleIntegrityError, match="space id"):
        load_manifest(bundle)


def test_a_manifest_of_a_newer_format_is_rejected_with_the_versions_and_the_way_out(bundle: Path) -> None:
    _alter(bundle, "format_version", value=3)
    _alter(bundle, "a_field_of_the_future", value={"deep": 1})
    with pytest.raises(BundleFormatError) as caught:
        load_manifest(bundle)
    assert caught.value.detail == "format version 3 is newer than this release reads (2): upgrade"
    assert caught.value.item == str(bundle / MANIFEST_NAME)


@pytest.mark.parametrize("version", [0, -1, None, "two", 1.5])
def test_a_format_version_that_never_was_is_rejected(bundle: Path, version: Any) -> None:
    _alter(bundle, "format_version", value=version)
    with pytest.raises(BundleFormatError, match=r"format_version.*reads bundle formats up to 2"):
        load_manifest(bundle)


def _canonical_sha256(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _first_format(bundle: Path) -> dict[str, Any]:
    """Rewrite the manifest as format 1 was: without its younger fields, its identities worked out from the rest."""
    document: dict[str, Any] = json.loads((bundle / MANIFEST_NAME).read_text())
    document["format_version"] = 1
    del document["mixer"]["kind"], document["mixer"]["anchor"], document["query_encoder"]["int8_model"]
    del document["prototypes"]
    hashes = {file["path"]: file["sha256"] for file in document["files"]}
    gallery = {"dimension": 16, "mixer": document["mixer"], "extractors": document["extractors"]}
    gallery["files"] = {path: hashes[path] for path in ("mixer.safetensors", "extractors/cnn.safetensors")}
    document["space"]["id"] = _canonical_sha256(gallery)
    served = {"space": document["space"], "query_encoder": document["query_encoder"], "files": hashes}
    document["fingerprint"] = _canonical_sha256(served)
    (bundle / MANIFEST_NAME).write_text(json.dumps(document))
    return document


def test_a_manifest_of_the_first_format_is_read_and_keeps_its_identities(bundle: Path) -> None:
    document, written_today = _first_format(bundle), _manifest(bundle)
    manifest = load_manifest(bundle)
    assert (manifest.mixer.kind, manifest.query_encoder.int8_model, manifest.prototypes) == ("transformer", None, None)
    assert manifest.space == written_today.space
    assert manifest.fingerprint == written_today.fingerprint == document["fingerprint"]


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"name": "x"}'])
def test_a_manifest_of_another_form_is_rejected(bundle: Path, text: str) -> None:
    (bundle / MANIFEST_NAME).write_text(text)
    with pytest.raises(BundleFormatError):
        load_manifest(bundle)


def test_a_directory_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match=MANIFEST_NAME):
        load_manifest(tmp_path)


def test_a_specification_that_names_a_missing_file_makes_no_manifest(bundle: Path) -> None:
    (bundle / "mixer.safetensors").unlink()
    with pytest.raises(BundleNotFoundError, match=r"mixer\.safetensors"):
        _manifest(bundle)


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret", "a/../../b", "a\\..\\b", ""])
def test_a_path_that_leads_out_of_the_bundle_cannot_be_written_in_a_manifest(path: str) -> None:
    with pytest.raises(ValidationError):
        BundleFile(path=path, sha256="0" * 64, size_bytes=1)


def test_another_query_encoder_keeps_the_space_and_changes_the_fingerprint(bundle: Path) -> None:
    one, other = _manifest(bundle), _manifest(bundle, architecture="other")
    (bundle / "query_encoder.onnx").write_bytes(b"another encoder")
    third = _manifest(bundle)
    assert one.space == other.space == third.space
    assert len({one.fingerprint, other.fingerprint, third.fingerprint}) == 3


def test_another_mixer_or_extractor_is_another_space(bundle: Path) -> None:
    first, deeper = _manifest(bundle), _manifest(bundle, mixer_layers=3)
    (bundle / "extractors/cnn.safetensors").write_bytes(b"another extractor")
    assert len({first.space.id, deeper.space.id, _manifest(bundle).space.id}) == 3


def test_another_kind_of_mixer_is_another_space(bundle: Path) -> None:
    _alter(bundle, "mixer", "kind", value="mlp")
    with pytest.raises(BundleIntegrityError, match="space id"):
        load_manifest(bundle)


def test_an_int8_query_encoder_keeps_the_space_changes_the_fingerprint_and_is_loaded_by_the_query_side(
    bundle: Path,
) -> None:
    (bundle / INT8).write_bytes(b"small")
    without, small = _manifest(bundle), _manifest(bundle, int8_model=INT8)
    (bundle / INT8).write_bytes(b"other")
    other = _manifest(bundle, int8_model=INT8)
    assert without.space == small.space == other.space
    assert len({without.fingerprint, small.fingerprint, other.fingerprint}) == 3
    assert small.query_files == ("query_encoder.onnx", INT8)
    assert without.query_files == ("query_encoder.onnx",)
    with pytest.raises(BundleIntegrityError):
        verify_files(bundle, small, small.query_files)


def test_prototypes_are_verified_but_belong_to_neither_side_and_to_no_identity(bundle: Path) -> None:
    (bundle / PROTOTYPES).write_bytes(b"prototypes")
    without, manifest = _manifest(bundle), _manifest(bundle, prototypes=PROTOTYPES)
    write_manifest(bundle, manifest)
    assert load_manifest(bundle) == manifest
    assert (manifest.space, manifest.fingerprint) == (without.space, without.fingerprint)
    assert PROTOTYPES not in {*manifest.gallery_files, *manifest.query_files}
    verify_files(bundle, manifest)
    (bundle / PROTOTYPES).write_bytes(b"prototypeX")
    with pytest.raises(BundleIntegrityError) as caught:
        verify_files(bundle, manifest)
    assert caught.value.item == PROTOTYPES


@pytest.mark.parametrize(
    ("place", "path"), [(("prototypes",), PROTOTYPES), (("query_encoder", "int8_model"), INT8)], ids=str
)
def test_a_manifest_that_names_a_file_without_its_sha256_is_rejected(
    bundle: Path, place: tuple[str, ...], path: str
) -> None:
    _alter(bundle, *place, value=path)
    with pytest.raises(BundleIntegrityError, match=f"no sha256 for {path}"):
        load_manifest(bundle)


def test_a_served_file_cannot_pass_for_prototypes_and_so_leave_the_fingerprint(bundle: Path) -> None:
    _alter(bundle, "prototypes", value="query_encoder.onnx")
    with pytest.raises(BundleFormatError, match="file that is served"):
        load_manifest(bundle)


def test_an_imported_space_is_identified_by_name_and_dimension(tmp_path: Path) -> None:
    imported = describe_imported_space(tmp_path, "clip", 16)
    write_manifest(tmp_path, imported)
    assert load_served_manifest(tmp_path) == imported
    assert describe_imported_space(tmp_path, "clip", 17).space.id != imported.space.id
    assert describe_imported_space(tmp_path, "dino", 16).space.id != imported.space.id
    (tmp_path / "query_encoder.onnx").write_bytes(b"query")
    stretched = Preprocessing(resize="stretch", size=96)
    spec = QueryEncoderSpec(model="query_encoder.onnx", architecture="vit", preprocessing=stretched)
    with_encoder = describe_imported_space(tmp_path, "clip", 16, spec)
    assert with_encoder.space == imported.space
    assert with_encoder.fingerprint != imported.fingerprint
    write_manifest(tmp_path, with_encoder)
    assert load_served_manifest(tmp_path) == with_encoder
    (tmp_path / "query_encoder.onnx").write_bytes(b"other")
    with pytest.raises(BundleIntegrityError, match="Import the vectors again"):
        verify_files(tmp_path, with_encoder)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"name": "dino"}, BundleIntegrityError, "space id does not follow"),
        ({"fingerprint": "0" * 64}, BundleIntegrityError, "fingerprint does not follow"),
        ({"name": "no name/"}, BundleFormatError, "name"),
        ({"format_version": 4}, BundleFormatError, "newer than this release reads"),
        ({"kind": "other"}, BundleFormatError, "newer than this release reads"),
    ],
)
def test_an_altered_imported_space_is_rejected(
    tmp_path: Path, change: dict[str, Any], error: type[BundleError], message: str
) -> None:
    path = write_manifest(tmp_path, describe_imported_space(tmp_path, "clip", 16))
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(error, match=message):
        load_served_manifest(tmp_path)


def test_a_trained_bundle_is_served_and_an_imported_space_has_no_gallery_side(tmp_path: Path) -> None:
    _write_files(tmp_path)
    manifest = _manifest(tmp_path)
    write_manifest(tmp_path, manifest)
    assert load_served_manifest(tmp_path) == manifest
    write_manifest(tmp_path, describe_imported_space(tmp_path, "clip", 16))
    with pytest.raises(BundleFormatError, match="has no gallery side"):
        load_manifest(tmp_path)
