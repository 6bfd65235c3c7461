"""A slider in wxPython, with progress and latest wins: ``python examples/apps/wx_app.py``."""

import wx

import bgsim
from bgsim.models.options import asian_call


class Window(wx.Frame):
    """A slider, a bar, and what the newest job has found."""

    def __init__(self, engine: bgsim.Engine) -> None:
        super().__init__(None, title="What an Asian call costs", size=(420, 180))
        self.engine = engine
        self.slider = wx.Slider(self, value=100, minValue=80, maxValue=120, style=wx.SL_LABELS)
        self.bar = wx.Gauge(self, range=1000)
        self.price = wx.StaticText(self)
        column = wx.BoxSizer(wx.VERTICAL)
        for widget in (self.slider, self.bar, self.price):
            column.Add(widget, 0, wx.EXPAND | wx.ALL, 8)
        self.SetSizer(column)
        self.slider.Bind(wx.EVT_SLIDER, self.submit)
        self.submit()

    def submit(self, event: wx.Event | None = None) -> None:
        """Ask for the slider's value; the job of an older value is dropped or stopped."""
        strike = float(self.slider.GetValue())
        self.job = self.engine.submit(asian_call, {"strike": strike}, replicates=1_000_000, supersede="preview")
        self.engine.subscribe(self.show, job=self.job, post=wx.CallAfter)  # show() is called in the window's thread

    def show(self, update: bgsim.ProgressUpdate) -> None:
        """Draw an update, unless it is of an older job, or the window is gone."""
        if self and update.simulation_id == self.job.id:
            self.bar.SetValue(round(1000 * update.fraction))
            if update.replicates_completed:
                self.price.SetLabel(str(self.job.estimate("payoff")))


def main() -> None:
    """Show the window; when it is closed, stop what runs."""
    app = wx.App()
    engine = bgsim.Engine()
    Window(engine).Show()
    app.MainLoop()
    engine.close(cancel=True)


if __name__ == "__main__":
    main()
