"""The main thread and others: signal handlers that wait, and the locks, conditions and threads that have them wait."""
