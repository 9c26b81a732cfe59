"""Checkpoints are whole, or recognised as broken and passed over."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer import checkpoints, storage
from trainer.checkpoints import Checkpoint, Progress


def checkpoint(step: int) -> Checkpoint:
    values = {"network/00000/stem/kernel": np.full((3, 2), step, np.float32), "scalar/updates": np.float32(step)}
    progress = Progress(step, phase=1, phase_step=step - 1, history=4, pending=((0.1, 1 / 3),), best=0.25, recipe="abc")
    return Checkpoint(progress, {name: np.asarray(value) for name, value in values.items()})


def silent(_: str) -> None:
    raise AssertionError("nothing is damaged")


def test_a_checkpoint_comes_back_exactly(tmp_path: Path) -> None:
    checkpoints.save(str(tmp_path), checkpoint(7), keep=3)
    loaded = checkpoints.load_newest(str(tmp_path), silent)
    assert loaded is not None
    assert loaded.progress == checkpoint(7).progress
    assert loaded.values.keys() == checkpoint(7).values.keys()
    for name, value in checkpoint(7).values.items():
        np.testing.assert_array_equal(loaded.values[name], value)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 10, 300):
        checkpoints.save(str(tmp_path), checkpoint(step), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010.ckpt", "step-00000300.ckpt"]


def test_what_a_killed_process_left_half_written_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".step-00000001.ckpt.x7").write_bytes(b"half")
    checkpoints.save(str(tmp_path), checkpoint(2), keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002.ckpt"]


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoints.load_newest(str(tmp_path / "none"), silent) is None


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(tmp_path: Path, damage: str) -> None:
    checkpoints.save(str(tmp_path), checkpoint(1), keep=3)
    newest = Path(checkpoints.save(str(tmp_path), checkpoint(2), keep=3))
    content = bytearray(newest.read_bytes())
    content[-100] ^= 1
    broken = {"cut": content[: len(content) // 2], "bit": content, "empty": b"", "other": b"PK" + bytes(200)}
    newest.write_bytes(broken[damage])
    said: list[str] = []
    loaded = checkpoints.load_newest(str(tmp_path), said.append)
    assert loaded is not None
    assert loaded.progress.step == 1
    assert len(said) == 1
    assert said[0].startswith(str(newest))


def test_a_full_disk_is_one_clear_error_and_leaves_the_other_checkpoints_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(str(tmp_path), checkpoint(1), keep=1)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(storage.StorageError, match=r"step-00000002\.ckpt: No space left on device"):
            checkpoints.save(str(tmp_path), checkpoint(2), keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001.ckpt"]
    loaded = checkpoints.load_newest(str(tmp_path), silent)
    assert loaded is not None
    assert loaded.progress.step == 1
