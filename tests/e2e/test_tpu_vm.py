"""deploy/tpu/vm: what runs on the TPU VM, run here: jobs that outlive a connection, and the installation."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.server_process import ROOT

TPU = ROOT / "deploy/tpu"

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="scripts for Ubuntu")


def script(name: str, *arguments: str, home: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run one of the VM's scripts in a home."""
    home.mkdir(exist_ok=True)
    programs = f"{path}{os.pathsep}{os.environ['PATH']}" if path else os.environ["PATH"]
    file = TPU / "vm" / name if (TPU / "vm" / name).exists() else Path(name)
    return subprocess.run(
        ["bash", str(file), *arguments],
        env={"HOME": str(home), "PATH": programs, "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_job_outlives_who_started_it_and_is_found_again(tmp_path: Path) -> None:
    go, home = tmp_path / "go", tmp_path / "home"
    words = ("bash", "-c", f"echo begun; until [[ -e {go} ]]; do sleep 0.05; done; echo ended; exit 3")
    assert script("job.sh", "start", "train", *words, home=home).stdout == "train started\n"
    assert script("job.sh", "start", "train", *words, home=home).stdout == "train is running already\n"
    assert _until(lambda: script("job.sh", "status", home=home).stdout, "train: running; begun\n")
    go.touch()
    followed = script("job.sh", "follow", "train", home=home)
    assert (followed.returncode, followed.stdout) == (10, "begun\nended\n")
    assert script("job.sh", "status", home=home).stdout == "train: failed; ended\n"


def test_a_job_that_was_killed_is_told_from_one_that_ended(tmp_path: Path) -> None:
    script("job.sh", "start", "train", "bash", "-c", "kill -9 $PPID", home=tmp_path)
    followed = script("job.sh", "follow", "train", home=tmp_path)
    assert followed.returncode == 11 and "train was killed" in followed.stderr
    script("job.sh", "start", "train", "true", home=tmp_path)
    assert script("job.sh", "follow", "train", home=tmp_path).returncode == 0
    assert script("job.sh", "status", home=tmp_path).stdout == "train: done\n"


@pytest.mark.parametrize("arguments", [(), ("start", "x"), ("start", "../x", "true"), ("follow",), ("dance",)])
def test_a_job_that_is_not_one_is_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = script("job.sh", *arguments, home=tmp_path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


def test_a_bundle_is_copied_with_the_trainers_own_storage(tmp_path: Path) -> None:
    (tmp_path / "bundle/saved_model").mkdir(parents=True)
    (tmp_path / "bundle/manifest.json").write_text("{}", "utf-8")
    (tmp_path / "bundle/saved_model/saved_model.pb").write_bytes(b"\x00\xff")
    command = [sys.executable, str(TPU / "vm/put_folder.py"), str(tmp_path / "bundle"), str(tmp_path / "there/bundle")]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "2 files" in done.stdout, done.stderr
    assert (tmp_path / "there/bundle/saved_model/saved_model.pb").read_bytes() == b"\x00\xff"


def test_the_vm_gets_an_environment_with_our_source_and_the_locked_packages_only(tmp_path: Path) -> None:
    source, home = _tiny_source(tmp_path / "source"), tmp_path / "home"
    installer = str(source / "deploy/tpu/vm/install.sh")
    done = script(installer, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "TensorFlow 2.20.0" in done.stdout
    programs = home / "yaop/environment/bin"
    words = subprocess.check_output(
        [programs / "python", "-c", "import trainer; print(trainer.WORD)"], cwd=home, text=True
    )
    assert words == "ours\n"
    (programs / "mark").touch()
    lock = source / "requirements/train-tpu.lock"
    lock.write_text(re.sub(r"sha256:\w{8}", "sha256:00000000", lock.read_text("utf-8")), "utf-8")
    again = script(installer, home=home)
    assert (programs / "mark").exists()  # the environment was not made anew
    assert again.returncode == 1
    assert again.stderr.splitlines()[-1] == "install.sh: a package of train-tpu.lock cannot be installed"


def test_where_the_system_has_no_fitting_python_uv_brings_one(tmp_path: Path) -> None:
    programs, asked = tmp_path / "programs", tmp_path / "asked"
    programs.mkdir()
    for name in ("python3.11", "python3.12", "python3.13"):
        _program(programs / name, "exit 1")
    # A Python whose environments do nothing, a uv that finds it, and a pip that "installs" this uv.
    good, uv = tmp_path / "good", tmp_path / "uv"
    _program(good, f'[ "$2" != venv ] || {{ mkdir -p "$3/bin"; cp {tmp_path}/good "$3/bin/python"; }}')
    _program(uv, f'echo uv "$@" >>{asked}; [ "$2" = install ] || echo {good}')
    _program(
        programs / "python3",
        f"""[ "$1" = -m ] || exit 1
        echo "$@" >>{asked}
        [ "$3" = install ] || exit 0
        while [ "$1" != --target ]; do shift; done
        mkdir -p "$2/bin"
        cp {uv} "$2/bin/uv\"""",
    )
    done = script("install.sh", home=tmp_path / "home", path=programs)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Python: {good}" in done.stdout
    said = asked.read_text("utf-8")
    assert "--require-hashes --requirement" in said and "uv python install --quiet" in said


def test_uv_is_pinned_as_in_the_makefile_and_by_hash() -> None:
    lock = (TPU / "vm/uv.lock").read_text("utf-8")
    pinned = re.search(r"^UV := (uv==\S+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert pinned and f"\n{pinned[1]} \\\n" in lock and "--hash=sha256:" in lock


def _until(look: Callable[[], str], wanted: str) -> bool:
    end = time.monotonic() + 10
    while look() != wanted and time.monotonic() < end:
        time.sleep(0.05)
    return look() == wanted


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(0o755)


def _tiny_source(folder: Path) -> Path:
    """A checkout whose only package is a TensorFlow of two lines, with the scripts as they are."""
    shutil.copytree(TPU, folder / "deploy/tpu")
    wheel = _wheel(folder, "tensorflow", "2.20.0", {"tensorflow.py": "__version__ = '2.20.0'\n"})
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "requirements").mkdir()
    (folder / "requirements/train-tpu.lock").write_text(f"{wheel.as_uri()} --hash=sha256:{digest}\n", "utf-8")
    (folder / "trainer.py").write_text("WORD = 'ours'\n", "utf-8")
    editable = _wheel(folder, "yaop", "0", {"yaop.pth": f"{folder}\n"})
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n', "utf-8"
    )
    (folder / "backend.py").write_text(
        "import shutil\n"
        "def build_editable(folder, settings=None, metadata=None):\n"
        f"    shutil.copy({str(editable)!r}, folder)\n"
        f"    return {editable.name!r}\n",
        "utf-8",
    )
    return folder


def _wheel(folder: Path, name: str, version: str, files: Mapping[str, str]) -> Path:
    info = f"{name}-{version}.dist-info"
    about = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    contents = {**files, **about}
    record = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**contents, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)
    return wheel
