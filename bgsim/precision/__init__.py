"""As many replicates as a precision needs: the rule, what it sees at each look, and where it stopped.

``moments`` is what a rule knows of an output, ``looks`` what it found at a number of replicates. ``student`` has the
intervals of the default rule, ``sequences`` the confidence sequences of ``rule="anytime"``. ``rule`` defines
`Precision`, ``stopping`` what a result says of its stop, ``until`` the text of the command line. None knows a run, a
store or a thread.
"""

from bgsim.precision.looks import Look, OutputLook
from bgsim.precision.moments import Moments
from bgsim.precision.rule import Precision
from bgsim.precision.stopping import Stopping
from bgsim.precision.until import parse_until

__all__ = ["Look", "Moments", "OutputLook", "Precision", "Stopping", "parse_until"]


def __dir__() -> list[str]:
    return __all__
