# SPDX-License-Identifier: Apache-2.0
"""The results table: one row per swap, and the only truth about what was paid for. Plain SQLAlchemy Core."""
