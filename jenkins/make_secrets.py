"""Make the keys, passwords and tokens of a Jenkins once; what is there already is kept.

Four folders, because four kinds of hosts read them: ``controller`` (one file for each secret ``${NAME}`` of
casc.yaml), ``hosts`` (SSH host keys, who may log in), ``git`` (who may push, the token sent then), ``public``
(what the production host needs to check a signature and a caller). Nothing is ever printed.
"""

import argparse
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HOSTS = ("agent-1", "agent-2", "production", "git")


def make_secrets(folder: Path) -> None:
    """Write what is missing below ``folder``; all of it is this user's."""
    controller = folder / "controller"
    for name in ("ADMIN_PASSWORD", "DEVELOPER_PASSWORD", "VIEWER_PASSWORD", "SERVICE_API_KEY"):
        _keep_or_write(controller / name, secrets.token_urlsafe(18))
    _keep_or_write(controller / "WEBHOOK_TOKEN", secrets.token_hex(16))
    _keep_or_write(controller / "SIGNING_KEY", _private(serialization.PrivateFormat.PKCS8))
    _keep_or_write(controller / "AGENT_KEY", _private(serialization.PrivateFormat.OpenSSH))
    for host in HOSTS:
        _keep_or_write(folder / "hosts" / host / "host-key", _private(serialization.PrivateFormat.OpenSSH))
        name = f"{host.upper().replace('-', '_')}_HOST_KEY"
        write_secret(controller / name, _public_line(folder / "hosts" / host / "host-key"))
    _keep_or_write(folder / "git" / "push-key", _private(serialization.PrivateFormat.OpenSSH))
    write_secret(folder / "git" / "push-key.pub", _public_line(folder / "git" / "push-key"), 0o644)
    write_secret(folder / "hosts" / "agent-key.pub", _public_line(controller / "AGENT_KEY"), 0o644)
    write_secret(folder / "git" / "WEBHOOK_TOKEN", (controller / "WEBHOOK_TOKEN").read_text(), 0o644)
    signing = serialization.load_pem_private_key((controller / "SIGNING_KEY").read_bytes(), password=None)
    verify = signing.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_secret(folder / "public" / "verify.pem", verify.decode(), 0o644)
    api_key = hashlib.sha256((controller / "SERVICE_API_KEY").read_bytes()).hexdigest()
    write_secret(folder / "public" / "api-keys", f"{api_key}  service-api-key\n", 0o644)
    controller.chmod(0o700)


def _private(kind: serialization.PrivateFormat) -> str:
    key, pem = Ed25519PrivateKey.generate(), serialization.Encoding.PEM
    return key.private_bytes(pem, kind, serialization.NoEncryption()).decode()


def _public_line(private: Path) -> str:
    key = serialization.load_ssh_private_key(private.read_bytes(), password=None)
    openssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(*openssh).decode() + "\n"


def _keep_or_write(file: Path, content: str) -> None:
    if not file.exists():
        write_secret(file, content)


def write_secret(file: Path, content: str, mode: int = 0o600) -> None:
    """Write a file that is readable to nobody before it is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.partial")
    aside.unlink(missing_ok=True)
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="ascii") as stream:
        stream.write(content)
    aside.chmod(mode)
    aside.replace(file)


def main() -> None:
    """Make the secrets below the folder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m jenkins.make_secrets", description=make_secrets.__doc__)
    parser.add_argument("folder", type=Path)
    make_secrets(parser.parse_args().folder)


if __name__ == "__main__":
    main()
