"""The service that answers, and how it is started, asked and stopped."""

API_KEY_HEADER = "X-API-Key"
REPLAY_HEADER = "X-Replay"

# How far a probability may be from the golden one, and a predicted number as a share of the largest: another
# processor may round the last bits otherwise, and a real difference is larger by far.
GOLDEN_TOLERANCE = 1e-9

# Rows of one JSON request; a file may hold more.
MAX_ROWS = 1000
