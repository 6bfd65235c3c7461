"""Two routes of FastAPI for a simulation; bad input is a 422: ``fastapi run examples/apps/fastapi_app.py``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

import bgsim
from bgsim.models.options import asian_call


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Have one engine for the process; what runs when the server ends is cancelled, and kept."""
    engine = app.state.engine = bgsim.Engine("prices.db")
    yield
    engine.close(cancel=True)


app = FastAPI(lifespan=lifespan)


@app.exception_handler(bgsim.errors.InvalidInputError)
async def refused(request: Request, error: bgsim.errors.InvalidInputError) -> JSONResponse:
    """Answer as FastAPI does for its own checks: the text says which field, and what is allowed."""
    return JSONResponse({"detail": [{"loc": ["body", error.field], "msg": str(error), "type": "value_error"}]}, 422)


@app.exception_handler(bgsim.errors.RequestNotFoundError)
async def unknown(request: Request, error: bgsim.errors.RequestNotFoundError) -> JSONResponse:
    """Answer for a job that this engine does not have."""
    return JSONResponse({"detail": str(error)}, 404)


@app.post("/prices", status_code=202)
def submit(parameters: dict[str, Any], replicates: int = 100_000) -> dict[str, str]:
    """Take a job; the same request twice is one run."""
    return {"job": app.state.engine.submit(asian_call, parameters, replicates=replicates).id}


@app.get("/prices/{job_id}")
def look(job_id: str) -> dict[str, Any]:
    """Say how far a job is."""
    status = app.state.engine.status(job_id)
    return {"state": status.state.value, "fraction": status.fraction, "error": status.error}


@app.post("/price")
async def price(parameters: dict[str, Any]) -> dict[str, float]:
    """Wait for the result; a job can be awaited, and no thread is held meanwhile."""
    result = await app.state.engine.submit(asian_call, parameters, replicates=100_000)
    summary = result.summary()["payoff"]
    return {"price": summary.mean, "standard_error": summary.standard_error}
