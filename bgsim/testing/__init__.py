"""What tests of code that uses bgsim need; `stores` has the tests that every store passes."""
