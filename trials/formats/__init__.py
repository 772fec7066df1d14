"""How things are written: definition files, figures, documents."""
