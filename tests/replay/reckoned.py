"""Two policies that need no service: the first version for ever, and an oracle that refits every week."""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from ml import cli
from ml.console import say
from ml.errors import MlError
from ml.monitoring.losses import losses
from ml.project import Project, find_project
from ml.training.bundle import load_bundle, predict
from ml.training.grid import EstimatorChoice
from ml.training.search import fit
from tests.replay.injected import Injected
from tests.replay.play import Played
from tests.replay.stage import DAY, Play


def reckon(play: Play, injected: Injected) -> list[Played]:
    """Return what *never train again* and the oracle make of the rows of a stage."""
    build = play.root / "build"
    for stage in ("data", "train"):
        if code := cli.main([stage, "--project", play.project, "--build", str(build)]):
            raise MlError(f"{stage} ended with exit code {code}")
    bundle, project = load_bundle(build / play.project / "model"), find_project(play.project)
    chosen = EstimatorChoice(bundle.manifest.estimator, bundle.manifest.parameters)
    rows, at = _as_sent(play, injected, project)
    weeks = ((at - play.begins) // (7 * DAY)).astype(int)
    learned = pd.read_parquet(project.folder / "past.parquet")

    def refitted(week: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
        known = pd.concat([learned, rows[weeks < week]], ignore_index=True)
        target = known.pop(project.target)
        pipeline = fit(project, chosen, known, target)
        return lambda asked: predict(pipeline, project, asked)

    never = _played("never", project, rows, at, weeks, lambda week: bundle.predict)
    return [never, _played("oracle", project, rows, at, weeks, refitted)]


def _as_sent(play: Play, injected: Injected, project: Project) -> tuple[pd.DataFrame, np.ndarray]:
    """Return all rows as clients send them, with what comes true of them, and when."""
    parts, moments = [], []
    for at, rows in play.steps():
        sent = injected.rows(rows, at, play.rows)
        truth = injected.truth(rows.loc[sent.index], project.target, at, play.rows)
        parts.append(sent.assign(**{project.target: truth}))
        moments += [at] * len(sent)
    return pd.concat(parts, ignore_index=True), np.array(moments)


def _played(
    policy: str,
    project: Project,
    rows: pd.DataFrame,
    at: np.ndarray,
    weeks: np.ndarray,
    model: Callable[[int], Callable[[pd.DataFrame], pd.DataFrame]],
) -> Played:
    played, used = Played(policy), time.process_time()
    for week in np.unique(weeks):
        asked = rows[weeks == week].reset_index(drop=True)
        said = model(int(week))(asked.drop(columns=project.target))
        played.loss += losses(project, said, asked[project.target]).tolist()
        if policy == "oracle":
            played.trainings.append({"at": float(at[weeks == week][0]), "outcome": "fit"})
            say(f"oracle: week {week}: a row costs {np.mean(played.loss[-len(asked) :]):.4f}")
    played.at = at.tolist()
    played.cpu_seconds = time.process_time() - used
    return played
