"""The controller as code, and the commands that start one: on this machine, or in containers."""
