"""A result belongs to exactly the code that computed it: generated modules are edited, and engines are asked again.

Each edit (see `edited_modules`) goes through four processes, which share a store and numba's disk cache:

1. *first*: the module as it was; in some modes it is edited while this process runs, and asked for more rows.
2. *edited*: a new process after the edit. The disk cache holds what the first has compiled.
3. *cosmetic*: the same code, looking otherwise, under another hash seed: answered from the store.
4. *undone*: the module as it was at first: answered from the store, too.

Every answer has to be what the code as it is now says, or a refusal. Many modules share a process, for numba takes long
to import. Settings for runs by hand: `BGSIM_EDITS=5000` makes 5000 edits, `BGSIM_EXPLORE=1` others than the last time,
`BGSIM_EDITS_OF=closure` only those of kinds with such a name.
"""

from __future__ import annotations

import collections
import difflib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import edited_modules
import hypothesis
import numpy as np
import pytest
from edited_modules import Edit
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from new_process import printed
from paths import SUPPORT

import bgsim

EDITS = int(os.environ.get("BGSIM_EDITS", "0"))
DRAWN = {"plain": 2, "compiled": 1}
"""How many edits of each kind are drawn; with BGSIM_EDITS more, until there are that number in all."""

MODES = {"plain": 6 if EDITS else 4, "compiled": 6 if EDITS else 1}
"""In how many modes each kind is edited alone, besides."""

BATCH = {"plain": 120, "compiled": 20}
"""How many modules share a process."""

PROCESSES = 2
SHOWN = 5
NO_REFUSALS = {"ReplicateError", "StoreError", "OutputError"}
"""Errors of bgsim that refuse no code: the generated simulations have none of these faults."""

pytestmark = pytest.mark.timeout(max(600, 4 * EDITS))

STEPS = ("first", "edited", "cosmetic", "undone")

FIRST: dict[str, list[Any]] = {
    "file": [3],
    "saved": ["save", 3],
    "set": [3, "change", 6],
    "set first": ["change", 3],
    "cell": [3, "change", 6],
    "reload": [3, "change", 6],
}
"""What the first process does in each mode: questions are numbers of replicates."""


@dataclass
class Outcome:
    """An edit, what engines answered in each step, and what is wrong with that."""

    edit: Edit
    answers: dict[str, list[dict[str, Any]]]
    old: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    unsaid: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)


def task_of(edit: Edit, seed: int, step: str) -> dict[str, Any]:
    """Return what a process is told to do for an edit."""
    return {
        "name": edit.name,
        "seed": seed,
        "mode": edit.mode,
        "module": edit.module(),
        "statement": edit.statement() if edit.mode in ("set", "set first") else "",
        "cell": edit.cell(),
        "after": edit.files(True),
        "reloaded": edit.reloaded(),
        "actions": FIRST[edit.mode] if step == "first" else [3] if step == "undone" else [6],
    }


def is_edited(edit: Edit, step: str) -> bool:
    """Tell whether a step's files have the new value; a value that was only set is gone in a new process."""
    return (step in ("edited", "cosmetic")) != (edit.mode == "set first")


def files_of(edit: Edit, step: str) -> dict[str, str]:
    if step == "first":
        return edit.files(False)
    files = edit.files(is_edited(edit, step))
    return edit.cosmetic(files) if step == "cosmetic" else files


def run_batch(folder: Path, batch: list[tuple[int, Edit]]) -> list[Outcome]:
    """Take some edits through the four processes."""
    folder.mkdir(parents=True)
    answers: dict[str, dict[str, Any]] = collections.defaultdict(dict)
    for number, step in enumerate(STEPS):
        for _, edit in batch:
            for name, text in files_of(edit, step).items():
                (folder / name).write_text(text)
        (folder / "step.json").write_text(json.dumps([task_of(edit, seed, step) for seed, edit in batch]))
        done = subprocess.run(
            [sys.executable, str(SUPPORT / "edited_worker.py"), str(folder)],
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "PYTHONHASHSEED": str(number + 1),
                "PYTHONDONTWRITEBYTECODE": "1",
                "NUMBA_CACHE_DIR": str(folder / "numba"),
                "XDG_CACHE_HOME": str(folder / "cache"),
            },
        )
        assert done.returncode == 0, done.stderr
        for name, given_answers in json.loads((folder / "answers.json").read_text()).items():
            answers[name][step] = given_answers
    return [judged(edit, seed, answers[edit.name]) for seed, edit in batch]


# ---- judging -----------------------------------------------------------------------------------------


def rows_of(edit: Edit, seed: int, edited: bool, replicates: int) -> list[float]:
    """Return what the code says."""
    return [edit.expected(edited) + bgsim.replicate_rng(seed, index).random() for index in range(replicates)]


def judged(edit: Edit, seed: int, answers: dict[str, Any]) -> Outcome:
    """Compare the answers with what the code says, and with one another."""
    outcome = Outcome(edit, answers)
    for step in STEPS:
        if isinstance(answers[step], str):
            outcome.invalid.append(f"{step}: the worker failed: {answers[step]}")
            return outcome
        changed = step != "first" and is_edited(edit, step)
        questions = iter(answers[step])
        for action in task_of(edit, seed, step)["actions"]:
            if action == "change":
                changed = True
            elif action != "save":
                judge_rows(outcome, seed, step, next(questions), action, changed)
    judge_hits(outcome)
    return outcome


def judge_rows(outcome: Outcome, seed: int, step: str, answer: dict[str, Any], replicates: int, changed: bool) -> None:
    """Note answers that are not what the code says, and refusals of what can be followed."""
    edit, expected = outcome.edit, rows_of(outcome.edit, seed, changed, replicates)
    if edit.style and not edit.compiles and step == "first":
        expected = answer["plain"]  # a jitted helper that numba has compiled keeps its value, in plain Python, too
    elif not (edit.compiles and (step == "first" or edit.trusts_numba)) and not same(answer["plain"], expected):
        outcome.invalid.append(f"{step}: the plain function says {answer['plain']}, and not {expected}")
    for engine, got in answer["got"].items():
        where = f"{step}, {engine}"
        if got.get("refused") == "CompileError":
            outcome.invalid.append(f"{where}: {got['text']}")
        elif "failed" in got:
            outcome.old.append(f"{where}: failed: {got['failed']}")
        elif "refused" in got and got["refused"] in NO_REFUSALS:
            outcome.old.append(f"{where}: {got['refused']}: {got['text']}")
        elif "rows" in got and not same(got["rows"], expected):
            outcome.old.append(f"{where}: the code says {expected}, answered was {got['rows']}")
        elif step != "first" and got.get("kept") != replicates and not answer["said"] and "refused" not in got:
            outcome.unsaid.append(f"{where}: it is not stored, and nothing was said")
        elif step != "first" and edit.followed and got.get("kept") != replicates:
            outcome.unsaid.append(f"{where}: it is not stored, though it can be followed: {got} {answer['said']}")


def judge_hits(outcome: Outcome) -> None:
    """Note what was stored and not found again, and identities that are the same or not when they should not be."""
    answers, edit = outcome.answers, outcome.edit
    edited, cosmetic, undone = answers["edited"][0], answers["cosmetic"][0], answers["undone"][0]
    if kept(edited) == 6 and found(cosmetic) != 6:
        outcome.missed.append(f"cosmetic: {found(cosmetic)} of 6 replicates were found")
    if not edit.followed:
        return  # what is not stored needs no identity
    if edited["fingerprint"] != cosmetic["fingerprint"]:
        outcome.missed.append("cosmetic: another fingerprint")
    by_value = edit.edited.kind.parameters != ""  # a default, or an enum's value, may count with the parameters instead
    if edited["fingerprint"] == undone["fingerprint"] and not by_value:
        outcome.old.append("undone: the same fingerprint as after the edit")
    first = answers["first"][0]
    if edit.mode not in ("saved", "set first"):  # where the source is not that of the code, the byte code counts
        if kept(first) == 3 and found(undone) != 3:
            outcome.missed.append(f"undone: {found(undone)} of 3 replicates were found")
        if first["fingerprint"] != undone["fingerprint"]:
            outcome.missed.append("undone: another fingerprint than at first")


def same(rows: Any, expected: list[float]) -> bool:
    return isinstance(rows, list) and len(rows) == len(expected) and np.allclose(rows, expected, rtol=0, atol=1e-6)


def kept(answer: dict[str, Any]) -> int | None:
    return answer["got"]["file"].get("kept")


def found(answer: dict[str, Any]) -> int | None:
    return answer["got"]["file"].get("from_store")


# ---- running -----------------------------------------------------------------------------------------


def drawn(form: str) -> list[Edit]:
    """Return edits of each kind alone, and what hypothesis makes with each."""
    compiles = form == "compiled"
    kinds, made = edited_modules.kinds_of(compiles), edited_modules.each_kind(compiles, MODES[form])
    share = EDITS // 4 if compiles else EDITS - EDITS // 4
    for index, kind in enumerate(kinds):
        count = 1 if kind.slow else max(DRAWN[form], share // len(kinds))
        made += examples(edited_modules.edits(kind, compiles), count, index)
    return made


def examples(strategy: st.SearchStrategy[Edit], count: int, number: int) -> list[Edit]:
    """Return what a strategy makes: the same each time, or other ones where the profile explores."""
    found: list[Edit] = []

    @settings(max_examples=count + 1, phases=[Phase.generate], database=None)
    @given(strategy)
    def collect(edit: Edit) -> None:
        found.append(edit)

    if settings().derandomize:
        collect = hypothesis.seed(number)(collect)
    collect()
    return found[1:]  # the first is the simplest, which `each_kind` makes


def run_edits(folder: Path, edits: list[Edit], batch: int) -> list[Outcome]:
    """Take edits through their processes, a batch at a time in each of some threads."""
    numbered = [(index, replace(edit, name=f"k{index}")) for index, edit in enumerate(edits)]
    batches = [numbered[i : i + batch] for i in range(0, len(numbered), batch)]
    with ThreadPoolExecutor(PROCESSES) as threads:
        tasks = [threads.submit(run_batch, folder / str(number), part) for number, part in enumerate(batches)]
        return [outcome for task in tasks for outcome in task.result()]


@pytest.fixture(scope="module", params=["plain", "compiled"])
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """All edits of one form of simulation, run once for all tests of this file."""
    return run_edits(tmp_path_factory.mktemp(request.param), drawn(request.param), BATCH[request.param])


def report(outcomes: list[Outcome], about: str, folder: Path) -> None:
    """Fail if something is noted about an outcome: say of which kinds and modes, and show the first edits whole."""
    bad = [outcome for outcome in outcomes if getattr(outcome, about)]
    if not bad:
        return
    counts = collections.Counter(f"{o.edit.edited.kind.name} ({o.edit.mode})" for o in bad)
    bare = sorted(bad, key=lambda o: (len(o.edit.leaves), len(o.edit.edited.wrappers)))
    texts = [told(outcome, getattr(outcome, about)) for outcome in bare]
    file = folder / f"{about}.txt"
    file.write_text("\n".join(texts))
    kinds = "\n".join(f"  {number} {name}" for name, number in sorted(counts.items()))
    pytest.fail(
        f"{len(bad)} of {len(outcomes)} edits; what is edited:\n{kinds}\n\n"
        + "\n".join(texts[:SHOWN])
        + f"\nall of them: {file}",
        pytrace=False,
    )


def told(outcome: Outcome, complaints: list[str]) -> str:
    """Return a module's source before and after, what was done and what came."""
    edit = outcome.edit
    lines = ["=" * 100, edit.title, edited_modules.MODES[edit.mode], *[f"- {c}" for c in complaints]]
    if edit.mode in ("set", "set first"):
        lines.append(f"the edit, in {edit.module()}: {edit.statement()}")
    before, after = edit.files(False), edit.files(True)
    for name, text in before.items():
        lines += ["-" * 40 + " " + name, text]
        lines += difflib.unified_diff(text.splitlines(), after[name].splitlines(), "before", "after", "", "", 0, "")
    return "\n".join(lines) + "\n"


# ---- tests -------------------------------------------------------------------------------------------


def test_the_plain_functions_say_what_the_generator_expects(outcomes: list[Outcome], tmp_path: Path) -> None:
    """The other tests prove nothing if this one fails: then a row of the table is wrong, not an engine."""
    report(outcomes, "invalid", tmp_path)


def test_no_answer_is_of_another_code(outcomes: list[Outcome], tmp_path: Path) -> None:
    """Whatever is edited, wherever and while it runs: each row is what the code as it is now computes."""
    report(outcomes, "old", tmp_path)


def test_cosmetic_edits_and_undone_ones_are_answered_from_the_store(outcomes: list[Outcome], tmp_path: Path) -> None:
    """In another process, under another hash seed, and though an edit came between."""
    report(outcomes, "missed", tmp_path)


def test_what_can_be_followed_is_stored_and_what_cannot_is_said(outcomes: list[Outcome], tmp_path: Path) -> None:
    """To refuse all code would keep the other two promises, too."""
    report(outcomes, "unsaid", tmp_path)


def test_each_kind_is_edited(outcomes: list[Outcome]) -> None:
    """A row of the table that no edit reaches would be a promise that nothing keeps."""
    compiled = outcomes[0].edit.compiles
    reached = {outcome.edit.edited.kind.name for outcome in outcomes}
    assert reached == {kind.name for kind in edited_modules.kinds_of(compiled)}


OPTIONS = ["fastmath=True", "error_model='numpy'", "boundscheck=True", "locals={'y': numba.float32}"]


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_of_a_jitted_helper_counts(option: str, tmp_path: Path) -> None:
    """It changes numbers, in the last digits at least, though no line of a function does."""
    source = (
        "import bgsim, numba\n@numba.njit(@OPTION@)\ndef f(x):\n    y = x / 3.0\n    return y\n"
        "@bgsim.simulation(outputs={'x': 'f8'})\ndef sim(p, rng):\n    return f(rng.random())\n"
    )
    seen = []
    for number, text in enumerate(("", option, "", option)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "one_option.py").write_text(source.replace("@OPTION@", text))
        seen.append(printed("import one_option; print(one_option.sim.fingerprint)", folder))
    assert seen[:2] == seen[2:]
    assert seen[0] != seen[1]


@settings(max_examples=60)
@given(edit=st.sampled_from(edited_modules.kinds_of(False)).flatmap(lambda k: edited_modules.edits(k, False)))
def test_cosmetic_edits_of_the_generator_change_no_code(edit: Edit) -> None:
    """The other tests prove nothing if what they take for cosmetic computes something else."""
    for text, other in zip(edit.files(True).values(), edit.cosmetic(edit.files(True)).values(), strict=True):
        assert text != other
        assert edited_modules.UNRELATED not in text or "unrelated" in other
        compile(other, "cosmetic", "exec")
