"""Many requests at once: nobody gets another's result, and too many get a 503 that says when to come back."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest

from tests.api_client import JPEG, PNG, PROBLEM, build, serving_async, until
from tests.fake_engine import DiscEngine, discs, person_at
from tests.photos import encode

PICTURE = encode(discs(320, 240, person_at(160, 120)), "jpeg")


def assert_busy(response: httpx.Response, kind: str) -> None:
    assert response.status_code == 503
    assert response.headers["content-type"] == PROBLEM
    assert response.json()["type"] == f"urn:yaop:problem:{kind}"
    assert int(response.headers["retry-after"]) >= 1


def test_concurrent_requests_get_their_own_results() -> None:
    places = [(120 + 11 * i, 100 + 7 * i) for i in range(40)]
    sizes = [(640, 480), (480, 640), (600, 600)]
    pictures = [encode(discs(*sizes[i % 3], person_at(*xy)), "png") for i, xy in enumerate(places[:30])]

    async def ask_all() -> list[httpx.Response]:
        async with serving_async(workers=4) as client:
            return await asyncio.gather(*(client.post("/pose", content=data, headers=PNG) for data in pictures))

    for response, (x, y) in zip(asyncio.run(ask_all()), places, strict=False):
        neck = response.json()["people"][0]["keypoints"]["neck"]
        assert (neck["x"], neck["y"]) == pytest.approx((x, y), abs=1)


def test_more_pictures_than_may_be_in_progress_get_a_503() -> None:
    engine = DiscEngine()

    async def overload() -> tuple[list[httpx.Response], httpx.Response]:
        async with serving_async(engine, queue_size=3) as client:
            engine.gate.clear()
            accepted = [asyncio.create_task(client.post("/pose", content=PICTURE, headers=JPEG)) for _ in range(3)]
            while "yaop_pictures_in_progress 3.0" not in (await client.get("/metrics")).text:  # noqa: ASYNC110 - seen over HTTP only
                await asyncio.sleep(0.005)
            refused = await client.post("/pose", content=PICTURE, headers=JPEG)
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.get("/health/ready")).status_code == 200
            assert (await client.get("/metrics")).status_code == 200
            engine.gate.set()
            return list(await asyncio.gather(*accepted)), refused

    accepted, refused = asyncio.run(overload())
    assert [response.status_code for response in accepted] == [200] * 3
    assert_busy(refused, "queue-full")


def test_a_refused_picture_is_refused_before_its_body_is_read() -> None:
    engine = DiscEngine()
    sent = 0

    async def body() -> Any:
        nonlocal sent
        sent += 1
        yield PICTURE

    async def overload() -> httpx.Response:
        async with serving_async(engine, queue_size=1) as client:
            engine.gate.clear()
            engine.entered.clear()
            first = asyncio.create_task(client.post("/pose", content=PICTURE, headers=JPEG))
            await asyncio.to_thread(engine.entered.wait, 60)
            refused = await client.post("/pose", content=body(), headers=JPEG)
            engine.gate.set()
            await first
            return refused

    assert_busy(asyncio.run(overload()), "queue-full")
    assert sent == 0


@pytest.mark.parametrize("query", ["", "?flip=true", "?fields=true", "?draw=true"])
def test_a_picture_that_takes_too_long_gets_a_503(query: str) -> None:
    engine = DiscEngine()

    async def wait() -> tuple[httpx.Response, httpx.Response]:
        async with serving_async(engine, deadline=1) as client:
            engine.gate.clear()
            late = await client.post(f"/pose{query}", content=PICTURE, headers=JPEG)
            engine.gate.set()
            return late, await _post_until_accepted(client)

    late, after = asyncio.run(wait())
    assert_busy(late, "deadline-exceeded")
    assert after.status_code == 200


async def _post_until_accepted(client: httpx.AsyncClient) -> httpx.Response:
    """What a client does that is told to come back."""
    response = await client.post("/pose", content=PICTURE, headers=JPEG)
    for _ in range(60):
        if response.status_code != 503:
            break
        response = await client.post("/pose", content=PICTURE, headers=JPEG)
    return response


def test_pictures_of_a_batch_that_take_too_long_get_problems_of_their_own() -> None:
    engine = DiscEngine()

    async def wait() -> httpx.Response:
        async with serving_async(engine, deadline=0.2, workers=4) as client:
            engine.gate.clear()
            task = asyncio.create_task(client.post("/pose/batch", files=[("images", PICTURE)] * 2))
            threading.Timer(1.0, engine.gate.set).start()
            return await task

    results = asyncio.run(wait()).json()["results"]
    assert [item["problem"]["status"] for item in results] == [503, 503]


def test_a_client_that_hangs_up_takes_its_picture_back() -> None:
    engine = DiscEngine()

    async def hang_up() -> int:
        app = build(engine)
        async with app.router.lifespan_context(app):
            engine.gate.clear()
            engine.entered.clear()
            blocker = asyncio.create_task(_post(app, asyncio.Event()))
            await asyncio.to_thread(engine.entered.wait, 60)
            gone = asyncio.Event()
            abandoned = asyncio.create_task(_post(app, gone))
            await until(lambda: app.state.runtime.batcher.depth == 1)
            gone.set()
            status = await abandoned
            assert app.state.runtime.workers.admitted == 1
            engine.gate.set()
            assert await blocker == 200
            return status

    assert asyncio.run(hang_up()) == 499
    assert len(engine.calls) == 1


async def _post(app: Any, gone: asyncio.Event) -> int:
    """One request over bare ASGI, whose client hangs up when told to. Gives the status."""
    messages = [{"type": "http.request", "body": PICTURE, "more_body": False}]
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [(b"content-type", b"image/jpeg")]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/pose", "raw_path": b"/pose", "root_path": "", "query_string": b"", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    return statuses[0]


def test_a_queue_of_one_shape_shares_calls_and_other_shapes_do_not_mix() -> None:
    engine = DiscEngine()
    wide = encode(discs(640, 480, person_at(300, 200)), "png")
    tall = encode(discs(480, 640, person_at(200, 300)), "png")

    async def ask() -> list[httpx.Response]:
        app = build(engine, workers=4)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://yaop", timeout=120) as client:
                engine.gate.clear()
                engine.entered.clear()
                tasks = [asyncio.create_task(client.post("/pose", content=wide, headers=PNG))]
                await asyncio.to_thread(engine.entered.wait, 60)
                tasks += [
                    asyncio.create_task(client.post("/pose", content=data, headers=PNG)) for data in [wide, tall] * 3
                ]
                await until(lambda: app.state.runtime.batcher.depth == 6)
                engine.gate.set()
                return list(await asyncio.gather(*tasks))

    assert [response.status_code for response in asyncio.run(ask())] == [200] * 7
    assert engine.calls[0] == (1, 288, 384, 3)
    assert sorted(engine.calls[1:]) == [(3, 288, 384, 3), (3, 384, 288, 3)]
