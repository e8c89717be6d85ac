"""Provider families as tables of facts."""
