"""Live pictures looked at in this process, as the service looks at those of a stream."""

from __future__ import annotations

import time
from collections.abc import Generator

from service.live.picture import Picture
from service.live.seen import Seen
from service.live.slot import Slot
from service.streams.following import Following, load_tracking
from service.streams.messages import StreamOptions
from shared.bundle import Bundle
from shared.errors import YaopError
from shared.inference.engine import Engine, PoseArrays
from shared.inference.estimator import Prepared, finish, fit
from shared.schema import Frame, ModelRef, frame_from_people

_TICK = 0.25


class LocalLooker:
    """Runs the engine on the newest picture, again and again.

    Args:
        bundle: the model.
        engine: what runs it.
        options: how to look.
    """

    def __init__(self, bundle: Bundle, engine: Engine, options: StreamOptions) -> None:
        self._skeleton = bundle.skeleton
        self._model = ModelRef(name=bundle.manifest.name, version=bundle.manifest.version)
        self._engine = engine
        self._options = options
        self._following = Following(self._skeleton)

    def warm_up(self, size: tuple[int, int] | None) -> None:
        """Make ready, for pictures of this width and height if known, so that the first one is not the slow one."""
        if size is not None:
            self._engine.warm_up([fit(*size, self._options.pose_options(), self._engine.shapes).shape])
        if self._options.track:
            load_tracking()

    def results(self, slot: Slot[Picture]) -> Generator[Seen | None, None, None]:
        """Results, each of the picture that was the newest; see `service.live.seen.Looker`.

        Raises:
            YaopError: the engine failed.
        """
        while not slot.ended:
            picture = slot.take(_TICK)
            if picture is None:
                yield None
                continue
            frame = self.look(picture)
            yield Seen(frame, time.monotonic() - picture.taken)

    def look(self, picture: Picture) -> Frame:
        """The people in a picture that is later than those before.

        Raises:
            YaopError: the engine failed.
        """
        pixels, options = picture.pixels, self._options.pose_options()
        times = [time.monotonic()]
        box = fit(pixels.width, pixels.height, options, self._engine.shapes)
        prepared = Prepared(pixels.letterboxed(box), box)
        times.append(time.monotonic())
        arrays = self._run(prepared)
        times.append(time.monotonic())
        people = finish(arrays.peaks[0], arrays.limb_scores[0], prepared, options, self._skeleton)
        times.append(time.monotonic())
        people, ids = self._following.update(people, (pixels.width, pixels.height), picture.timestamp, self._options)
        times.append(time.monotonic())
        spent = {phase: (end - start) * 1000 for phase, start, end in zip(_PHASES, times, times[1:], strict=False)}
        timing = {**spent, "total": (times[-1] - times[0]) * 1000}
        return frame_from_people(
            people,
            self._skeleton,
            pixels.width,
            pixels.height,
            self._model,
            timing,
            index=picture.index,
            timestamp=picture.timestamp,
            ids=ids,
        )

    def _run(self, prepared: Prepared) -> PoseArrays:
        try:
            return self._engine.pose(prepared.images)
        except YaopError:
            raise
        except Exception as error:
            raise YaopError(f"the engine failed: {error}") from error


_PHASES = ("decode", "network", "assembly", "track")
