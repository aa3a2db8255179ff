"""The manifests of Kubernetes, held against the schemas of its API; no cluster was asked."""

import copy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from ml import locations

SERVING = locations.ROOT / "docker" / "kubernetes.yaml"
AGENTS = locations.ROOT / "jenkins" / "kubernetes.yaml"


def serving() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(SERVING.read_text(encoding="utf-8")))


def agent() -> dict[str, Any]:
    """Return the pod of an agent, as the plugin gets it."""
    (cloud,) = yaml.safe_load(AGENTS.read_text(encoding="utf-8"))["jenkins"]["clouds"]
    (template,) = cloud["kubernetes"]["templates"]
    pod: dict[str, Any] = yaml.safe_load(template["yaml"])
    return pod


def one(kind: str) -> dict[str, Any]:
    return next(manifest for manifest in serving() if manifest["kind"] == kind)


@pytest.mark.parametrize(
    "manifest", [*serving(), agent()], ids=lambda one: f"{one['kind']}-{one['metadata']['name']}"
)
def test_a_manifest_is_what_the_api_takes(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, "1.34", strict=True)
    wrong = copy.deepcopy(manifest)
    wrong["spec"]["unheardOf"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.34", strict=True)


@pytest.mark.parametrize(
    "pod", [one("StatefulSet")["spec"]["template"]["spec"], agent()["spec"]], ids=["serving", "agent"]
)
def test_a_pod_may_as_little_as_it_needs(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    (container,) = pod["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert "memory" in container["resources"]["limits"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }


def test_who_answers_reads_the_registry_and_writes_nothing_but_scratch() -> None:
    pod = one("StatefulSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    written = [mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert written == ["scratch"]


def test_every_selector_means_the_pods_of_the_service() -> None:
    labels = one("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    for manifest in serving():
        spec = manifest["spec"]
        for key in ("selector", "podSelector"):
            if key in spec:
                assert spec[key].get("matchLabels", spec[key]) == labels, manifest["kind"]
    names = {manifest["metadata"]["name"] for manifest in serving() if manifest["kind"] == "Service"}
    assert one("StatefulSet")["spec"]["serviceName"] in names


def test_the_images_are_those_of_the_dockerfile() -> None:
    targets = (locations.ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    for image in (
        one("StatefulSet")["spec"]["template"]["spec"]["containers"][0]["image"],
        agent()["spec"]["containers"][0]["image"],
    ):
        assert f" AS {image.removeprefix('ml-').partition(':')[0]}\n" in targets


def test_the_agent_s_script_is_a_shell_script(tmp_path: Path) -> None:
    import subprocess

    (script,) = agent()["spec"]["containers"][0]["args"]
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert script.count("\\\n") == 1, "one command goes on in the next line"
