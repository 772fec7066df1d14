"""What a fresh web or worker process loads before its first request or task."""

import contextlib


def warm_up() -> None:
    """Start the figure renderer and load the numeric libraries.

    Only ever called in a process that serves, never in a master that forks: the renderer owns threads, and threads do
    not survive a fork.
    """
    import scipy.stats  # noqa: F401
    import vl_convert

    # A figure that fails to render says so when somebody asks for it; a process that serves forms may start without.
    with contextlib.suppress(ValueError):
        vl_convert.vegalite_to_svg({"data": {"values": [{"x": 1}]}, "mark": "point", "encoding": {}})
