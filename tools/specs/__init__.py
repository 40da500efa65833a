"""The generator of docs/specs: see tools/generate_specs.py."""
