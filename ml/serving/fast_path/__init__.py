"""Answers without pandas: the fitted pipeline's constants, read once, and the estimator's own arithmetic.

It is built from the verified pickle when a version is loaded, and answers only after it said the very same as
the pickle of the golden rows and of rows made from the contract. What it does not know goes the other way.
"""

import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pydantic_core import to_json

from ml.data.generated_rows import generated_rows
from ml.data.request import columns_expressed
from ml.data.rows import Row, typed_table
from ml.errors import MlError
from ml.project import ROW_FILE
from ml.serving.fast_path.checks import RowChecks
from ml.serving.fast_path.columns import Columns, NotCompiled
from ml.serving.fast_path.kernels import Kernel, kernel_of
from ml.training.bundle import Bundle, predict_rows

PROVING_ROWS, PROVED_ALONE, SEED = 1000, 5, 1
REPEATS = 3
# While these are scored nobody else is answered.
MAX_ROWS_AT_ONCE, MAX_SECONDS_AT_ONCE = 64, 0.002


@dataclass(frozen=True, eq=False)
class FastPath:
    """Scores rows as JSON gives them.

    At most ``rows_at_once`` take little enough time to be scored on the spot; ``for_many`` says whether a
    thousand take less than by the pickle, which a deep forest of hundreds of trees does not.
    """

    columns: Columns
    kernel: Kernel
    checks: RowChecks
    id: str
    probabilities: list[str]
    rows_at_once: int = 1
    for_many: bool = False

    @property
    def told(self) -> str:
        """In words, what of it is fast."""
        by_table = self.columns.by_table
        but = f", its features by pandas: {ROW_FILE} has no function {by_table}" if by_table else ""
        return f"the fast path{but}"

    def answer(self, rows: Sequence[Row]) -> list[Row]:
        """Return id, prediction and probabilities of each row, which must pass all checks."""
        predicted, likely = self.kernel(self.columns.matrix(rows))
        names = [self.id, "prediction", *(self.probabilities if likely else [])]
        columns = [[row[self.id] for row in rows], predicted, *likely]
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def build_fast_path(bundle: Bundle) -> FastPath:
    """Return the proved fast path of a loaded model; raise ``NotCompiled``, which says why there is none."""
    if not columns_expressed(bundle.request_contract):
        raise NotCompiled("the contract has a check of a column that needs a table")
    project, estimator = bundle.project, bundle.pipeline[-1]
    try:
        classes = estimator.classes_ if hasattr(estimator, "predict_proba") else []
        labels = [f"probability_{label}" for label in classes]
        contract, rows = bundle.request_contract, proving_rows(bundle)
        table = typed_table(rows, contract)
        columns = Columns.of(bundle.pipeline, project, contract, table)
        checks = RowChecks(contract, rows, table)
        path = FastPath(columns, kernel_of(estimator), checks, project.id, labels)
        for some in (rows, *([row] for row in rows[:PROVED_ALONE])):
            if places := differences(path, bundle, some):
                raise NotCompiled(f"row {places[0]} of {len(some)} would be answered otherwise")
        if places := columns.differs_alone(rows):
            raise NotCompiled(f"row {places[0]} of {len(rows)} would be answered otherwise if it came alone")
    except (NotCompiled, MlError):
        raise
    except Exception as error:  # whatever a model does that nobody thought of, its pickle answers
        raise NotCompiled(f"{type(error).__name__}: {error}") from error
    ours, theirs = _seconds(lambda: path.answer(rows)), _seconds(lambda: _by_pickle(bundle, rows))
    at_once = int(MAX_SECONDS_AT_ONCE * len(rows) / ours)
    return replace(path, rows_at_once=max(1, min(MAX_ROWS_AT_ONCE, at_once)), for_many=ours < theirs)


def proving_rows(bundle: Bundle) -> list[Row]:
    """Return the rows on which a fast path must say what the pickle says: golden ones, and generated ones."""
    golden = bundle.golden["rows"]
    return [*golden, *generated_rows(bundle.request_contract, golden, PROVING_ROWS, SEED)]


def differences(path: FastPath, bundle: Bundle, rows: Sequence[Row]) -> list[int]:
    """Return the places of the rows that get another answer than the pickle's, by a bit or more."""
    pairs = enumerate(zip(path.answer(rows), _by_pickle(bundle, rows), strict=True))
    return [place for place, (one, other) in pairs if to_json(one) != to_json(other)]


def _by_pickle(bundle: Bundle, rows: Sequence[Row]) -> list[Row]:
    return predict_rows(bundle.pipeline, bundle.project, typed_table(rows, bundle.request_contract))


def _seconds(work: Callable[[], object]) -> float:
    """Return the least of a few times: another process falls into some; garbage is collected in none."""
    return min(timeit.repeat(work, number=1, repeat=REPEATS))
