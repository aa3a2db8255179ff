"""A small world with a model in production, in which causes are injected: answers and labels."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ml.monitoring.checks import Seen, see
from ml.monitoring.diagnosis import Diagnosis, diagnose
from ml.monitoring.window import DAY, Answers, Window
from ml.project import Project

ROWS_A_DAY = 200
SETTINGS = {
    "title": "world",
    "task": "classification",
    "target": "answer",
    "id": "number",
    "source": {"kind": "csv", "labelled": "rows.csv"},
    "split": {"test_share": 0.2},
    "features": {"numeric": ["warmth", "size", "age"], "categorical": ["kind", "place"]},
    "training": {"metric": "roc_auc"},
    "gates": {"floors": {"roc_auc": 0.6}, "slices": {"by": [["place"]]}},
    "channels": {"production": 8000},
}


@dataclass
class World:
    """Rows of any day and what comes true of them; ``change`` is what is injected from a day on."""

    seed: int
    random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        """Begin."""
        self.random = np.random.default_rng(self.seed)

    def inputs(self, days: np.ndarray) -> pd.DataFrame:
        """Return a row for each time (in days): weather by day and night, and what has neither."""
        random, rows = self.random, len(days)
        nights = np.arange(int(days.min()) - 1, int(days.max()) + 2)
        weather = np.interp(days, nights, random.normal(0, 0.7, len(nights)))
        return pd.DataFrame(
            {
                "warmth": 15 + 2 * weather + 3 * np.sin(2 * np.pi * days) + random.normal(0, 1, rows),
                "size": np.exp(random.normal(1, 0.5, rows)).round(3),
                "age": random.integers(18, 90, rows),
                "kind": random.choice(["round", "square", "long"], rows, p=[0.5, 0.3, 0.2]),
                "place": random.choice(["north", "south"], rows),
            }
        )

    @staticmethod
    def chance(rows: pd.DataFrame, *, concept: bool = False) -> np.ndarray:
        """Return how probable a yes is; when the ``concept`` changed, by another rule."""
        size, kind = np.log(rows["size"]) - 1, (rows["kind"] == "round").to_numpy()
        pull = (-1.5 if concept else 1.5) * size + (rows["age"] - 54) / 20 + 0.7 * kind - 0.4
        return np.asarray(1 / (1 + np.exp(-pull)))

    def answers(self, days: np.ndarray, inputs: pd.DataFrame, *, concept: bool = False) -> Answers:
        """Return what the model says of rows, and what comes true of nine in ten of them."""
        stated = self.chance(inputs.assign(**{"size": pd.to_numeric(inputs["size"]).fillna(2.7)}))
        truth = self.random.random(len(days)) < self.chance(inputs, concept=concept)
        told = pd.DataFrame(
            {
                "at": days * DAY,
                "version": 1,
                "milliseconds": self.random.gamma(4, 1, len(days)),
                "label": truth.astype(int).astype(object),
                "labelled": self.random.random(len(days)) < 0.9,
                "sender": np.where(np.arange(len(days)) % 3, "many", "few"),
            }
        )
        said = pd.DataFrame(
            {
                "prediction": (stated > 0.5).astype(int),
                "probability_0": 1 - stated,
                "probability_1": stated,
            }
        )
        return Answers(inputs, said, told)


def project(**monitoring: object) -> Project:
    """Return the settings of the world's project."""
    made = Project.model_validate(SETTINGS | {"monitoring": monitoring})
    made._folder, made._name = Path("world"), "world"
    return made


def project_of_numbers() -> Project:
    """Return the settings of a project that predicts a number."""
    made = Project.model_validate(SETTINGS | {"task": "regression", "gates": {"floors": {"r2": 0.1}}})
    made._folder, made._name = Path("world"), "world"
    return made


@dataclass(frozen=True)
class Rows:
    """Rows of some days: what was asked, what a model said, and what came true."""

    inputs: pd.DataFrame
    said: pd.DataFrame
    truth: pd.Series

    @property
    def reference(self) -> pd.DataFrame:
        """The rows as a build keeps them of its test."""
        return pd.concat([self.inputs, self.said], axis=1).assign(answer=self.truth)


def rows_of_classes(
    world: World, begins: float, ends: float, rows: int, *, drift: bool = False, sharper: float = 1.0
) -> Rows:
    """Return rows of a model that states probabilities; one that is ``sharper`` is surer than it may be."""
    days = np.sort(world.random.uniform(begins, ends, rows))
    inputs = world.inputs(days)
    answers = world.answers(days, moved(inputs, days > begins) if drift else inputs)
    odds = (answers.said["probability_1"] / answers.said["probability_0"]) ** sharper
    said = answers.said.assign(probability_0=1 / (1 + odds), probability_1=odds / (1 + odds))
    return Rows(answers.inputs, said, answers.told["label"].astype(int))


def rows_of_numbers(world: World, begins: float, ends: float, rows: int, *, drift: bool = False) -> Rows:
    """Return rows of a model that states a number; it is further off where things are large."""
    days = np.sort(world.random.uniform(begins, ends, rows))
    inputs = world.inputs(days)
    inputs = moved(inputs, days > begins) if drift else inputs
    said = 3 * np.log(inputs["size"]) + inputs["age"] / 20
    truth = said + world.random.normal(0, 0.2 + 0.3 * inputs["size"].clip(upper=8))
    return Rows(inputs, pd.DataFrame({"prediction": said}), truth)


def nothing(answers: Answers, since: np.ndarray) -> None:
    """Inject nothing."""


def constant(answers: Answers, since: np.ndarray) -> None:
    """A sensor that says one thing from then on."""
    answers.inputs.loc[since, "size"] = 2.0


def missing(answers: Answers, since: np.ndarray) -> None:
    """A feed that leaves a column out."""
    answers.inputs.loc[since, "kind"] = None


def unit(answers: Answers, since: np.ndarray) -> None:
    """Degrees of Fahrenheit where those of Celsius were."""
    answers.inputs.loc[since, "warmth"] = answers.inputs.loc[since, "warmth"] * 1.8 + 32


def unseen(answers: Answers, since: np.ndarray) -> None:
    """Categories by another code."""
    answers.inputs.loc[since, "kind"] = answers.inputs.loc[since, "kind"].str.upper()


def impossible(answers: Answers, since: np.ndarray) -> None:
    """Grams where kilograms were."""
    answers.inputs.loc[since, "size"] *= 1000


def one_slice(answers: Answers, since: np.ndarray) -> None:
    """One place that sends a column no more."""
    answers.inputs.loc[since & (answers.inputs["place"] == "north").to_numpy(), "kind"] = None


def stopped(answers: Answers, since: np.ndarray) -> None:
    """Labels that come no more."""
    answers.told.loc[since, "labelled"] = False


def flooded(answers: Answers, since: np.ndarray) -> None:
    """Labels that all say the same."""
    answers.told.loc[since, "label"] = 1


def slow(answers: Answers, since: np.ndarray) -> None:
    """A service that takes its time."""
    answers.told.loc[since, "milliseconds"] += 400


def poisoned(answers: Answers, since: np.ndarray) -> None:
    """One of two clients that tells the opposite of what came true."""
    own = since & (answers.told["sender"] == "few").to_numpy()
    answers.told.loc[own, "label"] = 1 - answers.told.loc[own, "label"]


@dataclass(frozen=True)
class Injected:
    """A cause, and how it is brought about: by what is done to answers, or to the world itself."""

    cause: str
    spoil: Callable[[Answers, np.ndarray], None] = nothing
    drift: bool = False
    concept: bool = False


INJECTED = {
    "nothing": Injected("nothing"),
    "inputs that move": Injected("drift", drift=True),
    "another world": Injected("concept", concept=True),
    "another world of other inputs": Injected("drift and concept", drift=True, concept=True),
    "a constant": Injected("broken feed", constant),
    "a column missing": Injected("broken feed", missing),
    "another unit": Injected("broken feed", unit),
    "categories by another code": Injected("broken feed", unseen),
    "impossible numbers": Injected("broken feed", impossible),
    "a column missing in one place": Injected("broken feed", one_slice),
    "labels stopped": Injected("labels", stopped),
    "labels all the same": Injected("labels", flooded),
    "labels of one client poisoned": Injected("labels", poisoned),
    "a slow service": Injected("service", slow),
}


def moved(inputs: pd.DataFrame, since: np.ndarray) -> pd.DataFrame:
    """Return rows of other people: older, larger, of another kind; the rule is the same."""
    changed = inputs.copy()
    changed.loc[since, "age"] = np.clip(changed.loc[since, "age"] + 18, 18, 95)
    changed.loc[since, "size"] = changed.loc[since, "size"] * 1.6
    return changed


@dataclass(frozen=True)
class Found(Seen):
    """What a look saw, and when its world began (Unix time)."""

    begins: float = 0.0


@dataclass(frozen=True)
class Production:
    """Answers of some days, in whose course a cause begins, beside the test rows of their model.

    ``begins`` and ``changes`` are in days.
    """

    project: Project
    reference: pd.DataFrame
    answers: Answers
    begins: float
    changes: float

    def look(self, at: float) -> tuple[Diagnosis, Found]:
        """Return what a look at a time (in days) finds, and what it saw; younger rows have no label yet."""
        now, week = at * DAY, self.project.monitoring.window_days * DAY
        age = self.project.monitoring.matured_days * DAY
        known = self.answers.part((self.answers.told["at"] <= now).to_numpy())
        when = known.told["at"]
        known.told.loc[when > now - age, "labelled"] = False
        window = Window(
            now,
            1,
            known.part(when.between(now - 2 * week, now - week)),
            known.part(when > now - week),
            known.part((when <= now - age) & (when > now - age - week)),
            (1400, 1260),
        )
        seen = see(self.project, self.reference, window)
        return diagnose(seen), Found(**vars(seen), begins=self.begins * DAY)


def produce(
    injected: Injected, seed: int, *, days: float = 14.0, change: float = 8.0, rows_a_day: int = ROWS_A_DAY
) -> Production:
    """Return the answers of some days, and what is injected after ``change`` of them."""
    world = World(seed)
    start = float(world.random.uniform(100, 300))
    past = np.sort(world.random.uniform(start - 60, start, 3000))
    before = world.answers(past, world.inputs(past))
    truth = before.told["label"].astype(int)
    reference = pd.concat([before.inputs, before.said], axis=1).assign(answer=truth)
    times = np.sort(world.random.uniform(start, start + days, int(rows_a_day * days)))
    since = times > start + change
    inputs = world.inputs(times)
    if injected.drift:
        inputs = moved(inputs, since)
    answers = world.answers(times, inputs)
    if injected.concept:
        other = world.answers(times, inputs, concept=True).told["label"]
        answers.told.loc[since, "label"] = other[since]
    injected.spoil(answers, since)
    return Production(project(max_milliseconds=200.0), reference, answers, start, start + change)


def look_at(
    injected: Injected, seed: int, *, day: float = 14.0, change: float = 8.0, rows_a_day: int = ROWS_A_DAY
) -> tuple[Diagnosis, Found]:
    """Return what a look on a day finds of what was injected on a day before, and what it saw."""
    made = produce(injected, seed, days=day, change=change, rows_a_day=rows_a_day)
    return made.look(made.begins + day)
