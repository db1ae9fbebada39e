"""DUNDi (draft-mspencer-dundi-01): entities that trust each other ask each other where a number is called."""
