"""``GET /models``: what can be asked for with ``model=``."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.admin import AdminOnly
from service.api.deps import ModelsDep, RuntimeDep
from service.api.examples import problem_responses
from service.models import LoadedModel, ModelRepository
from service.problems import Problem
from service.topology import Topology
from service.wire import ModelDetails, ModelList, ModelSummary

router = APIRouter(tags=["models"])


@router.get("/models", summary="List the loaded models")
async def list_models(models: ModelsDep) -> ModelList:
    """All loaded models, the default first."""
    return _list(models)


@router.post(
    "/models/reload",
    summary="Load the models again",
    dependencies=[AdminOnly],
    responses=problem_responses(401, 403, 409),
)
async def reload_models(runtime: RuntimeDep) -> ModelList:
    """Call this after `yaop models promote`, or after any change to the bundles that the settings name.

    They are loaded, verified and warmed up beside the old ones, which answer until then. If one of them fails, the old
    ones keep answering.
    """
    return _list(await runtime.reloader.reload())


@router.get("/models/{name}", summary="Show a model", responses=problem_responses(404, 422))
async def show_model(name: str, models: ModelsDep) -> ModelDetails:
    """Its manifest (input shapes, accuracy, licence, checksums), its engine and its skeleton."""
    model = models.get(name)
    if model is None:
        detail = f"There is no model named {name[:80]}. Loaded: {', '.join(models.names)}."
        raise Problem(404, "model-not-found", detail)
    return ModelDetails(
        **dict(model.bundle.manifest),
        default=model is models.default,
        engine=model.engine.name,
        topology=Topology.of(model.skeleton),
    )


def _list(models: ModelRepository) -> ModelList:
    return ModelList(models=[_summary(model, model is models.default) for model in models])


def _summary(model: LoadedModel, default: bool) -> ModelSummary:
    return ModelSummary(name=model.name, version=model.ref.version, default=default, engine=model.engine.name)
