"""The identity of a simulation: all the code and values that its results depend on, taken from what is executed.

::

    source     a code object as canonical text: its source, if that compiles to it, else its byte code
    reads      the names that a code object reads
    lookup     what a name holds
    ownership  the user's own code, which is followed, and installed packages, which count by name and version
    writer     the state of one look, and the verbs that all kinds of values are written with
    functions  classes, enums, contents, containers, instances, atoms, wrappers, machine and extensions (of numba):
               what each kind of value counts as
    walk       follows all of it
    origin     whose a class or a function is, whatever module it names
    static     reads what types and attributes store, without running code of the user's
    remembered answers that caches keep of other values than those of now
    names      what functions and classes are called, where the code asks
    limits     what cannot be followed; methods that are known by their names alone
    draws      random numbers of other streams than the replicate's
    watch      tells in microseconds whether anything has changed
    look       one look at a simulation: `Identity`
"""
