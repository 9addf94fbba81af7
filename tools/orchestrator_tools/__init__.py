"""The six tools and the small server that runs them inside the sandbox.

Standard library only, and Python 3.9 or newer: this code runs on the machine's own interpreter.

Each run starts two or three servers, so a start loads little: tools at their first call, and types
not at all. Hence ``TYPE_CHECKING = False`` in the rooms: type checkers take it for true, and
``typing`` (five milliseconds) is loaded by nobody; ``dataclasses`` is replaced by ``values``.
"""
