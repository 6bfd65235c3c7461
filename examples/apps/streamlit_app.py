"""A slider in Streamlit, with progress and latest wins: ``streamlit run examples/apps/streamlit_app.py``."""

import secrets

import streamlit as st

import bgsim
from bgsim.models.options import asian_call


@st.cache_resource
def engine() -> bgsim.Engine:
    """Return the engine: one for the process, whoever looks at the page."""
    return bgsim.Engine()


st.title("What an Asian call costs")
strike = st.slider("strike", 80.0, 120.0, 100.0)
mine = st.session_state.setdefault("mine", secrets.token_hex(4))  # a newer slider of this visitor's wins over an older
job = engine().submit(asian_call, {"strike": strike}, replicates=1_000_000, supersede=mine)


@st.fragment(run_every=None if job.done() else 0.3)  # runs this function again, not the page
def price() -> None:
    """Show how far the job is, and what it has found so far."""
    status = job.status()
    st.progress(status.fraction, text=status.state.value)
    if status.replicates_completed:
        st.metric("price", str(job.estimate("payoff")))


price()
