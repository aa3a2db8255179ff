"""What became of the requests of a window: refused, failed, turned away, slow."""

from ml.monitoring.window import Window
from ml.monitoring_settings import Monitoring

# Fewer refused or failed requests than this, or than these shares of all, are what clients do any day.
MIN_TROUBLES, MAX_REFUSED, MAX_FAILED = 20, 0.05, 0.01
MOST_TOLD = 5  # of the columns and rules by which requests were refused


def troubles(window: Window, settings: Monitoring) -> list[str]:
    """Return what is wrong with a service: it fails, it turns away, it takes longer than is allowed."""
    told = []
    for kind, doing in (("failed", "failed"), ("busy", "were turned away")):
        count = sum(one.count for one in window.troubled(kind))
        if _too_many(count, MAX_FAILED, window):
            told.append(f"{count} requests {doing}, and {window.requests} were answered")
    limit, rows = settings.max_milliseconds, window.recent.told["milliseconds"].astype(float)
    if limit is not None and len(rows) >= settings.min_rows and (slow := float(rows.quantile(0.95))) > limit:
        told.append(f"one of twenty answers takes {slow:.0f} ms, and {limit:g} are allowed")
    return told


def refused(window: Window) -> list[str]:
    """Return which columns requests are refused by, and by which rule: they are not sent as agreed."""
    return [
        f"{one.column}: {one.count} requests refused: {one.rule}"
        for one in window.troubled("refused")
        if one.column and _too_many(one.count, MAX_REFUSED, window)
    ]


def _too_many(count: int, most: float, window: Window) -> bool:
    return count >= MIN_TROUBLES and count > most * (count + window.requests)


def figures(window: Window, settings: Monitoring) -> dict[str, float]:
    """Return the load, and what was refused, failed, turned away or lost most often."""
    kinds = ("refused", "failed", "busy", "lost")
    most = [one for kind in kinds for one in window.troubled(kind)[:MOST_TOLD]]
    return {"requests an hour": window.requests / (settings.window_days * 24)} | {
        f"{one.kind}: {one.column or one.rule or 'requests'}": float(one.count) for one in most
    }
