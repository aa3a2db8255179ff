"""The programs that others serve models with, each in an environment of its own and asked the same rows."""

import contextlib
import hashlib
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ml import locations
from ml.errors import MlError
from ml.serving import service
from ml.serving.client import wait_until

ENVIRONMENTS = locations.ROOT / ".venv-bench"
START_SECONDS = 120
# The estimator that is served on our side, behind what a data scientist would write before it.
FIT = """
import pickle, sys
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

rows = pd.read_csv(sys.argv[1])
target = rows.pop("Survived")
NUMBERS, TEXTS = ["Age", "SibSp", "Parch", "Fare"], ["Pclass", "Sex", "Embarked"]
model = make_pipeline(
    make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), NUMBERS),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), TEXTS),
    ),
    GradientBoostingClassifier(learning_rate=0.05, max_depth=2, random_state=42),
).fit(rows, target)
pickle.dump(model, open("model.pkl", "wb"))
"""
MLFLOW = """
import pickle
import mlflow.sklearn
model = pickle.load(open("model.pkl", "rb"))
mlflow.sklearn.save_model(model, "model", serialization_format="cloudpickle")
"""
BENTOML = """
import pickle
import bentoml
import pandas as pd

@bentoml.service(workers=1, traffic={"timeout": 60})
class Titanic:
    def __init__(self) -> None:
        self.model = pickle.load(open("model.pkl", "rb"))

    @bentoml.api
    def predict(self, rows: list[dict]) -> list[float]:
        return self.model.predict_proba(pd.DataFrame(rows))[:, 1].tolist()
"""
FASTAPI = """
import pickle
import pandas as pd
from fastapi import FastAPI

app = FastAPI()
model = pickle.load(open("model.pkl", "rb"))

@app.post("/predict")
def predict(rows: list[dict]) -> list[float]:
    return model.predict_proba(pd.DataFrame(rows))[:, 1].tolist()
"""
HELLO = """
from fastapi import FastAPI

app = FastAPI()

@app.get("/hello")
async def hello() -> dict[str, str]:
    return {"hello": "world"}
"""


@dataclass(frozen=True)
class Peer:
    """A service of somebody else: where rows are posted to, and under which name as JSON."""

    name: str
    url: str
    key: str = ""  # of the object that holds the list of rows; a bare list without it
    csv_url: str = ""  # where a CSV file is posted to, if it takes one


def environment(name: str) -> Path:
    """Return the folder of programs that ``tests/bench/<name>.txt`` asks for, installed if need be."""
    wanted = Path(__file__).with_name(f"{name}.txt")
    place = ENVIRONMENTS / name
    done = place / hashlib.sha256(wanted.read_bytes()).hexdigest()
    if not done.exists():
        print(f"installing {wanted.name} into {place} (once)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        install = [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--requirement", wanted]
        subprocess.run([*install, "--disable-pip-version-check"], check=True)
        done.touch()
    return place / "bin"


@contextlib.contextmanager
def peers(folder: Path, train: Path) -> Iterator[list[Peer]]:
    """Serve such a model by MLflow, by BentoML and by the least that FastAPI needs, a worker each."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(start(folder, train)) for start in (_mlflow, _bentoml, _fastapi)]


@contextlib.contextmanager
def _mlflow(folder: Path, train: Path) -> Iterator[Peer]:
    programs, home, port = environment("mlflow"), folder / "mlflow", service.free_port()
    _fit(programs, home, train)
    subprocess.run([programs / "python", "-c", MLFLOW], cwd=home, check=True)
    options = ["--model-uri", "model", "--port", str(port), "--host", "127.0.0.1", "--env-manager", "local"]
    url = f"http://127.0.0.1:{port}"
    with _running([programs / "mlflow", "models", "serve", *options, "--workers", "1"], home, f"{url}/ping"):
        yield Peer("MLflow", f"{url}/invocations", "dataframe_records", f"{url}/invocations")


@contextlib.contextmanager
def _bentoml(folder: Path, train: Path) -> Iterator[Peer]:
    programs, home, port = environment("bentoml"), folder / "bentoml", service.free_port()
    _fit(programs, home, train)
    (home / "titanic.py").write_text(BENTOML, encoding="utf-8")
    url = f"http://127.0.0.1:{port}"
    command: list[str | Path] = [programs / "bentoml", "serve", "titanic:Titanic", "--port", str(port)]
    with _running(command, home, f"{url}/readyz"):
        yield Peer("BentoML", f"{url}/predict", "rows")


@contextlib.contextmanager
def _fastapi(folder: Path, train: Path) -> Iterator[Peer]:
    home = folder / "fastapi"
    _fit(Path(sys.executable).parent, home, train)
    with _uvicorn(home, FASTAPI) as url:
        yield Peer("FastAPI", f"{url}/predict")


@contextlib.contextmanager
def start_hello(folder: Path) -> Iterator[Peer]:
    """Serve a FastAPI application that does nothing: what no service on this machine is faster than."""
    home = folder / "hello"
    home.mkdir()
    with _uvicorn(home, HELLO) as url:
        yield Peer("hello", f"{url}/hello")


@contextlib.contextmanager
def _uvicorn(home: Path, application: str) -> Iterator[str]:
    (home / "application.py").write_text(application, encoding="utf-8")
    port = service.free_port()
    command: list[str | Path] = [sys.executable, "-m", "uvicorn", "application:app", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with _running([*command, "--log-level", "warning", "--no-access-log"], home, f"{url}/docs"):
        yield url


def _fit(programs: Path, home: Path, train: Path) -> None:
    home.mkdir(parents=True)
    subprocess.run([programs / "python", "-c", FIT, train], cwd=home, check=True)


@contextlib.contextmanager
def _running(command: list[str | Path], home: Path, url: str) -> Iterator[None]:
    programs = f"{Path(command[0]).parent}:{os.environ['PATH']}"  # they start programs of their own
    kept = {"PATH": programs, "BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (
        open(home / "log", "wb") as log,
        subprocess.Popen(
            command, cwd=home, env=os.environ | kept, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            wait_until(lambda: True if _answers(url) or process.poll() is not None else None, START_SECONDS)
            if not _answers(url):
                raise MlError(f"{command[0]} does not answer: {home / 'log'} tells why")
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
