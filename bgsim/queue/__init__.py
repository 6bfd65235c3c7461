"""The parts of the queue. `core` has the members and entries, `order` says which entry is next.

An `entry` is what is served: the members with one key. `order` keeps entries in a `lazy_heap`, with the limits of
`groups`, and in a `timetable` of what becomes due, expires or ages. `supersede` says which member replaces which.
`waiters` is for threads that wait, in `bgsim.queue_manager`. Tests check the `invariants`.
"""
