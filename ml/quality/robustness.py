"""Damage: what goes wrong with rows on their way to the model, done to test rows on purpose."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from pandas.api import types

from ml.project import Project

STRENGTHS = (0.05, 0.1, 0.2, 0.4)
JUDGED_STRENGTH = 0.1  # the share of values that is damaged; of noise, its deviation in standard deviations

Damaged = Callable[[Project, pd.DataFrame, float, np.random.Generator], pd.DataFrame]


def add_noise(
    project: Project, rows: pd.DataFrame, strength: float, random: np.random.Generator
) -> pd.DataFrame:
    """Add Gaussian noise to every column of numbers, ``strength`` of its own standard deviation."""
    return rows.assign(
        **{
            name: rows[name] + random.normal(0, strength * (rows[name].std(ddof=0) or 0.0), len(rows))
            for name in _numbers(project, rows)
        }
    )


def swap_categories(
    project: Project, rows: pd.DataFrame, strength: float, random: np.random.Generator
) -> pd.DataFrame:
    """Give a share of the rows the category of another row, in every categorical column."""
    changes = {}
    for name in project.features.categorical:
        if name in rows:
            others = rows[name].to_numpy()[random.permutation(len(rows))]
            changes[name] = rows[name].mask(random.random(len(rows)) < strength, others)
    return rows.assign(**changes)


def lose_values(
    project: Project, rows: pd.DataFrame, strength: float, random: np.random.Generator
) -> pd.DataFrame:
    """Remove a share of the values of every feature column."""
    changes = {}
    for name in project.features.columns:
        if name in rows:
            lost = random.random(len(rows)) < strength
            kept = rows[name].astype(float) if types.is_numeric_dtype(rows[name]) else rows[name]
            changes[name] = kept.mask(lost)
    return rows.assign(**changes)


def mistake_units(
    project: Project, rows: pd.DataFrame, strength: float, random: np.random.Generator
) -> pd.DataFrame:
    """Make a share of the numbers in every column of fractions a hundred times too large."""
    return rows.assign(
        **{
            name: rows[name].mask(random.random(len(rows)) < strength, rows[name] * 100)
            for name in _numbers(project, rows)
        }
    )


def respell(
    project: Project, rows: pd.DataFrame, strength: float, random: np.random.Generator
) -> pd.DataFrame:
    """Write a share of the texts in capitals, with blanks around them."""
    changes = {}
    for name in rows:
        if name != project.id and not types.is_numeric_dtype(rows[name]):
            chosen = random.random(len(rows)) < strength
            changes[str(name)] = rows[name].mask(chosen, " " + rows[name].str.upper() + " ")
    return rows.assign(**changes)


DAMAGES: dict[str, Damaged] = {
    "noise": add_noise,
    "swapped categories": swap_categories,
    "missing values": lose_values,
    "units": mistake_units,
    "text": respell,
}


def _numbers(project: Project, rows: pd.DataFrame) -> list[str]:
    """Return the raw columns of fractions among the features; counts and ids are not measured."""
    return [name for name in project.features.numeric if name in rows and types.is_float_dtype(rows[name])]
