"""What a build is told of the machine it runs on: pip's settings, the files they name, and apt's."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

from deploy.images.build_host import apt_settings, named_paths, pip_settings

ROOT = Path(__file__).resolve().parents[2]


def test_settings_of_the_environment_win_over_those_of_files() -> None:
    listing = (
        "global.timeout='10'\ninstall.index-url='https://a/simple'\n:env:.timeout='60'\n:env:.index-url='https://b'"
    )
    assert pip_settings(listing) == {"global": {"timeout": "60", "index-url": "https://b"}, "install": {}}


def test_files_and_folders_that_are_there_are_mounted(tmp_path: Path) -> None:
    index, certificate = tmp_path / "mirror" / "simple", tmp_path / "ca.pem"
    index.mkdir(parents=True)
    certificate.touch()
    settings = {
        "extra-index-url": f"https://example.com/simple file://{index}",
        "cert": str(certificate),
        "find-links": f"{tmp_path}/absent",
        "timeout": "60",
    }
    assert named_paths({"global": settings}) == [certificate, tmp_path / "mirror"]


def test_only_what_says_how_to_reach_a_mirror_is_taken_from_apt() -> None:
    dump = (
        'APT::Architecture "amd64";\nAcquire::http::Proxy "http://proxy:3128";\nAcquire::Languages "";\n'
        'Acquire::Check-Date "false";\nDir::Cache "var";\nAcquire::https::CaInfo "/ca.pem";\n'
    )
    wanted = (
        'Acquire::http::Proxy "http://proxy:3128";\nAcquire::Check-Date "false";\nAcquire::https::CaInfo "/ca.pem";\n'
    )
    assert apt_settings(dump) == wanted


def test_machine_with_settings_gets_a_file_for_the_build(tmp_path: Path) -> None:
    certificate = tmp_path / "ca.pem"
    certificate.touch()
    (tmp_path / "pip.conf").write_text(
        f"[global]\ncert = {certificate}\nextra-index-url =\n    https://a\n    https://b\n"
    )
    out = tmp_path / "out"
    out.mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.images.build_host", str(out)],
        cwd=ROOT, capture_output=True, text=True, check=True,
        env=clean | {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")},
    )  # fmt: skip
    assert f"{certificate}:{certificate}:ro" in done.stdout.splitlines()
    assert f"{out / 'pip.conf'}:/etc/pip.conf:ro" in done.stdout.splitlines()
    written = configparser.ConfigParser(interpolation=None)
    written.read(out / "pip.conf")
    assert written["global"]["cert"] == str(certificate)
    assert written["global"]["extra-index-url"].split()[-2:] == ["https://a", "https://b"]
