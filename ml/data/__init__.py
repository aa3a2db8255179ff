"""From a source to train and test rows: formats, contract, gates, drift."""
