"""What needs kernels, a browser and a minute or two: `make test-ui`, and not `make test`."""
