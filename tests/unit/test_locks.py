"""The locks fit together, fit pyproject.toml, and work with any mirror of the package index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
LOCKS = sorted(path.name for path in REQUIREMENTS.glob("*.lock"))
OF_IMAGES = {
    "serve-tensorflow.lock": ["serve", "tensorflow"],
    "serve-gpu.lock": ["serve", "gpu"],
    "train.lock": ["train", "trainer"],
    "train-gpu.lock": ["train", "trainer", "gpu"],
    "train-tpu.lock": ["tpu", "trainer"],
}
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def pins(lock: str) -> dict[str, str]:
    return dict(PIN.findall((REQUIREMENTS / lock).read_text(encoding="utf-8")))


def declared(*extras: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    names = {re.split(r"[^A-Za-z0-9_.-]", name)[0].lower().replace("_", "-") for name in wanted}
    return names - {project["name"]}


def test_both_locks_can_be_installed_into_one_environment() -> None:
    serve, everything = pins("serve.lock"), pins("dev.lock")
    assert serve
    assert serve.items() <= everything.items()


@pytest.mark.parametrize(
    ("lock", "extras"),
    [("serve.lock", ["serve"]), ("dev.lock", ["serve", "train", "tensorflow", "dev"]), *OF_IMAGES.items()],
)
def test_lock_has_every_declared_dependency(lock: str, extras: list[str]) -> None:
    assert not declared(*extras) - pins(lock).keys(), "run `make lock`"


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock != "train-tpu.lock"])  # an older TensorFlow
def test_images_have_the_versions_that_the_tests_ran_with(lock: str) -> None:
    everything, own = pins("dev.lock"), pins(lock)
    assert not {name: pin for name, pin in own.items() if everything.get(name, pin) != pin}
    assert all(name in everything or name.startswith("nvidia-") for name in own)


def test_serving_needs_no_tensorflow() -> None:
    assert not {"tensorflow", "keras", "torch"} & pins("serve.lock").keys()


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_index_and_no_local_path(lock: str) -> None:
    text = (REQUIREMENTS / lock).read_text(encoding="utf-8")
    assert not re.search(r"://|file:|^-|^\s*--(?!hash=sha256:)", text, re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_checked_by_hash(lock: str) -> None:
    blocks = re.split(r"^(?=[a-z0-9-]+==)", (REQUIREMENTS / lock).read_text(encoding="utf-8"), flags=re.MULTILINE)
    unchecked = [block.split()[0] for block in blocks[1:] if "--hash=sha256:" not in block]
    assert not unchecked
