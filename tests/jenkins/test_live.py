"""A live Jenkins that was started with this project's casc.yaml: `make jenkins-test JENKINS_URL=...`.

The tests make a repository of their own and copies of the jobs `ml` and `rollback` that build it, with a
small project of a name that nobody else has; at the end they remove the jobs and stop the services of that
project. Each test pushes the state that it needs: the repository as it was at first, with its own changes.
The environment says:

JENKINS_URL, JENKINS_USER, JENKINS_TOKEN  the controller, an administrator and its API token (or password)
JENKINS_REPOSITORY                        an empty git repository that Jenkins reaches; else one of `file://`
JENKINS_REPOSITORY_PUSH                   the same repository as this machine reaches it, if that differs
JENKINS_WEBHOOK_TOKEN                     the token of /git/notifyCommit; else one is made, and revoked again
"""

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ml import locations
from ml.serving import service
from tests.conftest import SMALL_GRID, make_site
from tests.jenkins.conftest import tracked_files

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("JENKINS_URL"), reason="JENKINS_URL names no live Jenkins"),
]
BUILD_SECONDS = 900.0
TOKENS = "descriptorByName/hudson.plugins.git.ApiTokenPropertyConfiguration"
ROLES = """
def permissions = [administer: jenkins.model.Jenkins.ADMINISTER, see: jenkins.model.Jenkins.READ,
    read: hudson.model.Item.READ, build: hudson.model.Item.BUILD, cancel: hudson.model.Item.CANCEL,
    configure: hudson.model.Item.CONFIGURE,
    replay: org.jenkinsci.plugins.workflow.cps.replay.ReplayAction.REPLAY]
def acl = jenkins.model.Jenkins.get().authorizationStrategy.rootACL
def who = [anonymous: jenkins.model.Jenkins.ANONYMOUS2]
['admin', 'developer', 'viewer'].each { who[it] = hudson.model.User.getById(it, false).impersonate2() }
println groovy.json.JsonOutput.toJson(who.collectEntries { name, authentication ->
    [name, permissions.findAll { acl.hasPermission2(authentication, it.value) }*.key.sort()] })
"""

# On the host of the services: what the deploys of the tests have started.
STOP = """
node('prod') {
    checkout scm
    sh 'for channel in production staging; do CHANNEL=$channel make stop || exit; done'
    cleanWs()
}
"""


def wait_for(what: str, probe: Callable[[], Any], seconds: float = BUILD_SECONDS) -> Any:
    """Return what ``probe`` returns once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := probe():
            return found
        time.sleep(1)
    raise AssertionError(f"{what} did not come within {seconds:g} s")


@dataclass
class Live:
    """The controller, the repository that the test jobs build, and their names."""

    client: Any
    checkout: Path
    repository: str
    push_to: str
    project: str

    @property
    def job(self) -> str:
        """The copy of the job ``ml``."""
        return f"ml-{self.project}"

    @property
    def rollback_job(self) -> str:
        """The copy of the job ``rollback``."""
        return f"rollback-{self.project}"

    @property
    def stop_job(self) -> str:
        """The job that stops the services."""
        return f"stop-{self.project}"

    def get(self, path: str) -> str:
        """Return the text of a page."""
        return str(self.client.handle_req("GET", path).text)

    def json(self, path: str) -> Any:
        """Return the JSON of a page."""
        return json.loads(self.get(path))

    def post(self, path: str, **form: str) -> Any:
        """Send a form and return the response."""
        return self.client.handle_req("POST", path, data=form)

    def git(self, *arguments: str) -> None:
        """Run git in the checkout."""
        someone = ["-c", "user.name=tester", "-c", "user.email=tester@localhost"]
        subprocess.run(["git", *someone, *arguments], cwd=self.checkout, check=True, capture_output=True)

    def push(self, *edits: tuple[str, str, str], grid: Any = SMALL_GRID, message: str = "change") -> str:
        """Push the first state with one place of each ``(file, old, new)`` changed; return the commit."""
        self.git("checkout", "--quiet", "first", "--", ".")
        for file, old, new in edits:
            path = self.checkout / file.format(project=self.project)
            text = path.read_text(encoding="utf-8")
            assert old in text, f"{file} does not hold {old!r}"
            path.write_text(text.replace(old, new, 1), encoding="utf-8")
        (self.checkout / "ml" / "projects" / self.project / "grid.json").write_text(json.dumps(grid))
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        self.git("push", "--quiet", self.push_to, "HEAD:main")
        command = ["git", "rev-parse", "HEAD"]
        return subprocess.run(command, cwd=self.checkout, capture_output=True, text=True).stdout.strip()

    def start(self, job: str, **parameters: str) -> int:
        """Start a build and return its number."""
        response = self.post(f"job/{job}/buildWithParameters", **({"PROJECT": self.project} | parameters))
        item = urllib.parse.urlparse(response.headers["Location"]).path.rstrip("/").rsplit("/", 1)[1]
        queued = wait_for("the start", lambda: self.json(f"queue/item/{item}/api/json").get("executable"))
        return int(queued["number"])

    def result(self, job: str, number: int) -> dict[str, Any]:
        """Wait for the end of a build and return what its page tells, and the console."""
        path = f"job/{job}/{number}"
        wait_for(f"the end of {path}", lambda: not self.json(f"{path}/api/json?tree=building")["building"])
        tree = "result,displayName,description,artifacts[relativePath],fingerprint[hash]"
        content: dict[str, Any] = self.json(f"{path}/api/json?tree={tree},changeSets[items[msg]]")
        return content | {"console": self.get(f"{path}/consoleText"), "number": number}

    def next(self, number: int) -> int:
        """Return the number of the build that follows another one, once it is there."""
        path = f"job/{self.job}/api/json?tree=lastBuild[number]"
        wait_for("the next build", lambda: self.json(path)["lastBuild"]["number"] > number)
        return number + 1

    def copy_job(self, job: str, original: str, **replaced: str) -> None:
        """Make a job like another one, but with the repository of the tests and their project."""
        text = self.get(f"job/{original}/config.xml")
        for tag, value in ({"url": self.repository} | replaced).items():
            text, count = re.subn(rf"<{tag}>[^<]*</{tag}>", f"<{tag}>{value}</{tag}>", text)
            assert count == 1, f"job {original} has {count} elements <{tag}>"
        text = text.replace("H/15 * * * *", "").replace(">titanic<", f">{self.project}<")
        self.client.create_job(job, text)

    def build(self, job: str = "", **parameters: str) -> dict[str, Any]:
        """Run a build to its end."""
        job = job or self.job
        return self.result(job, self.start(job, **parameters))


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Return the live Jenkins with a repository and jobs of the tests."""
    from api4jenkins import Jenkins

    user, token = os.environ.get("JENKINS_USER"), os.environ.get("JENKINS_TOKEN")
    if not (user and token):
        pytest.fail("JENKINS_USER and JENKINS_TOKEN must name an administrator of JENKINS_URL")
    client = Jenkins(os.environ["JENKINS_URL"], auth=(user, token), timeout=60)
    folder = tmp_path_factory.mktemp("live")
    if not (repository := os.environ.get("JENKINS_REPOSITORY", "")):
        subprocess.run(["git", "init", "--quiet", "--bare", folder / "live.git"], check=True)
        repository = (folder / "live.git").as_uri()
    push_to = os.environ.get("JENKINS_REPOSITORY_PUSH") or repository
    live = Live(
        client, folder / "checkout", repository, push_to, f"live{random.SystemRandom().randrange(10**8)}"
    )
    for name in tracked_files():
        (live.checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(locations.ROOT / name, live.checkout / name)
    site = make_site(folder / "site")
    settings = (site.project / "project.toml").read_text(encoding="utf-8")
    changed, count = re.subn(
        r"(?m)^(production|staging) = \d+", lambda found: f"{found[1]} = {service.free_port()}", settings
    )
    assert count == 2
    (site.project / "project.toml").write_text(changed, encoding="utf-8")
    shutil.copytree(site.project, live.checkout / "ml" / "projects" / live.project)
    jenkinsfile = live.checkout / "Jenkinsfile"
    text = jenkinsfile.read_text(encoding="utf-8")
    # A push must build the test's project, and no poll may start a build between the tests.
    for old, new in (("'titanic'", f"'{live.project}'"), ("pollSCM('H/15 * * * *')", "pollSCM('')")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    jenkinsfile.write_text(text, encoding="utf-8")
    (live.checkout / "stop.Jenkinsfile").write_text(STOP, encoding="utf-8")
    live.git("init", "--quiet", "--initial-branch", "main")
    live.git("add", "--all", "--force")
    live.git("commit", "--quiet", "--message", "as it is")
    live.git("tag", "first")
    live.git("push", "--quiet", "--force", push_to, "HEAD:main")
    try:
        live.copy_job(live.job, "ml")
        live.copy_job(live.rollback_job, "rollback")
        live.copy_job(live.stop_job, "rollback", scriptPath="stop.Jenkinsfile")
        yield live
    finally:
        there = {one["name"] for one in live.json("api/json?tree=jobs[name]")["jobs"]}
        for job in there & {live.job, live.rollback_job}:
            live.post(f"job/{job}/doDelete")
        if live.stop_job in there:
            stopped = live.build(live.stop_job)
            live.post(f"job/{live.stop_job}/doDelete")
            assert stopped["result"] == "SUCCESS", stopped["console"]


@pytest.fixture(scope="module")
def first(live: Live) -> dict[str, Any]:
    """Return the first build of the test job."""
    return live.build()


def deployed(build: dict[str, Any]) -> str:
    """Return the version that a build brought into production."""
    assert build["result"] == "SUCCESS", build["console"]
    found = re.search(r"version (\d+) in production", build["description"])
    assert found, build["description"]
    return found[1]


def commits(build: dict[str, Any]) -> set[str]:
    """Return the commits that a build checked out to work with: the last before each command."""
    found = re.findall(r"git checkout -f ([0-9a-f]{40})|(\+ make )", build["console"])
    return {commit for (commit, _), (_, command) in zip(found, found[1:], strict=False) if commit and command}


@pytest.mark.parametrize(
    "file", ["Jenkinsfile", "jenkins/nightly.Jenkinsfile", "jenkins/rollback.Jenkinsfile"]
)
def test_the_declarative_linter_accepts_it(live: Live, file: str) -> None:
    text = (locations.ROOT / file).read_text(encoding="utf-8")
    answer = live.post("pipeline-model-converter/validate", jenkinsfile=text).text
    assert "successfully validated" in answer


def test_the_configuration_is_applied(live: Live) -> None:
    root = live.json("api/json?tree=numExecutors,useCrumbs,useSecurity,views[name]")
    assert root["numExecutors"] == 0 and root["useCrumbs"] and root["useSecurity"]
    assert "Models" in [view["name"] for view in root["views"]]
    computers = live.json("computer/api/json?tree=computer[displayName,offline,assignedLabels[name]]")[
        "computer"
    ]
    labels = {
        one["displayName"]: {label["name"] for label in one["assignedLabels"]} - {one["displayName"]}
        for one in computers
        if not one["offline"]
    }
    assert labels["agent-1"] == labels["agent-2"] == {"lint", "data", "train"}
    assert labels["production"] == {"prod"}


def test_each_role_may_do_its_work_and_no_more(live: Live) -> None:
    granted = json.loads(live.post("scriptText", script=ROLES).text)
    assert granted["anonymous"] == []
    assert granted["viewer"] == ["read", "see"]
    assert granted["developer"] == ["build", "cancel", "read", "see"]
    assert "administer" in granted["admin"]


def test_strangers_see_only_the_login(live: Live) -> None:
    url = os.environ["JENKINS_URL"].rstrip("/")
    assert urllib.request.urlopen(f"{url}/login", timeout=60).status == 200
    for path in ("/api/json", "/job/ml/", "/computer/api/json"):
        with pytest.raises(urllib.error.HTTPError, match="40[134]"):
            urllib.request.urlopen(url + path, timeout=60)


def test_the_jobs_have_their_parameters_and_triggers(live: Live) -> None:
    expected = {
        "ml": ({"PROJECT", "FORCE", "CHANNEL", "TARGET", "WHY"}, "hudson.triggers.SCMTrigger"),
        "nightly": ({"PIPELINE"}, "hudson.triggers.TimerTrigger"),
        "rollback": ({"PROJECT", "CHANNEL", "ROLLBACK_TO", "TARGET", "WHY"}, ""),
    }
    for job, (names, trigger) in expected.items():
        tree = "property[parameterDefinitions[name,description]]"
        properties = live.json(f"job/{job}/api/json?tree={tree}")["property"]
        parameters = [one for found in properties for one in found.get("parameterDefinitions", [])]
        assert {one["name"] for one in parameters} == names
        assert all(len(one["description"]) > 20 for one in parameters)
        assert trigger in live.get(f"job/{job}/config.xml")


def test_a_build_goes_through_and_everything_is_kept(live: Live, first: dict[str, Any]) -> None:
    assert first["result"] == "SUCCESS", first["console"]
    kept = {artifact["relativePath"] for artifact in first["artifacts"]}
    folder = f"build/{live.project}"
    assert {
        f"{folder}/data/manifest.json",
        f"{folder}/model/model.pkl",
        f"{folder}/model/manifest.json",
        f"{folder}/quality/verdict.json",
        f"{folder}/deploy/deployment.json",
    } <= kept
    path = f"job/{live.job}/{first['number']}/artifact"
    digests = {
        name: hashlib.md5(live.client.handle_req("GET", f"{path}/{name}").content).hexdigest()
        for name in kept
    }
    assert set(digests.values()) <= {one["hash"] for one in first["fingerprint"]}
    report = live.json(f"job/{live.job}/{first['number']}/testReport/api/json?tree=passCount,failCount")
    assert report["passCount"] > 5 and report["failCount"] == 0
    assert live.get(f"job/{live.job}/{first['number']}/Model_20report/")
    assert live.project in first["displayName"]
    assert f"deploy: {live.project} version 1 in production, deployed" in first["description"]


def test_a_second_build_takes_the_model_of_the_first(live: Live) -> None:
    live.push()
    version = deployed(live.build())
    again = live.build()
    assert deployed(again) == version and "already deployed" in again["description"]
    assert f"version {version} was made from the same inputs: its model is taken" in again["console"]


def test_a_build_has_one_commit_and_so_has_its_restart(live: Live) -> None:
    live.build()
    commit = live.push(message="the first")
    number = live.start(live.job)
    wait_for("the lint", lambda: "+ make lint" in live.get(f"job/{live.job}/{number}/consoleText"))
    newer = live.push(message="pushed meanwhile")
    build = live.result(live.job, number)
    assert build["result"] == "SUCCESS", build["console"]
    assert commits(build) == {commit}

    live.post(f"job/{live.job}/{number}/restart/restartPipeline", stageName="quality")
    restarted = live.result(live.job, live.next(number))
    assert restarted["result"] == "SUCCESS", restarted["console"]
    assert commits(restarted) == {commit}

    later = live.build()
    assert commits(later) == {newer}
    changes = [
        [change["msg"] for one in done["changeSets"] for change in one["items"]]
        for done in (build, restarted, later)
    ]
    assert changes == [["the first"], ["the first"], ["pushed meanwhile"]], "a restart copies its build's"


def test_a_push_starts_a_build(live: Live) -> None:
    live.push()
    assert live.build()["result"] == "SUCCESS"
    token, uuid = os.environ.get("JENKINS_WEBHOOK_TOKEN"), None
    if not token:
        made = live.post(f"{TOKENS}/generate", apiTokenName="live test").json()["data"]
        token, uuid = made["value"], made["uuid"]
    try:
        url = f"{os.environ['JENKINS_URL'].rstrip('/')}/git/notifyCommit?"
        query = {"url": live.repository}
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(url + urllib.parse.urlencode(query), timeout=60)
        before = live.json(f"job/{live.job}/api/json?tree=nextBuildNumber")["nextBuildNumber"]
        live.push(("README.md", "# A model", "# A model "))
        urllib.request.urlopen(url + urllib.parse.urlencode(query | {"token": token}), timeout=60)
        wait_for(
            "a build after the push",
            lambda: live.json(f"job/{live.job}/api/json?tree=nextBuildNumber")["nextBuildNumber"] > before,
            120,
        )
        causes = live.json(f"job/{live.job}/{before}/api/json?tree=actions[causes[shortDescription]]")
        assert "SCM" in json.dumps(causes)
    finally:
        if uuid:
            live.post(f"{TOKENS}/revoke", apiTokenUuid=uuid)
    assert live.result(live.job, before)["result"] == "SUCCESS"


@pytest.mark.parametrize(
    ("stage", "file", "old", "new", "told"),
    [
        ("lint", "ml/errors.py", '"""', 'import os\n"""', "error: lint found"),
        ("data", "ml/projects/{project}/data/train.csv", ",male,", ",mail,", "error: "),
        (
            "quality",
            "ml/projects/{project}/project.toml",
            "accuracy = 0.78",
            "accuracy = 0.99",
            "floor: accuracy",
        ),
    ],
)
def test_what_is_bad_stops_at_its_stage(
    live: Live, stage: str, file: str, old: str, new: str, told: str
) -> None:
    live.push((file, old, new))
    build = live.build()
    assert build["result"] == "FAILURE", build["console"]
    assert told in build["description"]
    stages = ["lint", "data", "train", "quality", "deploy"]
    skipped = set(re.findall(r'Stage "(\w+)" skipped due to earlier failure', build["console"]))
    assert set(stages[stages.index(stage) + 1 :]) <= skipped and stage not in skipped


LENIENT = ("ml/projects/{project}/project.toml", "champion_tolerance = 0.03 ", "champion_tolerance = 1.0 ")


def test_a_channel_is_taken_back(live: Live) -> None:
    versions = []
    for strength in (0.3, 0.5):
        live.push(LENIENT, grid={"LogisticRegression": {"C": [strength], "max_iter": [1000]}})
        versions.append(deployed(live.build(FORCE="true")))
    older, newer = versions
    assert older != newer
    back = live.build(live.rollback_job, ROLLBACK_TO=older)
    assert back["result"] == "SUCCESS", back["console"]
    assert back["description"].strip() == f"production: back from version {newer} to version {older}"
    again = live.build(live.rollback_job, ROLLBACK_TO=newer)
    assert again["result"] == "SUCCESS", again["console"]
    assert again["description"].strip() == f"production: back from version {older} to version {newer}"


def test_an_agent_that_goes_away_during_training_does_not_fail_the_build(live: Live) -> None:
    """The node is removed: an inbound agent that is only disconnected is back in two seconds.

    The model goes to a channel that has no champion yet, so no trial decides about this test.
    """
    forests = {"RandomForestClassifier": {"n_estimators": [400], "max_depth": list(range(2, 12))}}
    live.push(LENIENT, grid=SMALL_GRID | forests)
    number = live.start(live.job, FORCE="true", CHANNEL="staging")
    console = f"job/{live.job}/{number}/consoleText"
    trained_by = r"(?s)Running on (\S+) in (?!.*Running on ).*\+ make train"
    agent = wait_for("the training", lambda: re.search(trained_by, live.get(console)))[1]
    live.post(f"computer/{agent}/doDelete")
    try:
        build = live.result(live.job, number)
    finally:
        live.post("configuration-as-code/reload")
    assert build["result"] == "SUCCESS", build["console"]
    assert build["console"].count("+ make train") == 2, "the agent was lost, and another trained"
    assert "Error when executing" not in build["console"]
    wait_for("the agent", lambda: not live.json(f"computer/{agent}/api/json?tree=offline")["offline"], 120)
