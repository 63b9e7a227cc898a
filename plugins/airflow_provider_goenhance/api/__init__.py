# SPDX-License-Identifier: Apache-2.0
"""The GoEnhance HTTP API: models, responses, client, polling. Independent of Airflow."""
