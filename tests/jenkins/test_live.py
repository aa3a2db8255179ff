"""A live Jenkins that was started with this project's casc.yaml: `make jenkins-test JENKINS_URL=...`.

The tests make a repository of their own, with one small project of a name that nobody else has, and a folder
of that name with a copy of the job `push`, which makes all other jobs there; at the end they stop the
services of that project and remove the folder. Each test pushes the state that it needs: the repository as
it was at first, with its own changes.
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
TOML = "ml/projects/{project}/project.toml"
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

APPROVE = """
def approval = org.jenkinsci.plugins.scriptsecurity.scripts.ScriptApproval.get()
approval.preapprove(%s, org.jenkinsci.plugins.scriptsecurity.scripts.languages.GroovyLanguage.get())
"""
FOLDER = "<com.cloudbees.hudson.plugins.folder.Folder/>"

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
        """The job of the project, in the folder that is called like it."""
        return f"{self.project}/job/{self.project}"

    def other(self, job: str) -> str:
        """Return the place of another job in that folder."""
        return f"{self.project}/job/{job}"

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
        # Some versions of the git plugin tell nothing of a commit that changes no file.
        with open(self.checkout / "README.md", "a", encoding="utf-8") as words:
            words.write(f"\n{time.time()}\n")
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--message", message)
        self.git("push", "--quiet", self.push_to, "HEAD:main")
        command = ["git", "rev-parse", "HEAD"]
        return subprocess.run(command, cwd=self.checkout, capture_output=True, text=True).stdout.strip()

    def start(self, job: str, **parameters: str) -> int:
        """Start a build and return its number."""
        how = "build" if job in (self.other("push"), self.other("stop")) else "buildWithParameters"
        response = self.post(f"job/{job}/{how}", **parameters)
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
        wait_for("the next build", lambda: (self.json(path)["lastBuild"] or {"number": 0})["number"] > number)
        return number + 1

    def copy_job(self, job: str, original: str, **replaced: str) -> None:
        """Make a job in the folder like another one, but with the repository of the tests."""
        text = self.get(f"job/{original}/config.xml")
        for tag, value in ({"url": self.repository} | replaced).items():
            text, count = re.subn(rf"<{tag}>[^<]*</{tag}>", f"<{tag}>{value}</{tag}>", text)
            assert count == 1, f"job {original} has {count} elements <{tag}>"
        # No poll may start a build between the tests.
        self.create(f"job/{self.project}/createItem?name={job}", text.replace("H/15 * * * *", ""))

    def create(self, path: str, configuration: str) -> None:
        """Make what an XML document describes."""
        headers = {"Content-Type": "text/xml; charset=utf-8"}
        self.client.handle_req("POST", path, headers=headers, content=configuration.encode())

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
    for name in (
        "titanic",
        "temperature",
        "flights",
        "iris",
    ):  # minutes of training that the tests need not wait for
        shutil.rmtree(live.checkout / "ml" / "projects" / name)
    edits = {
        "jenkins/push.Jenkinsfile": [
            ("/models/${project}", f"/{live.project}/${{project}}"),
            ("job/models/job/", f"job/{live.project}/job/"),
            ("pollSCM('H/15 * * * *')", "pollSCM('')"),
            ("make fast-tests", "make fast-tests TESTS=tests/unit/test_console.py"),
        ],
        "jenkins/nightly.Jenkinsfile": [("/models/${project}", f"/{live.project}/${{project}}")],
        "jenkins/project.groovy": [
            ("models/${project.first()}", f"{live.project}/${{project.first()}}"),
            ("pipelineJob('nightly')", f"pipelineJob('{live.project}/nightly')"),
            ("pipelineJob('rollback')", f"pipelineJob('{live.project}/rollback')"),
            ("pipelineJob('monitor')", f"pipelineJob('{live.project}/monitor')"),
            ("H 2 * * *", ""),
            ("'H * * * *'", "''"),
        ],
        "jenkins/monitor.Jenkinsfile": [
            ("/models/${project}", f"/{live.project}/${{project}}"),
            ("'H * * * *'", "''"),
        ],
    }
    for file, changes in edits.items():
        text = (live.checkout / file).read_text(encoding="utf-8")
        for old, new in changes:
            assert text.count(old) == 1, f"{file} holds {text.count(old)} times {old}"
            text = text.replace(old, new)
        (live.checkout / file).write_text(text, encoding="utf-8")
    (live.checkout / "stop.Jenkinsfile").write_text(STOP, encoding="utf-8")
    live.git("init", "--quiet", "--initial-branch", "main")
    live.git("add", "--all", "--force")
    live.git("commit", "--quiet", "--message", "as it is")
    live.git("tag", "first")
    live.git("push", "--quiet", "--force", push_to, "HEAD:main")
    script = (live.checkout / "jenkins" / "project.groovy").read_text(encoding="utf-8").strip()
    live.create(f"createItem?name={live.project}", FOLDER)
    try:
        live.post("scriptText", script=APPROVE % groovy_text(script))
        live.copy_job("push", "push")
        live.copy_job("stop", "push", scriptPath="stop.Jenkinsfile")
        yield live
    finally:
        stopped = live.build(live.other("stop"))
        live.post(f"job/{live.project}/doDelete")
        assert stopped["result"] == "SUCCESS", stopped["console"]


def groovy_text(text: str) -> str:
    """Return a text as a literal of Groovy."""
    return json.dumps(text).replace("$", "\\$")


@pytest.fixture(scope="module")
def first(live: Live) -> dict[str, Any]:
    """Return the first build of the project, which its first push started."""
    pushed = live.build(live.other("push"))
    assert pushed["result"] == "SUCCESS", pushed["console"]
    assert f"/job/{live.job}/" in pushed["description"]
    return live.result(live.job, live.next(0))


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
    "file",
    ["Jenkinsfile", *(f"jenkins/{name}.Jenkinsfile" for name in ("push", "nightly", "rollback", "monitor"))],
)
def test_the_declarative_linter_accepts_it(live: Live, file: str) -> None:
    text = (locations.ROOT / file).read_text(encoding="utf-8")
    answer = live.post("pipeline-model-converter/validate", jenkinsfile=text).text
    assert "successfully validated" in answer


def test_the_configuration_is_applied(live: Live) -> None:
    root = live.json("api/json?tree=numExecutors,useCrumbs,useSecurity,primaryView[name]")
    assert root["numExecutors"] == 0 and root["useCrumbs"] and root["useSecurity"]
    assert root["primaryView"]["name"] == "Models"
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
    for path in ("/api/json", "/job/push/", "/computer/api/json"):
        with pytest.raises(urllib.error.HTTPError, match="40[134]"):
            urllib.request.urlopen(url + path, timeout=60)


def test_the_jobs_have_their_parameters_and_triggers(live: Live, first: dict[str, Any]) -> None:
    expected = {
        live.project: {"FORCE", "CHANNEL", "TARGET", "WHY"},
        "nightly": set(),
        "monitor": set(),
        "rollback": {"PROJECT", "CHANNEL", "ROLLBACK_TO", "TARGET", "WHY"},
    }
    for job, names in expected.items():
        tree = "property[parameterDefinitions[name,description,choices]]"
        properties = live.json(f"job/{live.other(job)}/api/json?tree={tree}")["property"]
        parameters = {
            one["name"]: one for found in properties for one in found.get("parameterDefinitions", [])
        }
        assert set(parameters) == names
        assert all(len(one["description"]) > 15 for one in parameters.values())
        if "CHANNEL" in names:
            assert parameters["CHANNEL"]["choices"] == ["production", "staging"]
            assert parameters["TARGET"]["choices"][:2] == ["local", "compose"]
        if "PROJECT" in names:
            assert parameters["PROJECT"]["choices"] == [live.project]
    assert "hudson.triggers.SCMTrigger" in live.get("job/push/config.xml")
    assert "hudson.triggers.TimerTrigger" in live.get("job/nightly/config.xml")


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
    assert "data: " in first["description"] and "(as it is)" in first["description"]


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


def test_a_push_builds_what_it_touches(live: Live, first: dict[str, Any]) -> None:
    token, uuid = os.environ.get("JENKINS_WEBHOOK_TOKEN"), None
    if not token:
        made = live.post(f"{TOKENS}/generate", apiTokenName="live test").json()["data"]
        token, uuid = made["value"], made["uuid"]
    job = live.other("push")

    def builds(of: str) -> int:
        return int(live.json(f"job/{of}/api/json?tree=nextBuildNumber")["nextBuildNumber"])

    def push(*edits: tuple[str, str, str]) -> dict[str, Any]:
        before = builds(job)
        live.push(*edits)
        urllib.request.urlopen(url + urllib.parse.urlencode(query | {"token": token}), timeout=60)
        wait_for("a build after the push", lambda: builds(job) > before, 120)
        causes = live.json(f"job/{job}/{before}/api/json?tree=actions[causes[shortDescription]]")
        assert "SCM" in json.dumps(causes)
        return live.result(job, before)

    try:
        url = f"{os.environ['JENKINS_URL'].rstrip('/')}/git/notifyCommit?"
        query = {"url": live.repository}
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(url + urllib.parse.urlencode(query), timeout=60)
        live.build(job)  # whatever was pushed before is known now
        live.result(live.job, builds(live.job) - 1)
        before = builds(live.job)
        words = push(("README.md", "# A model", "# A model "))
        assert words["result"] == "SUCCESS" and words["description"] == "touches no project"
        assert builds(live.job) == before
        settings = push((f"ml/projects/{live.project}/project.toml", "max_gap = 0.10", "max_gap = 0.11"))
        assert f"/job/{live.job}/" in settings["description"]
        assert live.result(live.job, live.next(before - 1))["result"] == "SUCCESS"
    finally:
        if uuid:
            live.post(f"{TOKENS}/revoke", apiTokenUuid=uuid)


def test_a_new_folder_gets_its_job_and_its_first_build(live: Live, first: dict[str, Any]) -> None:
    live.git("checkout", "--quiet", "first", "--", ".")
    folder = live.checkout / "ml" / "projects"
    shutil.copytree(folder / live.project, folder / f"{live.project}-new")
    live.push()
    pushed = live.build(live.other("push"))
    assert pushed["result"] == "SUCCESS", pushed["console"]
    job = live.other(f"{live.project}-new")
    wait_for("its first build", lambda: live.json(f"job/{job}/api/json?tree=lastBuild[number]")["lastBuild"])
    live.post(f"job/{job}/1/stop")
    shutil.rmtree(folder / f"{live.project}-new")
    live.push()
    live.build(live.other("push"))
    assert not live.json(f"job/{job}/api/json?tree=buildable")["buildable"], "its folder is gone"


def test_an_approval_is_waited_for_without_an_agent(live: Live, first: dict[str, Any]) -> None:
    channel = re.search(
        r"(?m)^staging = \d+", (live.checkout / TOML.format(project=live.project)).read_text()
    )
    assert channel
    asked = f"staging = {{ port = {channel[0].split()[-1]}, approval = true }}"
    live.push((TOML, channel[0], asked))
    number = live.start(live.job, CHANNEL="staging")
    path = f"job/{live.job}/{number}"
    told = f"{path}/api/json?tree=description"
    wait_for("the question", lambda: "to be approved by" in (live.json(told)["description"] or ""))
    busy = live.json("computer/api/json?tree=busyExecutors")["busyExecutors"]
    assert busy == 0, "nobody holds an agent"
    live.post(f"{path}/input/Approval/proceedEmpty")
    build = live.result(live.job, number)
    assert build["result"] == "SUCCESS", build["console"]
    assert "deploy: approved<br>" in build["description"]


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


LENIENT = (TOML, "champion_tolerance = 0.03 ", "champion_tolerance = 1.0 ")


def test_a_channel_is_taken_back(live: Live) -> None:
    versions = []
    for strength in (0.3, 0.5):
        live.push(LENIENT, grid={"LogisticRegression": {"C": [strength], "max_iter": [1000]}})
        versions.append(deployed(live.build(FORCE="true")))
    older, newer = versions
    assert older != newer
    back = live.build(live.other("rollback"), ROLLBACK_TO=older)
    assert back["result"] == "SUCCESS", back["console"]
    assert back["description"].strip() == f"production: back from version {newer} to version {older}<br>"
    again = live.build(live.other("rollback"), ROLLBACK_TO=newer)
    assert again["result"] == "SUCCESS", again["console"]
    assert again["description"].strip() == f"production: back from version {older} to version {newer}<br>"


def test_an_agent_that_goes_away_during_training_does_not_fail_the_build(live: Live) -> None:
    """The node is removed: an inbound agent that is only disconnected is back in two seconds.

    The model goes to a channel that has no champion yet, so no trial decides about this test.
    """
    forests = {"RandomForestClassifier": {"n_estimators": [400], "max_depth": list(range(2, 12))}}
    live.push(LENIENT, grid=SMALL_GRID | forests)
    number = live.start(live.job, FORCE="true", CHANNEL="staging")
    console = f"job/{live.job}/{number}/consoleText"
    trained_by = r"(?s)Running on (\S+) in (?!.*Running on ).*\+ make doctor train"
    agent = wait_for("the training", lambda: re.search(trained_by, live.get(console)))[1]
    live.post(f"computer/{agent}/doDelete")
    try:
        build = live.result(live.job, number)
    finally:
        live.post("configuration-as-code/reload")
    assert build["result"] == "SUCCESS", build["console"]
    assert build["console"].count("+ make doctor train") == 2, "the agent was lost, and another trained"
    assert "Error when executing" not in build["console"]
    wait_for("the agent", lambda: not live.json(f"computer/{agent}/api/json?tree=offline")["offline"], 120)
