"""The stages that take tabular data to a model in production, and what they stand on."""
