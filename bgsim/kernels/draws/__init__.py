"""How compiled kernels draw: NumPy's ``Generator(Philox)`` bit for bit, with the state in memory of bgsim's own.

`layout` says where what lies in that memory, `philox` computes its words, `ziggurat` makes normal and exponential
numbers of them, `rng_type` is what numba calls a kernel's ``rng``, and `methods` are that type's methods.
"""

from bgsim.kernels.draws import methods as methods  # numba has them from then on
from bgsim.kernels.draws.rng_type import RNG as RNG
from bgsim.kernels.draws.rng_type import rng_of_replicate as rng_of_replicate
