"""Weight files for the tests of what looks at them."""

import struct

NO_TENSORS = struct.pack("<Q", 2) + b"{}"
"""A whole safetensors file that holds none."""
