"""What may be unpickled: only files that an Ed25519 signature covers. The one place that unpickles.

A *record* is a JSON file whose ``outputs`` name the sha256 of each file beside it. Its detached signature
(``<record>.sig``, base64) therefore covers them all.

There are two kinds of keys. The *release key* signs versions and channels: it is there only where nothing of
a project runs. A *build key* signs what one stage hands to the next: the stage makes it itself, and its
public half travels with the files: code of a project that takes it can sign nothing but its own build.
"""

import base64
import hashlib
import json
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ml import locations
from ml.console import say
from ml.errors import MlError
from ml.files import make_secret


@dataclass(frozen=True)
class Keys:
    """The files of a private key and of its public half, and the variables that move them."""

    private: Path
    public: Path
    private_variable: str
    public_variable: str

    def may_be_made(self) -> bool:
        """Tell whether a pair is made where there is none: not if somebody named one."""
        build = self.private_variable == self.public_variable
        return build or not locations.is_named(self.private_variable, self.public_variable)


def release_keys() -> Keys:
    """Return the keys of versions and channels (``ML_SIGNING_KEY``, ``ML_VERIFY_KEY``)."""
    return Keys(locations.signing_key(), locations.verify_key(), "ML_SIGNING_KEY", "ML_VERIFY_KEY")


def build_keys(stage: str) -> Keys:
    """Return the keys with which a stage signs its record (in the folder ``ML_BUILD_KEYS``)."""
    folder = locations.build_keys()
    return Keys(folder / f"{stage}.pem", folder / f"{stage}.pub", "ML_BUILD_KEYS", "ML_BUILD_KEYS")


def signing_key(keys: Keys) -> Ed25519PrivateKey:
    """Return the private key; where none was named, a pair is made on the first use.

    Raises ``MlError`` if the key file is missing where one was named, holds no Ed25519 key, or is not the
    other half of the public key.
    """
    if not keys.private.exists() and keys.may_be_made():
        _make_keys(keys)
    with _explained(keys.private, "signing", keys.private_variable):
        key = serialization.load_pem_private_key(keys.private.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("not an Ed25519 key")
    if keys.public.exists() and _raw(key.public_key()) != _raw(_public_key(keys)):
        raise MlError(
            f"{keys.private} and {keys.public} are no pair: {keys.private_variable} and "
            f"{keys.public_variable} must name the two halves of one key"
        )
    return key


def sign(record: Path, keys: Keys) -> None:
    """Write ``<record>.sig``."""
    signature = signing_key(keys).sign(record.read_bytes())
    record.with_name(record.name + ".sig").write_bytes(base64.b64encode(signature) + b"\n")


def seal(content: dict[str, Any]) -> str:
    """Return the release key's signature of a JSON object, base64, whatever the order of its keys."""
    return base64.b64encode(signing_key(release_keys()).sign(_canonical(content))).decode()


def sealed(content: dict[str, Any], signature: object) -> bool:
    """Tell whether the release key signed a JSON object; ``MlError`` if there is no public key to ask."""
    key = _public_key(release_keys())
    try:
        key.verify(base64.b64decode(str(signature), validate=True), _canonical(content))
    except (InvalidSignature, ValueError):
        return False
    return True


def verify(record: Path, keys: Keys) -> dict[str, Any]:
    """Return the content of a signed record after checking its signature and every file it names.

    Raises ``MlError`` if anything is missing, unsigned, signed by another key or altered.
    """
    signature = record.with_name(record.name + ".sig")
    if not record.exists() or not signature.exists():
        raise MlError(f"{record} is not signed: nothing unsigned is loaded; build it again with train")
    key = _public_key(keys)
    content = record.read_bytes()
    try:
        key.verify(base64.b64decode(signature.read_bytes().strip(), validate=True), content)
    except (InvalidSignature, ValueError) as error:
        raise MlError(
            f"{record}: the signature does not fit {keys.public}: the file was altered or signed by another "
            f"key; build it again with train, or point {keys.public_variable} at the signer's public key"
        ) from error
    trusted: dict[str, Any] = json.loads(content)
    for name in trusted["outputs"]:
        read_covered(record.parent, name, trusted["outputs"])
    return trusted


def read_covered(folder: Path, name: str, trusted: Mapping[str, str]) -> bytes:
    """Return the bytes of a file that the outputs of a verified record cover; others raise ``MlError``."""
    expected = trusted.get(name)
    content = (folder / name).read_bytes() if expected and (folder / name).is_file() else b""
    if not expected or hashlib.sha256(content).hexdigest() != expected:
        raise MlError(
            f"{folder / name} is not what was signed (truncated, altered or missing): build it again"
        )
    return content


def unpickle(folder: Path, name: str, trusted: Mapping[str, str]) -> Any:
    """Unpickle a file that the outputs of a verified record cover: exactly the bytes that were checked."""
    content = read_covered(folder, name, trusted)
    try:
        return pickle.loads(content)
    except Exception as error:
        raise MlError(
            f"{folder / name} cannot be loaded with the installed packages "
            f"({type(error).__name__}: {error}): install the requirements.txt it was built with, "
            "or train again"
        ) from error


def _canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _make_keys(keys: Keys) -> None:
    def new_pair() -> bytes:
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        keys.public.write_bytes(public)
        return key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    if make_secret(keys.private, new_pair) and keys.private_variable == "ML_SIGNING_KEY":
        say(f"made a key pair for signing versions: {keys.private} (keep it secret)")


def _public_key(keys: Keys) -> Ed25519PublicKey:
    with _explained(keys.public, "verify", keys.public_variable):
        key = serialization.load_pem_public_key(keys.public.read_bytes())
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("not an Ed25519 key")
        return key


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


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
