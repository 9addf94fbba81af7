"""The loader of agent definition files."""
