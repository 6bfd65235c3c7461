"""What can be made of results: summaries, comparisons, tables for other tools. It knows no engine and no store.

``statistics`` and ``intervals`` have the formulas, ``summary`` and ``comparison`` what a user gets of them. ``points``
is what a batch of jobs has come to; ``dataset`` makes a dataset of xarray of it, or of one result, and ``provenance``
says where the numbers come from. ``frame`` makes a DataFrame of the batch, ``plots`` draws figures of what ``drawing``
can draw. ``extras`` imports the packages that they need.
"""
