"""What runs: admission, workers, timers, ends; everything under the engine's lock."""
