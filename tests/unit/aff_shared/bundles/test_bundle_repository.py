from __future__ import annotations

import shutil
from pathlib import Path

import minisign
import pytest

from aff_shared.bundles.bundle_repository import SIGNATURE_NAME, verify_signature
from aff_shared.errors import BundleNotFoundError, BundleSignatureError
from tests.support.tiny_bundle import TINY_BUNDLE


@pytest.fixture
def keys() -> minisign.KeyPair:
    return minisign.KeyPair.generate()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    shutil.copy(TINY_BUNDLE / "bundle.json", tmp_path)
    return tmp_path


def _sign(bundle: Path, keys: minisign.KeyPair) -> None:
    signature = keys.secret_key.sign((bundle / "bundle.json").read_bytes(), trusted_comment="release 1")
    (bundle / SIGNATURE_NAME).write_bytes(bytes(signature))


def _base64(keys: minisign.KeyPair) -> str:
    return keys.public_key.to_base64().decode()


def test_the_holder_of_the_key_signed_it(bundle: Path, keys: minisign.KeyPair) -> None:
    _sign(bundle, keys)
    verify_signature(bundle, _base64(keys))


def test_somebody_else_did(bundle: Path, keys: minisign.KeyPair) -> None:
    _sign(bundle, minisign.KeyPair.generate())
    with pytest.raises(BundleSignatureError, match="not signed with the configured key"):
        verify_signature(bundle, _base64(keys))


def test_it_was_altered_since(bundle: Path, keys: minisign.KeyPair) -> None:
    _sign(bundle, keys)
    manifest = bundle / "bundle.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"tiny"', b'"tinx"', 1) + b"\n")
    with pytest.raises(BundleSignatureError):
        verify_signature(bundle, _base64(keys))


def test_there_is_no_signature(bundle: Path, keys: minisign.KeyPair) -> None:
    with pytest.raises(BundleNotFoundError, match=SIGNATURE_NAME):
        verify_signature(bundle, _base64(keys))


@pytest.mark.parametrize("signature", [b"", b"untrusted comment: x\n", b"\xff" * 300])
def test_an_invalid_signature_is_rejected(bundle: Path, keys: minisign.KeyPair, signature: bytes) -> None:
    (bundle / SIGNATURE_NAME).write_bytes(signature)
    with pytest.raises(BundleSignatureError):
        verify_signature(bundle, _base64(keys))


def test_an_invalid_configured_key_is_rejected(bundle: Path, keys: minisign.KeyPair) -> None:
    _sign(bundle, keys)
    with pytest.raises(BundleSignatureError):
        verify_signature(bundle, "not a key")
