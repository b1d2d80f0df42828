"""Archives: many scenes, encoded side by side, in runs that may be cut off at any moment."""
