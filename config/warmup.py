"""What a web or worker process loads before its first request or task, and on which side of the fork."""

import contextlib


def load_libraries() -> None:
    """Import the numeric libraries, once, in the process that forks the others."""
    import scipy.stats  # noqa: F401


def start_renderer() -> None:
    """Start the figure renderer.

    Only ever called in a process that serves, never in a master that forks: the renderer owns threads, and threads do
    not survive a fork.
    """
    import vl_convert

    # A figure that fails to render says so when somebody asks for it; a process that serves forms may start without.
    with contextlib.suppress(ValueError):
        vl_convert.vegalite_to_svg({"data": {"values": [{"x": 1}]}, "mark": "point", "encoding": {}})
