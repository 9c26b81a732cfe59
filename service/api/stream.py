"""``WS /stream``: live pictures, as docs/stream-protocol.md tells. Who may not open one is told so over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

from service.api.deps import RuntimeDep
from service.problems import Problem
from service.settings import Settings
from service.streams.connection import Connection
from service.streams.messages import PATH, PROTOCOL
from service.streams.origins import is_welcome
from service.streams.stream import Stream

router = APIRouter(include_in_schema=False)


@router.websocket(PATH)
async def stream(websocket: WebSocket, runtime: RuntimeDep) -> None:
    """Pictures in, people out."""
    problem = _objection(websocket, runtime.settings)
    if problem is not None:
        await _refuse(websocket, problem)
        return
    try:
        await websocket.accept(PROTOCOL)
    except OSError:  # the client is gone already
        return
    connection = Connection(websocket, runtime.settings.stream_send_timeout)
    address = websocket.client.host if websocket.client else None
    await Stream(connection, runtime, websocket.scope.get("request_id")).run(address)


@router.get(PATH)
async def stream_without_upgrade() -> None:
    """What a browser's address bar gets."""
    detail = f"This is a WebSocket. Open it as one, with the subprotocol {PROTOCOL}."
    raise Problem(426, "upgrade-required", detail, headers={"Upgrade": "websocket", "Connection": "Upgrade"})


@router.websocket("/{path:path}")
async def no_stream(websocket: WebSocket, path: str) -> None:
    """A WebSocket that is somewhere else."""
    await _refuse(websocket, Problem(404, "not-found", f"There is no WebSocket at /{path}. There is one at {PATH}."))


def _objection(websocket: WebSocket, settings: Settings) -> Problem | None:
    headers = websocket.headers
    if not is_welcome(headers.get("origin"), headers.get("host"), settings.origins):
        detail = f"Pages of {headers['origin']} may not open streams here, unless YAOP_ORIGINS names that."
        return Problem(403, "foreign-origin", detail)
    if PROTOCOL not in websocket.scope["subprotocols"]:
        return Problem(400, "unknown-protocol", f"Ask for a subprotocol that is spoken here: {PROTOCOL}.")
    return None


async def _refuse(websocket: WebSocket, problem: Problem) -> None:
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(problem.response(websocket.scope.get("request_id")))
    else:  # a server that knows no better tells the client 403
        await websocket.close()
