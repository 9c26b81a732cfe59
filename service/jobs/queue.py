"""The queue of video jobs: DBOS underneath, `Job` objects outside. One for each process, as DBOS is."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, SetWorkflowID, WorkflowStatus
from sqlalchemy.exc import SQLAlchemyError

from service.jobs import workflow
from service.jobs.job import FINISHED, Job, JobOutput, JobSpec, JobState
from service.jobs.liveness import Liveness
from service.jobs.records import Progress
from service.jobs.runner import Interrupted, JobRunner
from service.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

QUEUE = "videos"
APPLICATION = "yaop"
APPLICATION_VERSION = "1"  # of what steps store; another one would leave the jobs of this one lying
_POLL_SECONDS = 0.3
_PATIENCE = 10.0
_ORPHAN_SECONDS = 600.0

_STATES: Mapping[str, JobState] = {
    "ENQUEUED": "queued",
    "DELAYED": "queued",
    "PENDING": "running",
    "SUCCESS": "succeeded",
    "ERROR": "failed",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
    "CANCELLED": "cancelled",
}
_ACTIVE = [status for status, state in _STATES.items() if state not in FINISHED]


def new_job_id() -> str:
    """32 hexadecimal digits that grow with time."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


def _age(job_id: str) -> float:
    """Seconds since an id of `new_job_id` was made."""
    return time.time() - int(job_id[:12], 16) / 1000


class JobQueue:
    """Thread-safe; every method may wait for the database.

    Args:
        engine: of the database (`service.jobs.database.open_database`); closed with the queue.
        runner: what jobs run with in this process.
        concurrency: how many jobs this process works on at once; 0: it only takes them in and tells of them.
        worker_timeout: seconds after which a worker that gives no sign of life loses its jobs to others.
    """

    def __init__(self, engine: sa.Engine, runner: JobRunner, *, concurrency: int, worker_timeout: float) -> None:
        self._engine = engine
        self._runner = runner
        self._records = runner.records
        self._liveness = Liveness(engine, worker_timeout, self._take_over)
        workflow.use_runner(runner)
        try:
            self._launch(concurrency)
        except BaseException:  # so that another try begins anew
            self._abandon()
            raise

    def submit(self, spec: JobSpec) -> Job:
        """Take a job in; it is durable when this returns. The job that exists, if there is one with its id or key."""
        job_id = self._records.add(spec.id, spec.idempotency_key)
        if job_id != spec.id:
            existing = self._wait_for(job_id)
            if existing is not None:
                return existing
            self._records.remove(job_id)  # its process died between its two writes, and nobody was told of it
            return self.submit(spec)
        with SetWorkflowID(spec.id):
            DBOS.enqueue_workflow(QUEUE, workflow.annotate_video, spec.model_dump(mode="json"))
        self._records.add(spec.id, None)  # in case somebody had no patience with the first row
        job = self.get(spec.id)
        assert job is not None
        return job

    def get(self, job_id: str) -> Job | None:
        """One job."""
        return next(iter(self._jobs([job_id])), None)

    def find(self, idempotency_key: str) -> Job | None:
        """The job that was submitted with this key."""
        job_id = self._records.find(idempotency_key)
        return self.get(job_id) if job_id else None

    def list(self, *, limit: int, before: str | None = None) -> list[Job]:
        """Newest first, older than the job `before`."""
        jobs: list[Job] = []
        while len(jobs) < limit and (page := self._records.page(limit - len(jobs), before)):
            before = page[-1]
            found = self._jobs(page)
            jobs += found
            self._forget_rows({*page} - {job.id for job in found})
        return jobs

    def counts(self) -> dict[JobState, int]:
        """How many jobs are queued and running."""
        active = DBOS.list_workflows(name=workflow.WORKFLOW, status=_ACTIVE, load_input=False, load_output=False)
        counts: dict[JobState, int] = {"queued": 0, "running": 0}
        for status in active:
            counts[_STATES[status.status]] += 1
        return counts

    def count_now(self) -> dict[JobState, int]:
        """The same, where no answer is better than a late one: DBOS itself waits until the database is back.

        Raises:
            SQLAlchemyError: the database does not answer.
        """
        with self._engine.connect() as connection:
            connection.execute(sa.select(sa.literal(1)))
        return self.counts()

    def cancel(self, job_id: str) -> Job | None:
        """Cancel a job that is not finished; a chunk that is being worked on ends first."""
        before = self.get(job_id)
        if before is not None and not before.finished:
            DBOS.cancel_workflow(job_id)
            if before.state == "queued":  # nobody else will
                self._runner.discard(job_id)
                self._runner.metrics.count_finished("cancelled")
        return self.get(job_id)

    def delete(self, job_id: str) -> bool:
        """Forget a finished job. False if there is none, or it is not finished."""
        job = self.get(job_id)
        if job is None or not job.finished:
            return False
        DBOS.delete_workflow(job_id)
        self._records.remove(job_id)
        return True

    def close(self, timeout: float) -> None:
        """Let go of the jobs under way, at their next frame; another process, or the next start, goes on with them."""
        self._runner.stop(timeout)
        self._abandon()

    def _wait_for(self, job_id: str) -> Job | None:
        """The job of a row that another process has written, which will queue it at once if it is alive."""
        end = time.monotonic() + _PATIENCE
        while (job := self.get(job_id)) is None and time.monotonic() < end and _age(job_id) < _PATIENCE:
            time.sleep(_PATIENCE / 100)
        return job

    def _forget_rows(self, job_ids: set[str]) -> None:
        """Rows whose process died before it queued their job."""
        for job_id in job_ids:
            if _age(job_id) > _ORPHAN_SECONDS:
                self._records.remove(job_id)

    def _abandon(self) -> None:
        DBOS.destroy()
        with contextlib.suppress(SQLAlchemyError):
            self._liveness.leave()
        workflow.use_runner(None)
        self._engine.dispose()

    def _launch(self, concurrency: int) -> None:
        _quieten_dbos()
        config = DBOSConfig(
            name=APPLICATION,
            system_database_url=self._engine.url.render_as_string(hide_password=False),
            system_database_engine=self._engine,
            executor_id=self._liveness.id,
            application_version=APPLICATION_VERSION,
            serializer=workflow.JsonSerializer(),
            log_level="WARNING",
        )
        DBOS(config=config)
        if concurrency == 0:
            DBOS.listen_queues([])
        self._liveness.join()
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=max(1, concurrency),
            polling_interval_sec=_POLL_SECONDS,
            on_conflict="always_update" if concurrency else "never_update",  # it is one number for all workers
        )
        self._liveness.start()

    def _take_over(self, worker: str) -> None:
        """Queue what a dead worker was at again. The public way to do so keeps what its steps have on record."""
        for status in DBOS.list_workflows(name=workflow.WORKFLOW, status="PENDING", executor_id=worker):
            DBOS.resume_workflow(status.workflow_id, queue_name=QUEUE)

    def _jobs(self, job_ids: Sequence[str]) -> list[Job]:
        if not job_ids:
            return []
        found = {status.workflow_id: status for status in DBOS.list_workflows(workflow_ids=list(job_ids))}
        progress = self._records.progress(list(job_ids))
        return [_to_job(found[i], progress.get(i, Progress(0, None))) for i in job_ids if i in found]


def _to_job(status: WorkflowStatus, progress: Progress) -> Job:
    assert status.input is not None
    spec = JobSpec.model_validate(status.input["args"][0])
    state = _STATES[status.status]
    outcome: dict[str, Any] = status.output if state == "succeeded" and status.output else {}
    problem = outcome.get("problem") or (_lost(status) if state == "failed" else None)
    state = "failed" if problem else state
    frames_done = outcome.get("frames", progress.frames_done)
    running = state == "running"
    left = max(0, spec.frames_total - frames_done)
    return Job(
        id=spec.id,
        state=state,
        filename=spec.filename,
        bytes=spec.bytes,
        created_at=_time(status.created_at) or datetime.now(UTC),
        started_at=_time(status.dequeued_at),
        finished_at=_time(status.completed_at),
        options=spec.options,
        source=spec.source,
        frames_done=frames_done,
        frames_total=spec.frames_total if state != "succeeded" else frames_done,
        fps=progress.fps if running else None,
        eta_seconds=round(left / progress.fps, 1) if running and progress.fps else None,
        warnings=[*spec.source.warnings, *outcome.get("warnings", [])],
        error=_details(problem) if problem else None,
        output=JobOutput.model_validate(outcome["output"]) if state == "succeeded" else None,
    )


def _details(problem: Mapping[str, Any]) -> Any:
    return Problem(422, problem["kind"], problem["detail"], **problem["members"]).details()


def _lost(status: WorkflowStatus) -> dict[str, Any]:
    logger.error("a video job was lost", extra={"job": status.workflow_id, "reason": str(status.error)})
    return {
        "kind": "internal-error",
        "detail": "The job was given up. Its id finds it in the service's log.",
        "members": {},
    }


def _time(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


class _Expected(logging.Filter):
    """Drops what DBOS says when a job is cancelled or the process stops."""

    def filter(self, record: logging.LogRecord) -> bool:
        """False for those."""
        error = record.exc_info[1] if record.exc_info else None
        expected = isinstance(error, Interrupted) or "Cancelled" in type(error).__name__
        return not expected and "no longer owned by this execution" not in record.getMessage()


def _quieten_dbos() -> None:
    """Let DBOS log where everything else is logged, and only what somebody should look at."""
    log = logging.getLogger("dbos")
    log.handlers.clear()
    log.addHandler(logging.NullHandler())  # or it would add one that writes to the terminal
    log.propagate = True
    if not any(isinstance(each, _Expected) for each in log.filters):
        log.addFilter(_Expected())
