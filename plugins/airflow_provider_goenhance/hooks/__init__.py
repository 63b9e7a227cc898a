# SPDX-License-Identifier: Apache-2.0
"""Hooks: a GoEnhance account, or a results table, behind an Airflow connection."""
