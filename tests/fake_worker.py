"""A worker as `yaop worker` runs it, on the fake engine: ``python -m tests.fake_worker [SECONDS_PER_CALL]``."""

from __future__ import annotations

import sys

from service.settings import load_settings
from service.worker import work_forever
from tests.fake_engine import fake_models
from tests.fake_server import SlowEngine

if __name__ == "__main__":
    work_forever(load_settings(), fake_models(SlowEngine(float(sys.argv[1]) if len(sys.argv) > 1 else 0)))
