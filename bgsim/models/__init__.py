"""Simulations that come with bgsim, each a model of how a kernel of yours could look."""
