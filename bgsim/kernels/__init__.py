"""How a simulation becomes machine code: its outputs, the loop over a chunk, the copy that is compiled, its cache."""
