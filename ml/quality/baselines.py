"""What a model must beat: a guess that looks at nothing."""

from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import Pipeline

from ml.project import Project


def dummy(project: Project) -> Pipeline:
    """Return the unfitted model that always says the most frequent class or the mean."""
    return DummyClassifier() if project.task == "classification" else DummyRegressor()
