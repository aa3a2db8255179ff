"""`ml diff`: two versions of the data, or two files, side by side, and a page with a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Column, Table

from ml.errors import UsageError
from ml.project import Project
from ml.records import DataManifest
from ml.registry.versions import Registry
from ml.results import results
from ml.workspace import ROWS_FILE, Workspace

if TYPE_CHECKING:
    from ml.data.row_index import Rows

PAGE = "diff.html"


@dataclass(frozen=True)
class Side:
    """One of the two: the fingerprints of its rows, the statistics and types of its columns."""

    name: str
    rows: "Rows"
    statistics: dict[str, dict[str, Any]]
    types: dict[str, str]


def diff(project: Project, build: Path, first: str, second: str) -> None:
    """Print what became of the rows and columns of ``first`` in ``second``, and write ``diff.html``.

    Each is the number of a registered version, ``build`` (what the data stage built last) or a file. Of
    versions and builds the statistics are those of the train rows.
    """
    from ml.data.difference import column_changes, row_changes

    workspace = Workspace(build, project.name)
    before, now = (_side(project, workspace, given) for given in (first, second))
    rows = row_changes(before.rows, now.rows)
    types = {
        name: (before.types.get(name, ""), now.types.get(name, ""))
        for name in dict.fromkeys([*before.types, *now.types])
    }
    columns = column_changes(before.statistics, now.statistics, types)
    table = Table(
        "column", Column(before.name, overflow="fold"), Column(now.name, overflow="fold"), "psi", "p"
    )
    for one in columns:
        moved = (f"{one.moved.value:.3f}", f"{one.moved.p_value:.2g}") if one.moved else ("", "")
        table.add_row(one.name, one.before, one.now, *moved)
    results.print(f"rows: {rows}")
    results.print(table)
    page = workspace.root / PAGE
    _write_page(page, project, before, now, [f"Rows: {rows}."], columns)
    results.print(f"page: {page}")


def _side(project: Project, workspace: Workspace, given: str) -> Side:
    if given.isdecimal():
        registry, version = Registry(project.name), int(given)
        registry.read(version)
        manifest = registry.data_manifest(version)
        rows = registry.folder(version) / "model" / ROWS_FILE
        return Side(f"version {given}", rows, manifest.reference_statistics, manifest.columns)
    if given == "build":
        manifest = workspace.record(DataManifest)
        rows = workspace.folder("data") / ROWS_FILE
        return Side("build", rows, manifest.reference_statistics, manifest.columns)
    return _of_file(project, Path(given))


def _of_file(project: Project, file: Path) -> Side:
    from ml.data.contract import examine, load_contract, text_columns
    from ml.data.drift import statistics
    from ml.data.gap_words import words_that_are_values
    from ml.data.personal_rules import obey
    from ml.data.row_index import fingerprints
    from ml.data.sources import number_rows
    from ml.data.sources.table_files import read_whole
    from ml.source_settings import Agreed, format_of

    if not file.exists():
        raise UsageError(f"{file}: neither a version's number, nor build, nor a file")
    contract = load_contract(project)
    source = project.source
    table = read_whole(file, format_of(source), text_columns(contract), words_that_are_values(contract))
    if isinstance(source, Agreed) and source.number_rows and source.number_rows not in table:
        table = number_rows(table, source.number_rows)
    if project.id not in table:
        raise UsageError(f"{file}: has no column '{project.id}', which names the rows")
    table, _ = examine(obey(table, project), contract, project.personal)
    known = statistics(table.drop(columns=project.id), project.personal)
    types = {str(name): str(dtype) for name, dtype in table.dtypes.items()}
    return Side(file.name, fingerprints(table, project), known, types)


def _write_page(
    file: Path, project: Project, before: Side, now: Side, lines: list[str], columns: list[Any]
) -> None:
    import base64

    from ml.quality.column_pictures import columns as distributions
    from ml.quality.markup import STYLE, Markup, element, page, table

    picture = distributions(now.statistics, before.statistics, before.name, now.name)
    drawn = Markup("")
    if picture:
        content = base64.b64encode(picture.svg()).decode()
        image = element("img", src=f"data:image/svg+xml;base64,{content}", alt=picture.finding)
        drawn = element("figure", image, element("figcaption", picture.caption))
    rows = [[one.name, one.before, one.now, f"{one.moved.value:.3f}" if one.moved else ""] for one in columns]
    title = f"{project.name}: from {before.name} to {now.name}"
    text = page(
        title,
        f"<style>{STYLE.read_text(encoding='utf-8')}</style>",
        element("h1", title),
        *(element("p", line) for line in lines),
        drawn,
        table(["column", before.name, now.name, "psi"], rows),
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
