"""The parts of the progress bus, which `bgsim.progress` puts together.

``updates`` defines an update, ``filters`` choose the updates of a ``subscription``, and ``buffer`` keeps them for it.
``channels`` hold jobs and subscribers under the bus's lock, ``delivery`` calls callbacks, and ``post`` hands them on to
executors and loops. ``batch_progress`` combines several jobs, ``rate`` estimates the speed, and ``bars`` draw.
"""
