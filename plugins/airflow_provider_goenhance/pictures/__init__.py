# SPDX-License-Identifier: Apache-2.0
"""Fetch, verify, mark and keep the finished pictures. Plain Python; Airflow is only touched for remote storage."""
