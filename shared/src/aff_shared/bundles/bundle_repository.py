"""The model bundles of a directory, by name and by embedding space, and their minisign signatures.

A signature is that of the manifest, which has the sha256 of every other file. `minisign -Sm BUNDLE/bundle.json` makes
one; the services check it where their settings have a public key. Its format:
https://jedisct1.github.io/minisign/#signature-format
"""

from __future__ import annotations

import base64
import hashlib
import logging
from pathlib import Path

from aff_shared.bundles.bundle import MANIFEST_NAME, load_served_manifest
from aff_shared.errors import (
    BundleError,
    BundleNotFoundError,
    BundleSignatureError,
    BundleUnknownError,
    MissingExtraError,
)

SIGNATURE_NAME = f"{MANIFEST_NAME}.minisig"
_HASHED, _PLAIN = b"ED", b"Ed"
_TRUSTED = b"trusted comment: "

_logger = logging.getLogger(__name__)


class BundleRepository:
    """The parent directory of a service's bundle, and the bundles in it.

    Args:
        default: Directory of the bundle that the service starts with.
    """

    def __init__(self, default: Path) -> None:
        self.default = default
        self._root = default.absolute().parent

    def named(self, name: str) -> Path:
        """Return the directory of a bundle.

        Raises:
            BundleUnknownError: There is no bundle with this name, or it is a path.
        """
        path = self._root / name
        if path.parent != self._root or not (path / MANIFEST_NAME).is_file():
            known = ", ".join(path.name for path in self._bundles()) or "none"
            raise BundleUnknownError(f"there is no such bundle next to the service's own; there are {known}", item=name)
        return path

    def of_space(self, space_id: str) -> Path | None:
        """Return the directory of a bundle of an embedding space, preferably the default one; None without one."""
        for path in [self.default, *self._bundles()]:
            try:
                if load_served_manifest(path).space.id == space_id:
                    return path
            except BundleError as error:
                _logger.warning("ignored a bundle: %s", error)
        return None

    def _bundles(self) -> list[Path]:
        return sorted(path.parent for path in self._root.glob(f"*/{MANIFEST_NAME}"))


def verify_signature(directory: Path, public_key: str) -> None:
    """Check that the holder of a key signed a bundle's manifest as it is.

    Args:
        directory: Directory of the bundle.
        public_key: minisign public key in base64: the second line of its file.

    Raises:
        BundleNotFoundError: Manifest or signature are not there.
        BundleSignatureError: It was signed with another key, or altered since.
        MissingExtraError: The library is not installed.
    """
    try:
        document, signature = (directory / MANIFEST_NAME).read_bytes(), (directory / SIGNATURE_NAME).read_bytes()
    except OSError as error:
        raise BundleNotFoundError(
            "the settings require a signed bundle, and the file is missing", item=SIGNATURE_NAME
        ) from error
    try:
        from nacl.exceptions import BadSignatureError  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError("signatures need: pip install 'aff-shared[signatures]'") from error
    try:
        _verify(document, signature, base64.b64decode(public_key, validate=True))
    except (BadSignatureError, ValueError) as error:
        detail = f"not signed with the configured key: {error}"
        raise BundleSignatureError(detail, item=SIGNATURE_NAME) from error


def _verify(document: bytes, signature: bytes, key: bytes) -> None:
    """Check both signatures of the file: the document's, and that of the first with the trusted comment."""
    from nacl.signing import VerifyKey  # noqa: PLC0415

    lines = signature.splitlines()
    if len(lines) != 4 or not lines[2].startswith(_TRUSTED):  # noqa: PLR2004 - of the format
        raise ValueError("no signature of minisign")
    signed = base64.b64decode(lines[1], validate=True)
    algorithm, key_id, of_document = signed[:2], signed[2:10], signed[10:]
    if (key[:2], key[2:10]) != (_PLAIN, key_id):
        raise ValueError("made with another key")
    if algorithm not in {_HASHED, _PLAIN}:
        raise ValueError("of an unknown algorithm")
    message = hashlib.blake2b(document).digest() if algorithm == _HASHED else document
    holder = VerifyKey(key[10:])
    holder.verify(message, of_document)
    holder.verify(of_document + lines[2].removeprefix(_TRUSTED), base64.b64decode(lines[3], validate=True))
