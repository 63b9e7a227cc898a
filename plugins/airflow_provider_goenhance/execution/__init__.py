# SPDX-License-Identifier: Apache-2.0
"""What a face swap task does, in plain Python: plan, submit, wait, collect, and report on each pair."""
