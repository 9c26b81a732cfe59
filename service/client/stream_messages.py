"""The service's messages as they come: JSON, and with `draw` a picture behind each result."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from service.streams.header import HEADER_BYTES, Header, HeaderError
from service.streams.messages import (
    SERVER_MESSAGE,
    OptionsChanged,
    StreamError,
    StreamOptions,
    StreamResult,
    Welcome,
)

Message = Welcome | OptionsChanged | StreamResult | StreamError


class MessageError(Exception):
    """A message that no version of this protocol has."""


class MessageReader:
    """Puts the parts of messages together.

    Results are drawn ones from when a message says so: that is in the options of a `Welcome` or `OptionsChanged`.
    """

    def __init__(self) -> None:
        self._draw = False
        self._held: StreamResult | None = None

    def read(self, data: str | bytes) -> list[Message]:
        """The messages that are complete with this one of the WebSocket's.

        Raises:
            MessageError: it is none.
        """
        if isinstance(data, bytes):
            return self._with_picture(data)
        earlier: list[Message] = [self._held] if self._held else []  # its picture never came
        self._held = None
        message = parse_message(data)
        if isinstance(message, Welcome | OptionsChanged):
            self._draw = message.options.draw
        if isinstance(message, StreamResult) and self._draw:
            self._held = message
            return earlier
        return earlier if message is None else [*earlier, message]

    def _with_picture(self, data: bytes) -> list[Message]:
        try:
            header = Header.unpack(data)
        except HeaderError as error:
            raise MessageError(str(error)) from None
        held = self._held
        if held is None or held.index != header.sequence:
            return []
        self._held = None
        return [held.model_copy(update={"picture": data[HEADER_BYTES:]})]

    def rest(self) -> list[Message]:
        """What is left when no more comes."""
        return [self._held] if self._held else []


def parse_message(data: str) -> Message | None:
    """A message in JSON; None for one of a kind that is not known here, as of a newer service.

    Raises:
        MessageError: it is no message.
    """
    try:
        return SERVER_MESSAGE.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "union_tag_invalid":
        return None
    try:
        return SERVER_MESSAGE.validate_python(_known(json.loads(data)))
    except ValueError as error:
        raise MessageError(str(first["msg"])) from error


def _known(message: Any) -> Any:
    """The message without options that are not known here; other members that are not are ignored anyway."""
    if not isinstance(message, dict) or not isinstance(message.get("options"), dict):
        return message
    return message | {"options": {k: v for k, v in message["options"].items() if k in StreamOptions.model_fields}}
