# SPDX-License-Identifier: Apache-2.0
"""What a face swap task does, as plain Python: plan, submit, wait, bring home, and say what became of each pair."""
