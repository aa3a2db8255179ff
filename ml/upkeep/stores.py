"""The stores of answers and labels in a backup: copied while services write to them, and brought back."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from ml import locations
from ml.errors import MlError

FOLDER = "store"  # of the backup
DUMP = "postgresql.dump"


def copy_stores(folder: Path) -> list[Path]:
    """Copy every store into a folder and return the files; what a service writes meanwhile is not in them."""
    if url := locations.shared_store():
        if _is_sqlite(url):
            return [_copy_sqlite(_sqlite_file(url), folder / "shared.sqlite")]
        _postgresql("pg_dump", url, "--format=custom", "--no-owner", f"--file={folder / DUMP}")
        return [folder / DUMP]
    files = sorted(locations.store_folder().glob("*.sqlite"))
    return [_copy_sqlite(file, folder / file.name) for file in files]


def check_place(names: list[str]) -> None:
    """Raise ``MlError`` if stores of these names cannot be brought back here: others are in their place."""
    url = locations.shared_store()
    for name in names:
        if name == DUMP:
            if not url or _is_sqlite(url):
                raise MlError(
                    f"the backup holds a PostgreSQL store: name an empty database in ML_STORE ({name})"
                )
            continue
        place = _place(name)
        if place.exists():
            raise MlError(f"{place} is there already: a backup is restored where there is no store")


def bring_back(folder: Path, names: list[str]) -> None:
    """Put stores from the folder of an unpacked backup in their places."""
    for name in names:
        if name == DUMP:
            url = locations.shared_store()
            assert url
            _postgresql(
                "pg_restore", url, "--exit-on-error", "--single-transaction", "--no-owner", str(folder / name)
            )
            continue
        place = _place(name)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / name).chmod(0o600)
        shutil.move(folder / name, place)


def _place(name: str) -> Path:
    url = locations.shared_store()
    return _sqlite_file(url) if url else locations.store_folder() / name


def _is_sqlite(url: str) -> bool:
    from ml.store.database import parsed_url  # SQLAlchemy, which most of these commands need not load

    return parsed_url(url).get_backend_name() == "sqlite"


def _sqlite_file(url: str) -> Path:
    from ml.store.database import parsed_url

    return Path(parsed_url(url).database or "")


def _copy_sqlite(file: Path, copy: Path) -> Path:
    if not file.exists():
        raise MlError(f"{file} is missing: is ML_STORE right?")
    try:
        with (
            closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, without a journal beside it
    except sqlite3.Error as error:
        raise MlError(f"{file} cannot be copied: {error}: is it the store that ML_STORE means?") from error
    return copy


def _postgresql(program: str, url: str, *arguments: str) -> None:
    """Run a program of PostgreSQL's client; what it needs to know goes through its environment."""
    from sqlalchemy import URL

    from ml.store.database import parsed_url

    found = shutil.which(program)
    if found is None:
        raise MlError(f"{program} is missing: install PostgreSQL's client (Debian: postgresql-client)")
    parsed = parsed_url(url)
    # The address of a store as PostgreSQL's own programs write it; all but the password may be seen.
    parts = {name: getattr(parsed, name) for name in ("username", "host", "port", "database", "query")}
    address = URL.create("postgresql", **parts).render_as_string()
    environment = dict(os.environ)
    if parsed.password is not None:
        environment["PGPASSWORD"] = str(parsed.password)
    done = subprocess.run(
        [found, f"--dbname={address}", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason told"]
        raise MlError(f"{program}: {lines[0]}")
