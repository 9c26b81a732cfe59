"""Stands in for Google's cloud on the PATH of deploy/tpu/tpu.sh: `gcloud`, and the programs of a TPU VM.

What is there is a JSON file (see `EMPTY`), buckets and the VM's home are folders beside it, and every call is noted.
What tpu.sh has the VM do by ssh is really done, by the shell, in that home.

    python fake_gcloud.py STATE PROGRAM ARGUMENT...
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

EMPTY: dict[str, Any] = {
    "login": "me@example.com",  # "" if nobody is logged in
    "project": "ACTIVE",  # "" if there is none
    "billing": True,
    "apis": [],
    "types": ["v2-8", "v5litepod-8"],
    "service_accounts": [],
    "buckets": {},  # name: {"location": ..., "members": {role: [member, ...]}}
    "vm": "",  # its state
    "queue": "",  # state of its request
    "waits": 0,  # looks at the queue until the request is met
    "preempts": 0,  # how many trainings lose their VM
    "fails": {},  # beginning of a command: what it says as it fails
}


class Cloud:
    """What is there, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home, self.programs = folder / "vm", folder / "programs"

    def read(self) -> dict[str, Any]:
        """The state."""
        return json.loads((self.folder / "state.json").read_text("utf-8"))

    def change(self, **values: Any) -> None:
        """Set some of the state."""
        state = self.read() if (self.folder / "state.json").exists() else EMPTY
        fresh = self.folder / f"state.{os.getpid()}.json"
        fresh.write_text(json.dumps({**state, **values}), "utf-8")
        fresh.replace(self.folder / "state.json")

    def bucket(self, address: str) -> Path:
        """Where the objects of a gs:// address are."""
        return self.folder / "buckets" / address.removeprefix("gs://")

    def note(self, program: str, arguments: Sequence[str]) -> None:
        """Append a call to the list."""
        names = ("TPU_NAME", "TPU_LOAD_LIBRARY", "NEXT_PLUGGABLE_DEVICE_USE_C_API", "TF_PLUGGABLE_DEVICE_LIBRARY_PATH")
        seen = {name: os.environ[name] for name in names if name in os.environ}
        with (self.folder / "calls.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"program": program, "arguments": list(arguments), "environment": seen}) + "\n")

    def calls(self) -> list[dict[str, Any]]:
        """All calls until now."""
        file = self.folder / "calls.jsonl"
        return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


class CommandError(Exception):
    """A command fails, with these words."""


def gcloud(cloud: Cloud, arguments: Sequence[str]) -> str:
    """What gcloud prints."""
    words = [argument for argument in arguments if not argument.startswith("-")]
    line = " ".join(words)
    state = cloud.read()
    for beginning, message in state["fails"].items():
        if line.startswith(beginning):
            raise CommandError(message)
    for beginning, command in COMMANDS.items():
        if line.startswith(beginning):
            return command(cloud, state, Call(words[len(beginning.split()) :], arguments))
    raise CommandError(f"ERROR: (gcloud) Invalid choice: {line}")


class Call:
    """Words and options of a command."""

    def __init__(self, words: Sequence[str], arguments: Sequence[str]) -> None:
        self.words = list(words)
        self.arguments = list(arguments)

    def option(self, name: str) -> str:
        """The value of ``--name=value``, or ""."""
        return next((a.partition("=")[2] for a in self.arguments if a.startswith(f"--{name}=")), "")


def _login(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    return state["login"]


def _project(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    if not state["project"]:
        raise CommandError("ERROR: (gcloud.projects.describe) no permission to access it (or it may not exist)")
    return state["project"]


def _enable(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    cloud.change(apis=[*state["apis"], *call.words])
    return ""


def _describe_account(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    if call.words[0] not in state["service_accounts"]:
        raise CommandError("ERROR: (gcloud.iam.service-accounts.describe) NOT_FOUND: Unknown service account")
    return call.words[0]


def _create_account(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    name = f"{call.words[0]}@{call.option('project')}.iam.gserviceaccount.com"
    cloud.change(service_accounts=[*state["service_accounts"], name])
    return ""


def _delete_account(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    cloud.change(service_accounts=[name for name in state["service_accounts"] if name != call.words[0]])
    return ""


def _describe_bucket(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    name = call.words[0].removeprefix("gs://")
    if name not in state["buckets"]:
        raise CommandError(f"ERROR: (gcloud.storage.buckets.describe) gs://{name} not found: 404.")
    return state["buckets"][name]["location"].upper()


def _create_bucket(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    bucket = {"location": call.option("location"), "members": {}}
    cloud.change(buckets={**state["buckets"], call.words[0].removeprefix("gs://"): bucket})
    return ""


def _bucket_policy(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    members = state["buckets"][call.words[0].removeprefix("gs://")]["members"]
    return "\n".join(f"{role}\t{member}" for role, granted in members.items() for member in granted)


def _grant(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    members = state["buckets"][call.words[0].removeprefix("gs://")]["members"]
    members.setdefault(call.option("role"), []).append(call.option("member"))
    cloud.change(buckets=state["buckets"])
    return ""


def _list_objects(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    folder = cloud.bucket(call.words[0])
    if not folder.is_dir():
        raise CommandError("ERROR: (gcloud.storage.ls) One or more URLs matched no objects.")
    return "\n".join(f"{call.words[0]}{path.name}" for path in sorted(folder.iterdir()))


def _rsync(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    source, target = call.words
    skip = shutil.ignore_patterns("checkpoints") if call.option("exclude") else None
    shutil.copytree(cloud.bucket(source), target, dirs_exist_ok=True, ignore=skip)
    return ""


def _delete_bucket(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    name = call.words[0].removeprefix("gs://")
    shutil.rmtree(cloud.bucket(call.words[0]), ignore_errors=True)
    cloud.change(buckets={other: bucket for other, bucket in state["buckets"].items() if other != name})
    return ""


def _describe_vm(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    if not state["vm"]:
        raise CommandError("ERROR: (gcloud.compute.tpus.tpu-vm.describe) NOT_FOUND: Resource was not found")
    return state["vm"]


def _describe_queue(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    if not state["queue"]:
        raise CommandError("ERROR: (gcloud.compute.tpus.queued-resources.describe) NOT_FOUND: Resource was not found")
    if state["queue"] == "WAITING_FOR_RESOURCES":
        if state["waits"]:
            cloud.change(waits=state["waits"] - 1)
        else:
            cloud.change(queue="ACTIVE", vm="READY")
    return state["queue"]


def _create_vm(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    if state["vm"]:
        raise CommandError("ERROR: (gcloud.compute.tpus.tpu-vm.create) ALREADY_EXISTS: it is there")
    cloud.home.mkdir()
    cloud.change(vm="READY")
    return ""


def _create_queue(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    if state["queue"]:
        raise CommandError("ERROR: (gcloud.compute.tpus.queued-resources.create) ALREADY_EXISTS: it is there")
    cloud.home.mkdir()
    cloud.change(queue="WAITING_FOR_RESOURCES")
    return ""


def _delete_vm(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    shutil.rmtree(cloud.home, ignore_errors=True)
    cloud.change(vm="", queue="")
    return ""


def _start_vm(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    cloud.change(vm="READY")
    return ""


def _scp(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    source, target = call.words
    shutil.copy(source, cloud.home / target.partition(":")[2])
    return ""


def _ssh(cloud: Cloud, state: dict[str, Any], call: Call) -> str:
    path = f"{cloud.folder / 'vm_programs'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", call.option("command")],
        cwd=cloud.home,
        env={"HOME": str(cloud.home), "PATH": path},
        check=False,
    )
    sys.exit(done.returncode)


Command = Callable[[Cloud, dict[str, Any], Call], str]
COMMANDS: dict[str, Command] = {
    "auth list": _login,
    "projects describe": _project,
    "billing projects describe": lambda cloud, state, call: str(state["billing"]),
    "services list": lambda cloud, state, call: "\n".join(state["apis"]),
    "services enable": _enable,
    "compute tpus tpu-vm accelerator-types list": lambda cloud, state, call: "\n".join(state["types"]),
    "iam service-accounts describe": _describe_account,
    "iam service-accounts create": _create_account,
    "iam service-accounts delete": _delete_account,
    "storage buckets describe": _describe_bucket,
    "storage buckets create": _create_bucket,
    "storage buckets get-iam-policy": _bucket_policy,
    "storage buckets add-iam-policy-binding": _grant,
    "storage ls": _list_objects,
    "storage rsync": _rsync,
    "storage rm": _delete_bucket,
    "compute tpus tpu-vm describe": _describe_vm,
    "compute tpus queued-resources describe": _describe_queue,
    "compute tpus tpu-vm create": _create_vm,
    "compute tpus tpu-vm start": _start_vm,
    "compute tpus tpu-vm delete": _delete_vm,
    "compute tpus queued-resources create": _create_queue,
    "compute tpus queued-resources delete": _delete_vm,
    "compute tpus tpu-vm scp": _scp,
    "compute tpus tpu-vm ssh": _ssh,
}


def yaop(cloud: Cloud, arguments: Sequence[str]) -> str:
    """The steps of `yaop train` as far as their files go."""
    options = dict(pairwise(arguments))
    step = arguments[1]
    if step == "download":
        (Path(options["--data"]) / "coco").mkdir(parents=True, exist_ok=True)
    elif step == "records":
        _write(cloud.bucket(options["--records"]) / "coco/manifest.json")
    elif step == "fit":
        _fit(cloud, cloud.bucket(options["--runs"]) / options["--run"])
    elif step == "export":
        _write(Path(arguments[3]) / "manifest.json")
    return f"{step} is done"


def _fit(cloud: Cloud, run: Path) -> None:
    _write(run / "checkpoints/0001.ckpt")
    if left := cloud.read()["preempts"]:
        cloud.change(vm="PREEMPTED", queue="SUSPENDED", preempts=left - 1)
        os.kill(os.getpid(), signal.SIGTERM)
    _write(run / "recipe.json")


def python(cloud: Cloud, arguments: Sequence[str]) -> str:
    """The VM's Python: makes environments that hold this file again, and copies folders to buckets."""
    if arguments[:2] == ["-m", "venv"]:
        programs = Path(arguments[2]) / "bin"
        programs.mkdir(parents=True)
        for name in ("python", "yaop"):
            shutil.copy(cloud.folder / "vm_programs" / name, programs)
    elif arguments and arguments[0].endswith("put_folder.py"):
        shutil.copytree(arguments[1], cloud.bucket(arguments[2]), dirs_exist_ok=True)
    elif arguments[0] == "-c" and "libtpu" in arguments[1]:
        return "/lib/libtpu.so"
    return ""


def git(cloud: Cloud, arguments: Sequence[str]) -> str:
    """An archive of the checkout's scripts for the VM as they are on the disk, committed or not."""
    output = next((a.partition("=")[2] for a in arguments if a.startswith("--output=")), None)
    if output:
        with tarfile.open(output, "w:gz") as archive:
            archive.add(Path(arguments[1]) / "deploy/tpu", "deploy/tpu")
    return ""


def _write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}", "utf-8")


PROGRAMS = {"gcloud": gcloud, "yaop": yaop, "python": python, "python3.11": python, "git": git}


def main(folder: str, program: str, *arguments: str) -> int:
    """Be one of the programs."""
    cloud = Cloud(Path(folder))
    cloud.note(program, arguments)
    try:
        said = PROGRAMS[program](cloud, list(arguments))
    except CommandError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if said:
        sys.stdout.write(f"{said}\n")
    return 0


def install(folder: Path, **state: Any) -> Cloud:
    """Put the programs into ``folder/programs`` (ours) and ``folder/vm_programs`` (the VM's)."""
    cloud = Cloud(folder)
    for place, names in (("programs", ("gcloud", "git")), ("vm_programs", ("python", "python3.11", "yaop"))):
        (folder / place).mkdir(parents=True)
        for name in names:
            file = folder / place / name
            file.write_text(f"#!/bin/sh\nexec '{sys.executable}' -S '{__file__}' '{folder}' {name} \"$@\"\n", "utf-8")
            file.chmod(0o755)
    cloud.change(**state)
    return cloud


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
