"""Every command of a README is run here or by a test that is named here, or it is said what it needs."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml import locations
from tests.conftest import VARIABLES, make_site
from tests.jenkins.conftest import tracked_files

RUN = [  # here, in this order
    "make run",
    "make data",
    ".venv/bin/python -m ml data --format csv",
    ".venv/bin/python -m ml predict --first 1",
    ".venv/bin/python -m ml show",
    ".venv/bin/python -m ml show 1",
    ".venv/bin/python -m ml show --request 0123456789abcdef0123456789abcdef",
    "make monitor",
    "make monitor-projects",
    "make doctor",
    "make prune",
    ".venv/bin/python -m ml doctor --prune --yes",
    ".venv/bin/python -m ml --help",
    "make help",
    ".venv/bin/python -m ml undeploy",
    "openssl genpkey -algorithm ed25519 -out signing.pem",
    "openssl pkey -in signing.pem -pubout -out verify.pem",
]
RECALLED = (
    "unit/test_recall.py::test_versions_trained_on_bad_rows_leave_their_channels_and_their_answers_are_listed"
)
RESTORED = "end_to_end/test_lost_host.py::test_another_host_serves_the_same_and_a_standby_follows"
REPLAYED = "end_to_end/test_replay.py::test_a_world_that_changes_is_noticed_learned_and_deployed"
PREPARED = "hosts/test_fleet.py::test_bare_hosts_are_reached_checked_and_prepared"
RENEWED = "hosts/test_fleet.py::test_hosts_are_renewed_one_by_one_and_no_request_is_lost"
EXPLORED = "hosts/test_exploration.py::test_what_was_explored_reaches_production_and_is_taken_out_of_it"
SEARCHED = "unit/training/test_cluster.py::test_a_worker_is_killed_and_the_model_is_the_same_to_the_byte"
DASK = "PYTHONPATH=.venv/dask .venv/bin/python -m distributed.cli.dask"
# What other tests run, as it stands or with smaller numbers
ELSEWHERE = {
    "make rollback": "jenkins/test_pipeline.py::test_builds_follow_each_other_and_a_rollback_takes_one_back",
    ".venv/bin/python -m ml deploy --shadow --for 60s --min-requests 200": (
        "end_to_end/test_deployment.py::test_a_canary_is_promoted_or_withdrawn_and_the_reason_is_kept"
    ),
    ".venv/bin/python -m ml deploy --canary 10 --for 10m --min-requests 1000": (
        "end_to_end/test_deployment.py::test_a_canary_is_promoted_or_withdrawn_and_the_reason_is_kept"
    ),
    ".venv/bin/python -m ml new shop --from customers.csv --target left": (
        "end_to_end/test_new_project.py::test_a_stranger_s_table_becomes_a_service_that_answers"
    ),
    "make run PROJECT=shop": (
        "end_to_end/test_new_project.py::test_a_stranger_s_table_becomes_a_service_that_answers"
    ),
    ".venv/bin/python -m ml data --check": (
        "unit/data/sources/test_fetch.py::test_every_table_is_asked_and_nothing_is_built"
    ),
    ".venv/bin/python -m ml data --version 0123abcd": (
        "unit/registry/test_data_versions.py::test_what_is_kept_comes_back_and_is_learned_from"
    ),
    ".venv/bin/python -m ml labels came_true.csv": (
        "unit/test_labels.py::test_labels_of_a_file_are_taken_and_counted"
    ),
    ".venv/bin/python -m ml monitor --lift 3": (
        "unit/stages/test_monitor.py::test_what_a_person_finds_good_is_learned_from_again"
    ),
    ".venv/bin/python -m ml diff 1 build": "unit/test_diff.py::test_a_version_a_build_and_files_are_compared",
    '.venv/bin/python -m ml recall --rows bad.csv --why "the sensor stood still"': RECALLED,
    ".venv/bin/python -m ml recall": RECALLED,
    ".venv/bin/python -m ml recall --undo 1": RECALLED,
    "make backup BACKUP=ml.tar.gz KEYS=keys.tar.gz": RESTORED,
    "make restore BACKUP=ml.tar.gz KEYS=keys.tar.gz": RESTORED,
    ".venv/bin/python -m ml restore ml.tar.gz --registry": RESTORED,
    "make replay PROJECT=flights": REPLAYED,
    "make replay PROJECT=flights FROM=2013-04-01": REPLAYED,
    "make sabotage": "sabotage/test_sabotage.py::test_a_fault_is_stopped_by_the_stage_whose_job_it_is",
    "ansible-playbook -i inventories/one.yml bootstrap.yml -e ansible_user=root": PREPARED,
    "ansible -i inventories/one.yml all -m ping": PREPARED,
    "ansible-playbook -i inventories/one.yml site.yml --check": PREPARED,
    "ansible-playbook -i inventories/one.yml site.yml": PREPARED,
    "make deploy TARGET=ssh://ml@192.0.2.10/srv/ml": PREPARED,
    "curl http://192.0.2.10/health": PREPARED,
    "ansible-playbook -i inventories/five.yml update.yml": RENEWED,
    "git clone ssh://git@192.0.2.13/srv/git/ml.git": EXPLORED,
    "git clone ssh://git@192.0.2.13/srv/git/data.git": EXPLORED,
    "dvc remote add -d shelf ssh://versions@192.0.2.13/srv/versions/data": EXPLORED,
    "make dask-tools": SEARCHED,
    f"{DASK}_scheduler --host 127.0.0.1": SEARCHED,
    f"{DASK}_worker tcp://127.0.0.1:8786 --nworkers auto --nthreads 1": SEARCHED,
    "make jenkins-local": "jenkins/test_local.py::test_controller_and_agents_start_and_stop",
    "make jenkins-up": "jenkins/test_compose.py::test_up_starts_everything_and_says_how_to_use_it",
}
NEEDS = {
    "make hosts-tools": "a minute of downloads; `make test-hosts` begins with it",
    "cd jenkins/hosts && export PATH=$PWD/../../.venv-hosts/bin:$PATH": "Ansible, by the line before",
    'export OPERATOR_KEYS="$(cat ~/.ssh/id_ed25519.pub)"': "a key of one's own",
    "cd ../..": "the line before",
    "make test": "hours, if it ran itself",
    "make check": "hours, if it ran itself",
    ".venv/bin/python -m tests.sabotage flipped pickle": "minutes",
    ".venv/bin/python -m tests.sabotage.pairs titanic": "an hour",
    "make bench": "wrk, gigabytes of downloads and a machine that does nothing else",
    ".venv/bin/python -m tests.bench serving": "wrk and a machine that does nothing else",
    ".venv/bin/python -m tests.load --seconds 5": "wrk and a machine that does nothing else",
}
READMES = [locations.ROOT / name for name in tracked_files() if name.endswith(".md")]


def commands(file: Path) -> list[str]:
    """Return the commands of the shell blocks of a file, without their comments."""
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```$", file.read_text(encoding="utf-8"))
    lines = (re.sub(r"\s+#.*", "", line).strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line]


def test_each_command_is_run_or_it_is_said_what_it_needs() -> None:
    written = {command for file in READMES for command in commands(file)}
    assert written == {*RUN, *ELSEWHERE, *NEEDS}
    for test in ELSEWHERE.values():
        file, name = test.split("::")
        assert f"\ndef {name}(" in (locations.ROOT / "tests" / file).read_text(encoding="utf-8"), test


def test_each_block_of_a_readme_says_what_it_holds() -> None:
    for file in READMES:
        fences = re.findall(r"(?m)^```(.*)$", file.read_text(encoding="utf-8"))
        assert len(fences) % 2 == 0 and set(fences[1::2]) <= {""}, file
        assert set(fences[::2]) <= {"", "sh", "toml", "python", "groovy"}, file


@pytest.mark.parametrize("file", READMES, ids=lambda file: str(file.relative_to(locations.ROOT)))
def test_each_target_and_each_file_that_a_readme_names_is_there(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    makefile = (locations.ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", "")
    rules = re.findall(r"(?m)^(?:STAGES := |CHECKS := |([a-z][a-z -]*):(?!=))(.*)$", makefile)
    targets = {name for rule, listed in rules for name in (rule or listed).split()}
    assert set(re.findall(r"`make\s+([a-z][a-z-]*)", text)) <= targets
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (file.parent / link).exists(), link


def test_the_readme_is_short() -> None:
    assert len((locations.ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("command", [command for command in NEEDS if "-m tests." in command])
def test_what_takes_long_knows_the_arguments(command: str) -> None:
    _, _, module, *arguments = command.split()
    asked = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(asked, cwd=locations.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(argument in done.stdout for argument in arguments if argument.startswith("--"))


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """Return a fresh checkout, its environment installed, with a grid of two candidates and no download."""
    folder = tmp_path / "checkout"
    for name in tracked_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(locations.ROOT / name, folder / name)
    shutil.rmtree(folder / "ml" / "projects" / "titanic")
    shutil.copytree(make_site(tmp_path / "site").project, folder / "ml" / "projects" / "titanic")
    (folder / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        (folder / ".venv" / entry.name).symlink_to(entry)
    for name in ("installed", "test-tools"):
        (folder / ".venv" / name).unlink(missing_ok=True)
        (folder / ".venv" / name).touch()
    yield folder
    subprocess.run(["make", "stop"], cwd=folder, env=user(), check=True, capture_output=True)


def user(**chosen: str) -> dict[str, str]:
    """Return the environment of somebody who has set nothing but what is given."""
    return {name: value for name, value in os.environ.items() if name not in VARIABLES} | chosen


def request_id(said: str) -> str:
    """Ask what ``make run`` proposes to ask, and return the id of the answer."""
    [line] = re.findall(r"try +(curl .*)", said)
    answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout
    return str(json.loads(answer)["request_id"])


@pytest.mark.slow
def test_the_commands_do_what_is_written_beside_them(checkout: Path, free_port: int) -> None:
    environment = user(PORT=str(free_port), LOKY_MAX_CPU_COUNT="1")
    said: dict[str, str] = {}
    for command in RUN:
        typed = command
        if "--request" in command:
            typed = re.sub(r"[0-9a-f]{32}", request_id(said["make run"]), command)
        done = subprocess.run(
            ["bash", "-c", typed], cwd=checkout, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        said[command] = done.stdout + done.stderr
    build = checkout / "build" / "titanic"
    assert f"http://127.0.0.1:{free_port}/docs" in said["make run"]
    assert "1 in channel production" in said["make run"]
    assert (build / "quality" / "report.html").exists()
    assert "nothing to do" in said["make data"]
    assert (build / "data" / "train.csv").exists()
    assert re.search(r"(?m)^892,[01],", said[".venv/bin/python -m ml predict --first 1"])
    assert "production" in said[".venv/bin/python -m ml show"]
    for told in ("data source", "git commit", "parameters", "build", "blessed"):
        assert told in said[".venv/bin/python -m ml show 1"]
    assert "monitor: titanic: nothing (" in said["make monitor"]
    assert "titanic\tnothing\tnothing\n" in said["make monitor-projects"]
    [asked] = [command for command in RUN if "--request" in command]
    assert "version" in said[asked] and "PassengerId" in said[asked]
    assert all(stage in said[".venv/bin/python -m ml --help"] for stage in ("lint", "deploy", "rollback"))
    assert all(target in said["make help"] for target in ("run", "test", "check", "jenkins-local"))
    assert "version 1" in said[".venv/bin/python -m ml undeploy"]
    assert (checkout / "verify.pem").read_text().startswith("-----BEGIN PUBLIC KEY-----")
