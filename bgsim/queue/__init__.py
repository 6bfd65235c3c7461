"""The parts of the queue, which `bgsim.queue_manager` puts together; only ``sleepers`` knows threads, none a clock.

``requests`` is what one caller asks for, ``entries`` what is served: the requests with one key. ``service_line`` says
who is next, from a ``lazy_heap``, with the limits of ``groups``; ``timetable`` what becomes due, expires or ages.
``roster`` says who is here and who joins whom, ``supersede`` who replaces whom. ``sleepers`` are the threads that wait.
``invariants`` is what tests check.
"""
