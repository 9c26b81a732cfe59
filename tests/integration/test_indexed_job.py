"""The Indexed Job's own command, run as the processes of two pods: they find each other, train, and survive a kill."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import kubernetes_objects as k8s
from tests.training_process import Job

SCRIPT = k8s.ROOT / "training" / "fit" / "start-worker.sh"
SHOW = [sys.executable, "-c", "import os; print(os.environ['TF_CONFIG'])"]
POD = {"JOB_COMPLETION_INDEX": "1", "WORKERS": "2", "WORKER_ADDRESS": "127.0.0.1:222%d"}


def run_script(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"]} | variables
    return subprocess.run(
        ["bash", SCRIPT, *command], env=environment, capture_output=True, text=True, check=False, timeout=30
    )


def test_each_pod_learns_who_it_is_and_who_the_others_are() -> None:
    done = run_script(*SHOW, **POD)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "cluster": {"worker": ["127.0.0.1:2220", "127.0.0.1:2221"]},
        "task": {"type": "worker", "index": 1},
    }


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"JOB_COMPLETION_INDEX": ""}, "JOB_COMPLETION_INDEX"),
        ({"JOB_COMPLETION_INDEX": "2"}, "worker 2 of 2"),
        ({"WORKERS": "many"}, "WORKERS"),
        ({"WORKER_ADDRESS": "yaop-fit:2222"}, "WORKER_ADDRESS"),
        ({"WORKER_ADDRESS": 'a"%d:2222'}, "WORKER_ADDRESS"),
        ({"WORKER_WAIT": "long"}, "WORKER_WAIT"),
    ],
)
def test_a_wrong_variable_is_one_line_and_ends_the_job(variables: dict[str, str], said: str) -> None:
    done = run_script(*SHOW, **POD | variables)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


def test_without_a_command_it_says_how_it_is_called() -> None:
    assert run_script(**POD).returncode == 2
    assert "usage:" in run_script("--help").stdout


def test_a_pod_that_never_comes_is_a_failure_that_may_be_tried_again() -> None:
    done = run_script(*SHOW, **POD | {"WORKER_ADDRESS": "yaop-fit-%d.invalid:2222", "WORKER_WAIT": "1"})
    assert done.returncode == 1
    assert "yaop-fit-0.invalid" in done.stderr


def test_the_exit_code_is_that_of_the_command() -> None:
    assert run_script(sys.executable, "-c", "raise SystemExit(7)", **POD).returncode == 7


def command_of_the_job(recipe: Path) -> list[str]:
    """The arguments of the container, the script read from where it is mounted from."""
    objects = k8s.build("training/fit")
    (container,) = k8s.pod_of(k8s.find(objects, "Job", "yaop-fit"))["containers"]
    (config,) = (item for item in k8s.of_kind(objects, "ConfigMap") if "start-worker.sh" in item["data"])
    assert config["data"]["start-worker.sh"] == SCRIPT.read_text(encoding="utf-8")
    words = k8s.arguments_of(container, objects)
    recipe_of_settings = k8s.environment_of(container, objects)["RECIPE"]
    replaced = {"/scripts/start-worker.sh": str(SCRIPT), recipe_of_settings: str(recipe)}
    return [replaced.get(word, word) for word in words]


def free_decade() -> int:
    """A number whose tenfold, and the one after that, are free ports."""
    for number in range(2500, 6000):
        try:
            for port in (10 * number, 10 * number + 1):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return number
    raise AssertionError("no free ports")


def start_pods(job: Job) -> list[subprocess.Popen[str]]:
    """Both pods of the Job, as Kubernetes would start them but for the volumes and the network."""
    volumes = {
        "YAOP_TRAIN_DATA": str(job.folder / "data"),
        "YAOP_TRAIN_RECORDS": str(job.folder / "records"),
        "YAOP_TRAIN_RUNS": str(job.folder / "runs"),
    }
    pods = {"WORKERS": "2", "WORKER_ADDRESS": f"127.0.0.1:{free_decade()}%d"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    quiet = {"PATH": path, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return [
        subprocess.Popen(
            command_of_the_job(job.folder / "tiny.py"),
            env=os.environ | quiet | volumes | pods | {"JOB_COMPLETION_INDEX": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]


def outputs(pods: list[subprocess.Popen[str]], seconds: float) -> list[str]:
    """What each wrote, once all have ended."""
    try:
        return [pod.communicate(timeout=seconds)[0] for pod in pods]
    finally:
        for pod in pods:
            pod.kill()


_SHORT = """
RECIPE = dataclasses.replace(RECIPE, phases=(Phase(steps=60, learning_rate=5e-3, warmup=10),), checkpoint_every=5)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_pods_train_together_and_go_on_after_one_was_killed(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.prepare()
    with (tmp_path / "tiny.py").open("a") as recipe:
        recipe.write(_SHORT)  # each phase is compiled once more
    run = k8s.build("training/fit")
    (name,) = (item["data"]["RUN"] for item in run if "RUN" in item.get("data", {}))
    pods = start_pods(job)
    deadline = time.monotonic() + 240
    while not job.checkpoints(name) and pods[0].poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    pods[1].send_signal(signal.SIGKILL)
    first = outputs(pods, 240)
    assert job.checkpoints(name), first
    assert pods[0].returncode != 0, "without the other it fails, and the Job tries again"

    again = start_pods(job)
    second = outputs(again, 300)
    assert [pod.returncode for pod in again] == [0, 0], second
    assert "going on from step" in second[0]
    assert (tmp_path / "runs" / name / "final.weights.h5").exists()
