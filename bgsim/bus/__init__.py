"""The parts of the progress bus, which `bgsim.progress` puts together.

``updates`` is what an update says, ``filters`` which of them a ``subscription`` wants, ``buffer`` what is kept for it,
``channels`` who hears of which job, ``delivery`` who calls callbacks. ``batch_progress`` makes one progress of several
jobs, ``rate`` tells how fast work is done, and ``bars`` draw it.
"""
