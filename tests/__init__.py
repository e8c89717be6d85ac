"""The tests mirror the source: `tests/core/test_seal.py` proves `sidecar/core/seal.py`."""
