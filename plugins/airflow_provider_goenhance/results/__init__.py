# SPDX-License-Identifier: Apache-2.0
"""The results table: one row per swap, and the only record of what was paid for. Plain SQLAlchemy Core."""
