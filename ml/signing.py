"""What may be unpickled: only files that an Ed25519 signature covers. The one place that unpickles.

A *record* is a JSON file whose ``outputs`` name the sha256 of each file beside it. Its detached signature
(``<record>.sig``, base64) therefore covers them all.
"""

import base64
import fcntl
import hashlib
import json
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ml import locations
from ml.console import say
from ml.errors import MlError


def signing_key() -> Ed25519PrivateKey:
    """Return the private key. Without ``ML_SIGNING_KEY``, a pair of keys is made on the first use.

    Raises ``MlError`` if the key file is missing where one was named, or holds no Ed25519 key.
    """
    file = locations.signing_key()
    if not file.exists() and not os.environ.get("ML_SIGNING_KEY"):
        _make_keys(file)
    with _explained(file, "signing", "ML_SIGNING_KEY"):
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("not an Ed25519 key")
        return key


def sign(record: Path) -> None:
    """Write ``<record>.sig``."""
    signature = signing_key().sign(record.read_bytes())
    record.with_name(record.name + ".sig").write_bytes(base64.b64encode(signature) + b"\n")


def verify(record: Path) -> dict[str, Any]:
    """Return the content of a signed record after checking its signature and every file it names.

    Raises ``MlError`` if anything is missing, unsigned, signed by another key or altered.
    """
    signature = record.with_name(record.name + ".sig")
    if not record.exists() or not signature.exists():
        raise MlError(f"{record} is not signed: nothing unsigned is loaded; build it again with train")
    key = _public_key()
    content = record.read_bytes()
    try:
        key.verify(base64.b64decode(signature.read_bytes().strip(), validate=True), content)
    except (InvalidSignature, ValueError) as error:
        raise MlError(
            f"{record}: the signature does not fit {locations.verify_key()}: the file was altered or signed "
            "by another key; build it again with train, or point ML_VERIFY_KEY at the signer's public key"
        ) from error
    trusted: dict[str, Any] = json.loads(content)
    for name in trusted["outputs"]:
        read_covered(record.parent, name, trusted)
    return trusted


def read_covered(folder: Path, name: str, trusted: dict[str, Any]) -> bytes:
    """Return the bytes of a file that a verified record covers; other bytes raise ``MlError``."""
    expected = trusted["outputs"].get(name)
    content = (folder / name).read_bytes() if expected and (folder / name).is_file() else b""
    if not expected or hashlib.sha256(content).hexdigest() != expected:
        raise MlError(
            f"{folder / name} is not what was signed (truncated, altered or missing): build it again"
        )
    return content


def unpickle(folder: Path, name: str, trusted: dict[str, Any]) -> Any:
    """Unpickle a file that a verified record covers; exactly the bytes that were checked are loaded."""
    content = read_covered(folder, name, trusted)
    try:
        return pickle.loads(content)
    except Exception as error:
        raise MlError(
            f"{folder / name} cannot be loaded with the installed packages "
            f"({type(error).__name__}: {error}): install the requirements.txt it was built with, "
            "or train again"
        ) from error


def _make_keys(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(file.parent / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if file.exists():
            return
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        if not os.environ.get("ML_VERIFY_KEY"):
            locations.verify_key().write_bytes(public)
        aside = file.with_name(f".{file.name}.partial")
        aside.unlink(missing_ok=True)
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(private)
        aside.replace(file)
    say(f"made a key pair for signing models: {file} (keep it secret)")


def _public_key() -> Ed25519PublicKey:
    file = locations.verify_key()
    with _explained(file, "verify", "ML_VERIFY_KEY"):
        key = serialization.load_pem_public_key(file.read_bytes())
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("not an Ed25519 key")
        return key


@contextmanager
def _explained(file: Path, kind: str, variable: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise MlError(f"the {kind} key {file} is missing: set {variable} to the file of the key") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MlError(
            f"{file} holds no readable {kind} key: {variable} must name an Ed25519 key in PEM"
        ) from error
