"""What a simulation takes and gives, as HTML."""

from __future__ import annotations

from bgsim.kernels.definition import Definition
from bgsim.parameters.fields import Field, brief, fields_table
from bgsim.parameters.parameter_class import fields_of
from bgsim.tables import Table, escaped


def description(simulation: Definition) -> str:
    """Return a table of a simulation's parameters, with defaults, units and ranges, and one of its outputs."""
    found = simulation.parameters_class
    fields = [f for f in fields_of(found) if not f.derived] if found is not None else []
    taken = fields_table("", "default", [(field, _default(field)) for field in fields])
    rows = [(output.name, output.describe()) for output in simulation.outputs]
    rows += [(f"{x}*{y}", "pair: a summary has its covariance") for x, y in simulation.pairs]
    outputs = Table(("output", "type"), rows, most=None)
    parameters = taken._repr_html_() if fields else "<div>takes any parameters</div>"
    return f"<div><b>{escaped(simulation.name)}</b></div>{parameters}{outputs._repr_html_()}"


def _default(field: Field) -> str:
    return f"required: {field.type_name}" if field.required else brief(field.new_default())
