"""A video annotated chunk by chunk, by one process or by many, one after the other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.batching import Batcher, Closed, EngineFailed
from service.jobs.job import JobSpec
from service.jobs.options import VideoOptions
from service.media.limits import VideoLimits
from service.media.probe import probe_video
from service.video.chunks import ChunkedVideo, ChunkEnd
from shared.schema import Frame
from tests import clips
from tests.fake_engine import DiscEngine, fake_model


class Kitchen:
    """Runs chunks of one clip; `processes` counts how many processes that took."""

    def __init__(self, folder: Path, source: Path, **options: Any) -> None:
        self.engine = DiscEngine()
        self.batcher = Batcher(64)
        self.saved: dict[str, Path] = {}
        self.progress: list[int] = []
        self._folder = folder
        self._source = source
        info = probe_video(source)
        asked = VideoOptions(**options)
        self.spec = JobSpec(id="ab" * 16, bytes=1, options=asked, source=info, frames_total=info.frames)

    def open(self) -> ChunkedVideo:
        return ChunkedVideo(
            self.spec,
            self._source,
            self._folder,
            self._save,
            batcher=self.batcher,
            model=fake_model(self.engine),
            limits=VideoLimits(),
            progress=self.progress.append,
        )

    def run(self, frames: int, *, processes: bool) -> list[ChunkEnd]:
        """All chunks of so many frames, each in the next process if `processes`."""
        ends: list[ChunkEnd] = []
        video = self.open()
        while not ends or not ends[-1].last:
            stored = ChunkEnd.model_validate_json(ends[-1].model_dump_json()) if ends else None
            ends.append(video.chunk(stored, frames))
            if processes:
                video.close()
                video = self.open()
        video.close()
        return ends

    def frames(self, ends: list[ChunkEnd]) -> list[Frame]:
        """What the chunks say about each frame, without the times that it took."""
        lines = [line for end in ends if end.poses for line in self.saved[end.poses].read_text().splitlines()]
        return [Frame.model_validate_json(line).model_copy(update={"timing_ms": {}}) for line in lines]

    def _save(self, name: str, file: Path) -> None:
        self.saved[name] = Path(shutil.move(file, self._folder / name.replace("/", "-")))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return clips.discs_clip(tmp_path / "clip.mp4", frames=25)


@pytest.fixture
def kitchens(tmp_path: Path, clip: Path) -> Iterator[list[Kitchen]]:
    made: list[Kitchen] = []
    yield made
    for kitchen in made:
        kitchen.batcher.close()


def make(kitchens: list[Kitchen], tmp_path: Path, clip: Path, **options: Any) -> Kitchen:
    folder = tmp_path / f"kitchen{len(kitchens)}"
    folder.mkdir()
    kitchens.append(Kitchen(folder, clip, **options))
    return kitchens[-1]


@pytest.mark.parametrize("options", [{}, {"every": 3}, {"fps": 40.0}, {"every": 2, "fps": 12.0, "track": False}])
def test_many_processes_give_the_frames_that_one_gives(
    kitchens: list[Kitchen], tmp_path: Path, clip: Path, options: dict[str, Any]
) -> None:
    one, many = (make(kitchens, tmp_path, clip, **options) for _ in range(2))
    whole = one.frames(one.run(1000, processes=False))
    pieces = many.run(4, processes=True)
    assert len(pieces) > 2
    assert many.frames(pieces) == whole
    assert [frame.index for frame in whole] == list(range(len(whole)))


def test_people_are_where_the_clip_shows_them(kitchens: list[Kitchen], tmp_path: Path, clip: Path) -> None:
    kitchen = make(kitchens, tmp_path, clip, smooth=False)
    for frame in kitchen.frames(kitchen.run(10, processes=False)):
        neck = frame.people[0].keypoints["neck"]
        assert neck is not None
        assert (neck.x, neck.y) == pytest.approx(clips.disc_neck(frame.index), abs=2)
        assert frame.people[0].id == 1


def test_frames_that_are_not_looked_at_cost_no_engine_call(kitchens: list[Kitchen], tmp_path: Path, clip: Path) -> None:
    kitchen = make(kitchens, tmp_path, clip, every=5)
    ends = kitchen.run(10, processes=False)
    assert sum(shape[0] for shape in kitchen.engine.calls) == 5
    assert ends[-1].frames == 25


def test_a_repeated_frame_costs_no_engine_call(kitchens: list[Kitchen], tmp_path: Path, clip: Path) -> None:
    kitchen = make(kitchens, tmp_path, clip, fps=90.0)
    assert kitchen.run(1000, processes=False)[-1].frames == 75
    assert sum(shape[0] for shape in kitchen.engine.calls) == 25


def test_progress_is_told_for_every_frame(kitchens: list[Kitchen], tmp_path: Path, clip: Path) -> None:
    kitchen = make(kitchens, tmp_path, clip)
    kitchen.run(10, processes=True)
    assert kitchen.progress == list(range(1, 26))


def test_a_failing_engine_ends_the_chunk_and_leaves_no_thread(
    kitchens: list[Kitchen], tmp_path: Path, clip: Path
) -> None:
    import threading

    kitchen = make(kitchens, tmp_path, clip)
    kitchen.engine.failure = ValueError("broken")
    video = kitchen.open()
    with pytest.raises(EngineFailed):
        video.chunk(None, 10)
    video.close()
    assert not [thread for thread in threading.enumerate() if thread.name in ("yaop-frames", "yaop-encode")]
    assert kitchen.saved == {}


def test_a_batcher_that_closes_ends_the_chunk(kitchens: list[Kitchen], tmp_path: Path, clip: Path) -> None:
    kitchen = make(kitchens, tmp_path, clip)
    kitchen.batcher.close()
    video = kitchen.open()
    with pytest.raises(Closed):
        video.chunk(None, 10)
    video.close()


def test_the_poster_shows_people_if_there_are_any(kitchens: list[Kitchen], tmp_path: Path, clip: Path) -> None:
    kitchen = make(kitchens, tmp_path, clip)
    ends = kitchen.run(10, processes=False)
    assert [end.poster for end in ends] == [True] * len(ends)
    assert kitchen.saved["poster.jpg"].read_bytes().startswith(b"\xff\xd8")
