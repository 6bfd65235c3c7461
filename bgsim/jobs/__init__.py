"""Many jobs: batches and sweeps, recovery and dead letters, an executor."""
