"""Data that was marked bad: which rows, since when, why; kept beside the versions, and never deleted.

``<registry>/<project>/recalls/<n>.json`` tells of a recall, signed with the release key; ``<n>.parquet`` has
the fingerprints of its rows.
"""

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from ml.errors import MlError
from ml.files import digest, now, read_json, write_json
from ml.records import Part, parse
from ml.registry import signing
from ml.registry.channel import person
from ml.registry.versions import NUMBER, Registry
from ml.workspace import ROWS_FILE

if TYPE_CHECKING:
    import pandas as pd


class Recall(Part):
    """One recall; ``by_id``: whatever a row of these ids says is bad, not what it said then alone."""

    number: int
    project: str
    what: str
    why: str
    at: str
    by: str
    by_id: bool
    rows: int
    sha256: str
    undone: str | None = None


def recalls(registry: Registry) -> list[Recall]:
    """Return every recall, oldest first; one that the release key did not sign raises ``MlError``."""
    return [_read(registry, file) for file in sorted(_folder(registry).glob("*.json"), key=_number)]


def active(registry: Registry) -> list[Recall]:
    """Return the recalls that hold."""
    return [one for one in recalls(registry) if one.undone is None]


def tainted(registry: Registry, holding: list[Recall], rows: "pd.DataFrame") -> "pd.Series":
    """Return for each row (its fingerprints) which recall it is in, else 0.

    ``holding`` are the recalls that are asked, as ``active`` returns them. A row whose content was never read
    as it is now is known by its id alone: it may be the bad one.
    """
    import pandas as pd  # most channels have no recall, and ask at each start

    found = pd.Series(0, index=rows.index)
    for one in holding:
        bad = _rows_of(_folder(registry) / f"{one.number}.parquet", one.sha256)
        hit = rows["id"].isin(bad["id"])
        if not one.by_id:
            hit &= _among(rows, bad, "content") | ~_among(rows, bad, "reading")
        found = found.mask(hit & (found == 0), one.number)
    return found


def _among(rows: "pd.DataFrame", bad: "pd.DataFrame", what: str) -> "pd.Series":
    """Tell of each row whether it is there with the same; of what was not kept once, all are."""
    import pandas as pd

    if what not in rows or what not in bad:
        return pd.Series(True, index=rows.index)
    pairs = pd.MultiIndex.from_frame(bad[["id", what]])
    return pd.Series(pd.MultiIndex.from_frame(rows[["id", what]]).isin(pairs), index=rows.index)


def recall_of(registry: Registry, version: int) -> Recall | None:
    """Return the recall that a version was trained on rows of, if there is one."""
    if not (holding := active(registry)):
        return None
    hit = trained_on(registry, holding, registry.folder(version) / "model")
    return next((one for one in holding if one.number in set(hit)), None)


def trained_on(registry: Registry, holding: list[Recall], model: Path) -> "pd.Series":
    """Return for each row that the model in a folder learned from which recall it is in, else 0."""
    import pandas as pd

    rows = pd.read_parquet(model / ROWS_FILE)
    return tainted(registry, holding, rows[rows["part"] != "test"])


def add(registry: Registry, what: str, why: str, rows: "pd.DataFrame", *, by_id: bool) -> Recall:
    """Mark rows as bad, by their fingerprints, and return the recall."""
    folder = _folder(registry)
    folder.mkdir(parents=True, exist_ok=True)
    number = max((_number(file) for file in folder.glob("*.json")), default=0) + 1
    file = folder / f"{number}.parquet"
    prints_alone(rows).drop_duplicates().to_parquet(file, index=False)
    recall = Recall(
        number=number,
        project=registry.project,
        what=what,
        why=why,
        at=now(),
        by=person(),
        by_id=by_id,
        rows=len(rows),
        sha256=digest(file),
    )
    _write(registry, recall)
    return recall


def prints_alone(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return the fingerprints of rows; those of old have no ``reading``."""
    return rows[[name for name in ("id", "content", "reading") if name in rows]]


def undo(registry: Registry, number: int) -> Recall:
    """Let a recall hold no more; an unknown number, or one that was undone, raises ``MlError``."""
    known = {one.number: one for one in recalls(registry)}
    if number not in known:
        raise MlError(
            f"no recall {number} of {registry.project}: it has {', '.join(map(str, known)) or 'none'}"
        )
    if known[number].undone:
        raise MlError(f"recall {number} of {registry.project} was undone already: {known[number].undone}")
    recall = known[number].model_copy(update={"undone": f"{now()} by {person()}"})
    _write(registry, recall)
    return recall


@functools.lru_cache(maxsize=8)
def _rows_of(file: Path, _: str) -> "pd.DataFrame":
    """Return the fingerprints of a recall, which are asked for each batch of a table; read once a digest."""
    import pandas as pd

    return pd.read_parquet(file)


def _folder(registry: Registry) -> Path:
    return registry.root / "recalls"


def _number(file: Path) -> int:
    if not NUMBER.fullmatch(file.stem):
        raise MlError(f"{file} is no recall, which have numbers: move it away")
    return int(file.stem)


def _write(registry: Registry, recall: Recall) -> None:
    content = recall.model_dump(mode="json")
    write_json(
        _folder(registry) / f"{recall.number}.json",
        content | {"signature": signing.seal({"recall": content})},
    )


def _read(registry: Registry, file: Path) -> Recall:
    content = read_json(file)
    signature = content.pop("signature", None)
    recall = parse(Recall, content, str(file))
    whole = signing.sealed({"recall": content}, signature) and (recall.project, recall.number) == (
        registry.project,
        _number(file),
    )
    rows = file.with_suffix(".parquet")
    if not whole or not rows.exists() or digest(rows) != recall.sha256:
        raise MlError(
            f"{file} is not signed by the release key, or its rows were altered: recall the data again"
        )
    return recall
