# SPDX-License-Identifier: Apache-2.0
"""What runs beside the provider: sample data, the sandbox server and the local stack."""
