# SPDX-License-Identifier: Apache-2.0
"""Apache Airflow provider for the GoEnhance image face swap API."""

__version__ = "0.1.0"
