from __future__ import annotations

from pathlib import Path

import pytest

from service.live.recorder import Recorder
from service.streams.messages import StreamResult
from shared.errors import YaopError
from shared.schema import Frame, ModelRef

FRAME = Frame(index=3, timestamp=0.1, width=4, height=4, people=[], model=ModelRef(name="discs", version="1"))


def test_each_result_is_there_at_once(tmp_path: Path) -> None:
    target = tmp_path / "new" / "log.jsonl"
    with Recorder(str(target)) as recorder:
        for count in (1, 2):
            recorder.write(FRAME)
            lines = target.read_text().splitlines()
            assert [Frame.model_validate_json(line) for line in lines] == [FRAME] * count
    assert StreamResult.model_validate_json(lines[0]).index == 3


def test_a_log_that_was_there_is_replaced_by_the_first_result(tmp_path: Path) -> None:
    target = tmp_path / "log.jsonl"
    target.write_text("before\n")
    with Recorder(str(target)) as recorder:
        assert target.read_text() == "before\n"
        recorder.write(FRAME)
    assert Frame.model_validate_json(target.read_text()) == FRAME


def test_a_run_that_fails_before_it_has_begun_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "log.jsonl"
    target.write_text("before\n")
    with pytest.raises(YaopError, match="no camera"), Recorder(str(target)):
        raise YaopError("no camera")
    assert target.read_text() == "before\n"


def test_a_run_without_results_leaves_an_empty_log(tmp_path: Path) -> None:
    target = tmp_path / "log.jsonl"
    target.write_text("before\n")
    with Recorder(str(target)):
        pass
    assert target.read_bytes() == b""


def test_without_a_target_nothing_is_written(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with Recorder(None) as recorder:
        recorder.write(FRAME)
    assert capsysbinary.readouterr().out == b""


def test_what_cannot_be_written_is_refused_before_anything_begins(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(YaopError, match="is a folder"):
        Recorder(str(tmp_path))
    with pytest.raises(YaopError, match="cannot be written to"):
        Recorder(str(tmp_path / "file" / "log.jsonl"))


def test_a_full_disk_is_an_expected_failure() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with pytest.raises(YaopError, match="/dev/full: No space left on device"), Recorder("/dev/full") as recorder:
        recorder.write(FRAME)
