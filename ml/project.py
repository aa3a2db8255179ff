"""What a user declares in ``project.toml``, as typed, frozen and validated settings."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from ml import locations
from ml.errors import MlError, describe
from ml.monitoring_settings import Monitoring
from ml.settings import (
    Canary,
    ChannelSettings,
    DataGates,
    Features,
    Gates,
    Notify,
    Settings,
    Split,
    Training,
    Versions,
)
from ml.source_settings import (
    CatboostSource,
    DvcSource,
    FeedbackSource,
    FilesSource,
    SqlSource,
    UrlSource,
)

Name = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_-]*$")]
EXPECTATIONS_FILE = "expectations.py"
ROW_FILE = "features_row.py"
DECLARATIONS = ("project.toml", "contract.py", "features.py", ROW_FILE, "grid.json")


class Project(Settings):
    """One user's model: everything ``project.toml`` says, and the folder it came from."""

    title: str
    task: Literal["classification", "regression"]
    target: str
    positive: int | str | bool | None = None
    id: str
    seed: int = Field(default=42, ge=0, le=2**32 - 1)
    nightly: bool = True
    personal: list[str] = []
    personal_rules: dict[str, Literal["drop", "hash", "year"] | Annotated[float, Field(gt=0)]] = {}
    source: Annotated[
        FilesSource | UrlSource | SqlSource | FeedbackSource | DvcSource | CatboostSource,
        Field(discriminator="kind"),
    ]
    split: Split
    versions: Versions = Versions()
    features: Features
    training: Training
    data_gates: DataGates = DataGates()
    gates: Gates
    canary: Canary = Canary()
    monitoring: Monitoring = Monitoring()
    notify: Notify = Notify()
    channels: dict[Name, ChannelSettings] = Field(min_length=1)
    hosts: dict[str, list[Annotated[str, Field(pattern="^https?://")]]] = {}
    workers: int = Field(default=1, ge=1, le=64)

    _folder: Path = PrivateAttr()
    _name: str = PrivateAttr()
    _files: dict[str, bytes] | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path:
        """The folder with ``project.toml``, ``contract.py``, ``features.py`` and ``grid.json``."""
        return self._folder

    @property
    def name(self) -> str:
        """The project's name: that of its folder under ``ml/projects``."""
        return self._name

    @property
    def compared_in(self) -> str:
        """Where candidates are compared, in words."""
        return "the validation rows" if self.split.validation_share else "cross-validation"

    @property
    def declarations(self) -> list[Path]:
        """The files that define the project; its data is not among them."""
        return [self.folder / file for file in DECLARATIONS if (self.folder / file).exists()]

    def content(self, name: str) -> bytes | None:
        """Return the bytes of one of the project's files, if it has it.

        Those of a model are the ones that its signature was checked on, whatever stands on the disk by now.
        """
        if self._files is not None:
            return self._files.get(name)
        file = self.folder / name
        return file.read_bytes() if file.exists() else None

    def carried(self) -> "Project":
        """Return this project with the content of its files, for a machine that has none of them."""
        copy = self.model_copy()
        if self._files is None:
            copy._files = {file.name: file.read_bytes() for file in self.declarations}
        return copy

    def check_channel(self, channel: str) -> None:
        """Raise ``MlError`` if the project declares no such channel."""
        if channel not in self.channels:
            known = ", ".join(self.channels)
            raise MlError(
                f"unknown channel '{channel}': project '{self.name}' declares {known} in project.toml"
            )

    @model_validator(mode="before")
    @classmethod
    def _read_personal(cls, content: Any) -> Any:
        """Take ``personal`` as names, or names with a rule each; what is hidden or hashed is never told."""
        rules = content.get("personal") if isinstance(content, dict) else None
        if not isinstance(rules, dict):
            return content
        kept = {name: float(rule) if isinstance(rule, int) else rule for name, rule in rules.items()}
        return content | {
            "personal": [name for name, rule in kept.items() if rule in ("hide", "hash")],
            "personal_rules": {name: rule for name, rule in kept.items() if rule != "hide"},
        }

    @model_validator(mode="after")
    def _check(self) -> "Project":
        if (rule := self.personal_rules.get(self.target)) is not None:
            raise ValueError(f"personal: the target '{self.target}' must stay as it is, without {rule}")
        if hashed := [name for name in self.features.columns if self.personal_rules.get(name) == "hash"]:
            raise ValueError(f"personal: '{hashed[0]}' is a feature, and of a hash a model learns nothing")
        ports = [one.port for one in self.channels.values()]
        if len(set(ports)) < len(ports):
            raise ValueError("channels: two of them have one port, and each needs its own")
        for role, column in (("target", self.target), ("id", self.id)):
            if column in self.features.columns:
                raise ValueError(f"the {role} '{column}' must not be a feature")
        if self.positive is not None and self.task != "classification":
            raise ValueError("positive names a class: it needs a classification")
        if self.gates.fairness and self.task != "classification":
            raise ValueError("gates.fairness compares rates of classes: it needs a classification")
        if self.gates.min_mcnemar_p and self.task != "classification":
            raise ValueError("gates.min_mcnemar_p compares classes: it needs a classification")
        return self


def project_names() -> list[str]:
    """Return the names of all projects, sorted."""
    return sorted(
        {
            file.parent.name
            for folder in locations.project_folders()
            for file in folder.glob("[!.]*/project.toml")
        }
    )


def find_project(name: str) -> Project:
    """Load the project called ``name``.

    An unknown name raises ``MlError`` that lists the known ones, and so does one that two folders have: their
    models would share a registry.
    """
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        places = [folder / name for folder in locations.project_folders()]
        found = [place for place in places if (place / "project.toml").exists()]
        if len({place.resolve() for place in found}) > 1:
            raise MlError(f"project '{name}' is there twice, {found[0]} and {found[1]}: rename one")
        if found:
            return load_project(found[0], name)
    known = ", ".join(project_names())
    raise MlError(f"unknown project '{name}': it is none of {known}; a project is a folder in ml/projects")


def load_project(folder: Path, name: str, files: dict[str, bytes] | None = None) -> Project:
    """Read ``folder/project.toml``; a syntax error, unknown key or wrong type raises ``MlError``.

    ``files`` holds the content of all files of a model, which then are not read from the disk at all.
    """
    file = folder / "project.toml"
    try:
        content = file.read_bytes() if files is None else files[file.name]
        declared = tomllib.loads(content.decode("utf-8-sig"))
        if files is not None:
            for later in ("canary", "monitoring", "notify"):  # how it was tried and watched is not what it is
                declared.pop(later, None)
        project = Project.model_validate(declared)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MlError(f"{file}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise MlError(f"{file}: {describe(error)}") from error
    project._folder, project._name, project._files = folder, name, files
    return project
