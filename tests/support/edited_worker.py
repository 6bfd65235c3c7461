"""A process of `test_identity_edits.py`: it imports modules, edits some, and asks engines for their simulations.

Called with a folder, in which ``step.json`` says what to do; what came is in ``answers.json`` then.
"""

from __future__ import annotations

import importlib
import json
import linecache
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import bgsim
from bgsim.errors import BgsimError


def ask(engine: bgsim.Engine, simulation: Any, replicates: int, seed: int) -> dict[str, Any]:
    """Return the rows that an engine delivers, how many were stored before, and whether they are now; or the error."""
    try:
        job = engine.submit(simulation, replicates=replicates, seed=seed)
        rows = job.result()["x"].tolist()
        again = engine.submit(simulation, replicates=replicates, seed=seed)
        again.result()
        return {"rows": rows, "from_store": job.status().from_store, "kept": again.status().from_store}
    except BgsimError as error:
        return {"refused": type(error).__name__, "text": str(error)[-2000:]}
    except Exception:
        return {"failed": traceback.format_exc()[-2000:]}


def plain_rows(simulation: Any, replicates: int, seed: int) -> Any:
    """Return what the plain function says."""
    try:
        p = simulation.parameters_class() if simulation.parameters_class else None
        return [float(simulation.function(p, bgsim.replicate_rng(seed, index))) for index in range(replicates)]
    except Exception:
        return traceback.format_exc()[-2000:]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)
    importlib.invalidate_caches()


def change(folder: Path, task: dict[str, Any]) -> None:
    """Edit the module in this process."""
    module = sys.modules[task["module"]]
    if task["mode"] in ("set", "set first"):
        exec(task["statement"], module.__dict__)
    elif task["mode"] == "cell":
        name = f"<cell of {task['name']}>"
        linecache.cache[name] = (len(task["cell"]), None, task["cell"].splitlines(True), name)
        exec(compile(task["cell"], name, "exec"), module.__dict__)
    else:
        write(folder, task["after"])
        for name in task["reloaded"]:
            importlib.reload(sys.modules[name])


def answers(folder: Path, task: dict[str, Any], engines: dict[str, bgsim.Engine]) -> list[dict[str, Any]]:
    """Do what a task says, and return an answer for each question."""
    module, given, said = importlib.import_module(task["name"]), [], []  # type: Any, list[Any], list[str]
    for action in task["actions"]:
        if action == "change":
            change(folder, task)
        elif action == "save":
            write(folder, task["after"])
        else:
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                got = {name: ask(engine, module.sim, action, task["seed"]) for name, engine in engines.items()}
                try:
                    fingerprint = module.sim.fingerprint
                except BgsimError as error:
                    fingerprint = f"refused: {error}"
                plain = plain_rows(module.sim, action, task["seed"])
            said += [str(w.message) for w in seen if w.category.__module__.partition(".")[0] == "bgsim"]
            given.append({"got": got, "fingerprint": fingerprint, "plain": plain, "said": list(said)})
    return given


def main(folder: Path) -> None:
    tasks = json.loads((folder / "step.json").read_text())
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True  # two edits within a second, of one length, look alike to it
    found: dict[str, Any] = {}
    with bgsim.Engine(store=folder / "s.db", workers=1) as file, bgsim.Engine(workers=1) as memory:
        for task in tasks:
            try:
                found[task["name"]] = answers(folder, task, {"file": file, "memory": memory})
            except Exception:
                found[task["name"]] = traceback.format_exc()[-2000:]
    (folder / "answers.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
