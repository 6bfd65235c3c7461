"""Parameter sets: what a simulation is asked with, checked, hashed and compared."""

from bgsim.parameters.parameter_set import ParameterSet, ResultKey, similarity

__all__ = ["ParameterSet", "ResultKey", "similarity"]
