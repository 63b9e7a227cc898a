# SPDX-License-Identifier: Apache-2.0
"""Operators: thin Airflow classes over the packages below."""
