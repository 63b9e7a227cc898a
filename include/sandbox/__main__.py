# SPDX-License-Identifier: Apache-2.0
"""Entry point of `python -m include.sandbox`."""

from __future__ import annotations

if __name__ == "__main__":
    # Inside the guard, because each engine worker imports this module and must not import the server.
    import sys

    from .cli import main

    sys.exit(main())
