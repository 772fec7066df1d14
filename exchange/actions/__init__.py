"""What is done in this floor. Extracts and the demonstration are imported by name: they write to every floor."""

from exchange.actions.exports import (
    download_export,
    remove_expired_exports,
    request_export,
    run_export,
)

__all__ = ["download_export", "remove_expired_exports", "request_export", "run_export"]
