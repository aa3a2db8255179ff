"""The train stage: search the candidates with cross-validation, refit the best, sign it."""
