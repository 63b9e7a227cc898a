# SPDX-License-Identifier: Apache-2.0
"""Pages inside the Airflow API server, under Airflow's own permissions."""
