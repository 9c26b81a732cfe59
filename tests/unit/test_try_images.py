"""What `make images` sees to: how containers are run, and that wrong answers are noticed."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.images.container import describe
from deploy.images.image import Image, ImageError, room
from deploy.images.people import same_people
from deploy.images.sizes import biggest_parts

ROOT = Path(__file__).resolve().parents[2]
IMAGE = Image("a:1", "base:1", ("PATH=/bin",), ("tini", "--"), ("serve",), (10001, 10001), "/app", ("true",))
PEOPLE: list[Any] = [{"keypoints": {"nose": {"x": 10.0, "y": 20.0, "score": 0.9}, "neck": None}}]


def test_container_has_no_rights_and_can_write_to_its_volumes_only(tmp_path: Path) -> None:
    volumes = {"/data": tmp_path / "data", "/models": tmp_path / "models"}
    found = describe(IMAGE, tmp_path, ["tini", "--", "yaop"], ["A=b"], volumes, ["/models"])
    assert found["root"] == {"path": str(tmp_path), "readonly": True}
    assert found["process"]["user"] == {"uid": 10001, "gid": 10001} and found["process"]["noNewPrivileges"]
    assert not any(found["process"]["capabilities"].values())
    options = {mount["destination"]: mount["options"] for mount in found["mounts"]}
    assert "rw" in options["/data"] and "ro" in options["/models"] and "ro" not in options["/tmp"]


def test_people_that_are_the_same_to_a_third_of_a_pixel_are_the_same() -> None:
    found = copy.deepcopy(PEOPLE)
    found[0]["keypoints"]["nose"]["x"] += 0.25
    assert same_people(found, PEOPLE) == pytest.approx(0.25)


@pytest.mark.parametrize(
    "keypoints",
    [
        {"nose": {"x": 10.6, "y": 20.0, "score": 0.9}, "neck": None},
        {"nose": {"x": 10.0, "y": 20.0, "score": 0.9}, "neck": {"x": 1.0, "y": 1.0, "score": 0.1}},
        {"nose": None, "neck": None},
    ],
)
def test_keypoint_elsewhere_is_noticed(keypoints: dict[str, Any]) -> None:
    with pytest.raises(ImageError):
        same_people([{"keypoints": keypoints}], PEOPLE)


def test_missing_person_is_noticed() -> None:
    with pytest.raises(ImageError, match="found 0 people where 1 are"):
        same_people([], PEOPLE)


def test_biggest_parts_count_a_packages_libraries_to_it(tmp_path: Path) -> None:
    packages = tmp_path / "opt/yaop/lib/python3.11/site-packages"
    for name, size in (("cv2/a.so", 300_000), ("opencv_python_headless.libs/b.so", 200_000), ("av/c.so", 400_000)):
        file = packages / name
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x" * size)
    (tmp_path / "app" / "models").mkdir(parents=True)
    (first, size), (second, _) = biggest_parts(tmp_path, 2)
    assert (first, second) == ("cv2", "av") and size >= 500_000


def test_file_with_two_names_takes_its_room_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    before = room([tmp_path])
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert room([tmp_path]) == before


def test_missing_image_is_told_in_one_line(tmp_path: Path) -> None:
    buildah = tmp_path / "buildah"
    buildah.write_text('#!/bin/sh\n[ "$1" = info ] && exit 0\necho "no such image" >&2\nexit 125\n')
    buildah.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "deploy.try_images", "--serve-only"],
        cwd=ROOT, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("try_images: ") and "no such image" in done.stderr and done.stderr.count("\n") == 1
