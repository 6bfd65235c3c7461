"""`Precision`: a number of replicates that is a rule, not a number."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from bgsim.checks import check_integer, check_name, check_number, check_word, is_double, is_number, one_of, refused
from bgsim.errors import InvalidInputError, OutputError, brief
from bgsim.kernels.outputs import Output
from bgsim.precision import sequences, student
from bgsim.precision.looks import Look, OutputLook
from bgsim.precision.moments import Moments

RULES = ("student", "anytime")
_TARGETS = ("standard_error", "relative", "half_width")
_SETTINGS = ("confidence", "minimum", "maximum", "rule", "bounds")
_MOST_REPLICATES = 2**63 - 1


@dataclass(frozen=True, slots=True, repr=False)
class Precision:
    """How well a mean is to be known: give it as ``replicates``, and the run ends when it is.

    The rule looks at `minimum` replicates, at twice that, four times that and so on, and at `maximum`; it stops at the
    first look at which each output has reached its target. What it sees are the first replicates, so where it stops
    depends on simulation, parameters, seed and rule alone. Give exactly one of `standard_error`, `relative` and
    `half_width`. It is immutable, so any thread may use it.

    Attributes
    ----------
    output : str or tuple of str
        Whose mean is to be known: an output that is one real number a replicate. Of several, each has to reach the
        target, and their intervals hold together (Bonferroni): each has the confidence ``1 - (1 - confidence) / k``.
    standard_error : float, optional
        The largest standard error of the mean, in the unit of the output.
    relative : float, optional
        From 0 to 1: the largest error of the mean as a part of the true mean, at the confidence. The ends of the
        interval are then within ``relative / (1 + relative)`` of the estimated mean (Law 2015, section 9.4.1).
    half_width : float, optional
        The largest half of the interval's width, in the unit of the output.
    confidence : float
        From 0.5 to 0.9999: with which probability the interval at the stop has the true mean.
    minimum : int
        Replicates of the first look. With few, the variance is known badly: the default is 4,096.
    maximum : int
        Replicates of the last look, at which a run ends in any case.
    rule : {"student", "anytime"}
        ``"student"`` has Student's interval, of a boolean output Wilson's, a little wider since the rule chooses where
        to look (Pocock 1977). It holds for means that are nearly normal, and goes on while a single replicate has more
        than a tenth of the variance. ``"anytime"`` has a confidence sequence (Howard et al. 2021): it holds for every
        distribution and at all looks at once, and takes two to three times the replicates.
    bounds : (float, float), optional
        For ``"anytime"``: between which all values of the outputs are. A boolean output needs none.
    """

    output: str | Sequence[str]
    _: KW_ONLY
    standard_error: float | None = None
    relative: float | None = None
    half_width: float | None = None
    confidence: float = 0.95
    minimum: int = 4096
    maximum: int = 10_000_000
    rule: str = "student"
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        names = _output_names(self.output)
        self._set("output", names[0] if len(names) == 1 else names)
        given = [name for name in _TARGETS if getattr(self, name) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none of them"
            raise InvalidInputError(
                f"a Precision takes exactly one of {', '.join(_TARGETS)}; got {got}",
                field=given[-1] if given else _TARGETS[0],
            )
        self._set(self.kind, _check_target(self.kind, getattr(self, self.kind)))
        if not (is_number(self.confidence) and 0.5 <= self.confidence <= 0.9999):
            raise refused("confidence", self.confidence, "a number from 0.5 to 0.9999, such as 0.95")
        self._set("confidence", float(self.confidence))
        self._set("minimum", check_integer("minimum", self.minimum, least=2, most=_MOST_REPLICATES))
        allowed = f"an integer of {self.minimum} or more, the minimum"
        most = check_integer("maximum", self.maximum, least=self.minimum, most=_MOST_REPLICATES, allowed=allowed)
        self._set("maximum", most)
        check_word("rule", self.rule, RULES)
        if self.bounds is not None:
            self._set("bounds", _check_bounds(self.bounds, self.rule))

    def __repr__(self) -> str:
        shown = [f"{self.output!r}", f"{self.kind}={getattr(self, self.kind)!r}"]
        for name in _SETTINGS:
            if getattr(self, name) != self.__dataclass_fields__[name].default:
                shown.append(f"{name}={getattr(self, name)!r}")
        return f"Precision({', '.join(shown)})"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs, also of a single one."""
        return (self.output,) if isinstance(self.output, str) else tuple(self.output)

    @property
    def kind(self) -> str:
        """Which target was given: ``"standard_error"``, ``"relative"`` or ``"half_width"``."""
        return next(name for name in _TARGETS if getattr(self, name) is not None)

    def looks(self) -> tuple[int, ...]:
        """Return the numbers of replicates at which the rule looks, in order; the last is `maximum`."""
        doublings = range((self.maximum // self.minimum).bit_length())
        counts = [self.minimum << k for k in doublings]
        return (*[n for n in counts if n < self.maximum], self.maximum)

    def check(self, outputs: Iterable[Output]) -> None:
        """Refuse outputs of the rule that a simulation does not have, or of which it can judge none.

        Parameters
        ----------
        outputs : iterable of Output
            Those of the simulation.

        Raises
        ------
        InvalidInputError
            Naming the output.
        """
        known = {output.name: output for output in outputs}
        for name in self.outputs:
            if name not in known:
                raise refused("output", name, f"an output of the simulation, {one_of(list(known), name)}")
            output = known[name]
            if not output.is_real_number or output.dtype.itemsize > 8:
                raise InvalidInputError(
                    f"output of a Precision must be one real number of at most 8 bytes a replicate; {name!r} is a "
                    f"{output.describe()}. Return the number that you want to know as an output of its own",
                    field="output",
                    value=name,
                )
            if self.rule == "anytime" and output.dtype.kind != "b" and self.bounds is None:
                raise InvalidInputError(
                    f'rule="anytime" needs bounds for output {name!r}, which is no boolean: give bounds=(low, high), '
                    'between which all its values are, or take rule="student"',
                    field="bounds",
                )

    def judge(self, n: int, moments: Mapping[str, Moments]) -> Look:
        """Return what the rule finds at a look, or would find between two.

        Parameters
        ----------
        n : int
            Replicates.
        moments : mapping of str to Moments
            Of each output, over the first `n` replicates.

        Raises
        ------
        OutputError
            If a value is outside of the declared bounds.
        """
        return Look(n, {name: self._judge(name, moments[name]) for name in self.outputs})

    def expected_replicates(self, n: int, moments: Mapping[str, Moments]) -> int:
        """Return the look at which the rule will probably stop, judged by the first `n` replicates.

        A standard error, and nearly so an interval, is halved by four times as many replicates. Where nothing can be
        said yet, it is `maximum`. ``n / expected_replicates(n, moments)`` is how far a job is.

        Parameters
        ----------
        n : int
            Replicates that are finished; also between two looks, and before the first.
        moments : mapping of str to Moments
            Of each output, over those, or nearly those.
        """
        return self.expected_after(self.judge(n, moments))

    def expected_after(self, look: Look) -> int:
        """Return the same, given what `judge` has found."""
        needed = max(_needed(look.replicates, output) for output in look.outputs.values())
        return next((look for look in self.looks() if look >= needed), self.maximum)

    def to_json(self) -> str:
        """Return it as a text of JSON, with all settings, so that it means the same under other defaults."""
        names = ("output", self.kind, *_SETTINGS)
        return json.dumps({name: getattr(self, name) for name in names if getattr(self, name) is not None})

    @classmethod
    def from_json(cls, text: str) -> Precision:
        """Return what `to_json` wrote.

        Raises
        ------
        InvalidInputError
            If the text is something else.
        """
        try:
            values = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise refused("precision", text, "a text that Precision.to_json has written") from error
        if not isinstance(values, dict) or "output" not in values or not {*values} <= {"output", *_TARGETS, *_SETTINGS}:
            raise refused("precision", text, "a text that Precision.to_json has written")
        return cls(**values)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _judge(self, name: str, moments: Moments) -> OutputLook:
        alpha = (1 - self.confidence) / len(self.outputs)
        if self.rule == "student":
            several = self.minimum < self.maximum
            low, high = student.interval(moments, 1 - alpha, several_looks=several)
        else:
            low, high = self._sequence(name, moments, alpha)
        error = self._error(moments, low, high)
        target = self._target(moments.mean)
        doubt = moments.doubt if self.rule == "student" or self.kind == "standard_error" else ""
        reached = error <= target and not doubt
        return OutputLook(moments.mean, moments.standard_error, low, high, error, target, reached, doubt)

    def _error(self, moments: Moments, low: float, high: float) -> float:
        if self.kind == "standard_error":
            return moments.standard_error
        if self.kind == "half_width":
            return (high - low) / 2
        return max(high - moments.mean, moments.mean - low)

    def _target(self, mean: float) -> float:
        if self.relative is not None:
            return abs(mean) * self.relative / (1 + self.relative)
        return float(getattr(self, self.kind))

    def _sequence(self, name: str, moments: Moments, alpha: float) -> tuple[float, float]:
        if moments.is_boolean:
            return sequences.proportion(moments.successes, moments.valid, alpha, 4.0 * self.minimum)
        assert self.bounds is not None  # see `check`
        low, high = self.bounds
        if moments.minimum < low or moments.maximum > high:
            value = moments.maximum if moments.maximum > high else moments.minimum
            raise OutputError(
                f"output {name!r} has the value {value!r}, which is outside of bounds=({low!r}, {high!r}) of the "
                'Precision; give bounds that hold for all values, or take rule="student"',
                field=name,
                value=value,
            )
        return sequences.bounded_mean(moments, self.bounds, alpha)


def _needed(n: int, output: OutputLook) -> float:
    """Return how many replicates will reach the target, `n` if these have."""
    if output.reached:
        return n
    if output.doubt or not (math.isfinite(output.error) and output.target > 0):
        return math.inf
    times = output.error / output.target
    return n * times * times


def _output_names(value: object) -> tuple[str, ...]:
    allowed = "the name of an output, or several names, each once"
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not given or not all(isinstance(name, str) and name for name in given):
        raise refused("output", value, allowed)
    names = tuple(check_name("output", name) for name in given)
    if len({*names}) < len(names):
        raise refused("output", value, allowed)
    return names


def _check_target(name: str, value: object) -> float:
    if name == "relative":
        if not (is_number(value) and 0 < value < 1):
            raise refused(name, value, "a number between 0 and 1, such as 0.01 for 1 %")
        return float(value)
    return float(check_number(name, value, "a finite number of more than 0", zero=False))


def _check_bounds(value: object, rule: str) -> tuple[float, float]:
    if rule != "anytime":
        raise InvalidInputError(
            f'bounds are for rule="anytime"; got rule={rule!r} with bounds={brief(value)}', field="bounds", value=value
        )
    if isinstance(value, list | tuple) and len(value) == 2 and all(map(is_double, value)):
        low, high = map(float, value)
        if low < high and math.isfinite(high - low):
            return low, high
    raise refused("bounds", value, "two finite numbers, the lower one first, as in (0, 1)")
