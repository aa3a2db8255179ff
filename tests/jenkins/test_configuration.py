"""What configures Jenkins is right as far as files can tell: casc.yaml, plugins, jobs, hook, secrets."""

import base64
import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from jenkins import local
from jenkins.make_secrets import make_secrets
from ml.registry import signing
from tests.jenkins.conftest import HERE, Jenkins, groovy, needs_groovy
from tests.support import wait_for

CASC = local.FILES / "casc.yaml"
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
ANY_SCALAR = None
NODE = {
    "name": ANY_SCALAR,
    "nodeDescription": ANY_SCALAR,
    "labelString": ANY_SCALAR,
    "numExecutors": ANY_SCALAR,
    "mode": ANY_SCALAR,
    "remoteFS": ANY_SCALAR,
    "retentionStrategy": ANY_SCALAR,
    "launcher": {
        "ssh": {
            "host": ANY_SCALAR,
            "port": ANY_SCALAR,
            "credentialsId": ANY_SCALAR,
            "launchTimeoutSeconds": ANY_SCALAR,
            "maxNumRetries": ANY_SCALAR,
            "retryWaitTime": ANY_SCALAR,
            "sshHostKeyVerificationStrategy": {
                "manuallyProvidedKeyVerificationStrategy": {"key": ANY_SCALAR}
            },
        }
    },
}
VIEW = dict.fromkeys(("name", "description", "recurse", "includeRegex", "columns"))
# The keys that the plugins know, read in their sources: the setters and data-bound constructors of core's
# Jenkins, Slave, HudsonPrivateSecurityRealm, EnvironmentVariablesNodeProperty, JenkinsLocationConfiguration
# (2.579), of SSHLauncher (ssh-slaves), AuthorizationProperty (matrix-auth), BasicSSHUserPrivateKey,
# FileCredentialsImpl, StringCredentialsImpl; the documentation of git-client, job-dsl, configuration-as-code.
KNOWN = {
    "jenkins": {
        "systemMessage": ANY_SCALAR,
        "numExecutors": ANY_SCALAR,
        "markupFormatter": {"rawHtml": {"disableSyntaxHighlighting": ANY_SCALAR}},
        "crumbIssuer": ANY_SCALAR,
        "slaveAgentPort": ANY_SCALAR,
        "noUsageStatistics": ANY_SCALAR,
        "securityRealm": {
            "local": {
                "allowsSignup": ANY_SCALAR,
                "users": {"id": ANY_SCALAR, "name": ANY_SCALAR, "password": ANY_SCALAR},
            }
        },
        "authorizationStrategy": {
            "globalMatrix": {"entries": {"user": {"name": ANY_SCALAR, "permissions": ANY_SCALAR}}}
        },
        "globalNodeProperties": {"envVars": {"env": {"key": ANY_SCALAR, "value": ANY_SCALAR}}},
        "nodes": {"permanent": NODE},
        "views": {"all": {"name": ANY_SCALAR}, "list": VIEW},
        "primaryView": {"list": VIEW},
    },
    "credentials": {
        "system": {
            "domainCredentials": {
                "credentials": {
                    "basicSSHUserPrivateKey": {
                        "scope": ANY_SCALAR,
                        "id": ANY_SCALAR,
                        "description": ANY_SCALAR,
                        "username": ANY_SCALAR,
                        "privateKeySource": {"directEntry": {"privateKey": ANY_SCALAR}},
                    },
                    "file": dict.fromkeys(("scope", "id", "description", "fileName", "secretBytes")),
                    "string": dict.fromkeys(("scope", "id", "description", "secret")),
                }
            }
        }
    },
    "security": {"gitHostKeyVerificationConfiguration": {"sshHostKeyVerificationStrategy": ANY_SCALAR}},
    "unclassified": {"location": {"url": ANY_SCALAR, "adminAddress": ANY_SCALAR}},
    "jobs": {
        "file": ANY_SCALAR,
        "providedEnv": dict.fromkeys(("JENKINS_FILES", "REPOSITORY_URL", "WEBHOOK_TOKEN")),
    },
}


def casc() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(CASC.read_text(encoding="utf-8"))
    return content


def unknown_keys(content: Any, known: Any, place: str) -> list[str]:
    """Return the places whose key, or whose kind of value, no plugin knows."""
    if isinstance(content, list):
        return [found for item in content for found in unknown_keys(item, known, place)]
    if not isinstance(content, dict):
        return [] if known is ANY_SCALAR else [place]
    if known is ANY_SCALAR:
        return [place]
    found = []
    for key, value in content.items():
        inner = f"{place}.{key}"
        found += unknown_keys(value, known[key], inner) if key in known else [inner]
    return found


def test_every_key_is_one_that_a_plugin_knows() -> None:
    assert unknown_keys(casc(), KNOWN, "casc") == []
    wrong = casc()
    wrong["jenkins"]["nodes"][0]["permanent"]["launcher"]["ssh"]["hostname"] = "x"
    assert unknown_keys(wrong, KNOWN, "casc") == ["casc.jenkins.nodes.permanent.launcher.ssh.hostname"]


def test_nothing_is_built_on_the_controller_and_strangers_see_nothing() -> None:
    jenkins = casc()["jenkins"]
    assert jenkins["numExecutors"] == 0
    assert jenkins["securityRealm"]["local"]["allowsSignup"] is False
    entries = jenkins["authorizationStrategy"]["globalMatrix"]["entries"]
    granted = {entry["user"]["name"]: set(entry["user"]["permissions"]) for entry in entries}
    assert set(granted) == {"admin", "developer", "viewer"}
    assert granted["admin"] == {"Overall/Administer"}
    assert granted["viewer"] == {"Overall/Read", "Job/Read", "View/Read"}
    assert granted["developer"] == granted["viewer"] | {"Job/Build", "Job/Cancel"}


def test_the_agents_have_the_labels_that_the_pipelines_ask_for() -> None:
    labels = {
        label for node in casc()["jenkins"]["nodes"] for label in node["permanent"]["labelString"].split()
    }
    files = [local.FILES.parent / "Jenkinsfile", *local.FILES.glob("*.Jenkinsfile")]
    asked = re.compile(r"(?:agent \{ label |node\()'(\w+)'")
    wanted = {label for file in files for label in asked.findall(file.read_text())}
    assert wanted == labels == {"lint", "data", "train", "prod"}
    trainers = [node for node in casc()["jenkins"]["nodes"] if "train" in node["permanent"]["labelString"]]
    assert len(trainers) > 1, "a stage whose agent went away needs another"


@needs_groovy
def test_a_rollback_waits_for_no_deploy(jenkins: Jenkins) -> None:
    nodes = {node["permanent"]["name"]: node["permanent"] for node in casc()["jenkins"]["nodes"]}
    assert nodes["production"]["numExecutors"] == 2, "one for a deploy that tries a candidate, one to end it"
    assert [name for name, node in nodes.items() if "prod" in node["labelString"].split()] == ["production"]
    options = jenkins.build("jenkins/rollback.Jenkinsfile", restart_from="none of them").report["options"]
    assert "disableConcurrentBuilds" not in [one["name"] for one in options]


def test_every_variable_is_a_secret_that_is_made_or_set_at_the_start(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    made = {file.name for file in (tmp_path / "controller").iterdir()}
    content = yaml.safe_dump(casc())
    wanted = set(re.findall(r"\$\{([A-Z0-9_]+)\}", content))
    wanted |= set(re.findall(r"\$\{SECRETS\}/(\w+)", content))
    compose = yaml.safe_load((local.FILES.parent / "docker" / "compose.yaml").read_text(encoding="utf-8"))
    given = set(compose["services"]["controller"]["environment"]) | {"JENKINS_FILES"}
    assert wanted - made <= given
    assert made - wanted == {"GIT_HOST_KEY"}, "read by jenkins/compose.py"


def texts(content: Any) -> list[str]:
    """Return all texts in a document, depth first."""
    if isinstance(content, str):
        return [content]
    inner = content.values() if isinstance(content, dict) else content if isinstance(content, list) else []
    return [text for one in inner for text in texts(one)]


COMMONS_TEXT = [Path("/usr/share/java") / f"{name}.jar" for name in ("commons-text", "commons-lang3")]


@needs_groovy
@pytest.mark.skipif(
    not all(jar.exists() for jar in COMMONS_TEXT),
    reason="commons-text is not installed (Debian: libcommons-text-java)",
)
def test_casc_yaml_is_resolved_to_the_keys_and_passwords_that_were_made(
    tmp_path: Path,
) -> None:
    make_secrets(tmp_path)
    keys = tmp_path / "controller"
    variables = ["JENKINS_FILES=/files", "REPOSITORY_URL=git://git/ml.git", f"SECRETS={keys}"]
    written = texts(casc())
    (tmp_path / "texts.json").write_text(json.dumps(written))
    class_path = ":".join(map(str, COMMONS_TEXT))
    done = groovy("--classpath", class_path, HERE / "resolve.groovy", tmp_path / "texts.json", *variables)
    assert not done.problem, done.problem
    resolved: dict[str, str | None] = dict(zip(written, json.loads(done.printed), strict=True))
    assert [text for text, value in resolved.items() if value is None] == []

    credentials = casc()["credentials"]["system"]["domainCredentials"][0]["credentials"]
    secret_file = next(one["file"] for one in credentials if "file" in one)["secretBytes"]
    assert base64.b64decode(resolved[secret_file] or "") == (keys / "SIGNING_KEY").read_bytes()
    for file in keys.iterdir():
        if (variable := f"${{{file.name}}}") in resolved:
            assert resolved[variable] == file.read_text().strip(), file.name


def test_the_credentials_are_those_that_the_pipelines_bind() -> None:
    files = [local.FILES.parent / "Jenkinsfile", *local.FILES.glob("*.Jenkinsfile")]
    asked = re.compile(r"(?:credentials\(|credentialsId: )'([\w-]+)'")
    bound = {name for file in files for name in asked.findall(file.read_text())}
    domains = casc()["credentials"]["system"]["domainCredentials"]
    scopes = {
        one["id"]: one["scope"]
        for domain in domains
        for entry in domain["credentials"]
        for one in entry.values()
    }
    assert bound == {name for name, scope in scopes.items() if scope == "GLOBAL"}
    assert {name for name, scope in scopes.items() if scope == "SYSTEM"} == {"agent-key", "webhook-token"}


def test_plugins_are_pinned_once_and_explained() -> None:
    lines = (local.FILES / "plugins.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+:\d[\w.-]*", pin) for pin in pins)
    assert len({pin.split(":")[0] for pin in pins}) == len(pins)
    ours = lines[: lines.index("", 3)]
    explained = [ours[place - 1] for place, line in enumerate(ours) if line in pins]
    assert len(explained) > 10 and all(line.startswith("# ") for line in explained)


def test_secrets_are_made_once_and_are_private(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    make_secrets(tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    public = {"verify.pem", "api-keys", "agent-key.pub", "push-key.pub", "WEBHOOK_TOKEN"}
    for file in before:
        private = file.parent.name == "controller" or file.name not in public
        assert stat.S_IMODE(file.stat().st_mode) == (0o600 if private else 0o644), file
    assert stat.S_IMODE((tmp_path / "controller").stat().st_mode) == 0o700

    signature = tmp_path / "signature"
    message = tmp_path / "message"
    message.write_text("m")
    key = ["-inkey", str(tmp_path / "controller" / "SIGNING_KEY")]
    sign = ["openssl", "pkeyutl", "-sign", "-rawin", "-in", str(message), "-out", str(signature)]
    subprocess.run([*sign, *key], check=True)
    check = ["openssl", "pkeyutl", "-verify", "-rawin", "-in", str(message), "-sigfile", str(signature)]
    verify = ["-pubin", "-inkey", str(tmp_path / "public" / "verify.pem")]
    subprocess.run([*check, *verify], check=True, capture_output=True)


def recorded(script: Path, *variables: str) -> list[Any]:
    done = groovy(HERE / "record_jobs.groovy", script, *variables)
    assert not done.problem, done.problem
    calls: list[Any] = json.loads(done.printed)
    return calls


def inside(calls: list[Any], *names: str) -> list[Any]:
    """Return the calls that stand inside nested calls of these names."""
    for name in names:
        calls = [inner for call in calls if call[0] == name for inner in call[2]]
    return calls


# Options that are carried out in each build, and are no properties of the job.
OF_A_BUILD = {"timestamps", "timeout", "skipDefaultCheckout"}
PROJECTS = "titanic  production,staging  Did they survive? <b>\nchurn    production  Who leaves us?\n"
MADE_BY_A_PUSH = ("REPOSITORY_URL=git://git/ml.git", f"PROJECTS={PROJECTS}", "TARGETS=ssh://ml@front")


def given(value: Any) -> Any:
    """Return the arguments of an option as nested dictionaries, without what is left open."""
    if isinstance(value, dict) and set(value) == {"name", "arguments"}:
        return {value["name"]: given(value["arguments"])}
    if isinstance(value, dict):
        return {key: given(one) for key, one in value.items() if one not in ("", False)}
    return value


def named(calls: list[Any]) -> dict[str, Any]:
    """Return recorded calls in the same form."""
    return given({name: plain[0] if plain else named(inner) for name, plain, inner in calls})


def jobs_of(calls: list[Any]) -> dict[str, list[Any]]:
    return {call[1][0]: call[2] for call in calls if call[0] == "pipelineJob"}


@pytest.fixture
def administrators_jobs(tmp_path: Path) -> list[Any]:
    """Return what jobs.groovy calls; the class that approves scripts is none of Job DSL."""
    text = (local.FILES / "jobs.groovy").read_text(encoding="utf-8")
    text, imports = re.subn(r"(?m)^import org.jenkinsci.*\n", "", text)
    text, approvals = re.subn(r"(?m)^ScriptApproval\.get\(\)\.preapprove\(.*\)\n", "", text)
    assert (imports, approvals) == (2, 1)
    (tmp_path / "jobs.groovy").write_text(text, encoding="utf-8")
    return recorded(tmp_path / "jobs.groovy", "REPOSITORY_URL=git://git/ml.git")


@needs_groovy
def test_the_jobs_declare_what_their_jenkinsfiles_declare(
    jenkins: Jenkins, administrators_jobs: list[Any]
) -> None:
    made = jobs_of(recorded(local.FILES / "project.groovy", *MADE_BY_A_PUSH))
    jobs = jobs_of(administrators_jobs) | made
    assert list(jobs) == ["push", "models/titanic", "models/churn", "nightly", "monitor", "rollback"]
    for job in jobs.values():
        [[_, [file], _]] = [call for call in inside(job, "definition", "cpsScm") if call[0] == "scriptPath"]
        assert ["url", ["git://git/ml.git"], []] in inside(
            job, "definition", "cpsScm", "scm", "git", "remote"
        )
        assert ["branch", ["main"], []] in inside(job, "definition", "cpsScm", "scm", "git")
        report = jenkins.build(file, restart_from="none of them").report
        cron = inside(job, "properties", "pipelineTriggers", "triggers", "cron")
        poll = inside(job, "properties", "pipelineTriggers", "triggers", "pollSCM")
        schedules = {("cron", *call[1]) for call in cron} | {("pollSCM", *call[1]) for call in poll}
        in_file = {(one["name"], one["arguments"]["spec"]) for one in report["triggers"]}
        assert schedules == {trigger for trigger in in_file if trigger[1]}
        options = {
            one["name"]: given(one["arguments"]) for one in report["options"] if one["name"] not in OF_A_BUILD
        }
        properties = named(inside(job, "properties"))
        assert bool(properties.pop("pipelineTriggers", {})) == bool(schedules)
        assert properties == options, file
        assert report["parameters"] == [], "declared once, where the projects are known"


@needs_groovy
def test_what_can_be_chosen_is_a_choice() -> None:
    jobs = jobs_of(recorded(local.FILES / "project.groovy", *MADE_BY_A_PUSH))
    parameters = {
        name: {one[1][0]: one[1][1] for one in inside(job, "parameters")} for name, job in jobs.items()
    }
    targets = ["ssh://ml@front", "local", "compose"]
    assert parameters["models/titanic"] == {
        "FORCE": False,
        "CHANNEL": ["production", "staging"],
        "TARGET": targets,
        "WHY": "",
    }
    assert parameters["models/churn"]["CHANNEL"] == ["production"]
    assert parameters["rollback"]["PROJECT"] == ["titanic", "churn"]
    assert parameters["rollback"]["CHANNEL"] == ["production", "staging"]
    explained = [one[1][2] for job in jobs.values() for one in inside(job, "parameters")]
    assert all(len(text) > 15 for text in explained)
    [[_, [description], _]] = [call for call in jobs["models/titanic"] if call[0] == "description"]
    assert (
        "&lt;b>" in description and "lastSuccessfulBuild/artifact/build/titanic/history/trend" in description
    )


# Jenkins gives the scripts of Job DSL a class loader that sees Jenkins itself and not the Git plugin.
AS_JENKINS_DOES = """
GroovyClassLoader jenkins = new GroovyClassLoader(getClass().classLoader)
GroovyClassLoader plugins = new GroovyClassLoader(jenkins)
plugins.addClasspath(args[0])
Class core = jenkins.parseClass('''package jenkins.model
class Jenkins {
    static Jenkins one = new Jenkins()
    static Jenkins get() { one }
    Map pluginManager = [:]
}''')
core.get().pluginManager.uberClassLoader = plugins
new GroovyShell(jenkins, new Binding(WEBHOOK_TOKEN: 'abc')).evaluate(new File(args[1]))
"""


@needs_groovy
def test_the_hash_of_the_webhook_token_replaces_an_older_one(tmp_path: Path) -> None:
    package = tmp_path / "hudson" / "plugins" / "git"
    package.mkdir(parents=True)
    (package / "ApiTokenPropertyConfiguration.groovy").write_text(
        """package hudson.plugins.git
class ApiTokenPropertyConfiguration {
    static ApiTokenPropertyConfiguration one = new ApiTokenPropertyConfiguration()
    private final List<HashedApiToken> apiTokens =
        [new HashedApiToken('webhook', 'old'), new HashedApiToken('b', 'c')]
    static get() { one }
    void save() { println apiTokens.collect { it.name + ' ' + it.hash } }
    static class HashedApiToken {
        private final String name, hash
        private HashedApiToken(String name, String hash) { this.name = name; this.hash = hash }
        String getName() { name }
    }
}
"""
    )
    done = groovy("-e", AS_JENKINS_DOES, tmp_path, local.FILES / "webhook-token.groovy")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert done.printed.strip() == f"[b c, webhook {sha256}]", done.problem


def test_every_image_and_host_of_a_controller_has_the_files_that_its_configuration_reads() -> None:
    scripts = [*local.FILES.glob("*.groovy"), local.FILES / "casc.yaml"]
    read = {
        name for one in scripts for name in re.findall(r"[\w-]+\.groovy", one.read_text(encoding="utf-8"))
    }
    read &= {one.name for one in scripts}
    dockerfile = (local.FILES.parent / "docker" / "Dockerfile").read_text(encoding="utf-8")
    role = (local.FILES / "hosts" / "roles" / "controller" / "tasks" / "main.yml").read_text(encoding="utf-8")
    assert {"jobs.groovy", "project.groovy", "webhook-token.groovy"} <= read
    assert [name for name in read if f"jenkins/{name}" not in dockerfile or name not in role] == []


def test_the_scripts_are_executable() -> None:
    root = local.FILES.parent
    for file in (
        "jenkins/post-receive",
        "docker/agent",
        "docker/git-server",
        "docker/front",
        "docker/ssh-server",
        ".ci/run",
    ):
        assert os.access(root / file, os.X_OK)


def sshd_runs() -> bool:
    return bool(shutil.which("sshd", path=PATH)) and (os.geteuid() != 0 or Path("/run/sshd").is_dir())


@pytest.mark.skipif(not sshd_runs(), reason="sshd is not installed, or /run/sshd is missing")
def test_the_keys_open_an_agent_and_its_host_key_is_the_one_that_is_expected(
    tmp_path: Path, free_port: int
) -> None:
    make_secrets(tmp_path)
    options = [f"AuthorizedKeysFile={tmp_path}/hosts/agent-key.pub", "StrictModes=no", "PidFile=none"]
    settings = [part for option in [*options, "ListenAddress=127.0.0.1"] for part in ("-o", option)]
    command = [shutil.which("sshd", path=PATH) or "", "-D", "-e", "-f", "/dev/null", "-p", str(free_port)]
    sshd = subprocess.Popen([*command, "-h", str(tmp_path / "hosts" / "agent-1" / "host-key"), *settings])
    try:

        def log_in(key: str, host_key: str) -> subprocess.CompletedProcess[str]:
            known = tmp_path / "known_hosts"
            known.write_text(f"[127.0.0.1]:{free_port} " + (tmp_path / "controller" / host_key).read_text())
            strict = [
                "-o",
                "StrictHostKeyChecking=yes",
                "-o",
                f"UserKnownHostsFile={known}",
                "-o",
                "BatchMode=yes",
            ]
            identity = ["-o", "IdentitiesOnly=yes", "-i", str(tmp_path / key), "-p", str(free_port)]
            return subprocess.run(
                ["ssh", "-F", "/dev/null", *strict, *identity, "127.0.0.1", "echo", "in"],
                capture_output=True,
                text=True,
            )

        done = wait_for(
            lambda: (
                None
                if "refused" in (tried := log_in("controller/AGENT_KEY", "AGENT_1_HOST_KEY")).stderr
                else tried
            )
        )
        assert done.stdout == "in\n", done.stderr
        assert "Host key verification failed" in log_in("controller/AGENT_KEY", "AGENT_2_HOST_KEY").stderr
        assert "Permission denied" in log_in("git/push-key", "AGENT_1_HOST_KEY").stderr
    finally:
        sshd.terminate()
        sshd.wait()


def test_a_key_without_its_last_line_break_signs_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Configuration as Code strips what it reads from a file of secrets."""
    make_secrets(tmp_path)
    record = tmp_path / "record.json"
    record.write_text('{"outputs": {}}')
    (tmp_path / "stripped").write_text((tmp_path / "controller" / "SIGNING_KEY").read_text().strip())
    monkeypatch.setenv("ML_SIGNING_KEY", str(tmp_path / "stripped"))
    monkeypatch.setenv("ML_VERIFY_KEY", str(tmp_path / "public" / "verify.pem"))
    signing.sign(record, signing.release_keys())
    assert signing.verify(record, signing.release_keys()) == {"outputs": {}}
