"""Does a little damage to the rows do little damage to the model?"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ml.project import Project
from ml.quality.metrics import RecordedPredictions
from ml.quality.robustness import DAMAGES, JUDGED_STRENGTH, STRENGTHS
from ml.training.bundle import Bundle
from ml.training.scores import scorer

# One draw of the damage may be unlucky, and a gate must not be.
JUDGED_DRAWS = 3


def test_damage(
    damage: str,
    gate: Callable[..., None],
    project: Project,
    positive: Any,
    candidate: Bundle,
    test_rows: pd.DataFrame,
    test_target: pd.Series,
    test_score: float,
    figures: dict[str, Any],
) -> None:
    """Damaged rows still get an answer each, and the score falls by no more than is allowed."""
    score, curve = scorer(project.training.metric, positive), {}
    for strength in STRENGTHS:
        scores = []
        for draw in range(JUDGED_DRAWS if strength == JUDGED_STRENGTH else 1):
            random = np.random.default_rng(project.seed + draw)
            damaged = DAMAGES[damage](project, test_rows, strength, random)
            recorded = RecordedPredictions.of(candidate.pipeline, damaged)
            answers = pd.DataFrame(recorded.probabilities).assign(prediction=recorded.predictions)
            assert len(answers) == len(test_rows) and answers.notna().all(axis=None), "rows without an answer"
            scores.append(score(recorded, np.arange(len(damaged)), test_target.to_numpy()))
        curve[strength] = float(np.mean(scores))
    figures.setdefault("robustness", {})[damage] = {"0": test_score} | {f"{k:g}": v for k, v in curve.items()}
    gate(
        "robustness",
        f"loss by {damage}",
        test_score - curve[JUDGED_STRENGTH],
        at_most=project.gates.max_damage[damage],  # type: ignore[index]
        note=f"(of {project.training.metric}, strength {JUDGED_STRENGTH:g})",
    )
