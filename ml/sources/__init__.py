"""How data comes in: one module a kind of source, each with a ``fetch`` that returns ``Tables``."""

from ml.project import Project
from ml.settings import CatboostSource
from ml.sources.tables import Tables


def fetch(project: Project) -> Tables:
    """Fetch the tables of a project from the source it declares; what cannot be had raises ``MlError``."""
    from ml.sources import catboost_dataset, csv_files

    if isinstance(project.source, CatboostSource):
        return catboost_dataset.fetch(project, project.source)
    return csv_files.fetch(project, project.source)
