"""Bringing a version into a channel: trial, judgement, moves of the pointer, and the places that serve."""
