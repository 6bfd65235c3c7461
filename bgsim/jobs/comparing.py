"""The verb of an engine that compares two parameter sets by common random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from bgsim.differences import difference_of
from bgsim.registry import find_if_named
from bgsim.request import JobOptions, make_request

if TYPE_CHECKING:
    from bgsim.job import Job
    from bgsim.parameters.parameter_class import P
    from bgsim.precision import Precision
    from bgsim.running.submitter import Submitter
    from bgsim.simulation import Simulation


class CompareVerbs:
    """How `bgsim.Engine` compares; any thread may call."""

    _submitter: Submitter

    def compare(
        self,
        simulation: Simulation[P] | str,
        a: P | Mapping[str, Any] | None,
        b: P | Mapping[str, Any] | None,
        *,
        replicates: int | Precision,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Run two parameter sets with the same random numbers, and keep the differences of their outputs, `a` less `b`.

        The interval of a difference is often a small part of that of two independent runs. By default no replicate is
        kept, so that there may be as many as the question needs.

        Parameters
        ----------
        simulation : Simulation or str
        a, b : instance of its parameter class, mapping or None
        replicates, **options
            As for `submit`, but for `on_progress`, `block` and `durable`, which are not taken; `keep` is ``"summary"``
            unless it is given. A `Precision` is that of a difference.

        Returns
        -------
        Job
            Its result has the differences as outputs, and `comparison` shows them with their intervals. They are
            doubles; an output that is no real number has none.

        Raises
        ------
        OutputError
            If no output is a real number.
        InvalidInputError
            As `submit`; if the two sets do not have the same names, of a simulation that takes any.
        """
        difference = difference_of(find_if_named(simulation))
        options.setdefault("keep", "summary")
        request = make_request(difference, difference.parameters_of(a, b), replicates=replicates, **options)
        return self._submitter.submit(request)
