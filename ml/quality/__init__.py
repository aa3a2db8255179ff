"""What a model is judged by, and the report that tells it."""
