# SPDX-License-Identifier: Apache-2.0
"""The picture containers: JPEG, PNG and WebP, and the XMP metadata inside them."""
