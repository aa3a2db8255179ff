"""What the commands are called and what they take, with the variables that stand for an option."""

import argparse
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from ml.build_page import tell_build_page
from ml.locations import ROOT, default_project
from ml.option_types import addresses, archive, count, earlier, percent, port, seconds
from ml.stages import STAGES

DESCRIPTION = "From tabular data to a model in production: the stages of the Jenkinsfile, runnable anywhere."
Command = Callable[[argparse.Namespace], None]
Add = Callable[[str, str], argparse.ArgumentParser]


class Parser(argparse.ArgumentParser):
    """Tells wrong usage on the page of a build, too."""

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong and exit with 2."""
        with suppress(OSError):
            tell_build_page(f"error: {message}")
        super().error(message)


def make_parser(commands_by_name: Mapping[str, Command]) -> argparse.ArgumentParser:
    """Return the parser; each command, the stages among them, runs what its name stands for."""
    parser = Parser(prog="python -m ml", description=DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, help_text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=help_text, description=help_text[0].upper() + help_text[1:] + "."
        )
        sub.set_defaults(command=commands_by_name.get(name, commands_by_name["stage"]), name=name)
        sub.add_argument(
            "--project",
            default=os.environ.get("PROJECT") or default_project(),
            metavar="NAME",
            help="a folder in ml/projects (default: $PROJECT, else titanic, else the first)",
        )
        sub.add_argument(
            "--build",
            type=Path,
            default=ROOT / "build",
            metavar="DIR",
            help="where the stages write (default: build)",
        )
        return sub

    _add_stages(add)
    _add_moves(add)
    _add_rest(add)
    _add_upkeep(add)
    return parser


def _add_stages(add: Add) -> None:
    for stage, help_text in STAGES.items():
        sub = add(stage, help_text)
        _add_force(sub)
        if stage == "lint":
            sub.add_argument(
                "--check",
                action="append",
                choices=["syntax", "flake8", "pydocstyle", "dependencies"],
                default=[],
                help="only this check; may be repeated",
            )
        if stage == "data":
            _add_format(sub)
            sub.add_argument(
                "--check",
                dest="ask_source",
                action="store_true",
                help="only ask every table of the source: is it there, fresh, as agreed? Builds nothing",
            )
            sub.add_argument("--version", metavar="HASH", help="bring back a data version that was kept")
        if stage == "train":
            _add_backend(sub)
        if stage in ("data", "quality", "deploy", "monitor"):
            _add_channel(sub)
        if stage == "monitor":
            how = sub.add_mutually_exclusive_group()
            how.add_argument(
                "--train", action="store_true", help="where the look asks for a training, run all stages here"
            )
            how.add_argument(
                "--all",
                dest="all_projects",
                action="store_true",
                help="look at every project in service, and print a line for each: name, what follows, why",
            )
            lift = "let models learn from the rows of quarantine N again; the page of a look lists them"
            how.add_argument("--lift", type=count, metavar="N", help=lift)
        if stage == "deploy":
            _add_port(sub)
            _add_trial(sub)
    sub = add("run", "run all stages in the Jenkinsfile's order")
    for option in (_add_force, _add_format, _add_channel, _add_backend, _add_port, _add_trial):
        option(sub)


def _add_moves(add: Add) -> None:
    sub = add("rollback", "return a channel to an earlier version")
    _add_channel(sub)
    sub.add_argument(
        "--to",
        type=earlier,
        default=os.environ.get("ROLLBACK_TO") or "previous",
        metavar="N",
        help="a version's number, or previous (default: $ROLLBACK_TO, else previous)",
    )
    _add_target(sub)
    _add_port(sub)
    _add_why(sub)
    sub = add("undeploy", "take a version out of service; rollback brings it back")
    _add_channel(sub)
    _add_target(sub)
    _add_port(sub)
    _add_why(sub)
    sub.add_argument("--version", type=count, metavar="N", help="a version (default: the one that serves)")


def _add_rest(add: Add) -> None:
    sub = add("serve", "answer requests with a channel's model")
    _add_channel(sub)
    _add_port(sub)
    sub.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    sub.add_argument(
        "--workers",
        type=count,
        default=1,
        metavar="N",
        help="processes that answer on the port (default: 1)",
    )
    sub.add_argument("--stop", action="store_true", help="stop the channel's service on this machine instead")
    sub = add("predict", "score a file or standard input with a channel's model, without the service")
    _add_channel(sub)
    sub.add_argument(
        "--input",
        metavar="FILE",
        help="csv, json or parquet; - for CSV or JSON on standard input "
        "(default: the unlabelled rows of the build)",
    )
    sub.add_argument("--first", type=count, metavar="N", help="only the first N rows")
    sub = add("show", "show versions and channels, or the lineage of one version or request")
    sub.add_argument("version", type=count, nargs="?", help="a version's number")
    sub.add_argument("--request", metavar="ID", help="one answered request instead, by its X-Request-ID")
    _add_channel(sub)
    sub = add("labels", "take labels: what came true for answers that were given")
    told = "csv or ndjson: request_id, row, label, at; without it the project's source is asked, by id"
    sub.add_argument("file", type=Path, nargs="?", metavar="FILE", help=told)
    _add_channel(sub)
    sub = add("new", "write a project from a table, and tell what was guessed")
    sub.add_argument("new_name", metavar="NAME", help="the project's name: its folder in ml/projects")
    sub.add_argument(
        "--from",
        dest="given",
        required=True,
        metavar="SOURCE",
        help="a file, glob or folder; http(s)://...; catboost:NAME; sqlite:FILE:TABLE; sql:VARIABLE:FILE.sql",
    )
    sub.add_argument("--target", required=True, metavar="COLUMN", help="what the model shall tell")
    sub.add_argument("--id", metavar="COLUMN", help="the column that names each row (default: found out)")
    sub.add_argument("--ask", action="store_true", help="ask at the terminal about what is doubtful")
    sub = add("diff", "show what became of rows and columns from one version of the data to another")
    for name, help_text in (("before", "a version's number, `build`, or a file"), ("now", "the same")):
        sub.add_argument(name, help=help_text)
    sub = add("recall", "mark data as bad: what was trained on it is taken out of service; or list recalls")
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--data", metavar="HASH", help="a data version, as `show N` tells it")
    which.add_argument("--rows", type=Path, metavar="FILE", help="bad rows, whole or their ids alone")
    which.add_argument("--since", metavar="DAY", help="rows that came first in a build of that day or later")
    which.add_argument("--undo", type=count, metavar="N", help="let recall N hold no more")
    _add_target(sub)
    _add_why(sub)
    sub = add("projects", "list the projects, their channels and titles")
    sub.add_argument("--nightly", action="store_true", help="only those that the job `nightly` trains")
    sub.add_argument("--since", metavar="COMMIT", help="only those that commits after this one touch")
    sub = add("approval", "say `yes` if a person must approve what is deployed into a channel")
    _add_channel(sub)


def _add_upkeep(add: Add) -> None:
    sub = add("doctor", "look at this machine: disk, memory, ports, clock, keys, packages, what is reachable")
    _add_channel(sub)
    sub.add_argument("--source", action="store_true", help="ask every table of the project's source, too")
    sub.add_argument("--prune", action="store_true", help="show what could go, of all projects, instead")
    sub.add_argument("--yes", action="store_true", help="with --prune: take it away")
    sub = add("backup", "write registry and stores into a file, whatever builds and services do meanwhile")
    sub.add_argument("file", type=archive, metavar="FILE", help="a file that is made: NAME.tar.gz")
    sub.add_argument(
        "--keys", type=archive, metavar="FILE", help="write the keys, too, into a file of their own"
    )
    sub = add("restore", "bring a backup back where there is nothing; a damaged one is refused")
    sub.add_argument("file", type=archive, metavar="FILE", help="a file that `backup` wrote")
    sub.add_argument("--keys", type=archive, metavar="FILE", help="the keys, too, from a file of their own")
    sub.add_argument(
        "--registry",
        action="store_true",
        help="only add to the registry here, whose services go on and follow: for a standby",
    )


def _add_force(parser: argparse.ArgumentParser) -> None:
    forced = os.environ.get("FORCE", "").lower() in ("1", "true", "yes")
    parser.add_argument(
        "--force",
        action="store_true",
        default=forced,
        help="run even if nothing changed (default: $FORCE, else no)",
    )


def _add_backend(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--backend",
        choices=["local", "dask"],
        help="search on this machine, or on a Dask cluster (default: as project.toml says)",
    )
    sub.add_argument(
        "--scheduler",
        default=os.environ.get("DASK_SCHEDULER_ADDRESS"),
        metavar="URL",
        help="of that cluster (default: $DASK_SCHEDULER_ADDRESS)",
    )


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        choices=["parquet", "csv"],
        default="parquet",
        help="csv: write CSV files beside the Parquet ones",
    )


def _add_channel(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--channel",
        default=os.environ.get("CHANNEL") or "production",
        metavar="NAME",
        help="a channel of project.toml (default: $CHANNEL, else production)",
    )


def _add_port(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port",
        type=port,
        default=os.environ.get("PORT") or None,
        metavar="N",
        help="of the service, where it is not found by itself (default: $PORT, else as project.toml says)",
    )


def _add_trial(parser: argparse.ArgumentParser) -> None:
    _add_target(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--canary",
        type=percent,
        metavar="PERCENT",
        help="try the candidate with this share of the requests (default: as in project.toml)",
    )
    how.add_argument("--shadow", action="store_true", help="let it score what the champion answers")
    parser.add_argument("--for", dest="seconds", type=seconds, metavar="TIME", help="how long: 60s, 5m, 2h")
    parser.add_argument(
        "--min-requests", type=count, metavar="N", help="how many of its requests it takes to judge"
    )
    parser.add_argument(
        "--hosts",
        type=addresses,
        default=(),
        metavar="URL,URL",
        help="the services to wait for (default: those of project.toml, else $ML_SERVICES, else a local one)",
    )


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        default=os.environ.get("TARGET") or "local",
        metavar="WHERE",
        help="local, compose or ssh://user@host[:port][/folder][,ssh://...] (default: $TARGET, else local)",
    )


def _add_why(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--why",
        default=os.environ.get("WHY", ""),
        metavar="TEXT",
        help="the reason, kept in the channel's history (default: $WHY)",
    )
