# SPDX-License-Identifier: Apache-2.0
"""Sensors: wait for jobs that were submitted anywhere."""
