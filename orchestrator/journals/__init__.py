"""Adapters of the RunJournal port."""
