"""Parameter sets: what a simulation runs with, checked, hashed and compared."""

from bgsim.parameters.parameter_set import ParameterSet, ResultKey, similarity

__all__ = ["ParameterSet", "ResultKey", "similarity"]
