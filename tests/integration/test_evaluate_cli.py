"""`yaop train evaluate`: bundles, result files of any system, a service, and what is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from shared.assembly import People
from shared.bundle import Bundle, load_bundle
from shared.cli import main
from shared.images import decode_image
from shared.schema import to_openpose
from shared.skeleton import BODY_18
from tests import labelled_discs
from tests.api_client import serving
from tests.fake_engine import DiscEngine, person_at
from trainer.data.coco import DatasetError
from trainer.evaluation import EvaluationError, evaluate_poses
from trainer.evaluation.labels import Labels, Picture, load_labels
from trainer.evaluation.service import ServicePoses

HEAD = "resolution     AP   AP50   AP75   AP M   AP L     AR  images"


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    return labelled_discs.write(tmp_path)


@pytest.fixture
def labels(labelled: Path) -> Labels:
    return load_labels(labelled, labelled.parent, BODY_18)


@pytest.fixture
def evaluate(labelled: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command on the two pictures; its exit code, output and errors."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        data = ["--annotations", str(labelled), "--images", str(labelled.parent)]
        code = main(["train", "evaluate", *map(str, arguments), *data])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def write_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def write_openpose(folder: Path, moved: float = 0.0) -> Path:
    """OpenPose's files for the two pictures."""
    folder.mkdir()
    for picture, name in labelled_discs.FILES.items():
        keypoints = np.zeros((1, 18, 3), np.float32)
        for keypoint, (x, y) in person_at(*labelled_discs.NECKS[picture]).items():
            keypoints[0, BODY_18.index(keypoint)] = x + moved, y, 0.9
        frame = to_openpose(People(keypoints, np.ones(1, np.float32)), BODY_18)
        write_json(folder / f"{Path(name).stem}_keypoints.json", frame)
    return folder


Evaluate = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("arguments", [(), ("bundle", "--url", "http://x"), ("--results", "a", "--openpose", "b")])
def test_exactly_one_source_of_poses_is_taken(evaluate: Evaluate, arguments: tuple[str, ...]) -> None:
    message = "error: give exactly one source of poses: BUNDLE, --url, --results or --openpose\n"
    assert evaluate(*arguments) == (2, "", message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--results", "a.json", "--record", "mine"), "--record writes into a bundle"),
        (("--url", "http://x", "--scales", "256,384"), "--scales needs BUNDLE"),
        (("bundle", "--scales", "256,384", "--resolution", "256"), "--resolution or --scales, not both"),
        (("bundle", "--scales", "256"), "expected two or more long sides"),
        (("bundle", "--scales", "256,big"), "expected two or more long sides"),
        (("--openpose", "a", "--flip"), "don't apply to poses from files"),
        (("--results", "a.json", "--resolution", "256"), "don't apply to poses from files"),
        (("--results", "a.json", "--skeleton", "octopus"), "unknown skeleton 'octopus'"),
        (("--url", "ftp://x"), "not the address of a service"),
        (("no_such_bundle",), "no_such_bundle"),
    ],
)
def test_impossible_wishes_are_one_line(evaluate: Evaluate, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = evaluate(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


def test_results_in_cocos_format(evaluate: Evaluate, tmp_path: Path) -> None:
    code, out, _ = evaluate("--results", write_json(tmp_path / "r.json", labelled_discs.results()))
    assert code == 0
    assert out.splitlines() == [HEAD, "         -  1.000  1.000  1.000  1.000 -1.000  1.000       2"]
    _, out, _ = evaluate("--results", write_json(tmp_path / "r.json", labelled_discs.results(wrong=100)))
    assert out.splitlines()[1].split()[1] == "0.000"
    _, out, _ = evaluate("--results", write_json(tmp_path / "r.json", []))
    assert out.splitlines()[1].split()[1] == "0.000"


def test_a_limit_leaves_pictures_and_their_results_out(evaluate: Evaluate, tmp_path: Path) -> None:
    _, out, _ = evaluate("--results", write_json(tmp_path / "r.json", labelled_discs.results()), "--limit", "1")
    assert out.splitlines()[1].split()[1:] == ["1.000", "1.000", "1.000", "1.000", "-1.000", "1.000", "1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 4}, "result 1: no picture of the annotations has the id 4"),
        ({"keypoints": [1.0] * 51}, "result 1: 51 numbers, expected 6: x, y and score of 2 keypoints"),
        ({"keypoints": "here"}, "result 1: 'here', expected 6"),
        ({"keypoints": [1, 2, 0.5, float("nan"), 2, 0.5]}, "result 1: not finite"),
        ({"score": "high"}, "result 1: could not convert"),
        ({"score": None}, "result 1: "),
        ({"category_id": 3}, "result 1: category 3 is not that of the people, 1"),
        ({"image_id": [3]}, "result 1: "),
    ],
)
def test_malformed_results_are_one_line(
    evaluate: Evaluate, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    results = labelled_discs.results()
    results[1] |= change
    code, out, err = evaluate("--results", write_json(tmp_path / "r.json", results))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {tmp_path / 'r.json'}: ") and message in err


@pytest.mark.parametrize(
    ("content", "message"), [("{", "not JSON"), ("{}", "expected a list"), ('[{"image_id": 3}]', "has no 'keypoints'")]
)
def test_files_that_are_no_results_are_one_line(evaluate: Evaluate, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "r.json").write_text(content)
    code, _, err = evaluate("--results", tmp_path / "r.json")
    assert code == 2 and message in err
    code, _, err = evaluate("--results", tmp_path / "absent.json")
    assert code == 2 and "absent.json: No such file" in err


def test_openposes_files(evaluate: Evaluate, tmp_path: Path) -> None:
    code, out, _ = evaluate("--openpose", write_openpose(tmp_path / "op"))
    assert code == 0 and out.splitlines()[1].split()[1] == "1.000"
    _, out, _ = evaluate("--openpose", write_openpose(tmp_path / "moved", moved=100))
    assert out.splitlines()[1].split()[1] == "0.000"


def test_incomplete_and_foreign_openpose_folders_are_refused(evaluate: Evaluate, tmp_path: Path) -> None:
    folder = write_openpose(tmp_path / "op")
    body_25 = write_json(folder / "eight_keypoints.json", {"people": [{"pose_keypoints_2d": [1.0] * 75}]})
    assert "75 numbers, expected 54" in evaluate("--openpose", folder)[2]
    write_json(body_25, {"persons": []})
    assert "not an OpenPose file" in evaluate("--openpose", folder)[2]
    body_25.unlink()
    assert "eight_keypoints.json: missing" in evaluate("--openpose", folder)[2]
    write_json(folder / "nine_keypoints.json", {"people": []})
    assert "nine_keypoints.json: belongs to no picture" in evaluate("--openpose", folder)[2]
    assert "no such folder" in evaluate("--openpose", tmp_path / "absent")[2]


def test_the_report_is_a_folder_to_look_at(evaluate: Evaluate, tmp_path: Path) -> None:
    results = write_json(tmp_path / "<r>.json", labelled_discs.results()[:1])
    target = tmp_path / "report"
    code, out, _ = evaluate("--results", results, "--report", target, "--json", tmp_path / "numbers.json")
    assert code == 0 and out.splitlines()[-1] == f"wrote {target / 'index.html'}"
    content = json.loads((target / "evaluation.json").read_text())
    assert content == json.loads((tmp_path / "numbers.json").read_text())
    assert content["evaluations"][0]["worst"][0]["name"] == "eight.png"
    assert (target / "keypoints.csv").read_text().splitlines()[1].startswith("right_shoulder,2,0.5")
    assert (target / "pr.png").read_bytes().startswith(b"\x89PNG") and "<svg" in (target / "pr.svg").read_text()
    page = (target / "index.html").read_text()
    assert "&lt;r&gt;.json on discs.json" in page and "<r>" not in page
    assert page.index("pictures/01_eight.jpg") < page.index("pictures/02_three.jpg")
    assert "eight.png: 0.00 (1 labelled, 0 found, 0 wrong)" in page


def test_the_gallery_shows_labels_beside_what_was_found(evaluate: Evaluate, tmp_path: Path) -> None:
    results = write_json(tmp_path / "r.json", labelled_discs.results()[:1])
    evaluate("--results", results, "--report", tmp_path / "report")
    missed, right = (
        decode_image((tmp_path / "report" / "pictures" / name).read_bytes())
        for name in ("01_eight.jpg", "02_three.jpg")
    )

    def differing(picture: np.ndarray) -> int:
        below = picture[-360:]
        return int((cv2.absdiff(below[:, :480], below[:, -480:]).max(axis=-1) > 60).sum())

    assert differing(missed) > 50  # somebody is drawn on the left only
    assert differing(right) < 20


def test_a_bundle_is_measured_and_the_result_recorded(evaluate: Evaluate, blob_bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(blob_bundle.path, tmp_path / "blobs")
    code, out, _ = evaluate(
        tmp_path / "blobs", "--resolution", "128", "--flip", "--record", "discs", "--json", tmp_path / "n.json"
    )
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["resolution", "128"]
    (row,) = load_bundle(tmp_path / "blobs").manifest.accuracy
    assert (row.dataset, row.images, row.resolution) == ("discs", 2, 128)
    assert row.ap == json.loads((tmp_path / "n.json").read_text())["evaluations"][0]["ap"]


def test_a_bundle_at_several_scales(evaluate: Evaluate, blob_bundle: Bundle) -> None:
    code, out, _ = evaluate(blob_bundle.path, "--scales", "96, 128", "--limit", "1")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["resolution", "128"]


def test_a_services_answers_are_measured(labels: Labels) -> None:
    engine = DiscEngine()
    with serving(engine) as client:
        poses = ServicePoses("http://testserver/", labels, resolution=512, client=client)
        assert evaluate_poses(labels, poses, 512).accuracy.ap == pytest.approx(1.0)
        assert {max(shape[1:3]) for shape in engine.calls} == {512}
        engine.calls.clear()
        flipped = ServicePoses("http://testserver", labels, resolution=256, flip=True, client=client)
        flipped(labels.pictures[0])
        assert [shape[0] for shape in engine.calls] in ([2], [1, 1])


def test_a_service_with_other_keypoints_is_refused(labelled: Path) -> None:
    labelled.write_text(labelled.read_text().replace('"nose"', '"tail"'))
    skeleton = BODY_18.from_json(
        {"name": "dog", "keypoints": ["right_shoulder", "tail"], "limbs": [["right_shoulder", "tail"]]}
    )
    labels = load_labels(labelled, labelled.parent, skeleton)
    with serving() as client, pytest.raises(EvaluationError, match="model has no keypoint 'tail'"):
        ServicePoses("http://testserver", labels, resolution=256, client=client)(labels.pictures[0])


def answering(*answers: httpx.Response) -> tuple[httpx.Client, list[httpx.Request]]:
    """A client of a service that gives these answers in turn, the last one for ever."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return answers[min(len(requests), len(answers)) - 1]

    return httpx.Client(transport=httpx.MockTransport(answer)), requests


NOBODY = {"width": 640, "height": 480, "people": [], "model": {"name": "m", "version": "1"}}


def test_a_busy_service_is_asked_again(labels: Labels) -> None:
    busy = httpx.Response(503, headers={"Retry-After": "0"})
    client, requests = answering(busy, busy, httpx.Response(200, json=NOBODY))
    assert ServicePoses("http://x", labels, resolution=384, client=client)(labels.pictures[0]) == []
    assert len(requests) == 3
    query = dict(requests[-1].url.params)
    assert query == {"resolution": "384", "flip": "false", "min_score": "0", "max_people": "20"}
    assert requests[-1].content == labels.pictures[0].path.read_bytes()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            httpx.Response(422, json={"detail": "resolution: too large"}),
            "eight.png|three.jpg: 422 resolution: too large",
        ),
        (httpx.Response(500, text="<html>"), "500 Internal Server Error"),
        (httpx.Response(200, text="<html>"), "not the answer of a YAOP service"),
        (httpx.Response(200, json=[]), "not the answer of a YAOP service"),
    ],
)
def test_what_a_service_refuses_is_told(labels: Labels, answer: httpx.Response, message: str) -> None:
    client, requests = answering(answer)
    with pytest.raises(EvaluationError, match=message):
        ServicePoses("http://x", labels, resolution=384, client=client)(labels.pictures[0])
    assert len(requests) == 1


def test_a_missing_picture_is_named_before_anything_is_sent(labels: Labels, tmp_path: Path) -> None:
    client, requests = answering(httpx.Response(200, json=NOBODY))
    with pytest.raises(DatasetError, match=r"absent\.png"):
        ServicePoses("http://x", labels, resolution=384, client=client)(Picture(1, tmp_path / "absent.png"))
    assert not requests
