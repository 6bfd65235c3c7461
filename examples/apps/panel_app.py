"""A slider in Panel, with progress and latest wins: ``panel serve examples/apps/panel_app.py``."""

from collections.abc import AsyncIterator

import panel as pn

import bgsim
from bgsim.models.options import asian_call

pn.extension()
engine = pn.state.as_cached("engine", bgsim.Engine)  # one for the server, whoever looks at the page
strike = pn.widgets.FloatSlider(name="strike", start=80.0, end=120.0, value=100.0)
mine = f"panel-{id(strike)}"  # a newer value of this visitor's slider wins over an older


async def price(strike: float) -> AsyncIterator[pn.Column]:
    """Show a job's progress and its estimate until it has ended; Panel ends this when the slider moves."""
    job = engine.submit(asian_call, {"strike": strike}, replicates=1_000_000, supersede=mine)
    async for now in engine.watch(job, every_s=0.2):
        bar = pn.indicators.Progress(value=round(100 * now.status.fraction), width=400)
        yield pn.Column(bar, str(now.estimate("payoff")) if now.partial.replicates else "")


pn.Column("# What an Asian call costs", strike, pn.bind(price, strike)).servable()
