"""Gates on real repositories, with the real tools, behind real walls."""
