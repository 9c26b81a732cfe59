"""The Kubernetes objects are valid, fit together, fit the service, and are hardened; nothing here needs a cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from starlette.routing import Match

from deploy.kubernetes import prometheus_rule
from service.app import create_app
from service.reference import metrics_table
from service.runtime import DRAIN_SECONDS
from service.settings import Settings, load_settings
from tests import kubernetes_objects as k8s
from tests.kubernetes_objects import Object, build, build_components, build_folder, everything

TARGETS = k8s.targets()
SERVING = [target for target in TARGETS if not target.startswith("training")]
TRAINING = [target for target in TARGETS if target.startswith("training")]
VERSION = tomllib.loads((k8s.ROOT.parents[1] / "pyproject.toml").read_text())["project"]["version"]
README = (k8s.ROOT / "README.md").read_text(encoding="utf-8")
OLDEST, NEWEST = "1.30", "1.37"
CRDS = {"PodMonitor", "PrometheusRule"}
ADMIN_KEY, DATABASE = "yaop-admin/key", "yaop-database/url"


@pytest.fixture(scope="module", params=["production with a bucket and GPUs", "videos alone", *TARGETS])
def objects(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    folder = tmp_path_factory.mktemp("overlay")
    if request.param == "production with a bucket and GPUs":
        return build_components(folder, "videos", "bucket", "models", "gpu", "ingress", "scaling", "monitoring")
    return build_components(folder, "videos") if request.param == "videos alone" else build(request.param)


@cache
def problem_of(item: str, version: str) -> str:
    """What is wrong with an object (JSON) in a version of Kubernetes; empty if nothing is."""
    try:
        kubernetes_validate.validate(json.loads(item), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{version}: {list(error.path)}: {error.message}"
    return ""


def test_every_object_is_valid_in_the_oldest_and_the_newest_version(objects: list[Object]) -> None:
    for item in objects:
        if item["kind"] in CRDS:
            continue
        for version in (OLDEST, NEWEST):
            assert not problem_of(json.dumps(item), version), k8s.name_of(item)


def test_a_wrong_object_is_not_valid() -> None:
    item = k8s.find(build("base"), "Service", "yaop-serve") | {"spec": {"ports": [{"port": 80, "prot": "TCP"}]}}
    assert "prot" in problem_of(json.dumps(item), NEWEST)


def test_the_base_needs_nothing_but_kubernetes() -> None:
    assert not {item["kind"] for item in build("base")} & (CRDS | {"PersistentVolumeClaim", "Secret", "Namespace"})


def test_no_secret_is_in_the_files_and_the_guide_says_how_to_make_each(objects: list[Object]) -> None:
    assert not k8s.of_kind(objects, "Secret")
    for _, _, container in k8s.containers(objects):
        for entry in container.get("env", []):
            if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
                assert re.search(rf"create secret generic {reference['name']}\b.*{reference['key']}=", README)
        for source in container.get("envFrom", []):
            if "secretRef" in source:
                assert f"create secret generic {source['secretRef']['name']} " in README


def test_everything_is_in_the_namespace(objects: list[Object]) -> None:
    assert {item["metadata"].get("namespace") for item in objects} <= {"yaop"}


def test_no_container_can_do_more_than_it_has_to(objects: list[Object]) -> None:
    for name, pod, container in k8s.containers(objects):
        outer, inner = pod["securityContext"], container["securityContext"]
        assert outer["runAsNonRoot"] and outer["runAsUser"] == outer["runAsGroup"] == outer["fsGroup"] == 10001, name
        assert outer["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert inner["readOnlyRootFilesystem"] and not inner["allowPrivilegeEscalation"], name
        assert inner["capabilities"] == {"drop": ["ALL"]}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name


def test_no_service_of_the_namespace_puts_variables_in_the_way_of_settings(objects: list[Object]) -> None:
    for name, pod, _ in k8s.containers(objects):
        assert pod["enableServiceLinks"] is False, name


def test_what_containers_write_to_is_a_volume_with_a_limit(objects: list[Object]) -> None:
    for name, pod, container in k8s.containers(objects):
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounted >= {"/tmp", "/data"}, name
        for volume in pod["volumes"]:
            assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"], f"{name}: {volume['name']}"


def test_volumes_on_the_nodes_disk_fit_into_what_a_pod_may_use_of_it(objects: list[Object]) -> None:
    for name, pod, container in k8s.containers(objects):
        folders = [volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume]
        used = sum(k8s.amount(folder["sizeLimit"]) for folder in folders if folder.get("medium") != "Memory")
        assert used <= k8s.amount(container["resources"]["limits"]["ephemeral-storage"]), name


def test_every_container_has_requests_within_limits(objects: list[Object]) -> None:
    for name, _, container in k8s.containers(objects):
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        for resource in ("cpu", "memory", "ephemeral-storage"):
            assert 0 < k8s.amount(requests[resource]) <= k8s.amount(limits[resource]), f"{name}: {resource}"


def test_every_image_is_pinned_to_this_version(objects: list[Object]) -> None:
    for name, _, container in k8s.containers(objects):
        assert re.fullmatch(rf"yaop-(serve|train):{re.escape(VERSION)}(-gpu)?", container["image"]), name


def test_services_that_run_for_good_have_probes_on_their_own_port(objects: list[Object]) -> None:
    for workload in k8s.of_kind(objects, "Deployment"):
        for container in k8s.pod_of(workload)["containers"]:
            (port,) = container["ports"]
            for probe, path in (("startup", "ready"), ("readiness", "ready"), ("liveness", "live")):
                asked = container[f"{probe}Probe"]["httpGet"]
                assert asked == {"path": f"/health/{path}", "port": port["name"]}, k8s.name_of(workload)


def test_selectors_take_the_pods_that_they_are_meant_for(objects: list[Object]) -> None:
    for workload in k8s.of_kind(objects, "Deployment"):
        assert k8s.selected(workload["spec"]["selector"], objects) == [workload]
    for workload in k8s.workloads(objects):
        for constraint in k8s.pod_of(workload).get("topologySpreadConstraints", []):
            assert k8s.selected(constraint["labelSelector"], objects) == [workload]
    for item in k8s.of_kind(objects, "PodDisruptionBudget"):
        (workload,) = k8s.selected(item["spec"]["selector"], objects)
        assert workload["metadata"]["name"] == item["metadata"]["name"]
    for item in k8s.of_kind(objects, "Service"):
        (workload,) = k8s.selected({"matchLabels": item["spec"]["selector"]}, objects)
        assert {port["targetPort"] for port in item["spec"]["ports"]} <= k8s.ports_of(k8s.pod_of(workload)).keys()


def test_autoscalers_scale_what_exists_and_nobody_else_does(objects: list[Object]) -> None:
    scaled = k8s.of_kind(objects, "HorizontalPodAutoscaler")
    for item in scaled:
        workload = k8s.find(objects, item["spec"]["scaleTargetRef"]["kind"], item["spec"]["scaleTargetRef"]["name"])
        assert "replicas" not in workload["spec"], "each apply would set them back"
        assert 2 <= item["spec"]["minReplicas"] < item["spec"]["maxReplicas"]
        assert item["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 300
        assert k8s.find(objects, "PodDisruptionBudget", workload["metadata"]["name"])


def test_whatever_is_mounted_or_read_exists(objects: list[Object]) -> None:
    claims = {item["metadata"]["name"] for item in k8s.of_kind(everything(), "PersistentVolumeClaim")}
    accounts = {item["metadata"]["name"] for item in k8s.of_kind(objects, "ServiceAccount")}
    for name, pod, container in k8s.containers(objects):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys(), name
        assert pod.get("serviceAccountName") in {None, *accounts}, name
        assert k8s.environment_of(container, objects), name
        for volume in volumes.values():
            if "configMap" in volume:
                assert k8s.find(objects, "ConfigMap", volume["configMap"]["name"])
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims, name


def test_every_pod_is_shut_in_by_default() -> None:
    policy = k8s.find(build("base"), "NetworkPolicy", "yaop-default-deny")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"] and not {"ingress", "egress"} & policy.keys()
    assert k8s.selected(policy["podSelector"], everything()) == k8s.workloads(everything())


def test_policies_are_about_pods_and_ports_that_exist(objects: list[Object]) -> None:
    for policy in k8s.of_kind(objects, "NetworkPolicy"):
        chosen = k8s.selected(policy["spec"]["podSelector"], everything())
        assert chosen, k8s.name_of(policy)
        for rule in policy["spec"].get("ingress", []):
            for port in rule.get("ports", []):
                assert all(port["port"] in k8s.ports_of(k8s.pod_of(item)) for item in chosen), k8s.name_of(policy)
            assert rule["from"], "an empty list lets everybody in"


def outgoing_ports(objects: list[Object], component: str) -> set[int | None]:
    """Ports that pods of a component may connect to; None: any, of some pods."""
    labels = {"app.kubernetes.io/name": "yaop", "app.kubernetes.io/component": component}
    rules = [
        rule
        for policy in k8s.of_kind(objects, "NetworkPolicy")
        if k8s.selects(policy["spec"]["podSelector"], labels)
        for rule in policy["spec"].get("egress", [])
    ]
    return {port["port"] for rule in rules for port in rule.get("ports", [{"port": None}])}


def test_pods_connect_to_nothing_but_what_they_need(tmp_path: Path) -> None:
    assert outgoing_ports(build("base"), "serve") == set()
    videos = build_components(tmp_path, "videos")
    assert outgoing_ports(videos, "serve") == outgoing_ports(videos, "worker") == {53, 5432}
    assert outgoing_ports(build("training/fit"), "train") == {53, None}
    bucket = build_components(tmp_path, "videos", "bucket")
    assert outgoing_ports(bucket, "worker") == {53, 5432, 443}


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.chdir(tmp_path)  # no .env
    for name in Settings.model_fields:
        monkeypatch.delenv(f"YAOP_{name.upper()}", raising=False)
    return monkeypatch


def settings_of(container: Object, objects: list[Object], environment: pytest.MonkeyPatch) -> Settings:
    """What the service makes of a container's variables."""
    values = k8s.environment_of(container, objects)
    known = {f"YAOP_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in values if name.startswith("YAOP_")} <= known
    for name, value in values.items():
        environment.setenv(name, value)
    return load_settings()


@pytest.mark.parametrize("target", ["base", "overlays/production", "overlays/gpu", "overlays/dev"])
def test_services_take_their_settings_and_stop_within_their_grace_period(
    target: str, clean_environment: pytest.MonkeyPatch
) -> None:
    objects = build(target)
    for workload in k8s.of_kind(objects, "Deployment"):
        pod = k8s.pod_of(workload)
        (container,) = pod["containers"]
        with clean_environment.context() as environment:
            settings = settings_of(container, objects, environment)
        waits = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        letting_go = settings.shutdown_timeout if settings.videos and settings.job_concurrency else 0
        needed = waits + DRAIN_SECONDS + settings.shutdown_timeout + letting_go
        assert pod["terminationGracePeriodSeconds"] > needed, k8s.name_of(workload)
        assert waits >= 5 or container["args"] == ["worker"], "end points have to learn that it is going"


def test_many_replicas_take_videos_only_with_a_database_that_they_share(
    objects: list[Object], clean_environment: pytest.MonkeyPatch
) -> None:
    for workload in k8s.of_kind(objects, "Deployment"):
        (container,) = k8s.pod_of(workload)["containers"]
        with clean_environment.context() as environment:
            settings = settings_of(container, objects, environment)
        shared = settings.database_url is not None and settings.artifacts_url is not None
        assert shared or not settings.videos or workload["spec"].get("replicas") == 1


def test_videos_in_the_data_folder_fit_into_its_volume(
    objects: list[Object], clean_environment: pytest.MonkeyPatch
) -> None:
    for workload in k8s.of_kind(objects, "Deployment"):
        pod = k8s.pod_of(workload)
        (container,) = pod["containers"]
        with clean_environment.context() as environment:
            settings = settings_of(container, objects, environment)
        if settings.videos and settings.artifacts_url is None:
            (volume,) = (item for item in pod["volumes"] if item["name"] == "data")
            assert settings.max_artifact_bytes < k8s.amount(volume["emptyDir"]["sizeLimit"])


def test_the_service_leaves_videos_to_the_workers(tmp_path: Path, clean_environment: pytest.MonkeyPatch) -> None:
    objects = build_components(tmp_path, "videos")
    found = dict[str, Settings]()
    for workload in k8s.of_kind(objects, "Deployment"):
        (container,) = k8s.pod_of(workload)["containers"]
        with clean_environment.context() as environment:
            found[container["args"][0]] = settings_of(container, objects, environment)
            assert k8s.environment_of(container, objects)["YAOP_DATABASE_URL"] == DATABASE
    serve, worker = found["serve"], found["worker"]
    assert (serve.job_concurrency, worker.job_concurrency) == (0, 1)
    assert serve.artifacts_url == worker.artifacts_url == "/artifacts"
    pod = k8s.pod_of(k8s.find(objects, "Deployment", "yaop-worker"))
    assert k8s.ports_of(pod) == {"probes": worker.worker_port}
    volume = k8s.find(objects, "PersistentVolumeClaim", "yaop-artifacts")["spec"]["resources"]["requests"]["storage"]
    assert k8s.amount(volume) > worker.max_artifact_bytes + 2 * worker.max_video_bytes


def test_a_bucket_takes_the_place_of_the_volume(tmp_path: Path) -> None:
    objects = build_components(tmp_path, "videos", "bucket")
    assert not k8s.of_kind(objects, "PersistentVolumeClaim")
    for name, pod, container in k8s.containers(objects):
        assert k8s.environment_of(container, objects)["YAOP_ARTIFACTS_URL"].startswith("s3://")
        assert {volume["name"] for volume in pod["volumes"]} == {"tmp", "data"}, name
        assert {"secretRef": {"name": "yaop-bucket"}} in container["envFrom"], name


def test_nobody_may_reload_models_until_there_is_a_key() -> None:
    (container,) = k8s.pod_of(k8s.find(build("base"), "Deployment", "yaop-serve"))["containers"]
    (entry,) = (entry for entry in container["env"] if entry["name"] == "YAOP_ADMIN_KEY")
    assert entry["valueFrom"]["secretKeyRef"] == {"name": "yaop-admin", "key": "key", "optional": True}


def test_an_update_takes_no_pod_away_before_the_next_one_answers() -> None:
    strategy = k8s.find(build("overlays/production"), "Deployment", "yaop-serve")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


def test_models_are_mounted_wherever_pictures_are_looked_at_and_writable_to_promotion_only(tmp_path: Path) -> None:
    objects = build_components(tmp_path, "videos", "models") + build("training/promote") + build("training/rollback")
    mounts = {
        name: mount.get("readOnly", False)
        for name, _, container in k8s.containers(objects)
        for mount in container["volumeMounts"]
        if mount["mountPath"] == "/models"
    }
    assert mounts == {
        "Deployment/yaop-serve/serve": True,
        "Deployment/yaop-worker/worker": True,
        "Job/yaop-promote/train": False,
        "Job/yaop-rollback/train": False,
    }


def test_with_gpus_every_pod_gets_one_and_the_image_for_it(tmp_path: Path) -> None:
    objects = build_components(tmp_path, "videos", "gpu") + build("training/fit-gpu")
    assert len(list(k8s.containers(objects))) == 3
    for name, pod, container in k8s.containers(objects):
        assert container["resources"]["limits"]["nvidia.com/gpu"] == 1, name
        assert container["image"].endswith(f":{VERSION}-gpu"), name
        assert {item["key"] for item in pod["tolerations"]} == {"nvidia.com/gpu"}, name


def test_the_overlay_for_a_laptop_is_one_small_pod_of_a_loaded_image() -> None:
    objects = build("overlays/dev")
    assert not k8s.of_kind(objects, "HorizontalPodAutoscaler", "PodDisruptionBudget", "PersistentVolumeClaim")
    (workload,) = k8s.workloads(objects)
    (container,) = k8s.pod_of(workload)["containers"]
    assert (workload["spec"]["replicas"], workload["spec"]["strategy"]) == (1, {"type": "Recreate"})
    assert container["imagePullPolicy"] == "Never"


# Ingress


def ingress_paths() -> dict[str, str]:
    """Every path that the world can ask, with its type."""
    found = dict[str, str]()
    for item in k8s.of_kind(build("overlays/production"), "Ingress"):
        for rule in item["spec"]["rules"]:
            for entry in rule["http"]["paths"]:
                service = entry["backend"]["service"]
                ports = k8s.find(build("base"), "Service", service["name"])["spec"]["ports"]
                assert service["port"]["name"] in {port["name"] for port in ports}
                found[entry["path"]] = entry["pathType"]
    return found


def is_let_in(path: str) -> bool:
    kinds = ingress_paths().items()
    return any(path == own or (kind == "Prefix" and path.startswith(f"{own.rstrip('/')}/")) for own, kind in kinds)


@pytest.mark.parametrize(
    "path",
    ["/", "/pose", "/pose/batch", "/videos", "/videos/1/events", "/stream", "/models", "/docs", "/openapi.json"],
)
def test_the_ingress_lets_in_what_clients_and_the_page_ask(path: str) -> None:
    assert is_let_in(path)


@pytest.mark.parametrize("path", ["/metrics", "/health/live", "/health/ready", "/models/reload"])
def test_the_ingress_keeps_out_what_is_for_operators(path: str) -> None:
    assert not is_let_in(path)


def test_the_service_answers_all_paths_of_the_ingress(tmp_path: Path) -> None:
    app = create_app(load_settings(data_dir=tmp_path))
    for path in ingress_paths():
        asked = path if path != "/static" else "/static/app.js"
        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": asked, "headers": [], "root_path": ""}
        assert any(route.matches(scope)[0] != Match.NONE for route in app.routes), path


def test_the_ingress_lets_the_service_say_what_is_too_large_or_too_slow() -> None:
    default = load_settings()
    objects = build("overlays/production")
    prefix = "nginx.ingress.kubernetes.io/"
    names = ("yaop-pictures", "yaop-batches", "yaop")
    annotations = [k8s.find(objects, "Ingress", name)["metadata"]["annotations"] for name in names]
    pictures, batches, rest = ({key.removeprefix(prefix): value for key, value in item.items()} for item in annotations)
    assert pictures["proxy-body-size"] == batches["proxy-body-size"]
    assert k8s.amount(pictures["proxy-body-size"].upper() + "i") > default.max_body_bytes
    assert k8s.amount(rest["proxy-body-size"].upper() + "i") > default.max_video_bytes
    assert float(pictures["proxy-read-timeout"]) > default.deadline
    assert float(rest["proxy-read-timeout"]) > 10 * default.stream_idle_timeout
    assert rest["proxy-buffering"] == rest["proxy-request-buffering"] == "off"
    assert pictures["auth-type"] == batches["auth-type"] == rest["auth-type"] == "basic", "the service has no keys yet"


def next_upstream(path: str) -> tuple[set[str], str, str]:
    """When the controller tries another pod for a path, how many in all, and after how many seconds."""
    for item in k8s.of_kind(build("overlays/production"), "Ingress"):
        told = {key.rpartition("/")[2]: value for key, value in item["metadata"]["annotations"].items()}
        if path in {entry["path"] for rule in item["spec"]["rules"] for entry in rule["http"]["paths"]}:
            tries = told.get("proxy-next-upstream-tries", "3")
            return set(told["proxy-next-upstream"].split()), tries, told["proxy-read-timeout"]
    raise AssertionError(path)


def test_the_ingress_asks_another_pod_when_that_helps_and_for_as_long_as_our_nginx_does() -> None:
    causes, tries, seconds = next_upstream("/pose")
    assert (causes, tries) == ({"error", "timeout", "http_502", "non_idempotent"}, "2"), "a 503 is an answer"
    slow_causes, slow_tries, slow_seconds = next_upstream("/pose/batch")
    assert (slow_causes, slow_tries) == (causes - {"timeout"}, "2"), "slow batches are to run once"
    assert "non_idempotent" not in next_upstream("/videos")[0]
    nginx = (k8s.ROOT.parent / "nginx" / "yaop.conf").read_text(encoding="utf-8")
    asked = re.findall(r"(location /pose|/pose/batch) \{.*?proxy_read_timeout (\d+)s", nginx, re.DOTALL)
    assert asked == [("location /pose", seconds), ("/pose/batch", slow_seconds)]


# Prometheus


def adapter_rules() -> dict[str, dict[str, Any]]:
    """Rules of prometheus-adapter by the name that autoscalers ask for."""
    values = yaml.safe_load((k8s.ROOT / "prometheus-adapter.yaml").read_text())["rules"]
    return {rule["name"]["as"]: rule for rule in values["custom"] + values["external"]}


def test_autoscalers_ask_for_metrics_that_the_adapter_makes() -> None:
    asked = {
        metric[metric["type"].lower()]["metric"]["name"]
        for item in k8s.of_kind(build("overlays/production"), "HorizontalPodAutoscaler")
        for metric in item["spec"]["metrics"]
        if metric["type"] != "Resource"
    }
    assert asked == adapter_rules().keys()


def test_the_adapter_asks_for_metrics_that_the_service_has() -> None:
    known = metrics_table()
    for rule in adapter_rules().values():
        names = re.findall(r"yaop_\w+", rule["seriesQuery"] + rule["metricsQuery"])
        assert names and all(f"`{name}`" in known for name in names)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_the_adapter_gives_the_mean_of_each_pod_and_the_jobs_of_the_database(tmp_path: Path) -> None:
    words = {"Series": "yaop_pictures_in_progress", "LabelMatchers": 'namespace="yaop"', "GroupBy": "pod"}
    queries = {name: rule["metricsQuery"] for name, rule in adapter_rules().items()}
    for word, value in words.items():
        queries = {name: query.replace(f"<<.{word}>>", value) for name, query in queries.items()}
    series = {
        'yaop_pictures_in_progress{namespace="yaop", pod="a"}': "0 4 4 8",
        'yaop_pictures_in_progress{namespace="yaop", pod="b"}': "0 0 0 0",
        'yaop_pictures_in_progress{namespace="other", pod="c"}': "9 9 9 9",
        'yaop_jobs_queued{namespace="yaop", pod="a"}': "0 2 2 2",
        'yaop_jobs_queued{namespace="yaop", pod="b"}': "0 2 2 3",
        'yaop_jobs_running{namespace="yaop", pod="a"}': "0 1 1 1",
        'yaop_jobs_running{namespace="yaop", pod="b"}': "0 1 1 1",
    }
    expected = {
        "yaop_pictures_in_progress_mean": [{"labels": '{pod="a"}', "value": 6}, {"labels": '{pod="b"}', "value": 0}],
        "yaop_jobs_unfinished": [{"labels": "{}", "value": 4}],
    }
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": queries[name], "eval_time": "3m30s", "exp_samples": samples} for name, samples in expected.items()
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"tests": [test]}))
    done = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done


def test_the_service_scales_by_cpu_and_by_pictures_in_progress() -> None:
    item = k8s.find(build("overlays/production"), "HorizontalPodAutoscaler", "yaop-serve")
    assert [metric["type"] for metric in item["spec"]["metrics"]] == ["Resource", "Pods"]


def test_workers_are_as_many_as_their_jobs_need() -> None:
    objects = build("overlays/production")
    (metric,) = k8s.find(objects, "HorizontalPodAutoscaler", "yaop-worker")["spec"]["metrics"]
    (container,) = k8s.pod_of(k8s.find(objects, "Deployment", "yaop-worker"))["containers"]
    jobs = k8s.environment_of(container, objects)["YAOP_JOB_CONCURRENCY"]
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": jobs}


def test_prometheus_asks_each_kind_of_pod_on_the_port_that_it_has() -> None:
    objects = build("overlays/production")
    monitors = k8s.of_kind(objects, "PodMonitor")
    for monitor in monitors:
        assert monitor["spec"].keys() == {"selector", "podMetricsEndpoints"}
        (workload,) = k8s.selected(monitor["spec"]["selector"], objects)
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint.keys() == {"port", "path", "interval", "relabelings"}
        assert endpoint["port"] in k8s.ports_of(k8s.pod_of(workload))
        relabelled = {item["targetLabel"]: item for item in endpoint["relabelings"]}
        assert relabelled["job"]["replacement"] == workload["metadata"]["name"]
        assert relabelled["stack"]["sourceLabels"] == ["__meta_kubernetes_namespace"]
    assert len(monitors) == len(k8s.of_kind(objects, "Deployment"))


def test_annotations_tell_prometheus_the_same_port() -> None:
    for workload in k8s.of_kind(build("overlays/production"), "Deployment"):
        told = workload["spec"]["template"]["metadata"]["annotations"]
        (port,) = k8s.ports_of(k8s.pod_of(workload)).values()
        assert (told["prometheus.io/scrape"], told["prometheus.io/port"]) == ("true", str(port))


def test_alerts_are_those_of_deploy_prometheus() -> None:
    written = prometheus_rule.DESTINATION.read_text(encoding="utf-8")
    assert written == prometheus_rule.render(), "run `python -m deploy.kubernetes.prometheus_rule`"
    (rule,) = k8s.of_kind(build("overlays/production"), "PrometheusRule")
    names = {item.get("alert") for group in rule["spec"]["groups"] for item in group["rules"]}
    assert "YaopServerErrors" in names and not names & prometheus_rule.UNFIT


def test_no_alert_takes_all_pods_to_have_the_same_memory_limit() -> None:
    (rule,) = k8s.of_kind(build("overlays/production"), "PrometheusRule")
    items = [item for group in rule["spec"]["groups"] for item in group["rules"]]
    assert {"YaopMemoryHigh"} <= prometheus_rule.UNFIT
    assert not [item for item in items if "memory_limit" in item["expr"] or "memory_limit" in item.get("record", "")]


def test_the_label_of_the_guide_gets_onto_all_that_prometheus_operator_reads(tmp_path: Path) -> None:
    (patch,) = (text for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "labels/release" in text)
    production = os.path.relpath(k8s.ROOT / "overlays" / "production", tmp_path)
    (tmp_path / "kustomization.yaml").write_text(f"resources: [{production}]\n{patch}")
    objects = build_folder(tmp_path)
    labelled = [item for item in objects if item["metadata"]["labels"].get("release") == "kube-prometheus-stack"]
    assert labelled == k8s.of_kind(objects, *CRDS) and len(labelled) == 3


# Training


def test_the_indexed_job_has_as_many_pods_as_workers() -> None:
    objects = build("training/fit")
    job = k8s.find(objects, "Job", "yaop-fit")
    (container,) = k8s.pod_of(job)["containers"]
    workers = int(k8s.environment_of(container, objects)["WORKERS"])
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == workers >= 2


def test_workers_are_called_what_the_headless_service_calls_them() -> None:
    objects = build("training/fit")
    job = k8s.find(objects, "Job", "yaop-fit")
    (container,) = k8s.pod_of(job)["containers"]
    service = k8s.find(objects, "Service", k8s.pod_of(job)["subdomain"])
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"]
    assert k8s.selected({"matchLabels": service["spec"]["selector"]}, objects) == [job]
    (port,) = k8s.ports_of(k8s.pod_of(job)).values()
    expected = f"{job['metadata']['name']}-%d.{service['metadata']['name']}:{port}"
    assert k8s.environment_of(container, objects)["WORKER_ADDRESS"] == expected


def test_a_worker_lost_with_its_node_costs_the_job_nothing_and_no_error_ends_it_at_once() -> None:
    spec = k8s.find(build("training/fit"), "Job", "yaop-fit")["spec"]
    (ignored,) = spec["podFailurePolicy"]["rules"]
    assert ignored == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert spec["backoffLimitPerIndex"] > 10 and spec["maxFailedIndexes"] == 0 and "backoffLimit" not in spec
    assert spec["template"]["spec"]["restartPolicy"] == "Never", "the policy needs it"


@pytest.mark.parametrize("target", [target for target in TRAINING if target != "training/storage"])
def test_commands_of_the_training_exist_with_their_options(target: str) -> None:
    import typer

    from shared.models_cli import app as models
    from trainer.cli import app as train

    objects = build(target)
    (container,) = k8s.pod_of(k8s.of_kind(objects, "Job")[0])["containers"]
    words = k8s.arguments_of(container, objects)
    words = words[2:] if words[0] == "bash" else words
    if words[0] in ("tensorboard",) or words[-1] == "--help":
        return
    words = ["yaop", "train", *words] if words[0] != "yaop" else words
    group: Any = typer.main.get_command({"train": train, "models": models}[words[1]])
    assert group.commands[words[2]].make_context(words[2], words[3:])


def test_every_step_of_the_training_uses_the_same_settings() -> None:
    steps = [build(target) for target in TRAINING if k8s.workloads(build(target))]
    names = {item["metadata"]["name"] for step in steps for item in step if "RECIPE" in item.get("data", {})}
    assert len(names) == 1 and len(steps) >= 6


# The guide


def test_the_guide_names_every_folder_that_can_be_applied() -> None:
    for target in (*TARGETS, *(f"components/{path.name}" for path in (k8s.ROOT / "components").iterdir())):
        assert target.rpartition("/")[2] in README, target


def test_every_folder_that_the_guide_applies_can_be_built() -> None:
    applied = set(re.findall(r"-k deploy/kubernetes/([\w/-]+)", README))
    assert applied - {"overlays/mine"} <= set(TARGETS)
    assert {target for target in TRAINING if target not in ("training/job", "training/fit-gpu")} <= applied


def test_the_guide_restarts_all_that_serves_with_and_without_workers() -> None:
    selectors = re.findall(r"rollout restart deployment -l (\S+)", README)
    assert len(selectors) == 2 and len(set(selectors)) == 1
    name, _, value = selectors[0].partition("=")
    for objects in (build("base"), build("overlays/production")):
        assert all(item["metadata"]["labels"][name] == value for item in k8s.of_kind(objects, "Deployment"))


@pytest.mark.parametrize(("shell", "end"), [("bash", "Complete"), ("sh", "Failed")])
def test_waiting_for_a_job_ends_when_it_is_done_and_when_it_has_failed(shell: str, end: str, tmp_path: Path) -> None:
    function = re.search(r"^ended\(\) \{\n.*?^\}\n", README, re.DOTALL | re.MULTILINE)
    assert function
    kubectl = tmp_path / "kubectl"  # tells what is in the file, which is what the Job's conditions are by then
    kubectl.write_text(f"#!/bin/sh\ncat {tmp_path}/conditions\necho FailureTarget {end} >{tmp_path}/conditions\n")
    kubectl.chmod(0o755)
    (tmp_path / "conditions").write_text("SuccessCriteriaMet FailureTarget")
    done = subprocess.run(
        [shell, "-c", f"sleep() {{ :; }}\n{function[0]}\nended fit"],
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, end), done.stderr


def test_what_the_production_overlay_has_commented_out_can_be_switched_on(tmp_path: Path) -> None:
    copy = shutil.copytree(k8s.ROOT, tmp_path / "kubernetes")
    file = copy / "overlays" / "production" / "kustomization.yaml"
    text, count = re.subn(r"^  # (- \.\./)", r"  \1", file.read_text(), flags=re.MULTILINE)
    file.write_text(text)
    assert count == 2
    assert not [
        item
        for item in k8s.of_kind(build_folder(file.parent), "PersistentVolumeClaim")
        if "artifacts" in item["metadata"]["name"]
    ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [([str(k8s.ROOT / "base")], 0, "base: 8 objects"), (["--nope"], 2, "--nope"), (["/"], 2, "no kustomization.yaml")],
)
def test_users_build_what_they_apply_with_one_command(words: list[str], code: int, said: str) -> None:
    environment = {"PATH": f"{k8s.KUBECTL.parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", k8s.ROOT / "validate.sh", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code and said in done.stdout + done.stderr


def test_scripts_are_clean() -> None:
    scripts = [str(path) for path in k8s.ROOT.rglob("*.sh")]
    done = subprocess.run([k8s.KUBECTL.with_name("shellcheck"), *scripts], capture_output=True, text=True, check=False)
    assert len(scripts) == 2 and done.returncode == 0, done.stdout
