"""The commands: what they are called, what they take, and how an error is told. No logic, no heavy import."""

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from ml.errors import MlError
from ml.locations import ROOT

if TYPE_CHECKING:
    from ml.project import Project
    from ml.stages.deploy import Place

DESCRIPTION = "From tabular data to a model in production: the stages of the Jenkinsfile, runnable anywhere."
STAGE_HELP = {
    "lint": "check syntax, style, docstrings and dependencies",
    "data": "fetch the tables, check contract and data gates, split into train and test",
    "train": "search the candidates, refit and sign the best",
    "quality": "run the tests of the model; bless it or not (exit code 3)",
    "deploy": "register the blessed model and bring it into a channel",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 (error), 2 (wrong usage) or 3 (a gate refused)."""
    parser = _parser()
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        options.command(options)
    except MlError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt as interruption:
        code = 128 + (signal.SIGTERM if isinstance(interruption, _Terminated) else signal.SIGINT)
        return _fail("interrupted; earlier results are as they were", code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(
            f"{place}{error.strerror or error}: check the path, its permissions and the free space", 1
        )
    except MemoryError:
        return _fail("out of memory: use fewer rows or a machine with more memory", 1)
    return 0


def _fail(message: str, code: int) -> int:
    line = f"error: {' '.join(message.split())}"
    print(line, file=sys.stderr)
    try:
        _note(line)
    except OSError:  # a full disk may be the very error that is told
        pass
    return code


def _note(line: str) -> None:
    """Add a line to the file that ``ML_OUTCOME`` names: Jenkins shows it on the page of the build."""
    if line and (file := os.environ.get("ML_OUTCOME")):
        with open(file, "a", encoding="utf-8") as stream:
            stream.write(line + "\n")


class _Terminated(KeyboardInterrupt):
    """SIGTERM, as Jenkins sends it to abort a build: ends a command as Ctrl-C does, tidily."""


def _terminate(_: int, __: FrameType | None) -> None:
    raise _Terminated


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ml", description=DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(
        name: str, help_text: str, command: Callable[[argparse.Namespace], None]
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=help_text, description=help_text[0].upper() + help_text[1:] + "."
        )
        sub.set_defaults(command=command, name=name)
        sub.add_argument(
            "--project",
            default=os.environ.get("PROJECT") or "titanic",
            metavar="NAME",
            help="a folder in ml/projects (default: $PROJECT, else titanic)",
        )
        sub.add_argument(
            "--build",
            type=Path,
            default=ROOT / "build",
            metavar="DIR",
            help="where the stages write (default: build)",
        )
        return sub

    for stage, help_text in STAGE_HELP.items():
        sub = add(stage, help_text, _stage)
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
        if stage in ("data", "quality", "deploy"):
            _add_channel(sub)
        if stage == "deploy":
            _add_port(sub)
            _add_trial(sub)
    sub = add("run", "run all stages in the Jenkinsfile's order", _run)
    for option in (_add_force, _add_format, _add_channel, _add_port, _add_trial):
        option(sub)
    sub = add("rollback", "return a channel to an earlier version", _rollback)
    _add_channel(sub)
    sub.add_argument(
        "--to",
        type=_earlier,
        default=os.environ.get("ROLLBACK_TO") or "previous",
        metavar="N",
        help="a version's number, or previous (default: $ROLLBACK_TO, else previous)",
    )
    _add_why(sub)
    sub = add("undeploy", "take a version out of service; rollback brings it back", _undeploy)
    _add_channel(sub)
    _add_why(sub)
    sub.add_argument("--version", type=_count, metavar="N", help="a version (default: the one that serves)")
    sub = add("serve", "answer requests with a channel's model", _serve)
    _add_channel(sub)
    _add_port(sub)
    sub.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    sub.add_argument(
        "--workers",
        type=_count,
        default=1,
        metavar="N",
        help="processes that answer on the port (default: 1)",
    )
    sub.add_argument("--stop", action="store_true", help="stop the channel's service on this machine instead")
    sub = add(
        "predict", "score a file or standard input with a channel's model, without the service", _predict
    )
    _add_channel(sub)
    sub.add_argument(
        "--input",
        metavar="FILE",
        help="csv, json or parquet; - for CSV or JSON on standard input "
        "(default: the unlabelled rows of the build)",
    )
    sub.add_argument("--first", type=_count, metavar="N", help="only the first N rows")
    sub = add("show", "show versions and channels, or the lineage of one version or request", _show)
    sub.add_argument("version", type=_count, nargs="?", help="a version's number")
    sub.add_argument("--request", metavar="ID", help="one answered request instead, by its X-Request-ID")
    _add_channel(sub)
    sub = add("projects", "list the projects", _projects)
    sub.add_argument("--nightly", action="store_true", help="only those that the job `nightly` trains")
    return parser


def _add_force(parser: argparse.ArgumentParser) -> None:
    forced = os.environ.get("FORCE", "").lower() in ("1", "true", "yes")
    parser.add_argument(
        "--force",
        action="store_true",
        default=forced,
        help="run even if nothing changed (default: $FORCE, else no)",
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
        type=_port,
        default=os.environ.get("PORT") or None,
        metavar="N",
        help="the port of a service that is started (default: $PORT, else the channel's in project.toml)",
    )


def _add_trial(parser: argparse.ArgumentParser) -> None:
    _add_target(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--canary",
        type=_percent,
        metavar="PERCENT",
        help="try the candidate with this share of the requests (default: as in project.toml)",
    )
    how.add_argument("--shadow", action="store_true", help="let it score what the champion answers")
    parser.add_argument("--for", dest="seconds", type=_seconds, metavar="TIME", help="how long: 60s, 5m, 2h")
    parser.add_argument(
        "--min-requests", type=_count, metavar="N", help="how many of its requests it takes to judge"
    )
    parser.add_argument(
        "--hosts",
        type=_addresses,
        default=(),
        metavar="URL,URL",
        help="the services to wait for (default: those of project.toml, else $ML_SERVICES, else a local one)",
    )


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        default=os.environ.get("TARGET") or "local",
        metavar="WHERE",
        help="local, compose or ssh://user@host[:port][/folder] (default: $TARGET, else local)",
    )


def _add_why(parser: argparse.ArgumentParser) -> None:
    _add_target(parser)
    parser.add_argument(
        "--why",
        default=os.environ.get("WHY", ""),
        metavar="TEXT",
        help="the reason, kept in the channel's history (default: $WHY)",
    )


def _percent(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0
    if not 0 < share < 100:
        raise argparse.ArgumentTypeError(f"'{text}' is not a percentage between 0 and 100")
    return share


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)([smh]?)", text)
    if not found or not float(found[1]):
        raise argparse.ArgumentTypeError(f"'{text}' is not a duration like 60s, 5m or 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def _addresses(text: str) -> tuple[str, ...]:
    addresses = tuple(filter(None, text.split(",")))
    if not addresses or not all(one.startswith(("http://", "https://")) for one in addresses):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of addresses like http://host:8000")
    return addresses


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of 1 or more")
    return int(text)


def _earlier(text: str) -> int | None:
    return None if text == "previous" else _count(text)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port, 1 to 65535")
    return int(text)


def _stage(options: argparse.Namespace) -> None:
    from ml.project import find_project
    from ml.run import outcome_line, run_stage

    given = vars(options)
    project = find_project(options.project)
    results = run_stage(
        options.name,
        project,
        options.build,
        given.get("channel", ""),
        checks=tuple(given.get("check", ())),
        csv=given.get("format") == "csv",
        force=options.force,
        place=_place(options, project) if options.name == "deploy" else None,
    )
    _note(outcome_line(options.name, project, results[-1]))


def _run(options: argparse.Namespace) -> None:
    from ml.project import find_project
    from ml.run import run_all

    project = find_project(options.project)
    run_all(
        project,
        options.build,
        options.channel,
        force=options.force,
        csv=options.format == "csv",
        place=_place(options, project),
    )


def _place(options: argparse.Namespace, project: "Project") -> "Place":
    from ml.stages.deploy import Place

    given = {
        "mode": "shadow" if options.shadow else "canary" if options.canary else None,
        "share": options.canary and options.canary / 100,
        "seconds": options.seconds,
        "min_requests": options.min_requests,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    if changes:
        changes["replay"] = project.canary.replay and "seconds" not in changes
    canary = project.canary.model_copy(update=changes)
    return Place(options.channel, canary, options.target, tuple(options.hosts), options.port, options.force)


def _rollback(options: argparse.Namespace) -> None:
    from ml.delivery.moves import roll_back
    from ml.project import find_project

    left, now = roll_back(
        find_project(options.project), options.channel, options.to, options.why, options.target
    )
    print(done := f"{options.channel}: back from version {left} to version {now}")
    _note(done)


def _undeploy(options: argparse.Namespace) -> None:
    from ml.delivery.moves import take_out
    from ml.project import find_project

    left = take_out(
        find_project(options.project), options.channel, options.version, options.why, options.target
    )
    print(
        done := f"{options.channel}: version {left} is out of service; `rollback --to {left}` brings it back"
    )
    _note(done)


def _serve(options: argparse.Namespace) -> None:
    from ml.project import find_project
    from ml.serving import service

    project = find_project(options.project)
    project.check_channel(options.channel)
    if not options.stop:
        port = options.port or project.channels[options.channel]
        service.serve(project.name, options.channel, options.host, port, options.workers)
    elif service.stop(project.name, options.channel):
        print(f"stopped the service of {project.name}, channel {options.channel}")
    else:
        print(f"no service of {project.name}, channel {options.channel}, runs here")


def _predict(options: argparse.Namespace) -> None:
    from ml.predict import predict_table
    from ml.project import find_project

    predict_table(find_project(options.project), options.build, options.channel, options.input, options.first)


def _show(options: argparse.Namespace) -> None:
    from ml.project import find_project
    from ml.show import show_registry, show_request, show_version

    project = find_project(options.project)
    if options.request:
        project.check_channel(options.channel)
        show_request(project.name, options.channel, options.request)
    elif options.version is None:
        show_registry(project.name)
    else:
        show_version(project.name, options.version)


def _projects(options: argparse.Namespace) -> None:
    from ml.project import find_project, project_names

    for project in map(find_project, project_names()):
        if project.nightly or not options.nightly:
            print(f"{project.name:<20} {project.title}")
