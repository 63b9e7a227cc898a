# SPDX-License-Identifier: Apache-2.0
"""The wire: what goes to GoEnhance, what comes back, and what it means. Imports nothing of Airflow."""
