from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from shared.errors import YaopError
from shared.files import atomic_write


def test_a_file_has_its_name_only_once_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "new" / "out.json"
    with atomic_write(target) as stream:
        stream.write(b"all")
        assert not target.exists()
    assert target.read_bytes() == b"all"


def test_a_failure_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_bytes(b"old")

    def fail() -> None:
        with atomic_write(target) as stream:
            stream.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    assert target.read_bytes() == b"old"


def test_a_file_has_the_usual_mode_and_the_process_keeps_its_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "usual").touch()

    def changed(mask: int) -> int:
        raise AssertionError(f"the umask is set to {mask:o}, also for other threads")

    monkeypatch.setattr(os, "umask", changed)
    with atomic_write(tmp_path / "out.json") as stream:
        stream.write(b"all")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    target = tmp_path / "file" / "out.json"
    with pytest.raises(YaopError, match=str(target)), atomic_write(target):
        pass
