"""What a stream answers: people with ids, in pictures of each kind, as its options say."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from service.streams.header import Kind
from service.streams.messages import OptionsChanged, StreamError, StreamResult
from tests.fake_engine import discs, person_at
from tests.photos import encode
from tests.stream_client import HEIGHT, WIDTH, Service, StreamClient, picture, streaming


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with streaming() as running:
        yield running


def neck(result: StreamResult) -> tuple[float, float]:
    """Where the first person's is, in pixels."""
    point = result.people[0].keypoints["neck"]
    assert point is not None
    return point.x, point.y


def test_a_result_is_the_frame_of_its_picture(service: Service) -> None:
    with StreamClient(service.url) as client:
        result = client.look(7, timestamp=0.2333333)
    assert (result.index, result.timestamp) == (7, 0.233333)
    assert (result.width, result.height) == (WIDTH, HEIGHT)
    assert neck(result) == pytest.approx((80, HEIGHT * 0.7), abs=1.5)
    assert result.model == client.welcome.model
    assert (result.skipped, result.dropped, result.picture) == ([], 0, None)


def test_timings_have_every_phase_and_add_up(service: Service) -> None:
    with StreamClient(service.url) as client:
        timing = client.look(0).timing_ms
    assert set(timing) == {"decode", "network", "assembly", "track", "queue", "total"}
    assert sum(timing.values()) - timing["total"] == pytest.approx(timing["total"], abs=0.1)


def test_the_welcome_tells_what_holds(service: Service) -> None:
    with StreamClient(service.url, credits=5, max_people=3, headers={"X-Request-ID": "stream-1"}) as client:
        welcome = client.welcome
    assert (welcome.protocol, welcome.id, welcome.credits) == ("yaop.stream.v1", "stream-1", 5)
    assert client.socket.subprotocol == "yaop.stream.v1"
    assert client.socket.response is not None and client.socket.response.headers["X-Request-ID"] == "stream-1"
    options = welcome.options
    assert (options.resolution, options.max_people, options.track, options.smooth, options.draw) == (
        256, 3, True, True, False,
    )  # fmt: skip
    limits = welcome.limits
    assert (limits.frame_bytes, limits.frame_pixels, limits.fps, limits.idle_seconds) == (4_000_000, 8_912_896, 60, 60)
    assert welcome.topology.keypoints[:2] == ("nose", "neck")


def test_pictures_may_be_sent_before_the_welcome(service: Service) -> None:
    with StreamClient(service.url, hello=False) as client:
        client.text(type="hello")
        client.send(0)
        assert client.read().type == "welcome"
        assert client.expect(StreamResult).index == 0


def test_people_keep_their_ids_where_they_cross(service: Service) -> None:
    with StreamClient(service.url, smooth=False) as client:
        ids = {client.look(i, picture(70 + 2 * i)).people[0].id for i in range(15)}
    assert ids == {1}


def test_without_tracking_there_are_no_ids(service: Service) -> None:
    with StreamClient(service.url, track=False) as client:
        result = client.look(0)
    assert [person.id for person in result.people] == [None]


def test_two_streams_count_their_people_for_themselves(service: Service) -> None:
    with StreamClient(service.url) as one, StreamClient(service.url) as other:
        assert one.look(0, picture(50)).people[0].id == 1
        assert other.look(0, picture(110)).people[0].id == 1


def test_smoothing_takes_jitter_away(service: Service) -> None:
    places = [80 + (3 if i % 2 else -3) for i in range(20)]

    def jitter(smooth: bool) -> float:
        with StreamClient(service.url, smooth=smooth) as client:
            found = [neck(client.look(i, picture(x)))[0] for i, x in enumerate(places)]
        return float(np.abs(np.diff(found[10:])).mean())

    assert jitter(True) < 0.7 * jitter(False)


def test_webp_is_taken_and_exif_orientation_applied(service: Service) -> None:
    upright = discs(WIDTH, HEIGHT, person_at(80, 66, 30), 6)
    lying = np.ascontiguousarray(np.rot90(upright))
    jpeg = encode(lying, "jpeg")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    with StreamClient(service.url, smooth=False) as client:
        from_webp = client.look(0, encode(upright, "webp"))
        from_turned = client.look(1, turned)
    assert neck(from_webp) == pytest.approx((80, 66), abs=1.5)
    assert (from_turned.width, from_turned.height) == (WIDTH, HEIGHT)
    assert neck(from_turned) == pytest.approx((80, 66), abs=1.5)


def test_msgpack_has_the_same_members(service: Service) -> None:
    with StreamClient(service.url) as client, StreamClient(service.url, encoding="msgpack") as packed:
        assert packed.welcome.model_dump(exclude={"id"}) == client.welcome.model_dump(exclude={"id"})
        left_out = {"timing_ms"}
        assert packed.look(0).model_dump(exclude=left_out) == client.look(0).model_dump(exclude=left_out)
        packed.send(1, b"")
        assert packed.expect(StreamError).index == 1


def check_drawn(jpeg: bytes) -> None:
    """It is the picture, with a limb between the discs."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.shape == (HEIGHT, WIDTH, 3)
    between = image[round(HEIGHT * 0.7) - 15, 80]
    assert np.abs(between.astype(int) - 128).max() > 40


def test_drawn_pictures_follow_results_in_json(service: Service) -> None:
    with StreamClient(service.url, draw=True) as client:
        client.send(3, timestamp=1.5)
        text = client.socket.recv(10)
        assert isinstance(text, str) and '"picture"' not in text
        header, jpeg = client.drawn()
        assert header == (Kind.DRAWN, 3, 1.5)
        check_drawn(jpeg)
        assert "draw" in StreamResult.model_validate_json(text).timing_ms


def test_drawn_pictures_are_in_results_in_msgpack(service: Service) -> None:
    with StreamClient(service.url, draw=True, encoding="msgpack") as client:
        result = client.look(3)
    assert result.picture is not None
    check_drawn(result.picture)


def test_results_after_the_answer_have_the_new_options(service: Service) -> None:
    with StreamClient(service.url) as client:
        assert client.look(0).people
        client.text(type="options", min_score=1.0, resolution="balanced")
        changed = client.expect(OptionsChanged).options
        assert (changed.min_score, changed.resolution, changed.track) == (1.0, 384, True)
        assert not client.look(1).people
        client.text(type="options", min_score=0)
        assert client.expect(OptionsChanged).options.resolution == 384
        assert client.look(2).people
    assert service.engine.calls[-1][1:3] == (288, 384)


def test_an_option_change_waits_for_the_picture_that_is_worked_on() -> None:
    with streaming() as service, StreamClient(service.url) as client:
        service.engine.gate.clear()
        service.engine.entered.clear()
        client.send(0)
        assert service.engine.entered.wait(10)
        client.text(type="options", track=False)
        client.settle()
        service.engine.gate.set()
        assert client.expect(StreamResult).people[0].id == 1
        assert not client.expect(OptionsChanged).options.track
        assert client.look(1).people[0].id is None


def test_tracking_that_is_turned_on_again_gives_new_ids(service: Service) -> None:
    with StreamClient(service.url) as client:
        assert client.look(0).people[0].id == 1
        client.text(type="options", track=False)
        client.expect(OptionsChanged)
        assert client.look(1).people[0].id is None
        client.text(type="options", track=True)
        client.expect(OptionsChanged)
        assert client.look(2).people[0].id == 2


def test_tracking_that_is_off_for_no_picture_goes_on(service: Service) -> None:
    with StreamClient(service.url) as client:
        client.look(0)
        for track in (False, True):
            client.text(type="options", track=track)
            client.expect(OptionsChanged)
        assert client.look(1).people[0].id == 1


def test_people_keep_their_ids_in_pictures_of_another_size(service: Service) -> None:
    with StreamClient(service.url) as client:
        assert client.look(0).people[0].id == 1
        large = encode(discs(2 * WIDTH, 2 * HEIGHT, person_at(160, 134, 60), 12), "jpeg")
        for index in (1, 2):
            result = client.look(index, large)
            assert result.people[0].id == 1
            assert neck(result) == pytest.approx((160, 134), abs=2)
        assert client.look(3).people[0].id == 1


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"resolution": "huge"}, "resolution"),
        ({"min_score": 2}, "min_score"),
        ({"min_score": None}, "min_score"),
        ({"max_people": 0, "draw": True}, "max_people"),
        ({"colour": "red"}, "colour"),
        ({"credits": 3}, "credits"),
        ({"track": [[]]}, "track"),
    ],
)
def test_options_that_are_none_change_nothing(service: Service, wrong: dict[str, object], name: str) -> None:
    with StreamClient(service.url) as client:
        client.text(type="options", **wrong)
        error = client.expect(StreamError)
        assert (error.index, error.fatal, error.problem.status) == (None, False, 422)
        assert name in error.problem.detail
        client.text(type="options")
        assert client.expect(OptionsChanged).options == client.welcome.options
        assert client.look(0).people


def test_newer_pictures_take_the_place_of_older_ones() -> None:
    with streaming() as service, StreamClient(service.url, credits=6) as client:
        service.engine.gate.clear()
        service.engine.entered.clear()
        client.send(0)
        assert service.engine.entered.wait(10)
        for index in range(1, 6):
            client.send(index * 2)
        client.settle()
        service.engine.gate.set()
        first, second = client.expect(StreamResult), client.expect(StreamResult)
        assert (first.index, second.index) == (0, 10)
        assert first.skipped + second.skipped == [2, 4, 6, 8]
        assert second.dropped == 4
        assert client.look(11).dropped == 4


def test_the_rate_of_a_stream_is_limited_and_the_newest_is_taken() -> None:
    with streaming(max_stream_fps=5) as service, StreamClient(service.url, credits=16) as client:
        client.look(0)
        for index in range(1, 11):
            client.send(index)
        result = client.expect(StreamResult)
        assert result.index == 10 and result.skipped == list(range(1, 10))
        assert result.timing_ms["queue"] > 100
