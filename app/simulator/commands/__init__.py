"""The simulator's commands, one module for each."""
