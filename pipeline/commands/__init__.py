"""The command line's commands, one module for each thing that they are about."""
