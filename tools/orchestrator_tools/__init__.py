"""The six tools and the small server that runs them inside the sandbox.

Standard library only, and Python 3.9 or newer: this code runs on the machine's own interpreter.
"""
