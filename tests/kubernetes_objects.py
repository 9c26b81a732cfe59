"""What `kubectl apply -k` would send to a cluster, built offline, and questions about it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1] / "deploy" / "kubernetes"
KUBECTL = Path(sys.executable).with_name("kubectl")
_UNITS = {"m": 1e-3, "": 1.0, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "k": 1e3, "M": 1e6, "G": 1e9}
_WORKLOADS = ("Deployment", "Job")


def targets() -> list[str]:
    """All folders that can be applied, below `ROOT`."""
    files = sorted(ROOT.rglob("kustomization.yaml"))
    kinds = {file: yaml.safe_load(file.read_text())["kind"] for file in files}
    return [str(file.parent.relative_to(ROOT)) for file in files if kinds[file] == "Kustomization"]


@cache
def build(target: str) -> list[Object]:
    """The objects of one of these folders."""
    return build_folder(ROOT / target)


@cache
def everything() -> list[Object]:
    """The objects of all these folders, each once."""
    objects = [item for target in targets() for item in build(target)]
    return list({json.dumps(item): item for item in objects}.values())


def build_folder(folder: Path) -> list[Object]:
    """The objects of any folder with a kustomization."""
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return [item for item in yaml.load_all(done.stdout, yaml.CSafeLoader) if item]


def build_components(folder: Path, *components: str) -> list[Object]:
    """The objects of the base with these components, in this order; writes the kustomization into `folder`."""
    up = os.path.relpath(ROOT, folder)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "yaop",
        "resources": [f"{up}/base"],
        "components": [f"{up}/components/{name}" for name in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return build_folder(folder)


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """Those of these kinds."""
    return [item for item in objects if item["kind"] in kinds]


def find(objects: list[Object], kind: str, name: str) -> Object:
    """The one object of this kind and name."""
    (found,) = (item for item in of_kind(objects, kind) if item["metadata"]["name"] == name)
    return found


def name_of(item: Object) -> str:
    """For messages."""
    return f"{item['kind']}/{item['metadata']['name']}"


def workloads(objects: list[Object]) -> list[Object]:
    """What starts pods."""
    return of_kind(objects, *_WORKLOADS)


def pod_of(workload: Object) -> Object:
    """The specification of its pods."""
    return workload["spec"]["template"]["spec"]


def labels_of(workload: Object) -> dict[str, str]:
    """Labels of its pods; those that Kubernetes puts on the pods of a Job, too."""
    labels = workload["spec"]["template"]["metadata"]["labels"]
    own = {"batch.kubernetes.io/job-name": workload["metadata"]["name"]} if workload["kind"] == "Job" else {}
    return labels | own


def containers(objects: list[Object]) -> Iterator[tuple[str, Object, Object]]:
    """Of each container: what to call it, its pod, itself."""
    for workload in workloads(objects):
        pod = pod_of(workload)
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield f"{name_of(workload)}/{container['name']}", pod, container


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector (matchLabels, matchExpressions with In) takes these labels."""
    wanted = selector.get("matchLabels", {})
    among = {item["key"]: item["values"] for item in selector.get("matchExpressions", [])}
    return wanted.items() <= labels.items() and all(labels.get(key) in values for key, values in among.items())


def selected(selector: Mapping[str, Any], objects: list[Object]) -> list[Object]:
    """Workloads whose pods a label selector takes."""
    return [item for item in workloads(objects) if selects(selector, labels_of(item))]


def ports_of(pod: Object) -> dict[str, int]:
    """Number of each named port."""
    return {port["name"]: port["containerPort"] for item in pod["containers"] for port in item.get("ports", [])}


def environment_of(container: Object, objects: list[Object]) -> dict[str, str]:
    """Variables of a container as Kubernetes resolves them; those of Secrets are the Secret's ``name/key``."""
    values = dict[str, str]()
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            values |= find(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    for entry in container.get("env", []):
        reference = entry.get("valueFrom", {}).get("secretKeyRef")
        values[entry["name"]] = f"{reference['name']}/{reference['key']}" if reference else entry["value"]
    return values


def arguments_of(container: Object, objects: list[Object]) -> list[str]:
    """Its arguments, with $(VARIABLES) replaced."""
    values = environment_of(container, objects)
    return [re.sub(r"\$\((\w+)\)", lambda match: values[match[1]], text) for text in container["args"]]


def amount(quantity: str | int) -> float:
    """The number that a quantity such as 512Mi or 250m stands for."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]*)", str(quantity))
    assert found, quantity
    return float(found[1]) * _UNITS[found[2]]
