"""The identity of a simulation: all the code and values that its results depend on, taken from what is executed.

::

    source     a code object as canonical text: its source, if that compiles to it, else its byte code
    reads      the names that a code object reads
    lookup     what a name holds
    ownership  the user's own code, which is followed, and installed packages, which count by name and version
    walk       follows all of it: functions here, then
               classes, containers, atoms, machine (numba's objects)
    limits     what cannot be followed
    draws      random numbers of other streams than the replicate's
    watch      tells in microseconds whether anything has changed
    look       one look at a simulation: `Identity`
"""
