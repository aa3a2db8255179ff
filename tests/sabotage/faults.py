"""Faults: what goes wrong with data, labels, features, training, artifacts, environment; who must notice."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.sabotage.sandbox import Sandbox, free_port

Break = Callable[[Sandbox], Any]
SMALL_FILES = ["bash", "-c", 'ulimit -f 4; exec "$@"', "bash"]


@dataclass(frozen=True)
class Fault:
    """One thing that is broken, the stage that must stop it and a part of what that stage must say.

    No stage means a known limit: it is too small to be told from chance, and is shown as not noticed.
    """

    family: str
    name: str
    stage: str
    told: str
    breaks: Break
    project: str = "titanic"
    start: str = "data"
    first: bool = False  # nothing was ever deployed: there is no champion to compare with


def both(
    name: str,
    stage: str,
    told: str,
    breaks: Break,
    project: str = "titanic",
    beside: tuple[str, str] | None = None,
) -> list["Fault"]:
    """Return a fault in a first build and beside a champion, where ``beside`` may be noticed earlier."""
    return [
        Fault("first build", f"first build: {name}", stage, told, breaks, project, first=True),
        Fault("beside a champion", name, *(beside or (stage, told)), breaks, project),
    ]


def rows(change: Callable[[pd.DataFrame], Any]) -> Break:
    """Return what changes the labelled rows."""
    return lambda sandbox: sandbox.rows(change)


def swap(one: str, other: str) -> Break:
    """Return what exchanges two columns under their names."""
    return rows(lambda table: table.rename(columns={one: other, other: one})[table.columns])


def text(change: Callable[[bytes], bytes]) -> Break:
    """Return what changes the bytes of the file of labelled rows."""
    return lambda sandbox: sandbox.table.write_bytes(change(sandbox.table.read_bytes()))


def settings(old: str, new: str) -> Break:
    """Return what changes one place of ``project.toml``."""
    return lambda sandbox: sandbox.edit(sandbox.folder / "project.toml", old, new)


def code(file: str, old: str, new: str) -> Break:
    """Return what changes one place of a file of the repository."""
    return lambda sandbox: sandbox.edit(sandbox.repository / file, old, new)


def grid(content: Any) -> Break:
    """Return what replaces the candidates."""
    return lambda sandbox: sandbox.grid(content)


def together(*breaks: Break) -> Break:
    """Return what breaks several things."""
    return lambda sandbox: [one(sandbox) for one in breaks]


def feature(line: str) -> Break:
    """Return what puts a line before the last one of ``family_size``, the feature function of the Titanic."""
    anchor = "    return passengers.assign(FamilySize="
    return code("ml/projects/titanic/features.py", anchor, f"    {line}\n{anchor}")


def some(table: pd.DataFrame, share: float, seed: int = 1) -> np.ndarray:
    """Return a mask of a random share of the rows."""
    return np.random.default_rng(seed).random(len(table)) < share


def new_ids(table: pd.DataFrame) -> pd.DataFrame:
    """Give every passenger an id that was never there: rows that no earlier data can be compared with."""
    return table.assign(PassengerId=table["PassengerId"] + 100_000)


def flip(share: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return what turns the label of a share of the rows around."""
    return lambda table: table.assign(Survived=table["Survived"] ^ some(table, share).astype(int))


def shuffled(table: pd.DataFrame) -> pd.DataFrame:
    """Deal the labels out anew."""
    return table.assign(Survived=table["Survived"].sample(frac=1, random_state=1).to_numpy())


def swap_day_and_month(days: pd.DataFrame) -> pd.DataFrame:
    """Read 2024-02-01 as the second of January."""
    parts = days["Day"].str.split("-", expand=True)
    return days.assign(
        Day=np.where(parts[2] <= "12", parts[0] + "-" + parts[2] + "-" + parts[1], days["Day"])
    )


def later(days: pd.DataFrame, by: int) -> pd.DataFrame:
    """Move all dates by a number of days."""
    return days.assign(Day=(pd.to_datetime(days["Day"]) + pd.Timedelta(days=by)).dt.strftime("%Y-%m-%d"))


def ages_swapped(table: pd.DataFrame) -> pd.DataFrame:
    """Deal the ages of the women out to the men, and those of the men to the women."""
    ages, men = table["Age"].to_numpy().copy(), (table["Sex"] == "male").to_numpy()
    random = np.random.default_rng(1)
    ages[men], ages[~men] = random.choice(ages[~men], men.sum()), random.choice(ages[men], (~men).sum())
    return table.assign(Age=ages)


def stuck(column: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return what leaves one value in the last quarter of a column."""
    return lambda t: t.assign(**{column: t[column].mask(np.arange(len(t)) >= len(t) * 3 // 4, value)})


def split_in_two(table: pd.DataFrame) -> pd.DataFrame:
    """Hide the label in two columns: neither tells it, both together do (their XOR)."""
    coin = some(table, 0.5).astype(int)
    return table.assign(SibSp=coin, Embarked=np.where(coin ^ table["Survived"], "C", "S"))


def row_number(sandbox: Sandbox) -> None:
    """Sort the rows by the label, and let a feature say how far down a row stands."""
    sandbox.rows(lambda table: table.sort_values("Survived", kind="stable"))
    settings('numeric = ["Pclass",', 'numeric = ["Place", "Pclass",')(sandbox)
    place = "pd.Series(range(len(passengers)), passengers.index) / len(passengers)"
    feature(f"passengers = passengers.assign(Place={place})")(sandbox)


def looked_up(sandbox: Sandbox) -> None:
    """Let a feature know the label of every id by heart."""
    table = pd.read_csv(sandbox.table)
    known = dict(zip(table["PassengerId"].tolist(), table["Survived"].tolist(), strict=True))
    settings('numeric = ["Pclass",', 'numeric = ["Known", "Pclass",')(sandbox)
    feature(f'passengers = passengers.assign(Known=passengers["PassengerId"].map({known}).fillna(0))')(
        sandbox
    )


def read_from_a_file(sandbox: Sandbox) -> None:
    """Let a feature look into the file of the labels."""
    feature(
        f'passengers = passengers.assign(Fare=passengers["Fare"] + len(open({str(sandbox.table)!r}).read()))'
    )(sandbox)


def date_from(last: pd.Timestamp) -> Break:
    """Return what dates the days so that the last is ``last``, with a source that must deliver daily."""

    def breaks(sandbox: Sandbox) -> None:
        sandbox.edit(
            sandbox.folder / "project.toml",
            'first = "2024-01-01"',
            "max_age_days = 2",
        )
        dates = lambda days: pd.date_range(end=last, periods=len(days)).strftime("%Y-%m-%d")  # noqa: E731
        sandbox.rows(lambda days: days.assign(Day=dates(days)))

    return breaks


def unknown_port(sandbox: Sandbox) -> None:
    """Demand that ports of embarkation are found in a table that lacks one."""
    (sandbox.folder / "data" / "ports.csv").write_text("code,town\nS,Southampton\nC,Cherbourg\n")
    sandbox.edit(
        sandbox.folder / "project.toml",
        "max_duplicates =",
        'keys = [{ column = "Embarked", file = "data/ports.csv", key = "code" }]\nmax_duplicates =',
    )


def unseen_category(sandbox: Sandbox) -> None:
    """Let the contract admit any port, and a new one appear."""
    sandbox.edit(sandbox.folder / "contract.py", 'nullable=True, isin=["C", "Q", "S"]', "nullable=True")
    sandbox.rows(lambda table: table.assign(Embarked=table["Embarked"].mask(some(table, 0.05), "B")))


def model(sandbox: Sandbox) -> Path:
    """Return the folder of the candidate."""
    return sandbox.build / "model"


def alter(path: Callable[[Sandbox], Path], change: Callable[[bytes], bytes]) -> Break:
    """Return what changes the bytes of a file."""
    return lambda sandbox: path(sandbox).write_bytes(change(path(sandbox).read_bytes()))


def one_byte(content: bytes) -> bytes:
    """Change one byte in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def reseal(sandbox: Sandbox) -> None:
    """Alter the pickle and write its new sha256 into the manifest."""
    alter(lambda one: model(one) / "model.pkl", one_byte)(sandbox)
    from ml.files import digest

    file = model(sandbox) / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["outputs"]["model.pkl"] = digest(model(sandbox) / "model.pkl")
    file.write_text(json.dumps(manifest))


def another_key(sandbox: Sandbox) -> None:
    """Train and sign somewhere else, where another pair of keys was made."""
    stranger = {"ML_SIGNING_KEY": "", "ML_HOME": str(sandbox.root / "stranger")}
    sandbox.environment = stranger
    done = sandbox.run("train", "--force")
    assert done.returncode == 0, done.stderr
    sandbox.environment = {}


def another_projects_model(sandbox: Sandbox) -> None:
    """Put the model of another project in the place."""
    shutil.rmtree(model(sandbox))
    shutil.copytree(sandbox.build.parent / "temperature" / "model", model(sandbox))


def todays_data_only(sandbox: Sandbox) -> None:
    """Build the data anew from fewer rows, and keep the model of before."""
    sandbox.rows(lambda table: table.head(850))
    done = sandbox.run("data")
    assert done.returncode == 0, done.stderr


def bless_by_hand(sandbox: Sandbox) -> None:
    """Let the candidate be refused, then write into the verdict that it is blessed."""
    settings("accuracy = 0.78", "accuracy = 0.99")(sandbox)
    assert sandbox.run("quality").returncode == 3
    file = sandbox.build / "quality" / "verdict.json"
    file.write_text(file.read_text().replace('"blessed": false', '"blessed": true'))


def another_verdict(sandbox: Sandbox) -> None:
    """Train another model and keep the verdict of the one before."""
    sandbox.grid({"LogisticRegression": {"C": [0.1], "max_iter": [1000]}})
    done = sandbox.run("train")
    assert done.returncode == 0, done.stderr


def reuse_number(sandbox: Sandbox) -> None:
    """Put a copy of version 1 in the place of version 2, and point there."""
    shutil.copytree(sandbox.registry / "versions" / "1", sandbox.registry / "versions" / "2")
    signed_pointer_to(2)(sandbox)


def signed_pointer_to(version: int) -> Break:
    """Return what lets somebody with the key point the channel to a version."""
    registry = "from ml.registry.versions import Registry; Registry('titanic')"
    move = f"{registry}.move('production', {version}, 'deploy')"

    def breaks(sandbox: Sandbox) -> None:
        home = {"ML_HOME": str(sandbox.root / "home")}
        command = [sys.executable, "-c", move]
        subprocess.run(command, cwd=sandbox.repository, env=os.environ | home, check=True)

    return breaks


def point_to(version: int) -> Break:
    """Return what writes another version into the pointer of the channel, without a key."""

    def breaks(sandbox: Sandbox) -> None:
        file = sandbox.registry / "channels" / "production.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"version": version}))

    return breaks


def malicious_pickle(sandbox: Sandbox) -> None:
    """Replace the model by a pickle that runs a command."""
    sign = sandbox.root / "pwned"
    (model(sandbox) / "model.pkl").write_bytes(f"cos\nsystem\n(S'touch {sign}'\ntR.".encode())


def take_back(sandbox: Sandbox) -> None:
    """Let a person roll version 2 back, then deploy the same model again."""
    sandbox.grid({"GradientBoostingClassifier": {"learning_rate": [0.06], "max_depth": [2]}})
    stopped, said = sandbox.ends("train")
    assert not stopped, said
    done = sandbox.run("rollback")
    assert done.returncode == 0, done.stderr


def hold_port(sandbox: Sandbox) -> None:
    """Let another program listen on the port of the service."""
    port = free_port()
    program = (
        "import socket, time; holder = socket.create_server(('127.0.0.1', {})); "
        "print('up', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program.format(port)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout and holder.stdout.readline()
    sandbox.arguments = ["--port", str(port)]


def hold_lock(sandbox: Sandbox) -> Any:
    """Let another build be at the same stage."""
    lock = open(sandbox.build / ".train.lock", "w", encoding="utf-8")  # noqa: SIM115  (held by the caller)
    fcntl.flock(lock, fcntl.LOCK_EX)
    sandbox.grid({"LogisticRegression": {"C": [2.0], "max_iter": [1000]}})
    return lock


def without_catboost(sandbox: Sandbox) -> None:
    """Let the library of a candidate be missing."""
    hidden = sandbox.root / "hidden"
    hidden.mkdir()
    (hidden / "catboost.py").write_text("raise ModuleNotFoundError(\"No module named 'catboost'\")\n")
    sandbox.environment = {"PYTHONPATH": str(hidden)}
    sandbox.grid({"CatBoostClassifier": {"iterations": [50]}})


def environment(**variables: str) -> Break:
    """Return what sets environment variables."""
    return lambda sandbox: sandbox.environment.update(variables)


def limit(prefix: list[str]) -> Break:
    """Return what lets the commands run under a limit of the system."""
    return lambda sandbox: setattr(sandbox, "prefix", prefix)


READ_TRAIN = 'rows = read_part(project, workspace.folder("data"), "train")'
CHECK_REQUEST = "    return table if checked else check(table, contract, what)"
LONG_AGO, FUTURE = pd.Timestamp("2020-12-31"), pd.Timestamp.now().normalize() + pd.Timedelta(days=400)
NO_SEX = 'categorical = ["Embarked"]'
ALL_CATEGORIES = 'categorical = ["Sex", "Embarked", "Title"]'
KNOWN = "known rows changed"
ALTERED = "was altered since"

FAULTS = [
    # data
    Fault("data", "columns Age and Fare swapped", "data", "column 'Age', less_than", swap("Age", "Fare")),
    Fault("data", "columns SibSp and Parch swapped", "data", KNOWN, swap("SibSp", "Parch")),
    Fault(
        "data", "sex shifted by one row", "data", KNOWN, rows(lambda t: t.assign(Sex=np.roll(t["Sex"], 1)))
    ),
    Fault(
        "data",
        "ids dealt out anew",
        "data",
        KNOWN,
        rows(lambda t: t.assign(PassengerId=t["PassengerId"][::-1].to_numpy())),
    ),
    Fault(
        "data",
        "fare in pence",
        "data",
        "column 'Fare', less_than",
        rows(lambda t: t.assign(Fare=t["Fare"] * 240)),
    ),
    Fault(
        "data",
        "fare in another currency",
        "data",
        "drift: Fare ks",
        rows(lambda t: new_ids(t).assign(Fare=t["Fare"] / 10)),
    ),
    Fault(
        "data",
        "age in months",
        "data",
        "column 'Age', less_than",
        rows(lambda t: t.assign(Age=t["Age"] * 12)),
    ),
    Fault(
        "data",
        "another encoding",
        "data",
        "cannot be read as a table",
        text(lambda b: b.decode().encode("utf-16")),
    ),
    Fault(
        "data",
        "letters broken by a wrong encoding",
        "data",
        "'Sex', isin",
        text(lambda content: content.replace(b",female,", ",femâle,".encode())),
    ),
    Fault(
        "data",
        "decimal comma",
        "data",
        "column 'Fare' holds",
        rows(lambda t: t.assign(Fare=t["Fare"].astype(str).str.replace(".", ","))),
    ),
    Fault(
        "data",
        "semicolons between columns",
        "data",
        "separated by semicolons",
        text(lambda content: content.replace(b",", b";")),
    ),
    Fault(
        "data",
        "dates in another order",
        "data",
        "'Day', str_matches",
        rows(lambda t: t.assign(Day=pd.to_datetime(t["Day"]).dt.strftime("%d.%m.%Y"))),
        "temperature",
    ),
    Fault("data", "day and month swapped", "data", KNOWN, rows(swap_day_and_month), "temperature"),
    Fault(
        "data", "rows doubled", "data", "values must be unique", rows(lambda t: pd.concat([t, t.head(40)]))
    ),
    Fault(
        "data",
        "rows doubled under new ids",
        "data",
        "rows are equal to an earlier one",
        rows(lambda t: pd.concat([t, new_ids(t.head(40))])),
    ),
    Fault(
        "data",
        "test rows leaked into train",
        "data",
        "train and test overlap",
        rows(lambda t: pd.concat([t, new_ids(t.tail(60)).assign(Survived=1 - t["Survived"].tail(60))])),
    ),
    Fault(
        "data",
        "half of the file",
        "data",
        "rows: change",
        text(lambda b: b[: b.index(b"\n", len(b) // 2) + 1]),
    ),
    Fault(
        "data",
        "file cut in the middle of a row",
        "data",
        "is the file cut off",
        text(lambda b: b[: len(b) * 6 // 10]),
    ),
    Fault("data", "a hundred rows only", "data", "rows: number", rows(lambda t: t.head(100))),
    Fault(
        "data",
        "ages missing",
        "data",
        "missing: Age",
        rows(lambda t: t.assign(Age=t["Age"].mask(some(t, 0.6)))),
    ),
    Fault(
        "data",
        "sex missing",
        "data",
        "column 'Sex' has missing values",
        rows(lambda t: t.assign(Sex=t["Sex"].mask(some(t, 0.3)))),
    ),
    Fault("data", "a whole column empty", "data", "missing: Fare", rows(lambda t: t.assign(Fare=np.nan))),
    Fault("data", "class always 3", "data", "drift: Pclass", rows(lambda t: new_ids(t).assign(Pclass=3))),
    Fault(
        "data",
        "a category renamed",
        "data",
        "'Sex', isin",
        rows(lambda t: t.replace({"Sex": {"female": "f"}})),
    ),
    Fault(
        "data",
        "two categories become one",
        "data",
        KNOWN,
        rows(lambda t: t.replace({"Embarked": {"Q": "S"}})),
    ),
    Fault("data", "a category never seen", "data", "unseen: Embarked", unseen_category),
    Fault("data", "an unknown join key", "data", "join key: Embarked", unknown_port),
    Fault("data", "a stale file", "data", "did the source deliver", date_from(LONG_AGO), "temperature"),
    Fault(
        "data",
        "columns that contradict each other",
        "data",
        "contradict each other",
        swap("YesterdayLow", "YesterdayHigh"),
        "temperature",
    ),
    Fault(
        "data",
        "target in a feature",
        "data",
        "gives the target away: SibSp",
        rows(lambda t: new_ids(t).assign(SibSp=t["Survived"])),
    ),
    Fault(
        "data",
        "target in a text",
        "data",
        "gives the target away: Ticket",
        rows(lambda t: t.assign(Ticket=np.where(t["Survived"] == 1, "PC 1", "A/5 2"))),
    ),
    Fault(
        "data",
        "target in a feature, with noise",
        "data",
        "gives the target away: Fare",
        rows(lambda t: new_ids(t).assign(Fare=t["Survived"] * 30 + 20 * some(t, 0.5) + t["Fare"] / 100)),
    ),
    Fault("data", "a column gone", "data", "column 'Age' is missing", rows(lambda t: t.drop(columns="Age"))),
    Fault(
        "data",
        "words for numbers",
        "data",
        "column 'Pclass' holds",
        rows(lambda t: t.replace({"Pclass": {3: "third"}})),
    ),
    Fault(
        "data",
        "infinite values",
        "data",
        "has infinite values",
        rows(lambda t: t.assign(Fare=t["Fare"].mask(some(t, 0.01), np.inf))),
    ),
    Fault(
        "data",
        "huge numbers",
        "data",
        "column 'Fare', less_than",
        rows(lambda t: t.assign(Fare=t["Fare"].mask(some(t, 0.01), 1e308))),
    ),
    Fault("data", "an empty file", "data", "is empty", text(lambda b: b"")),
    Fault("data", "a header without rows", "data", "the table has no rows", rows(lambda t: t.head(0))),
    Fault(
        "data",
        "another population: the old",
        "data",
        "drift: Age",
        rows(lambda t: new_ids(t).assign(Age=t["Age"].clip(upper=60) + 15)),
    ),
    Fault(
        "data",
        "first class only",
        "data",
        "drift: Pclass",
        rows(
            lambda t: new_ids(
                pd.concat([t[t["Pclass"] == 1]] * 4)
                .reset_index(drop=True)
                .assign(PassengerId=lambda x: x.index)
            )
        ),
    ),
    # labels
    Fault("labels", "5 % flipped", "data", KNOWN, rows(flip(0.05))),
    Fault("labels", "20 % flipped", "data", KNOWN, rows(flip(0.2))),
    Fault("labels", "50 % flipped", "data", KNOWN, rows(flip(0.5))),
    Fault(
        "labels",
        "shifted by one row",
        "data",
        KNOWN,
        rows(lambda t: t.assign(Survived=np.roll(t["Survived"], 1))),
    ),
    Fault(
        "labels",
        "20 % flipped in new rows",
        "quality",
        "floor: accuracy",
        together(
            rows(lambda t: flip(0.2)(new_ids(t))), settings("max_label_shift = 0.08", "max_label_shift = 1.0")
        ),
    ),
    Fault(
        "labels",
        "50 % flipped in new rows",
        "quality",
        "floor: accuracy",
        rows(lambda t: flip(0.5)(new_ids(t))),
    ),
    Fault(
        "labels", "shuffled in new rows", "quality", "floor: accuracy", rows(lambda t: shuffled(new_ids(t)))
    ),
    Fault(
        "labels",
        "inverted in new rows",
        "data",
        "label balance shift",
        rows(lambda t: new_ids(t).assign(Survived=1 - t["Survived"])),
    ),
    Fault(
        "labels",
        "inverted in new rows, balance unwatched",
        "quality",
        "expectation: being a woman",
        together(
            rows(lambda t: new_ids(t).assign(Survived=1 - t["Survived"])),
            settings("max_label_shift = 0.08", "max_label_shift = 1.0"),
            settings("max_psi = 0.25", "max_psi = 99.0"),
            settings("max_cramers_v = 0.15", "max_cramers_v = 0.9"),
        ),
    ),
    Fault("labels", "one class dropped", "data", "has one class only", rows(lambda t: t[t["Survived"] == 0])),
    Fault(
        "labels",
        "half of the survivors dropped",
        "data",
        "label balance shift",
        rows(lambda t: t[(t["Survived"] == 0) | ~some(t, 0.5)]),
    ),
    Fault(
        "labels",
        "labels missing",
        "data",
        "column 'Survived' has missing values",
        rows(lambda t: t.assign(Survived=t["Survived"].mask(some(t, 0.1)))),
    ),
    Fault(
        "labels",
        "noisy measurements of the target",
        "quality",
        "floor: r2",
        together(
            settings('first = "2024-01-01"', 'first = "2028-01-01"'),
            rows(
                lambda t: later(t, 1461).assign(
                    # Not the seed that made the table: its noise would be the weather of other days.
                    Temperature=t["Temperature"]
                    + np.random.default_rng(77).normal(0, 9, len(t)).clip(-30, 30)
                )
            ),
        ),
        "temperature",
    ),
    Fault("labels", "5 % flipped in new rows", "", "", rows(lambda t: flip(0.05)(new_ids(t)))),
    Fault("labels", "1 % flipped", "", "", rows(flip(0.01))),
    # features
    Fault(
        "features",
        "sex always 0, as in the course",
        "train",
        "feature 'Sex' is constant",
        feature("passengers = passengers.assign(Sex=0 if 'male' else 1)"),
    ),
    Fault(
        "features",
        "a copy of another feature",
        "train",
        "are duplicates",
        code("ml/projects/titanic/features.py", 'SibSp"] + passengers["Parch"] + 1', 'SibSp"] + 1'),
    ),
    Fault(
        "features",
        "values lost silently",
        "train",
        "feature 'Title' is missing",
        code(
            "ml/projects/titanic/features.py",
            'found.where(found.isin(COMMON), "Rare")',
            "found.where(found.isin(COMMON[:2]))",
        ),
    ),
    Fault(
        "features",
        "fitted on the test rows too",
        "quality",
        "reproducible: largest difference",
        code(
            "ml/stages/train.py",
            READ_TRAIN,
            READ_TRAIN + '; rows = __import__("pandas").concat([rows, '
            'read_part(project, workspace.folder("data"), "test")])',
        ),
    ),
    Fault(
        "features",
        "columns in another order when served",
        "quality",
        "serving: largest difference",
        code(
            "ml/data/rows.py",
            CHECK_REQUEST,
            CHECK_REQUEST.replace("return", "table =", 1)
            + '\n    return table.rename(columns={"SibSp": "Parch", "Parch": "SibSp"})',
        ),
    ),
    Fault(
        "features",
        "looks at the other rows of a batch",
        "quality",
        "batch: largest difference",
        feature('passengers = passengers.assign(Fare=passengers["Fare"] - passengers["Fare"].mean())'),
    ),
    Fault(
        "features",
        "chance in a feature",
        "quality",
        "pickle: largest difference",
        feature('passengers = passengers.assign(Age=passengers["Age"] + __import__("random").random() * 20)'),
    ),
    Fault(
        "features",
        "depends on the hash seed",
        "quality",
        "pickle: largest difference",
        feature(
            'passengers = passengers.assign(Age=passengers["Name"].map(lambda name: float(hash(name) % 60)))'
        ),
    ),
    Fault(
        "features",
        "depends on the time zone",
        "quality",
        "in a fresh process elsewhere",
        feature(
            'offset = __import__("time").localtime().tm_gmtoff / 900\n'
            '    passengers = passengers.assign(Age=passengers["Age"] + offset)'
        ),
    ),
    Fault(
        "features",
        "one row's features are not the table's",
        "quality",
        "rows that features_row.py makes otherwise",
        code("ml/projects/titanic/features_row.py", 'passenger["Parch"] + 1', 'passenger["Parch"]'),
    ),
    Fault(
        "features",
        "changes the rows it is given",
        "quality",
        "largest difference",
        code(
            "ml/projects/titanic/features.py",
            '    found = passengers["Name"]',
            '    passengers["Age"] = passengers["Age"] * 0.8\n    found = passengers["Name"]',
        ),
    ),
    Fault(
        "features",
        "fails on a text it does not know",
        "quality",
        "damage[text]",
        code(
            "ml/projects/titanic/features.py",
            "    return passengers.assign(Title=",
            '    if not passengers["Sex"].isin(["male", "female"]).all():\n'
            '        raise ValueError("unknown sex")\n'
            "    return passengers.assign(Title=",
        ),
    ),
    Fault(
        "features",
        "the id as a feature",
        "data",
        "the id 'PassengerId' must not be a feature",
        settings('numeric = ["Pclass",', 'numeric = ["PassengerId", "Pclass",'),
    ),
    Fault(
        "features",
        "the target as a feature",
        "data",
        "the target 'Survived' must not be a feature",
        settings('numeric = ["Pclass",', 'numeric = ["Survived", "Pclass",'),
    ),
    Fault(
        "features",
        "the features that matter left out",
        "quality",
        "floor: accuracy",
        settings(ALL_CATEGORIES, NO_SEX),
    ),
    # training
    Fault(
        "training",
        "an estimator that does not exist",
        "train",
        "is no estimator",
        grid({"GradientBoostedClassifier": {}}),
    ),
    Fault(
        "training", "a regressor for classes", "train", "is no classification estimator", grid({"Ridge": {}})
    ),
    Fault(
        "training",
        "a parameter misspelt",
        "train",
        "has no parameter 'max_dept'",
        grid({"DecisionTreeClassifier": {"max_dept": [3]}}),
    ),
    Fault("training", "an empty grid", "train", "names no candidate", grid({})),
    Fault(
        "training",
        "a metric that does not exist",
        "train",
        "unknown metric",
        settings('metric = "accuracy"', 'metric = "acuracy"'),
    ),
    Fault("training", "one fold", "data", "training.folds", settings("folds = 5", "folds = 1")),
    Fault(
        "training",
        "stopped early: a linear model",
        "train",
        "stopped before it converged",
        grid({"LogisticRegression": {"max_iter": [2]}}),
    ),
    Fault(
        "training",
        "stopped early: boosting",
        "quality",
        "gain: over a dummy",
        grid({"GradientBoostingClassifier": {"n_estimators": [1]}}),
    ),
    Fault(
        "training",
        "the worst trial chosen",
        "quality",
        "floor: accuracy",
        together(
            code("ml/stages/train.py", "best = max(trials", "best = min(trials"),
            grid({"GradientBoostingClassifier": {"n_estimators": [1, 100]}}),
        ),
    ),
    Fault(
        "training",
        "no model at all",
        "quality",
        "gain: over a dummy",
        grid({"DummyClassifier": {"strategy": ["stratified"]}}),
    ),
    Fault(
        "training",
        "another seed each time",
        "quality",
        "reproducible: largest difference",
        together(
            code(
                "ml/training/grid.py",
                '["random_state"] = seed',
                '["random_state"] = int(__import__("time").time())',
            ),
            grid({"RandomForestClassifier": {"n_estimators": [30], "max_depth": [5]}}),
        ),
    ),
    Fault(
        "training",
        "a tenth of the rows",
        "quality",
        "reproducible: largest difference",
        code(
            "ml/stages/train.py",
            READ_TRAIN,
            READ_TRAIN + ".head(200)",
        ),
    ),
    Fault(
        "training",
        "learnt by heart",
        "quality",
        "gap: training minus test",
        grid({"DecisionTreeClassifier": {"min_samples_leaf": [1]}}),
    ),
    Fault(
        "training",
        "boosted far too long",
        "quality",
        "divergence: rise of the test error",
        grid(
            {"GradientBoostingClassifier": {"n_estimators": [600], "max_depth": [4], "learning_rate": [0.3]}}
        ),
    ),
    Fault(
        "training",
        "too large",
        "quality",
        "size: bytes of model.pkl",
        grid({"RandomForestClassifier": {"n_estimators": [900], "min_samples_leaf": [1]}}),
    ),
    Fault(
        "training",
        "too slow",
        "quality",
        "speed: seconds per request",
        feature('__import__("time").sleep(0.6)'),
    ),
    Fault(
        "training",
        "passes the floors but loses to the champion",
        "quality",
        "champion: accuracy",
        together(
            settings(ALL_CATEGORIES, 'categorical = ["Embarked"]'),
            settings(
                'numeric = ["Pclass", "Age", "SibSp", "Parch", "Fare", "FamilySize"]', 'numeric = ["Fare"]'
            ),
            *(
                settings(f"{name} = {value}", f"{name} = 0.3")
                for name, value in (
                    ("accuracy", "0.78"),
                    ("f1", "0.70"),
                    ("precision", "0.68"),
                    ("recall", "0.62"),
                    ("roc_auc", "0.82"),
                )
            ),
            settings("floor = 0.6\n", "floor = 0.1\n"),
            settings("min_gain_over_one_feature = 0.0", "min_gain_over_one_feature = -1.0"),
        ),
    ),
    Fault(
        "training",
        "code that does not pass the linter",
        "lint",
        "lint found",
        code("ml/errors.py", "class MlError", "import os\n\n\nclass MlError"),
        start="lint",
    ),
    Fault(
        "training",
        "code without a docstring",
        "lint",
        "lint found",
        code("ml/errors.py", '    """Everything worked, and a gate said no (exit code 3)."""\n', ""),
        start="lint",
    ),
    # artifacts
    Fault(
        "artifacts",
        "one byte of the model changed",
        "quality",
        ALTERED,
        alter(lambda s: model(s) / "model.pkl", one_byte),
        start="quality",
    ),
    Fault(
        "artifacts",
        "model truncated",
        "quality",
        ALTERED,
        alter(lambda s: model(s) / "model.pkl", lambda b: b[:1000]),
        start="quality",
    ),
    Fault("artifacts", "model that runs a command", "quality", ALTERED, malicious_pickle, start="quality"),
    Fault(
        "artifacts",
        "model changed and the manifest too",
        "quality",
        "signature does not fit",
        reseal,
        start="quality",
    ),
    Fault(
        "artifacts",
        "model without a signature",
        "quality",
        "is not signed",
        lambda s: (model(s) / "manifest.json.sig").unlink(),
        start="quality",
    ),
    Fault(
        "artifacts",
        "model signed by a stranger",
        "quality",
        "signature does not fit",
        another_key,
        start="quality",
    ),
    Fault(
        "artifacts",
        "model of another project",
        "quality",
        "is of project 'temperature'",
        another_projects_model,
        start="quality",
    ),
    Fault(
        "artifacts",
        "model of yesterday's data",
        "quality",
        "was trained on other rows",
        todays_data_only,
        start="quality",
    ),
    Fault(
        "artifacts",
        "golden predictions changed",
        "quality",
        ALTERED,
        alter(lambda s: model(s) / "golden.json", one_byte),
        start="quality",
    ),
    Fault(
        "artifacts",
        "feature code in the model changed",
        "quality",
        ALTERED,
        alter(lambda s: model(s) / "project" / "features.py", lambda b: b + b"\n"),
        start="quality",
    ),
    Fault(
        "artifacts",
        "test rows changed after the data stage",
        "quality",
        ALTERED,
        alter(lambda s: s.build / "data" / "test.parquet", one_byte),
        start="quality",
    ),
    Fault(
        "artifacts",
        "verdict blessed by hand",
        "deploy",
        "signature does not fit",
        bless_by_hand,
        start="deploy",
    ),
    Fault(
        "artifacts",
        "verdict of another model",
        "deploy",
        "about another model",
        another_verdict,
        start="deploy",
    ),
    Fault("artifacts", "version number used twice", "data", "stands in the place of", reuse_number),
    Fault("artifacts", "pointer to a missing version", "data", "no version 99", signed_pointer_to(99)),
    Fault("artifacts", "pointer moved without the key", "data", "not signed by the release key", point_to(1)),
    Fault(
        "artifacts",
        "pointer that is no JSON",
        "data",
        "not valid JSON",
        alter(lambda s: s.registry / "channels" / "production.json", lambda b: b[:20]),
    ),
    Fault(
        "artifacts",
        "champion changed in the registry",
        "data",
        "is not what was signed",
        alter(lambda s: s.registry / "versions" / "1" / "model" / "model.pkl", one_byte),
    ),
    Fault(
        "artifacts", "a version that was taken back", "deploy", "was taken back", take_back, start="deploy"
    ),
    # environment
    Fault(
        "environment",
        "another version in the lock",
        "lint",
        "lint found",
        lambda s: s.edit(s.repository / "requirements.txt", "joblib==", "joblib==0."),
        start="lint",
    ),
    Fault(
        "environment",
        "a library of the lock missing",
        "lint",
        "lint found",
        lambda s: (s.repository / "requirements.txt").open("a").write("lightgbm==4.6.0\n"),
        start="lint",
    ),
    Fault(
        "environment",
        "lock moved after the training",
        "quality",
        "trained under another lock",
        lambda s: (s.repository / "requirements.txt").open("a").write("# moved\n"),
        start="quality",
    ),
    Fault("environment", "library of a candidate missing", "train", "catboost", without_catboost),
    Fault(
        "environment",
        "no disk",
        "train",
        "free space",
        together(limit(SMALL_FILES), grid({"LogisticRegression": {"C": [2.0], "max_iter": [1000]}})),
        start="train",
    ),
    Fault(
        "environment",
        "no memory",
        "train",
        "Unable to allocate",
        feature('passengers = passengers.assign(Age=__import__("numpy").zeros(10**14)[: len(passengers)])'),
    ),
    Fault(
        "environment",
        "a clock that is behind",
        "data",
        "lies in the future",
        date_from(FUTURE),
        "temperature",
    ),
    Fault(
        "environment",
        "registry that cannot be written",
        "deploy",
        "error: ",
        environment(ML_REGISTRY="/proc/registry"),
        start="deploy",
    ),
    Fault(
        "environment",
        "signing key missing",
        "deploy",
        "signing key",
        environment(ML_SIGNING_KEY="/nowhere/key.pem"),
        start="deploy",
    ),
    Fault("environment", "port taken", "deploy", "cannot be used", hold_port, start="deploy"),
    Fault("environment", "two builds at once", "train", "another train is running", hold_lock, start="train"),
    # what a first build has no second chance to notice, and the same beside a champion
    *both("file cut at 90 %", "data", "is the file cut off", text(lambda b: b[: len(b) * 9 // 10])),
    *both("age constant in the last quarter", "data", "stretch: Age", rows(stuck("Age", 30.0))),
    *both("age missing in the last quarter", "data", "stretch: Age", rows(stuck("Age", np.nan))),
    *both(
        "fare constant in the last quarter, new ids",
        "data",
        "stretch: Fare",
        rows(lambda t: stuck("Fare", 8.05)(new_ids(t))),
    ),
    *both(
        "classes reversed",
        "data",
        "usual: Fare of the first class",
        rows(lambda t: t.assign(Pclass=4 - t["Pclass"])),
    ),
    *both("ages of men and women swapped", "data", "usual: Age of a Master", rows(ages_swapped)),
    *[
        fault
        for value in (28, 0, 99)
        for fault in both(
            f"missing ages written as {value}",
            "data",
            "one value: Age",
            rows(lambda t, value=value: t.assign(Age=t["Age"].fillna(value))),
        )
    ],
    *both("SibSp and Parch mixed up", "data", "usual: Parch of a Master", swap("SibSp", "Parch")),
    *both("Age and Fare mixed up", "data", "column 'Age', less_than", swap("Age", "Fare")),
    *both(
        "names shifted by a row",
        "data",
        "usual: Sex of a Mrs or Miss",
        rows(lambda t: t.assign(Name=np.roll(t["Name"], 1))),
    ),
    *both(
        "UTF-8 read as Latin-1",
        "data",
        "garbled: Name",
        rows(lambda t: t.assign(Name=t["Name"].str.replace("e", "é".encode().decode("latin-1")))),
    ),
    *both("40 % of the rows gone", "data", "rows: number", rows(lambda t: t[~some(t, 0.4)])),
    *both(
        "dates shifted by a day", "data", "timeliness: first date", rows(lambda t: later(t, 1)), "temperature"
    ),
    *both(
        "target shifted by a day",
        "data",
        "lag: YesterdayHigh",
        rows(lambda t: t.assign(Temperature=np.roll(t["Temperature"], 1))),
        "temperature",
    ),
    *both("a row number on sorted rows", "train", "feature 'Place' alone gives the target away", row_number),
    *both(
        "two columns whose XOR is the target",
        "quality",
        "too good to be true",
        together(rows(split_in_two), grid({"RandomForestClassifier": {"n_estimators": [100]}})),
        beside=("data", KNOWN),
    ),
    *both("the label looked up by id", "train", "feature 'Known' alone gives the target away", looked_up),
    *both("a file read when it predicts", "quality", "reads the file", read_from_a_file),
    *both(
        "looks at rows after the tenth",
        "quality",
        "batch: largest difference",
        feature('passengers.loc[passengers.index[10:], "Fare"] = passengers["Fare"].mean()'),
    ),
    *both(
        "target in a feature, 15 % of it wrong",
        "data",
        "gives the target away: SibSp",
        rows(lambda t: t.assign(SibSp=flip(0.15)(t)["Survived"])),
    ),
    *both(
        "the time of day in a feature",
        "quality",
        "isolation: largest difference at another time",
        feature('passengers["Fare"] = passengers["Fare"] + pd.Timestamp.now().hour * 3'),
    ),
]
