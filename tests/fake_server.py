"""The server as `yaop serve` runs it, on the fake engine: ``python -m tests.fake_server [SECONDS_PER_CALL]``."""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray

from service.launch import serve_forever
from service.settings import load_settings
from shared.inference.engine import Fields
from tests.fake_engine import DiscEngine, fake_models


class SlowEngine(DiscEngine):
    """Takes its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def fields(self, images: NDArray[np.uint8]) -> Fields:
        time.sleep(self._seconds)
        return super().fields(images)


if __name__ == "__main__":
    serve_forever(load_settings(), fake_models(SlowEngine(float(sys.argv[1]) if len(sys.argv) > 1 else 0)))
