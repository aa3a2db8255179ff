"""What the champion's build left to hold its answers against."""

from io import BytesIO

import pandas as pd

from ml.quality.reference import REFERENCE_FILE
from ml.registry import signing
from ml.registry.versions import Registry


def read_reference(registry: Registry, version: int) -> pd.DataFrame | None:
    """Return the test rows of a version with its answers; none if it was registered before they were kept.

    An altered file raises ``MlError``.
    """
    covered, name = registry.read(version).outputs, f"quality/{REFERENCE_FILE}"
    if name not in covered:
        return None
    return pd.read_parquet(BytesIO(signing.read_covered(registry.folder(version), name, covered)))
