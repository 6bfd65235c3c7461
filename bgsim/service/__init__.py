"""An engine behind HTTP, in its own process."""
