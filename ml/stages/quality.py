"""The quality stage: run the tests of the model, and bless it or not."""

from collections import Counter
from pathlib import Path
from typing import Any

from ml.console import rounded, say
from ml.errors import GateRefused, MlError
from ml.files import digest
from ml.project import EXPECTATIONS_FILE, Project
from ml.quality.advice import advice
from ml.quality.history import figures_of, keep
from ml.quality.loosened import loosened_expectations, loosened_line, loosened_settings
from ml.quality.markup import STYLE
from ml.quality.testing import TESTS, run_tests
from ml.quality.verdict import read_gates
from ml.records import DataManifest, Judged, ModelManifest, Verdict
from ml.registry.recalls import active
from ml.registry.versions import Registry
from ml.stages import Context
from ml.workspace import Outcome, Workspace, code_digest, declared_for_training


def run(context: Context) -> Outcome[Verdict]:
    """Write ``junit.xml``, ``verdict.json`` and the report; a model not blessed raises ``GateRefused``.

    Beside the stage's folder, what became of this build is added to ``history.jsonl`` and ``history/``.
    Every gate is a test in ``tests/quality``, run by pytest in a process of its own. Raises ``MlError`` if an
    earlier stage's output is missing or altered, or if pytest itself cannot run.
    """
    project, workspace, channel = context.project, context.workspace, context.channel
    project.check_channel(channel)
    data, model = workspace.record(DataManifest), workspace.record(ModelManifest, signed=True)
    if model.data_sha256["train.parquet"] != data.outputs["train.parquet"]:
        raise MlError(
            f"{workspace.folder('train')} was trained on other rows than those of "
            f"{workspace.folder('data')}: run `python -m ml train --project {project.name}` first"
        )
    _check_declared(project, model)
    expectations = project.folder / EXPECTATIONS_FILE
    champion = _champion(project, workspace, channel, model.outputs["model.pkl"])
    looser = []
    if champion is not None:
        registry = Registry(project.name)
        judged_by = registry.record(Verdict, champion).inputs.get("settings", {}).get("gates")
        looser = loosened_settings(project, registry.folder(champion), judged_by)
    inputs = {
        "test.parquet": data.outputs["test.parquet"],
        "expectations.py": digest(expectations) if expectations.exists() else None,
        "model": digest(workspace.record_file("train")),
        "champion": champion,
        "channel": channel,
        "loosened": looser,
        "recalls": [one.number for one in active(Registry(project.name))],
        "settings": project.model_dump(mode="json", include={"gates", "training", "target", "seed"}),
        "code": code_digest(Path(__file__), STYLE, *TESTS.glob("*.py")),
    }

    def work(folder: Path) -> dict[str, Any]:
        judged = _judge(context, folder, champion, looser, model.outputs["model.pkl"])
        _say(judged)
        from ml.quality.report import write_report  # imported while the tests ran

        write_report(folder, project, workspace, judged)
        return judged.model_dump()

    result = workspace.run(Verdict, inputs, work, force=context.force, signed=True)
    _keep_history(project, workspace, result.record)
    refused = [gate for gate in result.record.gates if gate.outcome == "refused"]
    if result.status == "done":
        _note(context, result.record)
    if not result.record.blessed:
        reasons = "; ".join(f"{gate.gate}: {gate.message}" for gate in refused) or "no gate was run"
        report = workspace.folder("quality") / "report.html"
        # On Jenkins the path inside the checkout is also the name of the archived file.
        shown = report.relative_to(Path.cwd()) if report.is_relative_to(Path.cwd()) else report
        told = loosened_line(result.record.loosened)
        told = f"; {told}" if told else ""
        todo = f"; what to do: {advice(refused[0].kind)}" if refused else ""
        raise GateRefused(f"the model is not blessed: {reasons} (report: {shown}){told}{todo}")
    return result


def _check_declared(project: Project, model: ModelManifest) -> None:
    """Raise ``MlError`` if the project says otherwise by now than it did when the model was trained."""
    now, then = declared_for_training(project), model.inputs
    changed = [name for name in now.keys() - {"settings"} if now[name] != then.get(name)]
    trained = then.get("settings", {})
    changed += [
        f"{key} in project.toml" for key in now["settings"] if now["settings"][key] != trained.get(key)
    ]
    if changed:
        raise MlError(
            f"{sorted(changed)[0]} was changed since the model was trained: "
            f"run `python -m ml train --project {project.name}` first"
        )


def _judge(
    context: Context, folder: Path, champion: int | None, looser: list[str], model_sha256: str
) -> Judged:
    say("quality: running the tests of the model")
    junit = folder / "junit.xml"
    run_tests(context.project, context.workspace, champion, junit, folder / "figures.json")
    gates = read_gates(junit)
    if champion is not None:
        before = Registry(context.project.name).record(Verdict, champion).gates
        looser = [*looser, *loosened_expectations(before, gates)]
    return Judged(
        blessed=bool(gates) and not any(gate.outcome == "refused" for gate in gates),
        model_sha256=model_sha256,
        champion=champion,
        loosened=looser,
        gates=gates,
    )


def _say(judged: Judged) -> None:
    if judged.loosened:
        say(f"quality:  warning  {loosened_line(judged.loosened)}")
    for gate in judged.gates:
        if gate.outcome != "not run":
            say(f"quality: {gate.outcome:>8}  {gate.gate}  {gate.message}")
    left_out = Counter(gate.message for gate in judged.gates if gate.outcome == "not run")
    for reason, count in left_out.items():
        say(f"quality:  not run  {count} gate{'s' if count > 1 else ''}: {reason}")


def _note(context: Context, verdict: Verdict) -> None:
    """Note the verdict in the store, beside what production answers."""
    from ml.store.history import note_build  # an unchanged stage answers at once, without a database

    refused = [gate.gate for gate in verdict.gates if gate.outcome == "refused"]
    outcome = "blessed" if verdict.blessed else "refused"
    told = f"refused by {', '.join(refused)}" if refused else f"{len(verdict.gates)} gates"
    note_build(context.project.name, context.channel, "quality", outcome, told=told)


def _keep_history(project: Project, workspace: Workspace, verdict: Verdict) -> None:
    """Add the build to the history; what was judged stands, whether it can be told there or not."""
    try:
        keep(project, workspace, verdict)
    except (OSError, MlError) as error:
        say(f"quality: the history of {project.name} was not written: {error}")


def _champion(project: Project, workspace: Workspace, channel: str, candidate_sha256: str) -> int | None:
    """Return the version to compare with: a candidate deployed since is not judged against itself."""
    registry = Registry(project.name)
    champion = registry.channel(channel).version
    if champion is None or registry.read(champion).identity["model_sha256"] != candidate_sha256:
        return champion
    kept = workspace.kept(Verdict)
    return kept.inputs["champion"] if kept and kept.model_sha256 == candidate_sha256 else None


def tell(context: Context, record: Verdict) -> str:
    """Return the score, the champion's beside it, how many gates were passed, and which were loosened."""
    found = figures_of(context.project, context.workspace, record)
    parts = ["quality: blessed"]
    if found.score is not None:
        ends = [rounded(one, 2) for one in (found.low, found.high) if one is not None]
        sure = f" ({' to '.join(ends)})" if ends else ""
        parts.append(f"{found.metric} {rounded(found.score)}{sure}")
    if found.champion_score is not None:
        beside = found.score_beside
        against = f" against {rounded(beside)}" if beside is not None and beside != found.score else ""
        rows = " on rows new to it" if against else ""
        parts.append(f"champion version {found.champion} {rounded(found.champion_score)}{against}{rows}")
    parts.append(f"{sum(gate.outcome == 'passed' for gate in record.gates)} gates passed")
    told = loosened_line(record.loosened)
    return ", ".join(parts) + (told and f"; {told}")
