"""What a service has loaded, and how it is."""

from __future__ import annotations

from urllib.parse import quote

from service.client.address import checked_key
from service.client.calls import Calls
from service.client.connection import parse
from service.client.errors import ClientError
from service.wire import ModelDetails, ModelList, ModelSummary


class StatusCalls(Calls):
    """Models, health and metrics."""

    def models(self) -> list[ModelSummary]:
        """The loaded models, the default first."""
        return parse(ModelList, self._connection.call("GET", "/models")).models

    def model(self, name: str) -> ModelDetails:
        """A loaded model: its manifest (input shapes, accuracy, licence, checksums), its engine and its skeleton."""
        return parse(ModelDetails, self._connection.call("GET", f"/models/{quote(name, safe='')}"))

    def reload_models(self, admin_key: str | None = None) -> list[ModelSummary]:
        """Let the service load its models again; the old ones answer until the new ones do.

        Args:
            admin_key: that of `YAOP_ADMIN_KEY` of the service; by default this client's key.

        Returns:
            What is loaded now.
        """
        headers = {"Authorization": f"Bearer {checked_key(admin_key)}"} if admin_key else {}
        return parse(ModelList, self._connection.call("POST", "/models/reload", headers=headers)).models

    def is_live(self) -> bool:
        """Whether the service's process answers.

        Raises:
            ClientError: what answers is no such service.
        """
        return self._is_well("/health/live")

    def is_ready(self) -> bool:
        """Whether the service would look at pictures now: its models are loaded, and it isn't about to stop.

        Raises:
            ClientError: what answers is no such service.
        """
        return self._is_well("/health/ready")

    def metrics(self) -> str:
        """Its counters, as Prometheus reads them."""
        return self._connection.call("GET", "/metrics").text

    def _is_well(self, path: str) -> bool:
        try:
            self._connection.call("GET", path)
        except ClientError as error:
            if error.passing:
                return False
            raise
        return True
