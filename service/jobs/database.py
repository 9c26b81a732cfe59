"""The database of the jobs: DBOS keeps its workflows in it, and this project two small tables of its own."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from shared.errors import YaopError

SQLITE_FILE = "jobs.sqlite"
_BUSY_MILLISECONDS = 30_000
# Of libpq: else a host that swallows packets delays a stop, or holds a query for a quarter of an hour.
_IMPATIENT = {"connect_timeout": 10, "keepalives_idle": 10, "tcp_user_timeout": 10_000}

_metadata = sa.MetaData()

jobs_table = sa.Table(
    "yaop_jobs",
    _metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("idempotency_key", sa.String(255), unique=True),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("frames_done", sa.Integer, nullable=False, default=0),
    sa.Column("fps", sa.Float),
)
"""What DBOS does not keep: the order of jobs (ids grow with time), keys, starts without progress, live progress."""

workers_table = sa.Table(
    "yaop_workers",
    _metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("place", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("beats", sa.Integer, nullable=False, default=0),
    sa.Column("gone", sa.Boolean, nullable=False, default=False),
)
"""Who works: a row stays until the jobs of its worker were taken over."""


class DatabaseError(YaopError):
    """The database of the jobs cannot be used."""


def open_database(url: str | None, data_dir: Path) -> sa.Engine:
    """The engine for `url`, or for an SQLite file in `data_dir`; the tables of this project exist afterwards.

    Raises:
        DatabaseError: the URL is wrong, or the database cannot be reached or written to.
    """
    address = url or f"sqlite:///{data_dir / SQLITE_FILE}"
    try:
        engine = _create(address)
        with engine.begin() as connection:
            _create_tables(connection)
    except (SQLAlchemyError, ImportError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise DatabaseError(f"the database of the jobs ({_shown(address)}) cannot be used: {reason}") from error
    return engine


def _shown(url: str) -> str:
    try:
        return sa.make_url(url).set(query={}).render_as_string(hide_password=True)  # a password may be there, too
    except ArgumentError:  # it may have a password in it all the same
        return "its URL is malformed"


def _create(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        # A connection that a restarted server has dropped is replaced before it is used.
        return sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            pool_size=20,
            connect_args=_IMPATIENT,
        )
    if parsed.get_backend_name() != "sqlite":
        raise ArgumentError("only postgresql:// and sqlite:/// are supported")
    engine = sa.create_engine(parsed, pool_size=20)
    event.listen(engine, "connect", _configure_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # Writers wait for each other from the start of their transaction, and readers for nobody.
    connection.isolation_level = "IMMEDIATE"
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _create_tables(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":  # several workers may start at once
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(7061723)"))
    _metadata.create_all(connection)
