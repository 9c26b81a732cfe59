"""The durable workflow of a video job. Importing this registers it with DBOS, so only `service.jobs.queue` does.

The steps' outputs are all that survives a crash: each chunk names the files it has saved and carries what the next one
needs. Replayed steps return what is on record; the first one that is not is run in full. What a run that was cut off
left behind has other names, and is never used.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NotRequired, TypedDict

from dbos import DBOS, Serializer, error

from service.jobs.job import JobFailed, JobSpec
from service.jobs.runner import Done, JobRunner, RunningJob, told_as_problem
from service.video.chunks import ChunkEnd

logger = logging.getLogger(__name__)

WORKFLOW = "annotate_video"


class Outcome(TypedDict):
    """What a workflow gives, whether the job succeeded or failed."""

    output: NotRequired[dict[str, Any]]
    problem: NotRequired[dict[str, Any]]
    warnings: list[str]
    frames: int


SECONDS_BEFORE_TRIES = (0.0, 1.0, 4.0, 15.0)


class JsonSerializer(Serializer):
    """Specs and outputs as plain JSON: readable in the database, and nothing in it can run code."""

    def serialize(self, data: Any) -> str:
        """To text; errors, which DBOS records too, as what they say."""
        return json.dumps(data, default=str)

    def deserialize(self, serialized_data: str) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """From text."""
        return json.loads(serialized_data)

    def name(self) -> str:
        """What DBOS records beside each value."""
        return "yaop_json"


_runner: JobRunner | None = None


def use_runner(runner: JobRunner | None) -> None:
    """Set what workflows of this process run with (DBOS is one for each process, so this is, too)."""
    global _runner  # noqa: PLW0603
    _runner = runner


@DBOS.workflow(name=WORKFLOW, max_recovery_attempts=1_000_000)  # attempts without progress are counted by the runner
def annotate_video(stored: dict[str, Any]) -> Outcome:
    """Annotate one video; the argument is JSON of a `JobSpec`."""
    assert _runner is not None, "no runner was set before the queue began"
    done = Done()
    try:
        with _runner.working_on(JobSpec.model_validate(stored)) as job:
            _annotate(job, done)
            finished = _step("finish", job.finish, done)
            job.clean_up()
    except (error.DBOSWorkflowCancelledError, error.DBOSWorkflowConflictIDError):
        # The job was cancelled, or another worker has it, who took this one for dead.
        if _is_cancelled(stored["id"]):
            _runner.discard(stored["id"])
            _runner.metrics.count_finished("cancelled")
        raise
    except JobFailed as failure:
        _runner.discard(stored["id"])
        _runner.metrics.count_finished("failed")
        logger.info("video job failed", extra={"job": stored["id"], "reason": failure.problem["detail"]})
        return {"problem": failure.problem, "warnings": done.warnings, "frames": done.frames}
    _runner.metrics.count_finished("succeeded")
    return {**finished, "frames": done.frames}  # pyright: ignore[reportReturnType]


def _annotate(job: RunningJob, done: Done) -> None:
    last: dict[str, Any] | None = None
    while last is None or not last["last"]:
        last = _step("chunk", job.chunk, last)
        done.add(ChunkEnd.model_validate(last))


def _is_cancelled(job_id: str) -> bool:
    """Asked on a thread that is in no workflow: what a workflow asks is a step of it, and on record."""
    with ThreadPoolExecutor(1) as outside:
        status = outside.submit(DBOS.get_workflow_status, job_id).result()
    return status is None or status.status == "CANCELLED"  # None: cancelled, and then deleted


def _step(name: str, work: Callable[[Any], dict[str, Any]], argument: Any) -> dict[str, Any]:
    """Run one durable step; a failure is on record, too, so that a replay fails alike.

    What may pass, such as storage that is away or a decoder that was killed, is tried again for a while before.

    Raises:
        JobFailed: the step failed, now or before a crash.
    """
    result = DBOS.run_step({"name": name}, lambda: _tried(work, argument))
    if "problem" in result:
        problem = result["problem"]
        raise JobFailed(problem["kind"], problem["detail"], **problem["members"])
    return result


def _tried(work: Callable[[Any], dict[str, Any]], argument: Any) -> dict[str, Any]:
    assert _runner is not None
    failure: JobFailed | None = None
    for seconds in SECONDS_BEFORE_TRIES:
        _runner.sleep(seconds)
        try:
            return work(argument)
        except Exception as error:  # noqa: BLE001 - told as the problem it is, and logged
            failure = told_as_problem(error)
            if failure.final or _is_cancelled(str(DBOS.workflow_id)):
                break
    assert failure is not None
    return {"problem": failure.problem}
