"""Where the examples put their pictures, and how these look."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

COLOURS = ("#0b6e99", "#c8553d", "#588157", "#7b5ea7")
FOLDER = Path(__file__).parent.parent / "docs" / "images"

mpl.rcParams.update(
    {
        "axes.prop_cycle": mpl.cycler(color=COLOURS),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "font.size": 9.0,
        "legend.frameon": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "bgsim",
    }
)


def save(figure: Figure, name: str) -> None:
    """Write the figure to the folder that was given on the command line, or to that of the documentation."""
    path = (Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER) / name
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else {})
    print(f"wrote {path}")
