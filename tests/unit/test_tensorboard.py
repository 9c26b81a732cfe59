from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shared.images import decode_image
from trainer.storage import StorageError
from trainer.tensorboard import TensorBoardLog


def read(folder: Path | str) -> Any:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()


def curve(folder: Path, name: str) -> dict[int, float]:
    points = [(point.step, point.value) for point in read(folder).Scalars(name)]
    assert len(dict(points)) == len(points), f"steps shown twice: {points}"
    return {step: round(value, 4) for step, value in points}


def write(
    folder: Path, values: dict[int, float], steps_done: int = 0, clock: Callable[[], float] | None = None
) -> None:
    with TensorBoardLog(str(folder), steps_done=steps_done, **({"clock": clock} if clock else {})) as log:
        for step, value in values.items():
            log.scalars(step, {"loss/heatmap": value})


def test_curves_are_read_back(tmp_path: Path) -> None:
    with TensorBoardLog(str(tmp_path / "run" / "tensorboard")) as log:
        log.scalars(20, {"loss/heatmap": 20.5, "learning_rate": 1e-3})
        log.scalars(40, {"loss/heatmap": np.float32(10.25)})
    assert curve(tmp_path / "run" / "tensorboard", "loss/heatmap") == {20: 20.5, 40: 10.25}
    assert curve(tmp_path / "run" / "tensorboard", "learning_rate") == {20: 0.001}


def test_pictures_are_read_back(tmp_path: Path) -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, 30:] = (250, 120, 0)
    with TensorBoardLog(str(tmp_path)) as log:
        log.pictures(100, {"sample_0": picture})
    (event,) = read(tmp_path).Images("sample_0")
    assert (event.step, event.width, event.height) == (100, 60, 40)
    found = decode_image(event.encoded_image_string)
    np.testing.assert_allclose(found[20, [10, 50]], [(0, 0, 0), (250, 120, 0)], atol=6)


def test_notes_are_read_back(tmp_path: Path) -> None:
    with TensorBoardLog(str(tmp_path)) as log:
        log.text(0, "recipe", "**smoke**, 17 steps")
    (event,) = read(tmp_path).Tensors("recipe")
    assert event.tensor_proto.string_val[0].decode() == "**smoke**, 17 steps"
    assert read(tmp_path).SummaryMetadata("recipe").plugin_data.plugin_name == "text"


def test_what_was_flushed_is_there_before_the_log_is_closed(tmp_path: Path) -> None:
    log = TensorBoardLog(str(tmp_path))
    log.scalars(1, {"loss": 1.0})
    log.flush()
    assert curve(tmp_path, "loss") == {1: 1.0}
    log.close()
    log.close()


def test_the_log_flushes_itself_after_a_while(tmp_path: Path) -> None:
    now = [1000.0]
    log = TensorBoardLog(str(tmp_path), clock=lambda: now[0])
    log.scalars(1, {"loss": 1.0})
    now[0] += 60
    log.scalars(2, {"loss": 2.0})
    assert curve(tmp_path, "loss") == {1: 1.0, 2: 2.0}
    log.close()


def test_a_resumed_run_replaces_the_steps_after_its_checkpoint(tmp_path: Path) -> None:
    write(tmp_path, {20: 5.0, 40: 4.0, 60: 3.0, 80: 2.0})
    write(tmp_path, {60: 3.5, 80: 2.5}, steps_done=40)
    assert curve(tmp_path, "loss/heatmap") == {20: 5.0, 40: 4.0, 60: 3.5, 80: 2.5}


def test_steps_that_a_killed_run_lost_disappear_before_they_are_done_again(tmp_path: Path) -> None:
    write(tmp_path, {20: 5.0, 40: 4.0, 60: 3.0})
    write(tmp_path, {}, steps_done=40)
    assert curve(tmp_path, "loss/heatmap") == {20: 5.0, 40: 4.0}


def test_a_run_from_scratch_replaces_everything(tmp_path: Path) -> None:
    write(tmp_path, {0: 9.0, 20: 5.0, 40: 4.0})
    write(tmp_path, {20: 6.0})
    assert curve(tmp_path, "loss/heatmap") == {20: 6.0}


def test_files_written_within_a_second_are_read_in_order(tmp_path: Path) -> None:
    for round_number in range(12):
        write(tmp_path, {20: float(round_number)}, clock=lambda: 1_700_000_000.0)
    assert curve(tmp_path, "loss/heatmap") == {20: 11.0}


def test_half_a_record_at_the_end_of_a_killed_run_does_no_harm(tmp_path: Path) -> None:
    write(tmp_path, {20: 5.0, 40: 4.0})
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    write(tmp_path, {40: 3.0}, steps_done=20)
    assert curve(tmp_path, "loss/heatmap") == {20: 5.0, 40: 3.0}


def test_a_place_that_cannot_be_written_to_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file/tensorboard: "):
        TensorBoardLog(str(tmp_path / "file" / "tensorboard"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str) -> Any:
        return open("/dev/full", "wb")  # noqa: PTH123

    monkeypatch.setattr("trainer.tensorboard._open", full)
    with pytest.raises(StorageError, match="No space left"):
        TensorBoardLog(str(tmp_path))


def test_a_local_log_needs_no_tensorflow(tmp_path: Path) -> None:
    program = (
        "import sys, numpy\n"
        "sys.modules['tensorflow'] = None\n"
        "from trainer.tensorboard import TensorBoardLog\n"
        "with TensorBoardLog(sys.argv[1]) as log:\n"
        "    log.scalars(3, {'loss': 1.5}); log.text(0, 'a', 'b')\n"
        "    log.pictures(3, {'p': numpy.zeros((9, 9, 3), numpy.uint8)})\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, cwd=root, timeout=120)
    assert curve(tmp_path, "loss") == {3: 1.5}


def test_a_folder_with_an_address_is_written_through_tensorflow() -> None:
    folder = "ram://tensorboard-test/run"  # TensorFlow's file system in memory, in place of a bucket
    for steps_done, value in ((0, 5.0), (20, 4.0)):
        with TensorBoardLog(folder, steps_done=steps_done) as log:
            log.scalars(20 + steps_done, {"loss/heatmap": value})
    assert [(point.step, point.value) for point in read(folder).Scalars("loss/heatmap")] == [(20, 5.0), (40, 4.0)]
