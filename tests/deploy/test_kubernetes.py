"""Every rendered overlay: valid by the schemas of the Kubernetes API, with the expected properties.

The library has no schemas of KEDA's objects. The autoscaler that KEDA creates from them is validated instead.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from schemas.jobs import QUEUE_BACKFILL, QUEUE_TRACKS
from tests.conftest import ROOT
from tests.deploy.manifests import KUBERNETES, Manifest, environment, find, overlay, pod_specs, render
from tests.deploy.monitoring import documented_scrape_config
from worker.observe.health import STUCK_SECONDS
from worker.queue.broker import unacked_key
from worker.settings import BrokerSettings, WorkerSettings

VERSION = "1.34"
"""Kubernetes version of the schemas."""

OVERLAYS = ("cpu", "gpu", "production")
OTHER_START_SECONDS = 300
"""Start-up time besides building an engine: download of the bundle, first run of the model."""
QUANTITIES = {"Mi": 2**20, "Gi": 2**30}

every_overlay = pytest.mark.parametrize("name", OVERLAYS)


@pytest.fixture
def production_on_gpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, ...]:
    """The overlay `production` with ../gpu in place of ../cpu, as its comment describes."""
    return render(_on_gpus(tmp_path_factory))


def _on_gpus(folders: pytest.TempPathFactory) -> Path:
    copy = folders.mktemp("kubernetes")
    for file in KUBERNETES.rglob("*.yaml"):
        target = copy / file.relative_to(KUBERNETES)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.read_text())
    kustomization = copy / "overlays" / "production" / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text().replace("- ../cpu", "- ../gpu"))
    return kustomization.parent


def worker_of(manifests: tuple[Manifest, ...]) -> tuple[Manifest, Manifest]:
    """Return the worker's pod specification and its container."""
    pod = find(manifests, "Deployment", "worker")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


def settings_of(manifests: tuple[Manifest, ...]) -> Callable[[str], Any]:
    """Return a function that returns a worker's setting by name, or its default."""
    given = environment(manifests, worker_of(manifests)[1])

    def setting(name: str) -> Any:
        value = given.get(f"COGENRE_{name.upper()}")
        return WorkerSettings.model_fields[name].default if value is None else value

    return setting


def quantity(text: str) -> int:
    return int(text[:-2]) * QUANTITIES[text[-2:]]


@every_overlay
def test_follows_the_api(name: str) -> None:
    for one in overlay(name):
        if not one["apiVersion"].startswith("keda.sh/"):
            kubernetes_validate.validate(one, VERSION, strict=True)


def test_unknown_fields_are_detected() -> None:
    broken = yaml.safe_load(yaml.safe_dump(find(overlay("cpu"), "Deployment", "worker")))
    broken["spec"]["template"]["spec"]["containers"][0]["startupProbe"]["failureTreshold"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSION, strict=True)


@every_overlay
def test_the_grace_period_is_longer_than_draining(name: str) -> None:
    manifests = overlay(name)
    drain = float(settings_of(manifests)("drain_seconds"))
    assert worker_of(manifests)[0]["terminationGracePeriodSeconds"] >= drain + 10


@every_overlay
def test_the_probes_use_the_workers_http_port(name: str) -> None:
    manifests = overlay(name)
    _, container = worker_of(manifests)
    (port,) = container["ports"]
    assert int(settings_of(manifests)("http_port")) == port["containerPort"]
    paths = {"startupProbe": "/readyz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for probe, path in paths.items():
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}


@every_overlay
def test_a_stuck_worker_is_restarted_within_minutes(name: str) -> None:
    liveness = worker_of(overlay(name))[1]["livenessProbe"]
    assert STUCK_SECONDS + liveness["periodSeconds"] * liveness["failureThreshold"] <= 180


def test_the_startup_probe_waits_for_an_engine() -> None:
    manifests = overlay("gpu")
    startup = worker_of(manifests)[1]["startupProbe"]
    waits = startup["periodSeconds"] * startup["failureThreshold"]
    assert waits >= int(settings_of(manifests)("engine_seconds")) + OTHER_START_SECONDS
    assert find(manifests, "Deployment", "worker")["spec"]["progressDeadlineSeconds"] > waits


def test_gpu_workers_request_one_gpu_and_do_not_surge() -> None:
    manifests = overlay("gpu")
    deployment = find(manifests, "Deployment", "worker")
    pod, container = worker_of(manifests)
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert [one["key"] for one in pod["tolerations"]] == ["nvidia.com/gpu"]
    assert settings_of(manifests)("provider") == "tensorrt"
    assert "gpu" in container["image"]


def test_cpu_workers_request_no_gpu() -> None:
    manifests = overlay("cpu")
    strategy = find(manifests, "Deployment", "worker")["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": "25%", "maxUnavailable": 0}
    assert "nvidia.com/gpu" not in worker_of(manifests)[1]["resources"]["limits"]
    assert settings_of(manifests)("provider") == "cpu"


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_memory_settings_stay_below_the_containers_limit(name: str) -> None:
    """The worker's own limit plus those of all its decode processes is below the container's limit."""
    manifests = overlay(name)
    setting = settings_of(manifests)
    limit = quantity(worker_of(manifests)[1]["resources"]["limits"]["memory"])
    decoding = int(setting("decoders")) * int(setting("decode_memory_bytes"))
    assert int(setting("max_memory_bytes")) + decoding < limit


@every_overlay
def test_every_pod_is_restricted(name: str) -> None:
    """As the namespace's level `restricted` requires; also without a token and with a read-only root."""
    manifests = overlay(name)
    for owner, pod in pod_specs(manifests):
        assert pod["securityContext"]["runAsNonRoot"], owner
        assert pod["securityContext"]["runAsUser"] > 0, owner
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, owner
        assert pod["automountServiceAccountToken"] is False, owner
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, owner
            assert {"requests", "limits"} <= container["resources"].keys(), owner
    assert find(manifests, "ServiceAccount", "cogenre")["automountServiceAccountToken"] is False
    assert not [one for one in manifests if one["kind"].endswith(("Role", "RoleBinding"))]


@every_overlay
def test_no_secret_is_in_a_manifest(name: str) -> None:
    manifests = overlay(name)
    assert not [one for one in manifests if one["kind"] == "Secret"]
    for _, pod in pod_specs(manifests):
        for container in pod["containers"]:
            for variable, value in environment(manifests, container).items():
                if variable.endswith(("_URL", "_KEY", "_KEY_ID")):
                    assert value is None, variable


@every_overlay
def test_every_pod_is_behind_the_network_policy(name: str) -> None:
    manifests = overlay(name)
    policy = find(manifests, "NetworkPolicy", "cogenre")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    (label,) = policy["podSelector"]["matchLabels"].items()
    for one in manifests:
        spec = one.get("spec", {}).get("jobTemplate", one).get("spec", {})
        if "template" in spec:
            assert label in spec["template"]["metadata"]["labels"].items(), one["metadata"]["name"]
    names, stores, tls = policy["egress"]
    assert names == {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}
    assert [one["port"] for one in stores["ports"] + tls["ports"]] == [6379, 5432, 443]
    assert [one["ipBlock"]["cidr"] for one in tls["to"]] == ["0.0.0.0/0", "::/0"]
    (entry,) = policy["ingress"]
    assert entry["ports"] == [{"protocol": "TCP", "port": int(settings_of(manifests)("http_port"))}]


def test_the_documented_scrape_configuration_selects_the_workers() -> None:
    manifests = overlay("cpu")
    template = find(manifests, "Deployment", "worker")["spec"]["template"]
    (job,) = documented_scrape_config("deploy-kubernetes")["scrape_configs"]
    (found,) = job["kubernetes_sd_configs"]
    namespace = find(manifests, "Namespace", "cogenre")["metadata"]["name"]
    assert found == {"role": "pod", "namespaces": {"names": [namespace]}}
    (kept,) = job["relabel_configs"]
    assert kept["action"] == "keep"
    label = "__meta_kubernetes_pod_label_app_kubernetes_io_component"
    assert kept["source_labels"] == [label, "__meta_kubernetes_pod_container_port_name"]
    (port,) = worker_of(manifests)[1]["ports"]
    component = template["metadata"]["labels"]["app.kubernetes.io/component"]
    assert kept["regex"] == f"{component};{port['name']}"


@every_overlay
def test_draining_a_node_evicts_at_most_a_quarter_of_the_workers(name: str) -> None:
    manifests = overlay(name)
    budget = find(manifests, "PodDisruptionBudget", "worker")["spec"]
    labels = find(manifests, "Deployment", "worker")["spec"]["template"]["metadata"]["labels"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()
    assert budget["maxUnavailable"] == "25%"


@every_overlay
def test_the_reconciler_runs_every_minute_and_not_concurrently(name: str) -> None:
    spec = find(overlay(name), "CronJob", "reconcile")["spec"]
    assert spec["schedule"] == "* * * * *"
    assert spec["concurrencyPolicy"] == "Forbid"


@pytest.mark.parametrize("on", ["cpu", "gpu"])
def test_production_scales_by_queue_depth_and_jobs_in_flight(
    on: str, production_on_gpus: tuple[Manifest, ...]
) -> None:
    manifests = overlay("production") if on == "cpu" else production_on_gpus
    scaled = find(manifests, "ScaledObject", "worker")["spec"]
    assert scaled["scaleTargetRef"] == {"name": "worker"}
    assert "replicas" not in find(manifests, "Deployment", "worker")["spec"], "an apply would undo KEDA"
    lengths = {one["metadata"]["listName"]: one["metadata"]["listLength"] for one in scaled["triggers"]}
    in_flight = unacked_key(BrokerSettings.model_fields["deployment"].default)
    assert lengths.keys() == {QUEUE_TRACKS, QUEUE_BACKFILL, in_flight}
    # If lower, busy workers would scale up without end; if higher, busy workers would be scaled down.
    assert lengths[in_flight] == settings_of(manifests)("concurrency")
    authentication = find(manifests, "TriggerAuthentication", "broker")
    assert {one["authenticationRef"]["name"] for one in scaled["triggers"]} == {"broker"}
    assert {one["parameter"] for one in authentication["spec"]["secretTargetRef"]} == {"address", "password"}


def test_the_page_gives_the_number_of_database_connections(production_on_gpus: tuple[Manifest, ...]) -> None:
    page = (ROOT / "docs" / "deploy-kubernetes.md").read_text()
    for manifests, surge in ((overlay("production"), 1.25), (production_on_gpus, 1)):
        max_replicas = find(manifests, "ScaledObject", "worker")["spec"]["maxReplicaCount"]
        connections = int(settings_of(manifests)("concurrency")) + 1
        assert f"{max_replicas} × {connections} = {max_replicas * connections:,}" in page
        assert f"{math.ceil(max_replicas * surge) * connections:,}" in page


def test_workers_are_scaled_down_one_by_one() -> None:
    scaled = find(overlay("production"), "ScaledObject", "worker")["spec"]
    behavior = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "worker"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"},
            "minReplicas": scaled["minReplicaCount"],
            "maxReplicas": scaled["maxReplicaCount"],
            "behavior": behavior,
        },
    }
    kubernetes_validate.validate(autoscaler, VERSION, strict=True)
    assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= 300
    assert scaled["minReplicaCount"] >= 1, "workers export the queue metrics"
