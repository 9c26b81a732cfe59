"""One run of ``yaop stream``: from a source to results, figures and a log, until something ends it."""

from __future__ import annotations

from contextlib import closing

from service.live.display import LiveDisplay
from service.live.figures import Figures
from service.live.recorder import Recorder
from service.live.seen import Looker
from service.live.source import Capture, Source
from service.live.stopping import Stop


def watch(source: Source, looker: Looker, recorder: Recorder, display: LiveDisplay, stop: Stop) -> None:
    """Look at the source's newest pictures until it ends, or until `stop`; results under way are waited for.

    Args:
        source: of the pictures; stopped in the end.
        looker: finds the people.
        recorder: gets the results.
        display: shows the figures, and in the end a summary.
        stop: tells when to end; its time begins now.

    Raises:
        YaopError: the source or the looker failed, or the results cannot be written.
        BrokenPipeError: nobody reads the results any more.
    """
    figures = Figures()
    stop.begin()
    try:
        with Capture(source, stop.wake) as capture, closing(looker.results(capture.slot)) as results:
            capture.start()
            for seen in results:
                if seen is not None:
                    figures.add(seen)
                    recorder.write(seen.frame)
                display.show(figures.now)
                if stop.requested:
                    capture.stop()
    finally:
        display.close()
        if figures.results:
            display.note(figures.summary())
    capture.slot.raise_failure()
