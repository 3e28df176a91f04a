"""`aff gallery import` and `export` of vectors, and the real services on what was imported."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from aff_client import SearchClient, ServiceError
from aff_client.index_client import IndexerClient, Upload
from aff_shared.bundles.bundle import load_manifest, load_served_manifest
from aff_toolkit.cli.main import app
from aff_toolkit.local.local_service import LocalServices, local_services
from tests.support.foreign_encoder import write_foreign_encoder
from tests.support.gallery_points import random_units
from tests.support.plain_photograph import plain_png
from tests.support.tiny_bundle import TinyBundle
from tests.support.tiny_query_encoder import DIMENSION, SIZE, tiny_embedding, tiny_query_encoder

GUIDE = (Path(__file__).parents[4] / "docs" / "operations.md").read_text(encoding="utf-8")
VECTORS = random_units(20, dimension=DIMENSION, seed=9)
RED = plain_png((255, 0, 0))


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_URL", "")


def _aff(*words: str | Path, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["gallery", *map(str, words), "--json"], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def _dump(directory: Path, vectors: Any = VECTORS) -> Path:
    """Write what another tool left: vectors of any length, and their rows."""
    directory.mkdir()
    np.save(directory / "embeddings.npy", 4 * vectors)
    lines = [json.dumps({"id": f"shop/{number}.jpg", "price": number}) for number in range(len(vectors))]
    (directory / "rows.jsonl").write_text("\n".join(lines) + "\n")
    return directory


def test_vectors_are_imported_exported_and_imported_again(tmp_path: Path) -> None:
    dump, gallery = _dump(tmp_path / "dump"), ("--gallery-dir", tmp_path / "gallery")
    bundles = ("--bundles-dir", tmp_path / "bundles")
    assert "--name" in _aff("import", dump, *gallery, code=1)["detail"]
    made = _aff("import", dump, "--name", "clip", *gallery, *bundles)
    assert (made["count"], made["rejected"], made["space"]["dimension"]) == (20, 0, DIMENSION)
    assert made["bundle"] == str(tmp_path / "bundles" / "clip")
    again = ("import", dump, "--name", "clip", *gallery, *bundles)
    assert _aff(*again, code=1)["code"] == "backup_impossible"
    assert _aff(*again, "--force") == made
    exported = _aff("export", tmp_path / "npy", "--format", "npy", *gallery)
    assert exported == {"directory": str(tmp_path / "npy"), "count": 20}
    assert _aff("import", tmp_path / "npy", "--name", "clip", *gallery, *bundles, "--force") == made
    _aff("export", tmp_path / "files", *gallery)
    assert _aff("import", tmp_path / "files", "--gallery-dir", tmp_path / "other")["count"] == 20


def test_rejected_rows_are_listed_and_the_status_is_3(tmp_path: Path) -> None:
    vectors = VECTORS.copy()
    vectors[7] = 0
    where = ("--name", "clip", "--gallery-dir", tmp_path / "gallery", "--bundles-dir", tmp_path / "bundles")
    words = ("import", _dump(tmp_path / "dump", vectors), *where)
    made = _aff(*words, code=3)
    assert (made["count"], made["rejected"]) == (19, 1)
    assert made["rejected_rows"] == [{"row": 8, "id": "shop/7.jpg", "reason": "its vector is zero"}]
    result = CliRunner().invoke(app, ["gallery", *map(str, words), "--force"])
    assert result.exit_code == 3
    assert "rejected row 8 'shop/7.jpg': its vector is zero" in result.stderr
    assert "19 images of 8 dimensions" in result.stdout


def test_options_that_do_not_fit_are_reported(tmp_path: Path, tiny_bundle: TinyBundle) -> None:
    dump = _dump(tmp_path / "dump")
    words = ("import", dump, "--gallery-dir", tmp_path / "gallery", "--bundles-dir", tmp_path / "bundles")
    both = ("--name", "clip", "--bundle", tiny_bundle.bundle)
    assert "names the space" in _aff(*words, *both, code=1)["detail"]
    wrong = _aff(*words, "--bundle", tiny_bundle.bundle, code=1)
    assert "vectors of 8 numbers; the embedding space has" in wrong["detail"]
    model = ("--name", "clip", "--query-encoder", dump / "rows.jsonl")
    assert _aff(*words, *model, "--query-mean", "0.5", code=1)["item"] == "--query-mean"
    assert _aff(*words, *model, "--query-std", "1,1,0", code=1)["item"] == "--query-std"
    assert _aff(*words, *model, code=1)["code"] == "bundle_format"
    thin = np.ones((2, 1))
    assert (
        "have 1 numbers; those of an embedding space have 2"
        in _aff("import", _dump(tmp_path / "thin", thin), *words[2:], "--name", "clip", code=1)["detail"]
    )
    assert not (tmp_path / "gallery").exists()


def test_an_import_that_needs_force_leaves_the_bundle(tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    words = ("import", _dump(tmp_path / "dump"), "--gallery-dir", tmp_path / "gallery", "--bundles-dir", bundles)
    _aff(*words, "--name", "clip")
    (tmp_path / "query.onnx").write_bytes(tiny_query_encoder())
    encoder = ("--query-encoder", tmp_path / "query.onnx", "--query-size", str(SIZE))
    assert _aff(*words, "--name", "clip", *encoder, code=1)["code"] == "backup_impossible"
    assert load_served_manifest(bundles / "clip").query_encoder is None
    assert _aff(*words, "--name", "other", code=1)["code"] == "backup_impossible"
    assert [path.name for path in bundles.iterdir()] == ["clip"]


def test_vectors_of_a_bundle_are_searched_with_its_encoder(tmp_path: Path, tiny_bundle: TinyBundle) -> None:
    manifest = load_manifest(tiny_bundle.bundle)
    dump = _dump(tmp_path / "dump", random_units(3, dimension=manifest.space.dimension))
    made = _aff("import", dump, "--bundle", tiny_bundle.bundle, "--gallery-dir", tmp_path / "gallery")
    assert (made["space"], made["fingerprint"]) == (manifest.space.model_dump(), manifest.fingerprint)


@dataclass(frozen=True)
class _Imported:
    services: LocalServices
    made: Any


@pytest.fixture(params=[False, True], ids=["without an encoder", "with an encoder"])
def imported(request: pytest.FixtureRequest, tmp_path: Path, tiny_bundle: TinyBundle) -> Iterator[_Imported]:
    """Both services, started with another bundle, on a gallery of imported vectors."""
    shutil.copytree(tiny_bundle.bundle, tmp_path / "bundles" / "tiny")
    words: list[str | Path] = ["--gallery-dir", tmp_path / "gallery", "--bundles-dir", tmp_path / "bundles"]
    vectors = VECTORS.copy()
    vectors[5] = tiny_embedding((255, 0, 0))
    if request.param:
        (tmp_path / "query.onnx").write_bytes(tiny_query_encoder())
        words += ["--query-encoder", tmp_path / "query.onnx", "--query-size", str(SIZE)]
    made = _aff("import", _dump(tmp_path / "dump", vectors), "--name", "clip", *words)
    settings = {"AFF_INDEX_BACKUPS_PATH": str(tmp_path / "backups")}
    with local_services(tmp_path / "bundles" / "tiny", tmp_path / "gallery", tmp_path / "log", settings) as services:
        yield _Imported(services, made)


@pytest.mark.slow
def test_the_services_search_and_manage_what_was_imported(imported: _Imported, request: pytest.FixtureRequest) -> None:
    made, with_encoder = imported.made, request.node.callspec.params["imported"]
    with SearchClient(imported.services.query_url) as client:
        found = client.search_embedding(VECTORS[3].tolist(), made["fingerprint"], limit=2)
        assert (found.hits[0].id, found.hits[0].payload) == ("shop/3.jpg", {"price": 3})
        assert found.hits[0].score == pytest.approx(1, abs=1e-5)
        assert client.search_similar("shop/3.jpg", limit=1).hits[0].id == found.hits[1].id
        if with_encoder:
            assert client.search(RED, limit=1).hits[0].id == "shop/5.jpg"
        else:
            with pytest.raises(ServiceError) as raised:
                client.search(RED)
            assert (raised.value.problem.code, raised.value.problem.item) == ("encoder_missing", "clip")
            assert made["fingerprint"] in raised.value.problem.detail
    with IndexerClient(imported.services.indexer_url) as client:
        gallery = client.gallery()
        assert (gallery.bundle, gallery.count, gallery.fingerprint) == ("clip", 20, made["fingerprint"])
        with pytest.raises(ServiceError) as raised:
            client.index([Upload("red", "red.png", RED)])
        assert raised.value.problem.code == "encoder_missing"
        client.delete(["shop/3.jpg"])
        assert client.gallery().count == 19
        client.build("tiny")  # from now on, images are indexed into the collection of this bundle
        (receipt,) = client.index([Upload("red", "red.png", RED)]).receipts
        assert receipt.status == "indexed"
        assert [(one.bundle, one.live, one.count) for one in client.gallery().collections] == [
            ("clip", True, 19),
            ("tiny", False, 1),
        ]


def _write_inputs_of_the_guide(directory: Path) -> None:
    rows = [{"id": f"shop/{number}.jpg", "price": number} for number in range(len(VECTORS))]
    parquet.write_table(pa.table({**_columns(rows), "embedding": list(VECTORS)}), directory / "dump.parquet")
    np.save(directory / "embeddings.npy", VECTORS)
    (directory / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (directory / "img_emb").mkdir()
    (directory / "metadata").mkdir()
    for number in range(2):
        part = slice(10 * number, 10 * number + 10)
        np.save(directory / "img_emb" / f"img_emb_{number}.npy", VECTORS[part].astype(np.float16))
        paths = {"image_path": [row["id"] for row in rows[part]]}
        parquet.write_table(pa.table(paths), directory / "metadata" / f"metadata_{number}.parquet")
    np.save(directory / "query.npy", 3 * VECTORS[7])
    write_foreign_encoder(directory / "clip.onnx")


def _columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.mark.slow
def test_the_examples_of_the_guide_run(
    tmp_path: Path, tiny_bundle: TinyBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = GUIDE.split("### Vectors of other tools")[1].split("\n## ")[0]
    commands = [
        shlex.split(line)
        for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(commands) == 5
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QDRANT_EDGE_PATH", str(tmp_path / "gallery"))
    shutil.copytree(tiny_bundle.bundle, tmp_path / "bundles" / "photos")
    _write_inputs_of_the_guide(tmp_path)
    for program, *words in commands:
        assert program == "aff"
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert "20 images" in result.stdout
    with local_services(tmp_path / "bundles" / "photos", tmp_path / "gallery", tmp_path / "log") as services:
        code = code.replace("http://localhost:8001", services.query_url)
        code = code.replace("http://localhost:8002", services.indexer_url)
        run = [sys.executable, "-c", code]
        shown = subprocess.run(run, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
        assert len(shown) == 5
        assert re.fullmatch(r"shop/7.jpg (1\.0|0\.99)\d* {'price': 7}", shown[0])
        with SearchClient(services.query_url) as client:
            assert client.search(RED, limit=1).hits
