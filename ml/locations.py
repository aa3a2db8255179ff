"""Where things live on this machine; every default can be moved by an environment variable."""

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK_FILE = ROOT / "requirements.txt"


def home() -> Path:
    """Return the folder for what outlives a build: keys, registry, service state (``ML_HOME``)."""
    return Path(os.environ.get("ML_HOME") or ROOT / ".ml").absolute()


def registry() -> Path:
    """Return where versions and channels are kept (``ML_REGISTRY``)."""
    return Path(os.environ.get("ML_REGISTRY") or home() / "registry").absolute()


def signing_key() -> Path:
    """Return the file of the private release key (``ML_SIGNING_KEY``)."""
    return Path(os.environ.get("ML_SIGNING_KEY") or home() / "keys" / "signing.pem").absolute()


def verify_key() -> Path:
    """Return the file of the public release key (``ML_VERIFY_KEY``)."""
    return Path(os.environ.get("ML_VERIFY_KEY") or home() / "keys" / "verify.pem").absolute()


def build_keys() -> Path:
    """Return the folder of the keys with which the stages of a build sign (``ML_BUILD_KEYS``)."""
    return Path(os.environ.get("ML_BUILD_KEYS") or home() / "keys" / "build").absolute()


def personal_key() -> Path:
    """Return the file of the key with which personal columns are hashed (``ML_PERSONAL_KEY``)."""
    return Path(os.environ.get("ML_PERSONAL_KEY") or home() / "keys" / "personal.key").absolute()


def api_keys() -> Path | None:
    """Return the file with the sha256 of each key that the service accepts, one a line (``ML_API_KEYS``)."""
    file = os.environ.get("ML_API_KEYS")
    return Path(file).absolute() if file else None


def store(project: str, channel: str) -> str | None:
    """Return the URL of the store: ``ML_STORE``, once ``ML_PREDICTIONS``; ``off`` keeps nothing."""
    file = store_folder() / f"{project}-{channel}.sqlite"
    url = _named_store() or f"sqlite:///{file}"
    return None if url == "off" else url


def shared_store() -> str | None:
    """Return the URL of the one store for all channels, if one is named."""
    url = _named_store()
    return None if url == "off" else url


def _named_store() -> str | None:
    """Return the URL that is named; a file of SQLite is the same one wherever a command runs from then on."""
    url = os.environ.get("ML_STORE") or os.environ.get("ML_PREDICTIONS")
    kind, _, file = (url or "").partition(":///")
    named = kind.startswith("sqlite") and file and not file.startswith((":", "file:"))
    return f"{kind}:///{Path(file).absolute()}" if named else url


def store_folder() -> Path:
    """Return the folder of the stores that are SQLite files."""
    return home() / "predictions"


def downloads() -> Path:
    """Return the folder of what was fetched from the web, so that it is not fetched again."""
    return home() / "downloads"


def dvc() -> str | None:
    """Return the program ``dvc`` (``ML_DVC``, else on the PATH), if there is one."""
    return os.environ.get("ML_DVC") or shutil.which("dvc")


def dask() -> Path:
    """Return the folder of the packages of Dask, which are not in the environment that serves, too."""
    return Path(sys.prefix) / "dask"


def project_folders() -> list[Path]:
    """Return the folders that hold projects: the built-in one, then those of ``ML_PROJECTS``."""
    extra = os.environ.get("ML_PROJECTS", "")
    return [ROOT / "ml" / "projects", *(Path(part).absolute() for part in extra.split(os.pathsep) if part)]


def new_projects() -> Path:
    """Return the folder that a new project is written into: the first of ``ML_PROJECTS`` if it is set."""
    return project_folders()[:2][-1]


def default_project() -> str:
    """Return the project that is meant where none is named: the worked example, or the first there is."""
    names = sorted(
        file.parent.name for folder in project_folders() for file in folder.glob("[!.]*/project.toml")
    )
    return "titanic" if "titanic" in names or not names else names[0]


def is_named(*variables: str) -> bool:
    """Tell whether one of these variables is set."""
    return any(os.environ.get(name) for name in variables)


def outcome_file() -> Path | None:
    """Return the file that each command tells its outcome to, for the page of a build (``ML_OUTCOME``)."""
    file = os.environ.get("ML_OUTCOME")
    return Path(file) if file else None


def services() -> list[str]:
    """Return the services that run elsewhere, ``<project>/<channel>=<url>`` each (``ML_SERVICES``)."""
    return os.environ.get("ML_SERVICES", "").split()


def api_key() -> str | None:
    """Return the key with which a deploy asks a service (``ML_API_KEY``)."""
    return os.environ.get("ML_API_KEY")


def ssh_config() -> str | None:
    """Return the file that SSH takes instead of ``~/.ssh/config`` (``ML_SSH_CONFIG``)."""
    return os.environ.get("ML_SSH_CONFIG")
