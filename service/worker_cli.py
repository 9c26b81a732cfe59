"""The command ``yaop worker``: a process that works on video jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def worker(
    database_url: Annotated[
        str | None, typer.Option(help="postgresql://... that the service uses, too \\[env: YAOP_DATABASE_URL].")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder for files \\[env: YAOP_DATA_DIR].")] = None,
    artifacts_url: Annotated[
        str | None, typer.Option(help="Where the service keeps uploads and results \\[env: YAOP_ARTIFACTS_URL].")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Videos worked on at once \\[env: YAOP_JOB_CONCURRENCY].")] = None,
    engine: Annotated[str | None, typer.Option(help="auto, litert or tensorflow \\[env: YAOP_ENGINE].")] = None,
    model: Annotated[str | None, typer.Option(help="Models, separated by commas \\[env: YAOP_MODEL].")] = None,
    models_dir: Annotated[Path | None, typer.Option(help="Folder of more bundles \\[env: YAOP_MODELS_DIR].")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the engine \\[env: YAOP_THREADS].")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port for probes and metrics; 0, the default: none \\[env: YAOP_WORKER_PORT].")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning, error \\[env: YAOP_LOG_LEVEL].")] = None,
) -> None:
    """Work on the video jobs of a service that shares its database and storage. Stop it with Ctrl-C or SIGTERM.

    Start as many as you like. When one dies, another goes on where it stopped; when one is stopped, so do the others.
    """
    from service.settings import load_settings
    from service.worker import work_forever

    settings = load_settings(
        database_url=database_url,
        data_dir=data_dir,
        artifacts_url=artifacts_url,
        job_concurrency=jobs,
        engine=engine,
        model=model,
        models_dir=models_dir,
        threads=threads,
        worker_port=port,
        log_level=log_level,
    )
    work_forever(settings)
