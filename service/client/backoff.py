"""How long to wait for a service that is away."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.client.connection import Away
from service.client.errors import ClientError

FIRST_SECONDS = 0.5
MOST_SECONDS = 10.0

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Patience:
    """How a client waits.

    Attributes:
        seconds: without any answer, after which it gives up.
        notify: told in a sentence before each wait.
        sleep, clock: those of `time`.
    """

    seconds: float
    notify: Notify | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


class Backoff:
    """Waits that grow from half a second to ten, each shortened by chance, so that clients don't return all at once.

    Args:
        patience: when to give up.
        most: the number of waits after which to give up, too.
    """

    def __init__(self, patience: Patience, most: int | None = None) -> None:
        self._patience = patience
        self._most = most
        self._waits = 0
        self._since: float | None = None

    def reset(self) -> None:
        """The service has answered: all is well."""
        self._waits, self._since = 0, None

    def wait_for(self, away: Away) -> None:
        """Wait until the service may be back.

        Raises:
            ClientError: it has been away too long, or never was there.
        """
        if away.hopeless:
            raise away.error from away
        self.wait(away.error, away.retry_after)

    def wait(self, failure: ClientError, at_least: float = 0.0) -> None:
        """Wait before another try.

        Args:
            failure: why it is needed.
            at_least: seconds that the service asked for.

        Raises:
            ClientError: `failure`, when it has lasted too long.
        """
        now = self._patience.clock()
        self._since = now if self._since is None else self._since
        seconds = max(at_least, min(MOST_SECONDS, FIRST_SECONDS * 2**self._waits) * random.uniform(0.5, 1))
        out_of_time = now + seconds - self._since > self._patience.seconds
        if out_of_time or (self._most is not None and self._waits >= self._most):
            raise failure
        self._waits += 1
        if self._patience.notify:
            self._patience.notify(f"{failure}; trying again in {seconds:.1f} s")
        self._patience.sleep(seconds)
