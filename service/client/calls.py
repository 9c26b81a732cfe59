"""What all calls need."""

from __future__ import annotations

from service.client.backoff import Patience
from service.client.connection import Connection


class Calls:
    """Calls of one kind; `service.client.Client` has all kinds.

    Args:
        connection: to the service.
        patience: with a service that is away.
    """

    def __init__(self, connection: Connection, patience: Patience) -> None:
        self._connection = connection
        self._patience = patience

    @property
    def url(self) -> str:
        """The address of the service, without a slash at its end."""
        return self._connection.url
