"""Every setting of the service in one validated object, read from flags, ``YAOP_*`` variables, ``.env`` and secrets."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_data_path
from pydantic import ByteSize, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableError

from service.streams.origins import ANY_ORIGIN, parse_origin
from shared.cores import usable_cores
from shared.errors import YaopError

PREFIX = "YAOP_"
SECRETS = f"{PREFIX}SECRETS_DIR"
_SECRETS_FOLDER = "/run/secrets"  # where Docker, Podman and Compose put them


class SettingsError(YaopError):
    """A setting has a value that cannot be used; the message starts with the setting's name."""


class Settings(BaseSettings):
    """What the service can be told.

    Each field is the variable ``YAOP_<FIELD>`` in the environment or ``.env``, or a file ``yaop_<field>`` of the folder
    of secrets.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    worker_port: int = Field(
        0, ge=0, le=65535, description="Port of `yaop worker` for probes and metrics; 0: it does not listen."
    )
    engine: Literal["auto", "litert", "tensorflow"] = Field("auto", description="What runs the network.")
    model: Annotated[tuple[str, ...], NoDecode] = Field(
        ("mobilenet_fpn",), description="Models to load, separated by commas; the first one is the default."
    )
    models_dir: Path | None = Field(None, description="Folder searched for bundles before the shipped ones.")
    threads: int = Field(0, ge=0, le=1024, description="Threads of the engine; 0 uses every core.")
    workers: int = Field(
        default_factory=lambda: min(8, usable_cores()),
        ge=1,
        le=256,
        description="Threads that decode, assemble and draw pictures.",
    )
    batch_size: int = Field(8, ge=1, le=256, description="Most pictures in one engine call (litert: always 1).")
    queue_size: int = Field(64, ge=1, le=100_000, description="Most pictures in progress; more get a 503.")
    deadline: float = Field(30.0, gt=0, le=3600, description="Seconds a picture may take before it gets a 503.")
    max_body_bytes: ByteSize = Field(ByteSize(25_000_000), ge=1, description="Largest request body, e.g. 25MB.")
    max_pixels: int = Field(50_000_000, ge=1, description="Largest picture, in pixels (width x height).")
    max_batch_images: int = Field(32, ge=1, le=10_000, description="Most pictures in one POST /pose/batch.")
    videos: bool = Field(True, description="Take videos as jobs; off: everything under /videos gets a 503.")
    data_dir: Path = Field(
        default_factory=lambda: user_data_path("yaop", appauthor=False),
        description="Folder for uploads, results and the database of the jobs. Default: the user's data folder.",
    )
    database_url: SecretStr | None = Field(
        None, description="postgresql://... for many workers. Default: an SQLite file in the data folder."
    )
    artifacts_url: str | None = Field(
        None, description="Folder or fsspec URL (s3://, gs://) of uploads and results. Default: in the data folder."
    )
    job_concurrency: int = Field(
        2,
        ge=0,
        le=64,
        description="Videos worked on at once by a process, the same for all that share a database; "
        "0 leaves them to `yaop worker`s.",
    )
    max_jobs: int = Field(100, ge=1, le=1_000_000, description="Most unfinished video jobs; more get a 503.")
    max_video_bytes: ByteSize = Field(ByteSize(2_000_000_000), ge=1, description="Largest video upload, e.g. 2GB.")
    max_video_pixels: int = Field(4096 * 2176, ge=1, description="Largest picture of a video (width x height).")
    max_video_seconds: float = Field(7200.0, gt=0, description="Longest video, in seconds.")
    max_video_frames: int = Field(500_000, ge=1, description="Most frames of a video.")
    job_retention: float = Field(7 * 86400.0, gt=0, description="Seconds that finished video jobs are kept.")
    max_artifact_bytes: ByteSize = Field(
        ByteSize(20_000_000_000), ge=1, description="Disk space for video jobs; the oldest finished ones go first."
    )
    worker_timeout: float = Field(
        30.0, ge=1, le=3600, description="Seconds without a sign of life after which a worker's jobs go to others."
    )
    max_streams: int = Field(100, ge=0, le=100_000, description="Most live streams at the same time.")
    max_streams_per_address: int = Field(32, ge=1, le=100_000, description="Most live streams from one address.")
    max_stream_frame_bytes: ByteSize = Field(
        ByteSize(4_000_000), ge=1, description="Largest encoded picture of a stream, e.g. 4MB."
    )
    max_stream_pixels: int = Field(4096 * 2176, ge=1, description="Largest picture of a stream (width x height).")
    max_stream_fps: float = Field(60.0, gt=0, le=1000, description="Most pictures of a stream looked at in a second.")
    stream_idle_timeout: float = Field(
        60.0, gt=0, le=86400, description="Seconds without a message after which a stream ends."
    )
    stream_send_timeout: float = Field(
        10.0, gt=0, le=3600, description="Seconds that the client of a stream may leave results unread."
    )
    origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Other origins whose pages may open streams, separated by commas; *: all."
    )
    header_timeout: float = Field(
        10.0, gt=0, le=3600, description="Seconds a client may take to send the headers of a request."
    )
    shutdown_timeout: float = Field(30.0, gt=0, le=3600, description="Seconds requests get to finish at shutdown.")
    admin_key: SecretStr | None = Field(None, description="Key that POST /models/reload asks for; unset: nobody may.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe line logged.")
    log_format: Literal["auto", "json", "text"] = Field("auto", description="auto: text on a terminal, else json.")

    @field_validator("engine", "log_level", "log_format", mode="before")
    @classmethod
    def _ignore_case(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("models_dir", "admin_key", "database_url", "artifacts_url", mode="before")
    @classmethod
    def _blank_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("models_dir")
    @classmethod
    def _folder_exists(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError("there is no such folder")
        return value

    @field_validator("data_dir")
    @classmethod
    def _folder_is_absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("model", "origins", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return tuple(_names(value)) if isinstance(value, str) else value

    @field_validator("model")
    @classmethod
    def _some_model(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one model")
        return value

    @field_validator("origins")
    @classmethod
    def _origins_are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != ANY_ORIGIN and parse_origin(origin) is None:
                raise ValueError(f"{origin} is no origin, such as https://app.example.com")
        return value


def load_settings(**flags: Any) -> Settings:
    """Read and check all settings; `flags` that are not None win over the environment, ``.env`` and secrets, in order.

    Raises:
        SettingsError: some value cannot be used. One line that names each such setting.
    """
    folder = _secrets_folder()
    try:
        given = {name: value for name, value in flags.items() if value is not None}
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # of a secret that is no file, which would be passed over
            return Settings(_secrets_dir=folder, **given)  # pyright: ignore[reportCallIssue]
    except ValidationError as error:
        raise SettingsError("; ".join(_describe(item) for item in error.errors())) from None
    except (OSError, UnreadableError) as error:
        raise SettingsError(f"a secret in {folder} cannot be read: {error.__cause__ or error}") from None


def _secrets_folder() -> Path | None:
    """The folder with a file for each secret, if there is one. A folder that was asked for has to be there.

    Were it passed over, the service would go on without its database or its key.
    """
    asked = os.environ.get(SECRETS)
    folder = Path(asked or _SECRETS_FOLDER)
    if asked:
        if not folder.is_dir():
            raise SettingsError(f"{SECRETS}={asked}: there is no such folder")
        return folder
    # Other programs keep theirs there too, where not everybody may look.
    return folder if folder.is_dir() and os.access(folder, os.R_OK | os.X_OK) else None


def _names(text: str) -> Iterable[str]:
    """Each once, in order."""
    return dict.fromkeys(name.strip() for name in text.split(",") if name.strip())


def _describe(item: Any) -> str:
    name = PREFIX + str(item["loc"][0]).upper()
    return f"{name}={item['input']}: {item['msg'].removeprefix('Value error, ')}"
