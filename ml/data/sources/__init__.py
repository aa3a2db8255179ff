"""How data comes in: one module a kind of source, each with a ``fetch`` that returns ``Tables``."""

from collections.abc import Callable
from typing import Any

from ml.data.sources import catboost_dataset, files
from ml.data.sources.interface import Tables
from ml.project import Project
from ml.settings import CatboostSource, CsvSource, Settings

SOURCES: dict[type[Settings], Callable[[Project, Any], Tables]] = {
    CsvSource: files.fetch,
    CatboostSource: catboost_dataset.fetch,
}


def fetch(project: Project) -> Tables:
    """Fetch the tables of a project from the source it declares; what cannot be had raises ``MlError``."""
    return SOURCES[type(project.source)](project, project.source)
