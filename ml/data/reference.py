"""The data of a channel's champion: what drift and changes of new rows are measured against."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ml.project import Project
from ml.records import DataManifest
from ml.registry.versions import Registry
from ml.workspace import ROWS_FILE

if TYPE_CHECKING:
    from ml.data.row_index import Rows


@dataclass(frozen=True)
class Reference:
    """The data of the champion: its manifest and the fingerprints of its rows."""

    version: int
    manifest: DataManifest
    rows: "Rows"

    @property
    def statistics(self) -> dict[str, dict[str, Any]]:
        """What drift is measured against, by column."""
        return self.manifest.reference_statistics


def champion_data(project: Project, channel: str) -> Reference | None:
    """Return the data of the version that a channel serves, if any; an altered one raises ``MlError``."""
    registry = Registry(project.name)
    version = registry.channel(channel).version
    if version is None:
        return None
    registry.read(version)
    folder = registry.folder(version) / "model"
    return Reference(version, registry.data_manifest(version), folder / ROWS_FILE)
