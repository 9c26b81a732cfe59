"""The Dockerfiles, what goes into their build, and the scripts around them: pinned, without secrets, without root."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCKERFILES = ("Dockerfile.serve", "Dockerfile.train")
LOCKS = {
    "Dockerfile.serve": {"serve", "serve-tensorflow", "serve-gpu"},
    "Dockerfile.train": {"train", "train-gpu", "train-tpu"},
}
PROGRAMS = Path(sys.executable).parent


def instructions(name: str) -> list[tuple[str, str]]:
    """Each instruction of a Dockerfile and its arguments, comments and line breaks left out."""
    lines = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def final_stage(name: str) -> list[tuple[str, str]]:
    every = instructions(name)
    return every[max(index for index, (word, _) in enumerate(every) if word == "FROM") :]


def environment(name: str) -> dict[str, str]:
    words = [part for word, rest in final_stage(name) if word == "ENV" for part in rest.split()]
    return dict(part.split("=", 1) for part in words)


def ignored(path: str) -> bool:
    """Whether `.dockerignore` keeps a path out of the build; the last pattern that fits decides, as for Docker."""
    parts = path.split("/")
    starts = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    out = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        anywhere = pattern.removeprefix("**/")
        names = parts if anywhere != pattern else starts
        if any(fnmatch.fnmatchcase(name, anywhere) and name.count("/") == anywhere.count("/") for name in names):
            out = not line.startswith("!")
    return out


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfile_is_clean_for_hadolint(name: str) -> None:
    done = subprocess.run([PROGRAMS / "hadolint", ROOT / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_shell_scripts_of_deployment_are_clean_for_shellcheck() -> None:
    scripts = sorted((ROOT / "deploy").rglob("*.sh"))
    assert scripts
    done = subprocess.run([PROGRAMS / "shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", DOCKERFILES)
def test_base_is_pinned_and_the_same_for_both_stages(name: str) -> None:
    (base,) = (rest for word, rest in instructions(name)[:1] if word == "ARG")
    assert re.fullmatch(r"BASE=docker\.io/library/python:3\.11\.\d+-slim-bookworm", base)
    assert [rest for word, rest in instructions(name) if word == "FROM"] == ["${BASE} AS builder", "${BASE}"]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_container_runs_as_a_numbered_user_under_tini(name: str) -> None:
    stage = final_stage(name)
    users = [index for index, (word, _) in enumerate(stage) if word == "USER"]
    assert [stage[index][1] for index in users] == ["10001:10001"]
    assert not [word for word, _ in stage[users[0] :] if word in ("RUN", "COPY", "ADD")]
    (entrypoint,) = (rest for word, rest in stage if word == "ENTRYPOINT")
    assert entrypoint.startswith('["tini", "--", ')


@pytest.mark.parametrize("name", DOCKERFILES)
def test_packages_come_from_the_locks_that_make_lock_writes(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    prefix = name.removeprefix("Dockerfile.")
    (cases,) = re.findall(r"case .*?esac", text, re.DOTALL)
    words = re.findall(r"^\s+([a-z|]+)\)", cases, re.MULTILINE)
    kinds = [kind for group in words for kind in group.split("|")]
    assert {prefix if kind in ("litert", "cpu") else f"{prefix}-{kind}" for kind in kinds} == LOCKS[name]
    assert all((ROOT / "requirements" / f"{lock}.lock").is_file() for lock in LOCKS[name])
    assert "--require-hashes" in (ROOT / "deploy/images/install-packages.sh").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_labels_say_the_version_of_the_project(name: str) -> None:
    assert ("ARG", f"VERSION={PROJECT['project']['version']}") in final_stage(name)
    (labels,) = (rest for word, rest in final_stage(name) if word == "LABEL")
    wanted = {"title", "description", "version", "revision", "source", "licenses", "base.name"}
    assert not wanted - set(re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", labels))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_image_names_no_host_and_holds_no_secret(name: str) -> None:
    text = "\n".join(" ".join(both) for both in instructions(name))
    assert not re.search(r"https?://|--index-url|--trusted-host", text)
    assert not re.search(r"(?i)(password|secret|token|_key)\s*=", text)


def test_serving_image_has_neither_the_trainer_nor_its_command() -> None:
    copied = [rest.split()[0] for word, rest in instructions("Dockerfile.serve") if word == "COPY"]
    assert not [source for source in copied if source.startswith(("trainer", "tests", "models/checkpoints", "."))]
    (install,) = (
        rest for word, rest in instructions("Dockerfile.serve") if word == "RUN" and "install-yaop.sh" in rest
    )
    assert "train" not in install.split()


def test_images_together_have_every_command_of_yaop() -> None:
    commands = {
        word
        for name in DOCKERFILES
        for kind, rest in instructions(name)
        if kind == "RUN" and "install-yaop.sh" in rest
        for word in rest.split()[1:]
    }
    assert commands == PROJECT["project"]["entry-points"]["yaop.commands"].keys()


def test_images_are_told_their_folders() -> None:
    assert environment("Dockerfile.serve").items() >= {
        "YAOP_HOST": "0.0.0.0", "YAOP_PORT": "8000", "YAOP_DATA_DIR": "/data", "YAOP_MODELS_DIR": "/models",
        "YAOP_LOG_FORMAT": "json",
    }.items()  # fmt: skip
    assert environment("Dockerfile.train").items() >= {
        "YAOP_TRAIN_DATA": "/data", "YAOP_TRAIN_RECORDS": "/data/records", "YAOP_TRAIN_RUNS": "/runs",
        "YAOP_MODELS_DIR": "/models",
    }.items()  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [".git/config", ".env", "service/.env", ".venv/bin/python", "tests/photos.py", "docs/training.md", "runs/a",
     "data/coco", "shared/__pycache__/cli.pyc", "docker-compose.yml", "Dockerfile.serve", "requirements/build.in"],
)  # fmt: skip
def test_build_never_sees(path: str) -> None:
    assert ignored(path)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_build_sees_what_it_copies(name: str) -> None:
    copied = [rest.split()[:-1] for word, rest in instructions(name) if word == "COPY" and "--from" not in rest]
    files = [file for sources in copied for source in sources for file in ROOT.glob(source.rstrip("/"))]
    assert files
    assert not [file for file in files if ignored(file.relative_to(ROOT).as_posix())]
    for file in ("service/web/index.html", "shared/cli.py", "models/mobilenet_fpn/saved_model/saved_model.pb"):
        assert not ignored(file)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--variant", "torch"], "must be litert, tensorflow or gpu"),
        (["--device"], "--device needs a value"),
        (["--fast"], "unknown argument --fast"),
    ],
)
def test_build_script_refuses_in_one_line(arguments: list[str], words: str) -> None:
    script = ROOT / "deploy" / "build-without-docker.sh"
    done = subprocess.run(["bash", script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1


def test_build_script_explains_itself() -> None:
    script = ROOT / "deploy" / "build-without-docker.sh"
    done = subprocess.run(["bash", script, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "--serve-only" in done.stdout
