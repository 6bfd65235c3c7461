"""The price of an Asian call in a tkinter window: a scale whose newest value wins, and a histogram that fills in.

Run it: python examples/desktop_tk.py
"""

import tkinter
from tkinter import ttk

import bgsim
from bgsim.models.options import AsianCall, asian_call
from bgsim.ui.tk import JobBar, JobTable, TkJobs


class Window(tkinter.Tk):
    def __init__(self, engine):
        super().__init__()
        self.title("Asian call")
        style = ttk.Style(self)
        style.theme_use("clam")
        style.configure("TProgressbar", background="#3b7dd8")
        self.configure(background=style.lookup("TFrame", "background"))
        self.jobs = TkJobs(engine, self)
        top = ttk.Frame(self)
        self.strike, self.price = ttk.Label(top, width=10), ttk.Label(top, width=30, anchor="e")
        self.scale = ttk.Scale(top, from_=60, to=100, value=80)
        self.precise = ttk.Button(top, text="Compute precisely", command=self.compute_precisely)
        self.strike.pack(side="left")
        self.precise.pack(side="right", padx=(10, 0))
        self.price.pack(side="right")
        self.scale.pack(fill="x", expand=True)
        self.histogram = tkinter.Canvas(self, width=760, height=280, background="white", highlightthickness=0)
        self.bar, self.table = JobBar(self), JobTable(self, self.jobs)
        for widget, expand in ((top, False), (self.histogram, True), (self.bar, False), (self.table, False)):
            widget.pack(fill="both" if expand else "x", expand=expand, padx=10, pady=5)
        self.latest = self.jobs.bind_latest(self.scale, self.parameters, asian_call, 500_000, self.draw, live=True)
        self.jobs.on_progress(lambda *_: self.bar.set_job(self.latest.job))

    def parameters(self):
        strike = round(self.scale.get())
        self.strike["text"] = f"Strike {strike}"
        return AsianCall(strike=float(strike))

    def draw(self, result):
        self.price["text"] = f"{result['payoff'].mean():.3f} after {result.replicates:,} paths"
        counts = self.latest.job.histogram("payoff", bins=60).counts
        width, height = self.histogram.winfo_width() / len(counts), self.histogram.winfo_height()
        self.histogram.delete("all")
        for number, count in enumerate(counts):
            left, top = number * width, height - (height - 10) * count / max(counts)
            self.histogram.create_rectangle(left, top, left + width - 1, height, fill="#3b7dd8", width=0)

    def compute_precisely(self):
        self.jobs.submit(asian_call, self.parameters(), replicates=20_000_000, seed=1, priority="low")


if __name__ == "__main__":
    with bgsim.Engine() as engine:
        Window(engine).mainloop()
