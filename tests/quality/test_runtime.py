"""Is the model fast and small enough, and does it say the same wherever it is asked?"""

import json
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import numpy as np
import pandas as pd
import pytest
import uvicorn

from ml.data.rows import records, typed_table
from ml.project import Project
from ml.registry.versions import Registry
from ml.serving import GOLDEN_TOLERANCE
from ml.serving.app import create_app
from ml.serving.fast_path import differences, proving_rows
from ml.serving.follower import ChannelFollower
from ml.serving.loaded import LoadedVersion, Routing, ready
from ml.training.bundle import Bundle, largest_difference
from ml.training.row_features import row_functions, rows_made_otherwise
from ml.workspace import Workspace

MAX_ROWS_A_REQUEST = 500
MAX_ROWS_ALONE = 30
MAX_SECONDS_ALONE = 20.0
MAX_ROWS_A_BATCH = 50
ELSEWHERE = "(another folder, home, time zone, locale, environment; a clock years ahead)"


@pytest.fixture(scope="session")
def elsewhere(fresh_process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the fresh process found: answers by two clocks, seconds to load, memory, what it asked for."""
    told, complaint = fresh_process.communicate()
    assert fresh_process.returncode == 0, (complaint.strip().splitlines() or ["no output"])[-1]
    found: dict[str, Any] = json.loads(told)
    return found


@pytest.fixture(scope="session")
def answered_elsewhere(elsewhere: dict[str, Any]) -> dict[str, Any]:
    """What the fresh process found, if the model could be loaded and answered there."""
    assert "error" not in elsewhere, f"fails {ELSEWHERE[1:-1]}: {elsewhere['error']}"
    return elsewhere


@pytest.fixture(scope="session")
def loaded(candidate: Bundle) -> LoadedVersion:
    """The candidate as a worker holds it, with its fast path proved if it has one."""
    return ready(0, candidate)


@pytest.fixture(scope="session")
def service(
    project: Project, loaded: LoadedVersion
) -> Iterator[Callable[[list[dict[str, Any]]], list[dict[str, Any]]]]:
    """The real service with the candidate in it, on a free port of this machine."""
    follower = ChannelFollower(Registry(project.name), "candidate")
    follower.routing = Routing(loaded)
    app = create_app(project.name, "candidate", follower)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the service did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:

        def ask(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            answer = client.post("/predict", json=rows)
            assert answer.status_code == 200, f"the service answers {answer.status_code}: {answer.text[:300]}"
            predictions: list[dict[str, Any]] = answer.json()["predictions"]
            return predictions

        yield ask
    server.should_exit = True
    thread.join()


def test_predicts_as_in_training(gate: Callable[..., None], candidate: Bundle) -> None:
    """The pickle, loaded in this process, repeats the training process's predictions.

    Not to the last bit: another agent may have trained it, whose processor adds up in another order.
    """
    difference = candidate.replay_golden()
    gate("pickle", "largest difference to the training process", difference, at_most=GOLDEN_TOLERANCE)


def test_predicts_the_same_elsewhere(
    gate: Callable[..., None],
    project: Project,
    candidate: Bundle,
    test_rows: pd.DataFrame,
    answered_elsewhere: dict[str, Any],
) -> None:
    """A fresh process where all else is otherwise answers every held-out row the same, to the bit."""
    there = pd.DataFrame(answered_elsewhere["answers"])
    difference = largest_difference(candidate.predict(test_rows), there, project)
    gate("pickle", "largest difference in a fresh process elsewhere", difference, at_most=0.0, note=ELSEWHERE)


def test_answers_from_the_row_alone(gate: Callable[..., None], elsewhere: dict[str, Any]) -> None:
    """Neither loading nor predicting asks for a file, an address or a program."""
    told = "; ".join(elsewhere["tried"][:3])
    gate(
        "isolation", "files, addresses and programs asked for", len(elsewhere["tried"]), at_most=0, note=told
    )


def test_answers_the_same_at_any_time(
    gate: Callable[..., None], project: Project, answered_elsewhere: dict[str, Any]
) -> None:
    """Another time, day, month and year change no answer."""
    now, later = (pd.DataFrame(answered_elsewhere[key]) for key in ("answers", "answers_later"))
    difference = largest_difference(now, later, project)
    gate("isolation", "largest difference at another time", difference, at_most=0.0)


def test_a_row_is_answered_the_same_in_any_batch(
    gate: Callable[..., None], project: Project, candidate: Bundle, test_rows: pd.DataFrame
) -> None:
    """No feature looks at other rows, their order or a row's number: all held-out rows are asked."""
    random = np.random.default_rng(project.seed)
    order = random.permutation(len(test_rows))
    ends = np.cumsum(random.integers(2, MAX_ROWS_A_BATCH, len(order)))
    ways = {
        "shuffled": [order],
        "in other batches": np.split(order, ends[ends < len(order)]),
        "alone": [order[[row]] for row in range(min(len(order), MAX_ROWS_ALONE))],
    }
    whole, differences = candidate.predict(test_rows), {}
    for way, batches in ways.items():
        answers, asked, until = [], [], time.monotonic() + MAX_SECONDS_ALONE
        for batch in batches:
            if way == "alone" and asked and time.monotonic() > until:
                break
            answers.append(candidate.predict(test_rows.iloc[batch].reset_index(drop=True)))
            asked.append(batch)
        expected = whole.iloc[np.concatenate(asked)].reset_index(drop=True)
        differences[way] = largest_difference(expected, pd.concat(answers, ignore_index=True), project)
    worst = max(differences, key=lambda way: differences[way])
    note = f"({len(order)} rows shuffled and in other batches, {len(asked)} alone; the largest is {worst})"
    gate("batch", "largest difference", differences[worst], at_most=GOLDEN_TOLERANCE, note=note)


def test_served_answers_equal_offline_answers(
    gate: Callable[..., None],
    project: Project,
    candidate: Bundle,
    test_rows: pd.DataFrame,
    service: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
) -> None:
    """Through HTTP every held-out row gets the answer it gets here: no training-serving skew."""
    rows = records(test_rows)
    answers = [
        answer
        for start in range(0, len(rows), MAX_ROWS_A_REQUEST)
        for answer in service(rows[start : start + MAX_ROWS_A_REQUEST])
    ]
    difference = largest_difference(candidate.predict(test_rows), pd.DataFrame(answers), project)
    gate("serving", "largest difference to the offline answers", difference, at_most=GOLDEN_TOLERANCE)


def test_row_functions_make_the_same_features(
    gate: Callable[..., None],
    project: Project,
    candidate: Bundle,
    train: pd.DataFrame,
    test_rows: pd.DataFrame,
    workspace: Workspace,
) -> None:
    """What features_row.py makes of a row is what features.py makes of the table, for every row there is."""
    if not row_functions(candidate.project):
        pytest.skip("the project has no functions for one row (features_row.py)")
    unlabelled = workspace.folder("data") / "unlabelled.parquet"
    generated = typed_table(proving_rows(candidate), candidate.request_contract)
    tables = [train.drop(columns=project.target), test_rows, generated]
    tables += [pd.read_parquet(unlabelled)] if unlabelled.exists() else []
    wrong = Counter[str]()
    for table in tables:
        for name, places in rows_made_otherwise(candidate.project, table).items():
            wrong[name] += len(places)
    note = ", ".join(f"{name} {count}" for name, count in wrong.items() if count)
    told = f"({sum(map(len, tables))} rows{': ' if note else ''}{note})"
    gate("fast path", "rows that features_row.py makes otherwise", wrong.total(), at_most=0, note=told)


def test_the_fast_path_answers_as_the_pickle(
    gate: Callable[..., None], loaded: LoadedVersion, candidate: Bundle, test_rows: pd.DataFrame
) -> None:
    """Every held-out row, and every row that was made from the contract, gets the same answer to the bit."""
    if loaded.fast_path is None:
        pytest.skip(f"answered by {loaded.scoring}")
    rows = [*records(test_rows), *proving_rows(candidate)]
    wrong = len(differences(loaded.fast_path, candidate, rows))
    gate(
        "fast path",
        "rows answered otherwise than by the pickle",
        wrong,
        at_most=0,
        note=f"({len(rows)} rows)",
    )


def test_seconds_per_row(
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    candidate: Bundle,
    test_rows: pd.DataFrame,
) -> None:
    """One batch of all held-out rows is fast."""
    most = declared(project.gates.max_seconds_per_row, "max_seconds_per_row")
    seconds = _median_seconds(lambda: candidate.predict(test_rows))
    gate("speed", "seconds per row", seconds / len(test_rows), at_most=most)


def test_seconds_per_request(
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    test_rows: pd.DataFrame,
    service: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
) -> None:
    """One row alone, asked of the service, is fast."""
    most = declared(project.gates.max_seconds_per_request, "max_seconds_per_request")
    row = records(test_rows.head(1))
    gate("speed", "seconds per request", _median_seconds(lambda: service(row)), at_most=most)


def test_seconds_to_load(
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    answered_elsewhere: dict[str, Any],
) -> None:
    """A new version is soon ready: verified, unpickled, its libraries imported."""
    most = declared(project.gates.max_seconds_to_load, "max_seconds_to_load")
    gate("speed", "seconds to load", answered_elsewhere["load_seconds"], at_most=most)


def test_size(
    gate: Callable[..., None], declared: Callable[..., float], project: Project, workspace: Workspace
) -> None:
    """The pickle fits where it shall run."""
    most = declared(project.gates.max_model_bytes, "max_model_bytes")
    gate("size", "bytes of model.pkl", (workspace.folder("train") / "model.pkl").stat().st_size, at_most=most)


def test_memory(
    gate: Callable[..., None],
    declared: Callable[..., float],
    project: Project,
    answered_elsewhere: dict[str, Any],
) -> None:
    """A process that loads the model and answers all held-out rows stays small."""
    most = declared(project.gates.max_memory_bytes, "max_memory_bytes")
    gate("size", "bytes of memory, most at once", answered_elsewhere["memory_bytes"], at_most=most)


def _median_seconds(work: Callable[[], object], repeats: int = 9) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
