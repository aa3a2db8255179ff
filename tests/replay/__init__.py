"""The time machine: dated rows played through the real service, log, monitor, training and channel."""
