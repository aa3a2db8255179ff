"""The commands: what each calls, with what of the options. No logic, no heavy import."""

import argparse
import os
from typing import TYPE_CHECKING

from ml.build_page import tell_build_page
from ml.errors import MlError
from ml.options import Command

if TYPE_CHECKING:
    from ml.project import Project
    from ml.settings import Canary
    from ml.stages import Context


def _context(options: argparse.Namespace) -> "Context":
    """Return what the options say to a stage; what a command does not take stays as the stage has it."""
    from ml.project import find_project
    from ml.stages import Context
    from ml.workspace import Workspace

    project, given = find_project(options.project), vars(options)
    return Context(
        project,
        Workspace(options.build, project.name),
        channel=given.get("channel", "production"),
        force=options.force,
        csv=given.get("format") == "csv",
        checks=tuple(given.get("check", ())),
        target=given.get("target", "local"),
        hosts=tuple(given.get("hosts", ())),
        port=given.get("port"),
        canary=_canary(options, project) if "canary" in given else None,
        backend=given.get("backend"),
        scheduler=given.get("scheduler"),
        train=given.get("train", False) or given.get("all_projects", False),
    )


def _canary(options: argparse.Namespace, project: "Project") -> "Canary":
    given = {
        "mode": "shadow" if options.shadow else "canary" if options.canary else None,
        "share": options.canary and options.canary / 100,
        "seconds": options.seconds,
        "min_requests": options.min_requests,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    if changes:
        changes["replay"] = project.canary.replay and "seconds" not in changes
    return project.canary.model_copy(update=changes)


def _stage(options: argparse.Namespace) -> None:
    if getattr(options, "ask_source", False):
        from ml.project import find_project
        from ml.show import show_source

        return show_source(find_project(options.project))
    if options.name == "data" and options.version:
        return _bring_back(options)
    if getattr(options, "all_projects", False):
        return _look_at_all(options)
    if getattr(options, "lift", None):
        return _lift(options)
    from ml.stages import run_stage, tell

    context = _context(options)
    record = run_stage(options.name, context).record
    tell_build_page(tell(options.name, context, record))
    if getattr(record, "asks", "") == "train":
        from ml.pipeline import train_again

        train_again(context, record)


def _look_at_all(options: argparse.Namespace) -> None:
    from ml.pipeline import look_at
    from ml.project import project_names

    looked = False
    for options.project in project_names():
        try:
            found = look_at(_context(options))
        except MlError as error:  # which stops no other look
            found = "failed", str(error), f"error: {options.project}: {error}"
        if found:
            looked = True
            tell_build_page(found[2])
            print(options.project, found[0], " ".join(found[1].split()), sep="\t")
    if not looked:
        tell_build_page("nothing is in service yet: there is nothing to look at")


def _lift(options: argparse.Namespace) -> None:
    from ml.project import find_project
    from ml.stages.monitor import lift

    print(lift(find_project(options.project), options.channel, options.lift))


def _bring_back(options: argparse.Namespace) -> None:
    from ml.project import find_project
    from ml.registry.data_versions import bring_back
    from ml.workspace import Workspace

    project = find_project(options.project)
    folder = Workspace(options.build, project.name).folder("data")
    manifest = bring_back(project, folder, options.version)
    print(
        f"{folder} is data version {manifest.version[:16]} again, of {manifest.finished}: {manifest.source}"
    )


def _run(options: argparse.Namespace) -> None:
    from ml.pipeline import run_all

    run_all(_context(options))


def _rollback(options: argparse.Namespace) -> None:
    from ml.delivery.moves import roll_back
    from ml.project import find_project

    project, channel = find_project(options.project), options.channel
    left, now = roll_back(project, channel, options.to, options.why, options.target, options.port)
    before = "no version" if left is None else f"version {left}"
    moved = f"back from {before} to version {now}" if left != now else f"every service has version {now} now"
    print(done := f"{channel}: {moved}")
    tell_build_page(done)


def _undeploy(options: argparse.Namespace) -> None:
    from ml.delivery.moves import take_out
    from ml.project import find_project

    project, channel = find_project(options.project), options.channel
    left = take_out(project, channel, options.version, options.why, options.target, options.port)
    print(done := f"{channel}: version {left} is out of service; `rollback --to {left}` brings it back")
    tell_build_page(done)


def _serve(options: argparse.Namespace) -> None:
    from ml.project import find_project
    from ml.serving import service

    project = find_project(options.project)
    project.check_channel(options.channel)
    if not options.stop:
        port = options.port or project.channels[options.channel].port
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
    from ml.touched import touched_projects

    found = map(find_project, project_names()) if options.since is None else touched_projects(options.since)
    for project in found:
        if project.nightly or not options.nightly:
            title = " ".join(project.title.split())
            print(f"{project.name:<20} {','.join(project.channels):<20} {title}")


def _labels(options: argparse.Namespace) -> None:
    from ml.labels import take_labels
    from ml.project import find_project

    project = find_project(options.project)
    project.check_channel(options.channel)
    print(take_labels(project, options.channel, options.file))


def _approval(options: argparse.Namespace) -> None:
    from ml.project import find_project

    project = find_project(options.project)
    project.check_channel(options.channel)
    needed = project.channels[options.channel].approval
    print("yes" if needed else "no")
    if needed and "BUILD_TAG" in os.environ:  # of Jenkins, whose build waits from now on
        from ml.notify import tell_question

        tell_question(project, options.channel)


def _new(options: argparse.Namespace) -> None:
    from ml.new import create

    create(options.new_name, options.given, options.target, options.id, ask=options.ask)


def _recall(options: argparse.Namespace) -> None:
    from ml.project import find_project
    from ml.recall import recall, show_recalls, undo_recall

    project, marked = find_project(options.project), (options.data, options.rows, options.since)
    if options.undo:
        undo_recall(project, options.undo)
    elif any(marked):
        data, rows, since = marked
        recall(
            project,
            options.build,
            data=data,
            rows=rows,
            since=since,
            why=options.why,
            target=options.target,
        )
    else:
        show_recalls(project)


def _diff(options: argparse.Namespace) -> None:
    from ml.diff import diff
    from ml.project import find_project

    diff(find_project(options.project), options.build, options.before, options.now)


def _doctor(options: argparse.Namespace) -> None:
    from ml.project import find_project
    from ml.upkeep import doctor

    if options.prune:
        print(doctor.prune(options.build, really=options.yes))
    else:
        project = find_project(options.project)
        project.check_channel(options.channel)
        doctor.examine(project, options.channel, options.build.absolute(), ask_source=options.source)


def _backup(options: argparse.Namespace) -> None:
    from ml.upkeep.backup import back_up

    print(back_up(options.file, options.keys))


def _restore(options: argparse.Namespace) -> None:
    from ml.upkeep.backup import restore

    print(restore(options.file, options.keys, registry_only=options.registry))


COMMANDS: dict[str, Command] = {
    "stage": _stage,
    "new": _new,
    "recall": _recall,
    "diff": _diff,
    "run": _run,
    "rollback": _rollback,
    "undeploy": _undeploy,
    "serve": _serve,
    "predict": _predict,
    "show": _show,
    "projects": _projects,
    "approval": _approval,
    "labels": _labels,
    "doctor": _doctor,
    "backup": _backup,
    "restore": _restore,
}
