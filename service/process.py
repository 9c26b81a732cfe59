"""How a process that serves or works on videos uses memory and threads; called once, before any other thread starts."""

from __future__ import annotations

import cv2

from shared.libc import c_function

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
_ARENAS = 2
_KEPT_BYTES = 8 << 20


def tune_process() -> None:
    """Keep memory flat and pictures cheap to allocate.

    Pictures of a megabyte come and go many times a second. By default glibc gives each thread an arena, whose holes add
    up to hundreds of megabytes over a long video, and gets large blocks from the system anew each time, whose page
    faults cost as much as drawing. OpenCV's own threads would fight with those that work on other pictures.
    """
    cv2.setNumThreads(1)
    set_option = c_function("mallopt")  # glibc has it
    if set_option is None:
        return
    for option, value in ((_ARENA_MAX, _ARENAS), (_MMAP_THRESHOLD, _KEPT_BYTES), (_TRIM_THRESHOLD, 4 * _KEPT_BYTES)):
        set_option(option, value)
