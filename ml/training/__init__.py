"""From train rows to a fitted pipeline and its bundle."""
