# SPDX-License-Identifier: Apache-2.0
"""The local stack behind `make run|up|down|status`: a sandbox and a real Airflow on 127.0.0.1."""
