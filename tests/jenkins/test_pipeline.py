"""The real Jenkinsfile, run without Jenkins: what goes through, what stops where, and what is left behind."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.registry.versions import Registry
from ml.serving import service
from tests.jenkins.conftest import HERE, Build, Jenkins, needs_groovy
from tests.support import PASSENGER

pytestmark = [pytest.mark.slow, needs_groovy]
STAGES = ["lint", "data", "train", "quality", "deploy"]
ASKED = {"PROJECT": "small", "CHANNEL": "production"}


def put_first(jenkins: Jenkins, make: Path) -> None:
    """Give the agents another ``make``."""
    (jenkins.root / "bin").mkdir()
    (jenkins.root / "bin" / "make").symlink_to(make)
    jenkins.path = f"{jenkins.root / 'bin'}:{jenkins.path}"


@pytest.fixture
def unlinted(small: Jenkins) -> Jenkins:
    """Let the checks of the code find nothing, and the model be judged by few: for what comes after."""
    put_first(small, HERE / "make_without_lint.sh")
    for file in ("test_robustness.py", "test_runtime.py", "test_slices.py", "test_training.py"):
        (small.checkout / "tests" / "quality" / file).unlink()
    small.commit("few gates")
    return small


@pytest.fixture
def small(jenkins: Jenkins, free_port: int) -> Iterator[Jenkins]:
    """Give the channel of the project ``small`` a free port, and stop what deploy starts."""
    jenkins.site.edit("project.toml", "production = 8000", f"production = {free_port}")
    yield jenkins
    service.stop("small", "production")


@pytest.fixture
def quick(jenkins: Jenkins) -> Jenkins:
    """Give the agents a ``make`` that leaves files and does nothing: for tests of the pipeline alone."""
    put_first(jenkins, HERE / "fake_make.py")
    return jenkins


def refused_at(stage: str, build: Build) -> str:
    """Check that a build stopped at a stage, that no later one ran, and return what its page tells."""
    outcomes, position = build.outcomes, STAGES.index(stage)
    assert build.report["result"] == "FAILURE", build.console
    assert [outcomes[name] for name in STAGES[:position]] == ["SUCCESS"] * position
    assert outcomes[stage] == "FAILURE"
    assert {outcomes[name] for name in STAGES[position + 1 :]} <= {"SKIPPED after a failure"}
    assert not {step["stage"] for step in build.report["sh"]} & set(STAGES[position + 1 :])
    assert Registry("small").versions() == []
    return str(build.report["description"])


def test_the_titanic_goes_through(jenkins: Jenkins, free_port: int) -> None:
    grid = jenkins.checkout / "ml" / "projects" / "titanic" / "grid.json"
    grid.write_text((jenkins.site.project / "grid.json").read_text(encoding="utf-8"), encoding="utf-8")
    jenkins.commit("a small grid")
    try:
        build = jenkins.build(project="titanic", environment={"PORT": str(free_port)})
        report = build.report
        assert report["result"] == "SUCCESS", build.console
        assert {name: build.outcomes[name] for name in STAGES} == dict.fromkeys(STAGES, "SUCCESS")

        running = service.find("titanic", "production")
        assert running is not None and running.predict([PASSENGER])["version"] == 1
    finally:
        service.stop("titanic", "production")

    kept = {
        "build/titanic/data/manifest.json",
        "build/titanic/model/model.pkl",
        "build/titanic/model/manifest.json",
        "build/titanic/model/manifest.json.sig",
        "build/titanic/quality/verdict.json",
        "build/titanic/quality/report.html",
        "build/titanic/deploy/deployment.json",
    }
    assert kept <= set(build.archived)
    assert all(one["fingerprint"] for one in report["archived"])
    assert [page["name"] for page in report["html"]] == ["Model report", "History"]
    [tests] = report["tests"]
    assert tests["cases"] > 30 and not tests["failed"]
    assert report["displayName"] == "#1 titanic"
    assert re.fullmatch(
        r"data: .*<br>\n"
        r"train: \w+\(.*\), accuracy 0\.\d+ in cross-validation<br>\n"
        r"quality: blessed, .*<br>\n"
        r"deploy: titanic version 1 in production, deployed, answers at <a href=.*<br>\n",
        report["description"],
    )
    assert [path for path in (build.folder / "agents").glob("*/workspace/build-[0-9]/*")] == []

    bound = {step["stage"]: set(step["credentials"]) for step in report["sh"]}
    assert {stage for stage, names in bound.items() if names} == {"deploy"}
    assert bound["deploy"] == {"ML_SIGNING_KEY", "ML_API_KEY"}
    for stash, halves in (("model", {"train.pub"}), ("quality", {"train.pub", "quality.pub"})):
        keys = build.folder / "stashes" / stash / "build" / "keys"
        assert {file.name for file in keys.iterdir()} == halves
    assert not any("keys" in name for name in build.archived)
    private = (jenkins.root / "keys" / "signing.pem").read_text().splitlines()[1]
    assert private not in build.console and "open-sesame" not in build.console
    assert list((build.folder / "agents").rglob("signing-key")) == []


@pytest.mark.parametrize(
    "environment",
    [
        {"JOB_NAME": "small/feature", "BRANCH_NAME": "feature"},
        {"JOB_NAME": "small/PR-7", "BRANCH_NAME": "PR-7", "CHANGE_ID": "7", "CHANGE_TARGET": "main"},
    ],
    ids=["branch", "pull request"],
)
def test_only_the_main_branch_deploys(quick: Jenkins, environment: dict[str, str]) -> None:
    build = quick.build(environment=environment)
    assert build.report["result"] == "SUCCESS", build.console
    assert build.outcomes["quality"] == "SUCCESS"
    assert build.outcomes["deploy"] == "SKIPPED by when"
    assert "deploy" not in {step["stage"] for step in build.report["sh"]}
    assert not (build.folder / "archive" / "build" / "small" / "deploy").exists()
    assert Registry("small").versions() == []
    assert service.find("small", "production") is None


def test_a_forgotten_stash_stops_the_stage_that_needs_it(quick: Jenkins) -> None:
    quick.edit(
        "Jenkinsfile", "stash name: 'data', includes: \"build/${env.PROJECT}/data/**\"", "echo 'forgot'"
    )
    build = quick.build()
    refused_at("train", build)
    assert "No such saved stash 'data'" in build.console


def test_a_lint_error_stops_at_lint(small: Jenkins) -> None:
    file = small.checkout / "ml" / "errors.py"
    file.write_text(file.read_text(encoding="utf-8") + "import os\n", encoding="utf-8")
    small.commit("an import that nobody needs")
    build = small.build()
    told = refused_at("lint", build)
    assert "error: lint found 3 thing(s) to mend, first ml/errors.py" in told


def test_broken_data_stops_at_data(unlinted: Jenkins) -> None:
    file = unlinted.site.project / "data" / "train.csv"
    file.write_text(file.read_text(encoding="utf-8").replace(",male,", ",mail,"), encoding="utf-8")
    build = unlinted.build()
    assert "error: " in (told := refused_at("data", build)) and "Sex" in told
    assert build.archived == []


def test_a_bad_model_stops_at_quality_and_a_restart_from_there_finds_what_was_stashed(
    unlinted: Jenkins,
) -> None:
    unlinted.site.edit("project.toml", "accuracy = 0.78", "accuracy = 0.99")
    build = unlinted.build()
    told = refused_at("quality", build)
    assert "error: the model is not blessed: floor: accuracy" in told
    assert "(report: build/small/quality/report.html)" in told
    assert "build/small/quality/report.html" in build.archived
    assert [page["name"] for page in build.report["html"]] == ["Model report", "History"]
    quality = next(one for one in build.report["tests"] if "quality" in one["file"])
    assert quality["failed"] == 1

    unlinted.site.edit("project.toml", "accuracy = 0.99", "accuracy = 0.78")
    mended = unlinted.build(work=str(build.folder), restart_from="quality")
    assert mended.report["result"] == "SUCCESS", mended.console
    assert mended.outcomes["train"] == "SKIPPED by the restart"
    assert mended.outcomes["deploy"] == "SUCCESS"


def test_missing_credentials_stop_at_deploy(quick: Jenkins) -> None:
    build = quick.build(credentials={})
    refused_at("deploy", build)
    assert "Could not find credentials entry with ID 'signing-key'" in build.console


def test_an_agent_that_goes_away_is_replaced_by_another(quick: Jenkins) -> None:
    build = quick.build(lost=["one"])
    assert build.report["result"] == "SUCCESS", build.console
    agents = {stage["name"]: stage["agents"] for stage in build.report["stages"] if stage.get("agents")}
    assert agents["lint"] == ["one", "two"]
    assert "Error when executing" not in build.console, "the cleanup does not run where nothing runs"
    assert build.console.count("nothing is kept of this attempt") == 1
    assert {step["agent"] for step in build.report["sh"]} == {"two", "production"}


def test_builds_follow_each_other_and_a_rollback_takes_one_back(unlinted: Jenkins) -> None:
    first = unlinted.build()
    assert first.report["result"] == "SUCCESS", first.console

    again = unlinted.build()
    assert again.report["result"] == "SUCCESS", again.console
    assert "train: version 1 was made from the same inputs: its model is taken" in again.console
    assert again.report["description"].count("deploy: small version 1 in production, already deployed") == 1

    unlinted.site.grid({"LogisticRegression": {"C": [0.5], "max_iter": [1000]}})
    unlinted.site.edit("project.toml", "champion_tolerance = 0.03 ", "champion_tolerance = 1.0 ")
    assert unlinted.build().report["result"] == "SUCCESS"
    assert Registry("small").channel("production").version == 2

    back = unlinted.build("jenkins/rollback.Jenkinsfile", parameters=ASKED)
    assert back.report["result"] == "SUCCESS", back.console
    assert back.report["description"] == "production: back from version 2 to version 1<br>\n"
    assert Registry("small").channel("production").version == 1

    wish = {"ROLLBACK_TO": "2", "WHY": "the first was better'; touch pwned"}
    job = unlinted.build("jenkins/rollback.Jenkinsfile", parameters=ASKED | wish)
    assert job.report["result"] == "SUCCESS", job.console
    assert Registry("small").channel("production").history[-1].why == wish["WHY"]
    assert job.report["description"] == "production: back from version 1 to version 2<br>\n"

    failed = unlinted.build("jenkins/rollback.Jenkinsfile", parameters=ASKED | {"ROLLBACK_TO": "9"})
    assert failed.report["result"] == "FAILURE"
    assert "error: no version 9 of small" in failed.report["description"]


def push(jenkins: Jenkins, message: str) -> list[str]:
    """Return a command that somebody else's push is."""
    someone = ["-c", "user.name=other", "-c", "user.email=other@localhost"]
    return ["git", "-C", str(jenkins.checkout), *someone, "commit", "--quiet", "--allow-empty", "-m", message]


def test_a_build_has_one_commit_whatever_is_pushed_meanwhile(quick: Jenkins) -> None:
    commit = quick.head()
    pushes = {when: push(quick, f"after {when}") for when in ("lost", "lint", "train")}
    first = quick.build(lost=["one"], meanwhile=pushes)
    assert first.report["result"] == "SUCCESS", first.console
    assert {step["commit"] for step in first.report["sh"]} == {commit}

    again = quick.build(work=str(first.folder), restart_from="quality")
    assert again.report["result"] == "SUCCESS", again.console
    assert {step["commit"] for step in again.report["sh"]} == {commit}
    assert (again.report["changes"], again.report["polled"]) == ([], ["main"]), "as in the build it restarts"

    newest = quick.head()
    second = quick.build()
    assert {step["commit"] for step in second.report["sh"]} == {newest}
    assert second.report["changes"] == ["after lost", "after lint", "after train"]
    assert quick.build().report["changes"] == [], "they were told"


@pytest.mark.parametrize("change", [{}, {"CHANGE_ID": "7", "CHANGE_TARGET": "main"}])
def test_a_stage_of_a_branch_that_moved_is_not_restarted_on_another_commit(
    quick: Jenkins, change: dict[str, str]
) -> None:
    """A multibranch job restarts on the newest commit; a pull request, which releases nothing, may."""
    branch = {"JOB_NAME": "small/main", "BRANCH_NAME": "main"} | change
    first = quick.build(environment=branch)
    commit = quick.head()
    quick.git("commit", "--quiet", "--allow-empty", "--message", "moved")
    again = quick.build(environment=branch, work=str(first.folder), restart_from="quality")
    if change:
        assert again.report["result"] == "SUCCESS", again.console
    else:
        assert again.report["result"] == "FAILURE"
        assert f"the branch moved on from {commit}" in again.console


def test_the_nightly_job_builds_every_project(small: Jenkins) -> None:
    build = small.build("jenkins/nightly.Jenkinsfile")
    assert build.report["result"] == "SUCCESS", build.console
    jobs = [f"/models/{name}" for name in ("flights", "small", "temperature", "titanic")]
    assert build.report["builds"] == jobs
    assert (
        '<a href="http://jenkins/job//models/small/1/">small #1</a>: SUCCESS<br>'
        in build.report["description"]
    )

    one_fails = small.build("jenkins/nightly.Jenkinsfile", fail_for="/models/small")
    assert one_fails.report["result"] == "FAILURE"
    assert "small: FAILURE" in one_fails.console
    assert one_fails.report["builds"] == jobs, "the others are built"

    one_away = small.build("jenkins/nightly.Jenkinsfile", disabled="/models/small")
    assert one_away.report["result"] == "FAILURE"
    assert one_away.report["builds"] == [job for job in jobs if not job.endswith("small")]
    told = "small: could not be started (disabled, or not made yet?): Failed to trigger build of models/small"
    assert f"{told}<br>" in one_away.report["description"]


@pytest.mark.parametrize(
    ("looks", "result", "builds"),
    [
        ("", "SUCCESS", []),
        ("small\tnothing\tnothing\ntitanic\ttold\tdrift: inputs moved: Age\n", "SUCCESS", []),
        ("small\ttrain\tconcept: a row costs 0.7\ntitanic\tnothing\tnothing\n", "SUCCESS", ["/models/small"]),
        ("small\tbroken\tbroken feed: Age: missing in 90%\n", "UNSTABLE", []),
        ("small\tfailed\tthe store is away\ntitanic\ttrain\tconcept\n", "FAILURE", ["/models/titanic"]),
    ],
)
def test_what_follows_a_look_is_started_and_shown(
    quick: Jenkins, looks: str, result: str, builds: list[str]
) -> None:
    (quick.root / "looks").write_text(looks)
    build = quick.build("jenkins/monitor.Jenkinsfile", environment={"LOOKS": str(quick.root / "looks")})
    assert build.report["result"] == result, build.console
    assert build.report["builds"] == builds
    whys = [one["value"] for given in build.report["started"] for one in given]
    assert whys == [line.split("\t")[2] for line in looks.splitlines() if "\ttrain\t" in line]


def test_a_job_that_cannot_be_started_hinders_no_other_project(quick: Jenkins) -> None:
    looks = "iris\ttrain\tconcept: a\nsmall\ttrain\tconcept: b\ntitanic\tbroken\tbroken feed: Age\n"
    (quick.root / "looks").write_text(looks)
    environment = {"LOOKS": str(quick.root / "looks")}
    build = quick.build("jenkins/monitor.Jenkinsfile", environment=environment, disabled="/models/iris")
    assert build.report["builds"] == ["/models/small"]
    assert build.report["result"] == "FAILURE"
    assert "iris: Failed to trigger build of models/iris" in build.console
    assert "titanic: broken feed: Age" in build.console


def test_what_followed_an_earlier_look_is_not_started_once_more(quick: Jenkins) -> None:
    (quick.root / "looks").write_text("small\ttrain\tconcept: a row costs 0.7\n")
    environment = {"LOOKS": str(quick.root / "looks")}
    looked = quick.build("jenkins/monitor.Jenkinsfile", environment=environment)
    again = quick.build(
        "jenkins/monitor.Jenkinsfile",
        work=str(looked.folder),
        restart_from="what follows",
        environment=environment,
    )
    assert again.report["result"] == "FAILURE" and again.report["builds"] == []
    assert "restart from `look`" in again.console


def test_the_job_monitor_looks_at_what_is_in_service(unlinted: Jenkins) -> None:
    why = {"WHY": "concept: a row costs 0.7 where it cost 0.4"}
    before = unlinted.build("jenkins/monitor.Jenkinsfile")
    assert before.report["description"] == "nothing is in service yet: there is nothing to look at<br>\n"
    deployed = unlinted.build(parameters=why)
    assert deployed.report["result"] == "SUCCESS", deployed.console
    assert deployed.report["displayName"].endswith("small: concept")
    assert Registry("small").channel("production").history[-1].why == why["WHY"]
    looked = unlinted.build("jenkins/monitor.Jenkinsfile")
    assert looked.report["result"] == "SUCCESS", looked.console
    assert "small: nothing (0 answers, 0 labels)" in looked.report["description"]
    assert "build/small/monitor/look.json" in looked.archived
    assert [one["name"] for one in looked.report["html"]] == ["Monitor of small"]


def pushed(jenkins: Jenkins, since: str) -> Build:
    """Run what a push starts; the code is not checked here."""
    build = jenkins.build("jenkins/push.Jenkinsfile", last_successful=since)
    assert build.report["result"] == "SUCCESS", build.console
    return build


def test_a_push_whose_tests_fail_says_how_many_and_builds_nothing(unlinted: Jenkins) -> None:
    case = "<testcase name='{}'><failure/></testcase>"
    found = f"<testsuites><testsuite>{case.format('a')}{case.format('b')}</testsuite></testsuites>"
    build = unlinted.build("jenkins/push.Jenkinsfile", environment={"FAILING": found})
    assert build.report["result"] == "FAILURE" and build.report["builds"] == []
    assert '/testReport/">failed tests: 2</a>' in build.report["description"]


def test_a_push_builds_what_it_touches_each_in_its_own_job(unlinted: Jenkins) -> None:
    first = pushed(unlinted, "")
    [made] = first.report["jobs"]
    assert made["removed"] == "DISABLE"
    names = [line.split()[0] for line in made["parameters"]["PROJECTS"].splitlines()]
    assert names == ["flights", "iris", "small", "temperature", "titanic"]
    assert first.report["builds"] == [f"/models/{name}" for name in names], "all are new"

    before = unlinted.head()
    (unlinted.checkout / "README.md").write_text("# Another\n", encoding="utf-8")
    unlinted.commit("words")
    assert pushed(unlinted, before).report["builds"] == []
    assert pushed(unlinted, before).report["description"] == "touches no project"

    folder = unlinted.checkout / "ml" / "projects"
    shutil.copytree(folder / "temperature", folder / "seaside")
    unlinted.commit("a new project")
    new = pushed(unlinted, before)
    assert new.report["builds"] == ["/models/seaside"]
    assert "seaside" in new.report["jobs"][0]["parameters"]["PROJECTS"]
    assert '<a href="http://jenkins/job/models/job/seaside/">seaside</a>' in new.report["description"]

    before = unlinted.head()
    grid = folder / "titanic" / "grid.json"
    grid.write_text(grid.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    unlinted.commit("one project")
    assert pushed(unlinted, before).report["builds"] == ["/models/titanic"]

    before = unlinted.head()
    unlinted.edit("ml/data/split.py", 'LEFT_OUT = "gap"\n', 'LEFT_OUT = "gap"  # a thought\n')
    assert len(pushed(unlinted, before).report["builds"]) == 6, "all use the code"


def test_a_project_without_a_job_hinders_no_other(unlinted: Jenkins) -> None:
    build = unlinted.build("jenkins/push.Jenkinsfile", disabled="/models/iris")
    assert build.report["builds"] == [
        f"/models/{name}" for name in ("flights", "small", "temperature", "titanic")
    ]
    assert build.report["result"] == "FAILURE", "what was not built is touched by the next push, too"
    assert " iris (could not be started) " in build.report["description"], build.report["description"]


def test_a_script_of_jobs_that_was_not_approved_is_not_run(unlinted: Jenkins) -> None:
    file = unlinted.checkout / "jenkins" / "project.groovy"
    file.write_text(file.read_text(encoding="utf-8") + "// more\n", encoding="utf-8")
    unlinted.commit("more jobs")
    build = unlinted.build("jenkins/push.Jenkinsfile")
    assert build.report["jobs"] == []
    assert "script not yet approved for use" in build.console
    assert build.report["builds"], "projects that have a job are built all the same"
    assert build.report["result"] == "UNSTABLE"


def test_an_approval_is_asked_for_without_an_agent(quick: Jenkins) -> None:
    assert quick.build().report["asked"] == [], "unless the channel asks for it, nobody is bothered"
    (quick.root / "approval").write_text("yes")
    asked = quick.build(environment={"APPROVALS": str(quick.root / "approval")})
    assert asked.report["result"] == "SUCCESS", asked.console
    [question] = asked.report["asked"]
    assert question["submitter"] == "admin" and question.get("agent") is None
    assert "Model_20report" in question["message"] and "admin" in question["message"]
    assert "deploy: approved by developer<br>" in asked.report["description"]
    again = quick.build(
        work=str(asked.folder), restart_from="deploy", environment={"APPROVALS": str(quick.root / "approval")}
    )
    assert again.report["result"] == "SUCCESS", again.console
    assert again.report["description"].startswith("deploy: to be approved by admin")
    assert "/models/job/small/2/Model_20report/" in again.report["asked"][0]["message"], "where quality ran"
    assert [page["name"] for page in again.report["html"]] == ["Model report", "History"]

    late = quick.build(environment={"APPROVALS": str(quick.root / "approval")}, unanswered=True)
    assert late.report["result"] == "ABORTED"
    assert "deploy: not approved: Timeout has been exceeded<br>" in late.report["description"]
    assert "deploy" not in {step["stage"] for step in late.report["sh"]}


def test_each_build_finds_the_figures_of_those_before(quick: Jenkins) -> None:
    for number in (1, 2, 3):
        build = quick.build()
        assert build.report["assigned"]["FIGURES"] == f"figures {number}"


@pytest.mark.parametrize(("branch", "schedule"), [(None, ""), ("main", "H 2 * * *"), ("feature", "")])
def test_a_multibranch_job_builds_only_main_at_night(
    jenkins: Jenkins, branch: str | None, schedule: str
) -> None:
    place = {"BRANCH_NAME": branch, "JOB_NAME": f"small/{branch}"} if branch else {}
    build = jenkins.build(environment=place, restart_from="none of them")
    assert {one["name"]: one["arguments"]["spec"] for one in build.report["triggers"]} == {"cron": schedule}
    assert build.outcomes and set(build.outcomes.values()) == {"SKIPPED by the restart"}


VALID = "pipeline { agent none\n stages { stage('one') { agent { label 'lint' }\n steps { sh 'true' } } } }"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("sh 'true'", "shh 'true'", "unknown step: shh"),
        ("sh 'true'", "sh script: 'true', quietly: true", "sh: unknown argument: quietly"),
        ("sh 'true'", "sh 'true', 'false'", "sh: too many arguments"),
        ("agent none", "agent none\n options { colour() }", "options: unknown: colour"),
        ("agent none", "agent none\n options { timeout(hours: 2) }", "timeout: unknown argument: hours"),
        ("agent none", "agent none\n tool { }", "pipeline: unknown section: tool"),
        ("agent none", "agent none\n triggers { daily() }", "triggers: unknown: daily"),
        ("agent none", "agent none\n agent none", "agent must stand there once"),
        ("agent none", "environment { A = 'b' }", "pipeline: needs an agent"),
        ("sh 'true'", "sh secret", "unknown: secret"),
        ("sh 'true'", "if (1) { sh 'true' }", "only steps may stand in steps"),
        ("sh 'true'", "x = 1", "only steps may stand in steps"),
        ("agent { label 'lint' }", "", "sh: needs an agent"),
        ("agent { label 'lint' }", "agent { docker 'x' }", "agent of one: unknown: docker"),
        (
            "agent { label 'lint' }",
            "agent { label 'lint' }\n post { later { sh 'true' } }",
            "unknown condition: later",
        ),
        ("agent { label 'lint' }", "agent { label 'lint' }\n when { moon() }", "when of one: unknown: moon"),
        (
            "steps { sh 'true' }",
            "steps { sh 'true' }\n stages { }",
            "exactly one of steps, stages and parallel",
        ),
        (
            "stages { stage",
            "stages { stage('one') { steps { echo 'a' } }\n stage",
            "two stages are called one",
        ),
    ],
)
def test_what_the_harness_does_not_know_is_an_error(
    jenkins: Jenkins, old: str, new: str, problem: str
) -> None:
    assert VALID.count(old) == 1
    (jenkins.checkout / "wrong").write_text(VALID.replace(old, new))
    report = jenkins.build("wrong").report
    assert report["result"] == "INVALID", report
    assert problem in report["error"]


def test_the_smallest_pipeline_is_valid(jenkins: Jenkins) -> None:
    Path(jenkins.checkout / "valid").write_text(VALID)
    assert jenkins.build("valid").report["result"] == "SUCCESS"
