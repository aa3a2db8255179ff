"""What the name of a file says of its content."""

from pathlib import Path

COMPRESSED = {".gz", ".zst", ".bz2", ".xz"}
TEXT = {".csv": ",", ".tsv": "\t", ".txt": ",", ".tab": "\t"}  # and what then is between the values
SHEETS = {".xlsx", ".xls", ".ods"}
JSON_LINES = {".ndjson", ".jsonl"}
KNOWN = {*TEXT, *SHEETS, *JSON_LINES, ".json", ".parquet"}


def ending(file: str) -> str:
    """Return what a file's name says of its content, without what says how it is compressed."""
    path = Path(file)
    return (Path(path.stem) if path.suffix.lower() in COMPRESSED else path).suffix.lower()


def can_read(file: str) -> bool:
    """Tell whether a name ends as that of a file which can be read."""
    return ending(file) in KNOWN
