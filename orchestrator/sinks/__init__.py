"""Adapters of the EventSink port."""
