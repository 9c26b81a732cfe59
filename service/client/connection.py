"""Requests to one service: its address, the key, and answers that are problems."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from service.client.address import checked_key, shown_address
from service.client.errors import PASSING_STATUSES, ClientError, not_understood
from service.streams.messages import PATH
from shared.errors import YaopError

_TIMEOUT = httpx.Timeout(120, connect=10)  # the answer to an upload waits until the video has been looked into

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")


class Away(Exception):
    """The service cannot answer now, but may later.

    Attributes:
        error: to raise when there is no later.
        retry_after: seconds that it asks to wait.
        hopeless: nothing has ever answered there, so the address is wrong rather than the service away.
    """

    def __init__(self, error: ClientError, retry_after: float = 0.0, *, hopeless: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after = retry_after
        self.hopeless = hopeless


class Connection:
    """An `httpx.Client` whose failures are this package's.

    Args:
        url: of the service, e.g. ``http://127.0.0.1:8000``, or of a folder it is mounted at.
        key: sent as ``Authorization: Bearer``.
        transport: in place of the network.

    Raises:
        YaopError: the address is none, or the key cannot be sent.
    """

    def __init__(self, url: str, key: str | None = None, transport: httpx.BaseTransport | None = None) -> None:
        headers = {"Authorization": f"Bearer {checked_key(key)}"} if key else {}
        self.url = _checked(url)
        self._client = httpx.Client(base_url=self.url, headers=headers, timeout=_TIMEOUT, transport=transport)
        self._reached = False

    @property
    def stream_url(self) -> str:
        """Where its streams are."""
        return f"ws{self.url.removeprefix('http')}{PATH}"

    @contextmanager
    def stream(self, method: str, path: str, **arguments: Any) -> Iterator[httpx.Response]:
        """A successful answer whose body is still to be read.

        Raises:
            Away: the service is not there, or not ready, also while the body is read.
            ClientError: it answered with another problem.
        """
        try:
            with self._client.stream(method, path, **arguments) as response:
                self._reached = True
                if not response.is_success:
                    response.read()
                    raise _failure(response)
                yield response
        except httpx.TransportError as error:
            failure = ClientError.of_transport(httpx.URL(self.url), error)
            unconnected = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
            raise Away(failure, hopeless=unconnected and not self._reached) from error

    def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """A successful answer, read to its end.

        Raises:
            ClientError: there was none.
        """
        try:
            return self.attempt(method, path, **arguments)
        except Away as away:
            raise away.error from away.__cause__

    def attempt(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """The same, for callers that try again.

        Raises:
            Away: the service is not there, or not ready.
            ClientError: it answered with another problem.
        """
        with self.stream(method, path, **arguments) as response:
            response.read()
            return response

    def close(self) -> None:
        """Close what is open."""
        self._client.close()


def parse(model: type[Model], response: httpx.Response) -> Model:
    """The object in the body of an answer.

    Raises:
        ClientError: it is not there.
    """
    return parse_as(TypeAdapter(model), response)


def parse_as(shape: TypeAdapter[Value], response: httpx.Response) -> Value:
    """What is in the body of an answer, in a shape that is no model.

    Raises:
        ClientError: it is not there.
    """
    try:
        return shape.validate_json(response.content)
    except ValidationError as error:
        raise not_understood(response) from error


def _failure(response: httpx.Response) -> Exception:
    error = ClientError.of_response(response)
    if response.status_code not in PASSING_STATUSES:
        return error
    seconds = response.headers.get("retry-after", "")
    return Away(error, float(seconds) if seconds.isdecimal() else 0.0)


def _checked(text: str) -> str:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError):
        url = httpx.URL()
    url = _of_http(url)
    if url.scheme not in ("http", "https") or not url.host:
        raise YaopError(f"{shown_address(text)}: is no address of a service; it looks like http://127.0.0.1:8000")
    return str(url.copy_with(query=None, fragment=None)).rstrip("/")


def _of_http(url: httpx.URL) -> httpx.URL:
    """The address of the service whose streams are at this one, if it is one of streams."""
    scheme = {"ws": "http", "wss": "https"}.get(url.scheme)
    return url if scheme is None else url.copy_with(scheme=scheme, path=url.path.rstrip("/").removesuffix(PATH) or "/")
