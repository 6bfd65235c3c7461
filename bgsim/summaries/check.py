"""Whether a simulation's outputs can be kept as a summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bgsim.errors import InvalidInputError
from bgsim.summaries.tally import why_not

if TYPE_CHECKING:
    from bgsim.kernels.outputs import Output


def check_summarisable(outputs: Iterable[Output], parameters: Mapping[str, Any]) -> None:
    """Refuse outputs of which there is no summary.

    Raises
    ------
    InvalidInputError
        Of the field ``keep``, naming the output.
    """
    for output in outputs:
        reason = why_not(output.dtype, output.concrete_shape(parameters))
        if reason:
            raise InvalidInputError(
                f'keep="summary" cannot hold the output {output.name!r}: {reason}. Leave it out of the outputs, or '
                'submit with keep="columns"',
                field="keep",
                value="summary",
            )
