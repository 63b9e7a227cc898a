# SPDX-License-Identifier: Apache-2.0
"""The report of a run, ready to be sent to people; what a missed deadline says."""
