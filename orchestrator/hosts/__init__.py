"""Where pull requests are: one adapter a file."""
