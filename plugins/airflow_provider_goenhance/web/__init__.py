# SPDX-License-Identifier: Apache-2.0
"""Pages in the Airflow API server, protected by Airflow's own permissions."""
