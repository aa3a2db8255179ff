"""What later answers are held against: test rows, what the model said of them, what was true."""

import pandas as pd

from ml.project import Project

REFERENCE_FILE = "reference.parquet"
# More say no more of a distribution than these, and every version keeps them.
MAX_REFERENCE_ROWS = 20_000


def reference(project: Project, held_out: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Return test rows (with the target) beside the answers to them, without id and personal columns."""
    hidden = {project.id, *project.personal}
    rows = held_out.drop(columns=[name for name in held_out if name in hidden]).reset_index(drop=True)
    said = answers.drop(columns=project.id).reset_index(drop=True)
    both = pd.concat([rows, said], axis=1)
    return both.sample(min(len(both), MAX_REFERENCE_ROWS), random_state=project.seed).sort_index()
