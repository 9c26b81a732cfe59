"""The WebSocket below a stream: opened, used by two threads, and closed whatever the network does."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx

from service.client.address import reason_of, shown_address
from service.client.errors import LOST, ClientError, StreamClosed
from service.streams.messages import PROTOCOL

if TYPE_CHECKING:
    from websockets.exceptions import ConnectionClosed
    from websockets.http11 import Response
    from websockets.sync.client import ClientConnection

MOST_MESSAGE_BYTES = 64 * 2**20  # a picture of the most pixels, drawn
_SEND_SECONDS = 30.0  # a picture that takes longer than this to leave is of no use to anybody
_CLOSE_SECONDS = 3.0
_TOLD_HEADERS = frozenset({"content-type", "location"})

_logger = logging.getLogger(__name__)  # a connection that breaks is told as an exception, not on somebody's terminal
_logger.addHandler(logging.NullHandler())
_logger.propagate = False


class StreamSocket:
    """A connection that speaks the stream protocol. One thread may send while another receives; any may close it.

    Args:
        url: ``ws://`` or ``wss://``.
        key: sent as ``Authorization: Bearer``, for proxies that ask for it.
        open_timeout: seconds to connect.

    Raises:
        ClientError: it was refused, or nobody answers.
    """

    def __init__(self, url: str, key: str | None, open_timeout: float) -> None:
        self._connection = _open(url, key, open_timeout)
        with suppress(OSError):  # it may be closed already, and then reading tells why
            self._connection.socket.settimeout(_SEND_SECONDS)  # of sending only: reading waits in a selector

    def send(self, message: str | bytes) -> None:
        """Send a message.

        Raises:
            StreamClosed: the connection is closed.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            self._connection.send(message)
        except ConnectionClosed as error:
            raise _closed(error) from error
        except BaseException:  # Ctrl-C: half of the message may be out, and nothing sensible can follow it
            self.abort()
            raise

    def receive(self) -> str | bytes:
        """The next message.

        Raises:
            StreamClosed: the connection is closed.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            return self._connection.recv()
        except ConnectionClosed as error:
            raise _closed(error) from error

    def close(self, code: int = 1000) -> None:
        """End the connection and its threads, politely if that takes seconds at most."""
        watchdog = threading.Timer(2 * _CLOSE_SECONDS, self.abort)  # for when a message is stuck on its way out
        watchdog.start()
        try:
            self._connection.close(code)
        finally:
            watchdog.cancel()
            watchdog.join()
        keepalive = self._connection.keepalive_thread
        if keepalive is not None:
            keepalive.join(_CLOSE_SECONDS)

    def abort(self) -> None:
        """End the connection at once; threads that send or receive get an error."""
        with suppress(OSError):
            self._connection.socket.shutdown(socket.SHUT_RDWR)


def _open(url: str, key: str | None, timeout: float) -> ClientConnection:
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol
    from websockets.uri import parse_uri

    try:
        connection = connect(
            url,
            subprotocols=[Subprotocol(PROTOCOL)],
            compression=None,
            additional_headers={"Authorization": f"Bearer {key}"} if key else None,
            ssl=httpx.create_ssl_context() if url.startswith("wss:") else None,  # trusts whom HTTP calls trust
            open_timeout=timeout,
            close_timeout=_CLOSE_SECONDS,
            max_size=MOST_MESSAGE_BYTES,
            logger=_logger,
        ).__enter__()
    except InvalidStatus as error:
        raise _refusal(url, error.response) from error
    except TimeoutError as error:
        raise ClientError("No answer", f"{shown_address(url)}: it took too long") from error
    except (WebSocketException, OSError, EOFError, ImportError) as error:  # ImportError: SOCKS proxies need a package
        raise ClientError("No answer", f"{shown_address(url)}: {reason_of(error)}") from error
    if connection.protocol.uri != parse_uri(url) or connection.subprotocol != PROTOCOL:
        connection.close()  # a redirect was followed: nothing, and no key above all, goes to another service
        detail = f"what answers at {shown_address(url)} does not speak {PROTOCOL}, or is elsewhere; use its own address"
        raise ClientError("Not understood", detail, status=101)
    return connection


def _refusal(url: str, answer: Response) -> ClientError:
    headers = [(name, value) for name, value in answer.headers.raw_items() if name.lower() in _TOLD_HEADERS]
    request = httpx.Request("GET", url)
    return ClientError.of_response(
        httpx.Response(answer.status_code, headers=headers, content=bytes(answer.body or b""), request=request)
    )


def _closed(error: ConnectionClosed) -> StreamClosed:
    if error.rcvd is not None:
        return StreamClosed(error.rcvd.code, error.rcvd.reason)
    cause = reason_of(error.__cause__) if error.__cause__ else ""
    return StreamClosed(LOST, (error.sent.reason if error.sent else "") or cause or "the service went without a word")
