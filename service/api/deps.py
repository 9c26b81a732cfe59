"""What routes ask for, as annotated aliases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request

from service.models import ModelRepository
from service.pipeline import Pipeline
from service.runtime import Runtime
from service.settings import Settings


def get_runtime(request: Request) -> Runtime:
    """The running parts of the application that got this request."""
    return request.app.state.runtime


async def get_models(request: Request) -> AsyncIterator[ModelRepository]:
    """Its loaded models, which stay as they are until the request is answered, whatever is reloaded meanwhile."""
    with get_runtime(request).served.use() as models:
        yield models


def get_pipeline(request: Request) -> Pipeline:
    """Its pipeline."""
    return get_runtime(request).pipeline


def get_settings(request: Request) -> Settings:
    """Its settings."""
    return get_runtime(request).settings


RuntimeDep = Annotated[Runtime, Depends(get_runtime)]
ModelsDep = Annotated[ModelRepository, Depends(get_models)]
PipelineDep = Annotated[Pipeline, Depends(get_pipeline)]
SettingsDep = Annotated[Settings, Depends(get_settings)]
