"""Signed, immutable versions of blessed models, the channels that point to them, and who made them."""
